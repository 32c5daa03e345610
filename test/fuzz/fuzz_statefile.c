/* A state file from anywhere: read whole with its checksums right, or refused. The first byte asks
 * for repair, so that what lies behind checksums is reached: 1 header, 2 chunks, 4 footer, 8
 * length. */
/* covers: src/storage/statefile.c */
/* options: -max_len=8192 */
#include "storage/statefile.h"

#include "base/hash.h"
#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "io/sim_disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 64, CHUNK = 16, FOOT = 32, KIND = 3 };

static void put_u32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, 4);
}

static void put_u64(uint8_t *p, uint64_t v)
{
    memcpy(p, &v, 8);
}

/* As a file of one chunk, which is all that fits. */
static void repair(uint8_t *p, size_t n, unsigned flags)
{
    if (n < HEAD + CHUNK + FOOT + 1)
        return;
    uint8_t *chunk = p + HEAD;
    uint8_t *foot = p + n - FOOT;
    uint64_t payload = n - HEAD - CHUNK - FOOT;
    if (flags & 8) {
        put_u64(p + 24, payload);
        put_u32(chunk + 4, (uint32_t)payload);
        put_u64(foot + 8, payload);
    }
    if (flags & 1)
        put_u32(p + 60, qv_hash_crc32c(0, p, 60));
    if (flags & 2)
        put_u32(chunk, qv_hash_crc32c(0, chunk + 4, CHUNK - 4 + (size_t)payload));
    if (flags & 4) {
        put_u64(foot + 16, qv_hash_64_seed(chunk + CHUNK, (size_t)payload, 0));
        put_u32(foot + 28, qv_hash_crc32c(0, foot, 28));
    }
}

/* What was read, written again, is the same payload. */
static void again(struct qv_disk *disk, const uint8_t *p, size_t n, uint64_t hash)
{
    struct qv_statefile_writer *w = NULL;
    struct qv_statefile_info info;
    QV_ASSERT(qv_statefile_create(disk, "again", KIND, 1, &w, NULL) == 0);
    QV_ASSERT(qv_statefile_append(w, p, n / 2, NULL) == 0);
    QV_ASSERT(qv_statefile_append(w, p + n / 2, n - n / 2, NULL) == 0);
    QV_ASSERT(qv_statefile_finish(w, &info, NULL) == 0);
    QV_ASSERT(info.payload_hash == hash && info.payload_bytes == n);
    QV_ASSERT(qv_statefile_check(disk, "again", &info, NULL) == 0);
    QV_ASSERT(qv_statefile_create(disk, "again", KIND, 1, &w, NULL) == 0);
    qv_statefile_abort(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    qv_logger_set_level(QV_LOG_ERROR);
    uint8_t *p = qv_mem_alloc(size);
    memcpy(p, data + 1, size - 1);
    repair(p, size - 1, data[0]);
    struct qv_disk *disk = qv_sim_disk_create(1, 0);
    QV_ASSERT(qv_disk_replace_file(disk, "state", p, size - 1, NULL) == 0);
    struct qv_statefile_reader *r = NULL;
    struct qv_statefile_info info;
    struct qv_errmsg msg;
    int checked = qv_statefile_check(disk, "state", &info, &msg);
    int err = qv_statefile_open(disk, "state", KIND, 1, &r, &msg);
    if (err == 0) {
        size_t left = (size_t)qv_statefile_left(r);
        uint8_t *out = qv_mem_alloc(left + 1);
        size_t part = left / 3;
        err = qv_statefile_read(r, out, part, &msg);
        if (err == 0)
            err = qv_statefile_read(r, out + part, left - part, &msg);
        if (err == 0)
            err = qv_statefile_end(r, &msg);
        QV_ASSERT((err == 0) == (checked == 0));
        QV_ASSERT(qv_statefile_read(r, out, 1, &msg) == QV_ECORRUPT || err != 0);
        if (err == 0)
            again(disk, out, left, qv_statefile_get_info(r).payload_hash);
        qv_mem_free(out);
    }
    qv_statefile_close(r);
    qv_sim_disk_destroy(&disk);
    qv_mem_free(p);
    return 0;
}
