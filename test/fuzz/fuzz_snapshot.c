/* A snapshot file from anywhere: verified and read whole, or refused. The first byte asks for
 * repair, so that what lies behind checksums is reached: 1 header, 2 manifest and trailer.
 * covers: src/storage/snapshot.c
 * options: -max_len=8192 */
#include "storage/snapshot.h"

#include "base/hash.h"
#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "io/sim_disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 64, TAIL = 64 };

static void repair(uint8_t *p, size_t n, unsigned flags)
{
    uint64_t at;
    uint32_t crc;
    if (n < HEAD + TAIL)
        return;
    if (flags & 1) {
        crc = qv_hash_crc32c(0, p, 60);
        memcpy(p + 60, &crc, 4);
    }
    uint8_t *tail = p + n - TAIL;
    memcpy(&at, tail + 8, 8);
    if ((flags & 2) == 0 || at < HEAD || at > n - TAIL)
        return;
    uint64_t bytes = n - TAIL - at;
    uint64_t hash = qv_hash_64_seed(p + at, (size_t)bytes, qv_hash_64(p, HEAD));
    memcpy(tail + 16, &bytes, 8);
    memcpy(tail + 24, &hash, 8);
    crc = qv_hash_crc32c(0, tail, 60);
    memcpy(tail + 60, &crc, 4);
}

/* What was read, part by part, also into a new file. */
static int read_all(struct qv_snapshot_reader *r, struct qv_disk *disk, struct qv_errmsg *msg)
{
    uint64_t all = 128;
    struct qv_snapshot_writer *w = NULL;
    struct qv_snapshot_info info;
    int err = qv_snapshot_create(disk, "again", qv_snapshot_kind(r), 5, &w, msg);
    for (uint32_t i = 0; i < qv_snapshot_part_count(r) && err == 0; i++) {
        const struct qv_snapshot_part *part = qv_snapshot_part(r, i);
        QV_ASSERT(qv_snapshot_find(r, part->kind, part->owner, part->number) <= i);
        uint8_t *out = qv_mem_alloc((size_t)part->bytes + 1);
        qv_snapshot_begin_read(r, i);
        size_t half = (size_t)part->bytes / 2;
        err = qv_snapshot_read(r, out, half, msg);
        if (err == 0)
            err = qv_snapshot_read(r, out + half, (size_t)part->bytes - half, msg);
        if (err == 0)
            err = qv_snapshot_end_read(r, msg);
        QV_ASSERT(qv_snapshot_read(r, out, 1, msg) == QV_ECORRUPT);
        if (err == 0)
            err = qv_snapshot_begin_part(w, part->kind, part->owner, part->number, msg);
        if (err == 0)
            err = qv_snapshot_append(w, out, (size_t)part->bytes, msg);
        qv_mem_free(out);
        all += part->bytes;
    }
    QV_ASSERT(all <= qv_snapshot_bytes(r) && err == 0 && qv_snapshot_written(w) == all - 64);
    err = qv_snapshot_finish(w, &info, msg);
    QV_ASSERT(err != 0 || info.bytes == qv_snapshot_bytes(r));
    QV_ASSERT(qv_snapshot_create(disk, "again", QV_SNAPSHOT_FULL, 5, &w, msg) == QV_EEXISTS);
    QV_ASSERT(qv_snapshot_create(disk, "other", QV_SNAPSHOT_FULL, 5, &w, msg) == 0);
    qv_snapshot_abort(w);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qv_snapshot_reader *r = NULL;
    struct qv_errmsg msg;
    bool done = false;
    if (size < 2)
        return 0;
    qv_logger_set_level(QV_LOG_ERROR);
    uint8_t *p = qv_mem_alloc(size);
    memcpy(p, data + 1, size - 1);
    repair(p, size - 1, data[0]);
    struct qv_disk *disk = qv_sim_disk_create(1, 0);
    QV_ASSERT(qv_disk_replace_file(disk, "snap", p, size - 1, NULL) == 0);
    int err = qv_snapshot_open(disk, "snap", 0, 0, &r, &msg);
    while (err == 0 && !done)
        err = qv_snapshot_verify_step(r, 100, true, &done, &msg);
    if (err == 0) {
        uint8_t sha[QV_SHA256_BYTES];
        qv_snapshot_sha256(r, sha);
        QV_ASSERT(read_all(r, disk, &msg) == 0);
    }
    qv_snapshot_close(r);
    qv_sim_disk_destroy(&disk);
    qv_mem_free(p);
    return 0;
}
