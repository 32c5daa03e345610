/* Segment files from anywhere: check and open end with an error or a log that works, never with a
 * crash, and never with a record whose block's checksum is wrong.
 *
 * The input is packed: flags, then pieces { u16 length (top bit: next segment file), bytes }, each
 * put at the next multiple of 4096; the first of a file is its header. Flags ask for checksums to
 * be put right, so that what lies behind them is reached: 1 segment headers, 2 block headers, 4
 * bodies, 8 lsn and durable too, 16 the open tolerates damage. */
/* covers: src/storage/log_block.c src/storage/log_scan.c src/storage/log_open.c */
/* options: -max_len=20000 */
#include "storage/log_internal.h"

#include "base/hash.h"
#include "base/logger.h"
#include "base/mem.h"
#include "io/sim_disk.h"
#include "io/sim_env.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FILE_BYTES 65536u
#define FILES_MAX 4

struct files {
    uint8_t bytes[FILES_MAX][FILE_BYTES];
    size_t used[FILES_MAX];
    unsigned n;
    qv_lsn lsn;
    uint32_t prev_crc;
    uint64_t salt;
};

static uint64_t records;

static void header_repair(struct files *f, uint8_t *page)
{
    log_segment_header_make((struct log_segment_header *)(void *)page, 7, f->n, 1000 + f->n,
                            FILE_BYTES);
}

static void block_repair(struct files *f, uint8_t *page, size_t n, unsigned flags)
{
    struct log_block_header *h = (struct log_block_header *)(void *)page;
    uint32_t header_crc = h->header_crc;
    uint32_t body_crc = h->body_crc;
    if (n < sizeof *h)
        return;
    h->bytes = (uint32_t)n;
    h->salt = f->salt;
    h->prev_crc = f->prev_crc;
    if ((flags & 8) || h->lsn % LOG_PAGE != 0 || h->lsn > UINT64_MAX / 4)
        h->lsn = f->lsn;
    if ((flags & 8) || h->durable > h->lsn)
        h->durable = h->lsn;
    log_block_seal(page);
    if (!(flags & 4)) {
        h->body_crc = body_crc;
        h->header_crc = qv_hash_crc32c(0, page + 8, sizeof *h - 8);
    }
    if (!(flags & 2))
        h->header_crc = header_crc;
    f->prev_crc = h->body_crc;
    f->lsn = h->lsn + log_round_page(n);
}

static void unpack(struct files *f, unsigned flags, struct qv_rd *rd)
{
    f->n = 0;
    f->lsn = LOG_FIRST_LSN;
    while (qv_rd_left(rd) >= 2) {
        uint16_t head = qv_rd_u16(rd);
        size_t n = head & 0x7FFF;
        n = n < qv_rd_left(rd) ? n : qv_rd_left(rd);
        bool header = f->n == 0 || (head & 0x8000);
        if (header && f->n == FILES_MAX)
            return;
        if (header) {
            f->used[f->n] = 0;
            memset(f->bytes[f->n++], 0, FILE_BYTES);
        }
        size_t *used = &f->used[f->n - 1];
        uint8_t *page = &f->bytes[f->n - 1][*used];
        if (*used + log_round_page(n) > FILE_BYTES)
            return;
        memcpy(page, qv_rd_take(rd, n), n);
        if (header && (flags & 1))
            header_repair(f, page);
        if (header) {
            const struct log_segment_header *h = (const struct log_segment_header *)(void *)page;
            f->salt = h->salt;
            f->prev_crc = h->crc;
            n = LOG_PAGE;
        } else {
            block_repair(f, page, n, flags);
        }
        *used += (size_t)log_round_page(n);
    }
}

static int on_record(void *arg, const struct qv_log_record *rec, struct qv_bytes change, qv_lsn lsn,
                     qv_lsn lsn_end)
{
    uint64_t *before = arg;
    QV_ASSERT(lsn >= *before && lsn_end == lsn + log_record_bytes(change.n));
    *before = lsn_end;
    records += qv_hash_64(change.p, change.n) ^ rec->version.clock; /* every byte can be read */
    return 0;
}

static int on_damage(void *arg, const struct qv_log_damage *damage)
{
    (void)arg;
    QV_ASSERT(damage->file != NULL && (damage->to == 0 || damage->to > damage->from));
    return 0;
}

static void done(struct qv_log_waiter *w, int err)
{
    *(int *)w->arg = err == 0 ? 1 : -1;
}

static void use(struct qv_sim *sim, struct qv_env *env, struct qv_log_config *c)
{
    struct qv_log *log = NULL;
    struct qv_log_record rec = {.shard = 9};
    struct qv_log_waiter w = {.done = done};
    int outcome = 0;
    uint64_t at = 0;
    c->arg = &at;
    if (qv_log_open(env, "log", c, &log, NULL) != 0)
        return;
    qv_lsn end = 0;
    w.arg = &outcome;
    QV_ASSERT(qv_log_append(log, &rec, NULL, 0, &end) == 0 && end > at);
    qv_log_commit(log, &w);
    qv_log_release(log, c->replay_from < LOG_FIRST_LSN ? 0 : c->replay_from);
    qv_sim_run(sim, 10000);
    QV_ASSERT(outcome == 1 && qv_log_durable(log) >= end);
    qv_log_close(log, NULL, NULL);
    qv_sim_run(sim, 10000);
    /* What it left is a log again, and its new part is whole. */
    at = 0;
    c->replay_from = end - log_record_bytes(0);
    QV_ASSERT(qv_log_open(env, "log", c, &log, NULL) == 0 && at == end);
    qv_log_abandon(log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct files f;
    struct qv_rd rd;
    if (size < 10)
        return 0;
    qv_logger_set_level(QV_LOG_ERROR);
    qv_rd_init(&rd, data, size);
    unsigned flags = qv_rd_u8(&rd);
    uint64_t from = (uint64_t)qv_rd_u8(&rd) * 512;
    unpack(&f, flags, &rd);
    struct qv_disk *disk = qv_sim_disk_create(1, 0);
    struct qv_sim *sim = qv_sim_create(&(struct qv_sim_config){.seed = 1});
    struct qv_sim_node *node = qv_sim_node_create(sim, disk, 0);
    QV_ASSERT(qv_disk_mkdir(disk, "log", NULL) == 0);
    for (unsigned i = 0; i < f.n; i++) {
        char name[LOG_NAME_BYTES];
        char path[LOG_PATH_BYTES];
        struct qv_file *file = NULL;
        log_segment_name(name, i + 1);
        QV_ASSERT(log_path(path, "log", name) == 0);
        QV_ASSERT(qv_disk_open(disk, path, QV_OPEN_WRITE | QV_OPEN_CREATE, &file, NULL) == 0);
        QV_ASSERT(qv_file_pwrite_full(file, 0, f.bytes[i], f.used[i], NULL) == 0);
        qv_file_close(file);
    }
    uint64_t at = 0;
    struct qv_log_summary sum;
    struct qv_errmsg msg;
    struct qv_log_config c = {
        .segment_bytes = FILE_BYTES,
        .replay_from = QV_LOG_FROM_OLDEST,
        .on_record = on_record,
        .on_damage = (flags & 16) ? on_damage : NULL,
        .arg = &at,
    };
    int err = qv_log_check(disk, "log", &c, &sum, &msg);
    QV_ASSERT(err == 0 || err == QV_ECORRUPT);
    c.replay_from = from;
    c.durable_to = from;
    use(sim, qv_sim_node_env(node), &c);
    qv_sim_node_destroy(&node);
    qv_sim_destroy(&sim);
    qv_sim_disk_destroy(&disk);
    return 0;
}
