/* Opening: replay, then a fresh segment that begins with what isn't known to be durable. It is
 * complete and synced before it gets its name, so that a crash in the middle leaves the log as it
 * was (invariant 6 of log_internal.h). Also the check of a stopped log. */
#include "storage/log_internal.h"

#include "base/logger.h"
#include "base/mem.h"

#define SEGMENT_BYTES_DEFAULT ((uint64_t)64 << 20)
#define GROUP_BYTES_DEFAULT ((size_t)4 << 20)
#define GROUP_COUNT_DEFAULT 4u
#define SPARE_MAX_DEFAULT 4u

static int log_create(struct qv_env *env, const char *dir, const struct qv_log_config *config,
                      struct qv_log **out, struct qv_errmsg *msg)
{
    uint64_t segment = config->segment_bytes != 0 ? config->segment_bytes : SEGMENT_BYTES_DEFAULT;
    size_t group = config->group_bytes != 0 ? config->group_bytes : GROUP_BYTES_DEFAULT;
    unsigned count = config->group_count != 0 ? config->group_count : GROUP_COUNT_DEFAULT;
    if (segment % LOG_PAGE != 0 || segment < 4 * LOG_PAGE || segment > LOG_SEGMENT_BYTES_MAX)
        return qv_fail(msg, QV_EINVAL,
                       "log segments of %llu bytes; a multiple of 4096 from 16384 "
                       "to 4294967296 is possible",
                       (unsigned long long)segment);
    if (count < 2)
        return qv_fail(msg, QV_EINVAL, "%u log buffers; at least 2 are needed", count);
    if (group > segment / 2)
        group = (size_t)(segment / 2);
    struct qv_log *log = qv_mem_calloc(1, sizeof *log);
    log->env = env;
    log->dir = qv_mem_strdup(dir);
    log->segment_bytes = segment;
    log->group_bytes = group / LOG_PAGE * LOG_PAGE;
    if (log->group_bytes < LOG_PAGE)
        log->group_bytes = LOG_PAGE;
    log->replay_from = config->replay_from != QV_LOG_FROM_OLDEST ? config->replay_from : 0;
    log->spare_max = config->spare_max != 0 ? config->spare_max : SPARE_MAX_DEFAULT;
    log->group_count = count;
    log->groups = qv_mem_calloc(count, sizeof *log->groups);
    for (unsigned i = 0; i < count; i++) {
        log->groups[i].next = log->free;
        log->free = &log->groups[i];
    }
    *out = log;
    return 0;
}

void log_free(struct qv_log *log)
{
    for (unsigned i = 0; i < log->group_count; i++)
        qv_mem_free(log->groups[i].buf);
    qv_file_close(log->current.file);
    if (log->next_state == LOG_NEXT_READY)
        qv_file_close(log->next.file);
    if (log->care == LOG_CARE_PREPARE) /* abandoned in the middle */
        qv_file_close(log->care_segment.file);
    qv_mem_free(log->groups);
    qv_mem_free(log->segments);
    qv_mem_free(log->spares);
    qv_mem_free(log->dir);
    qv_mem_free(log);
}

/* ---- the fresh segment ---- */

/* Which of g's blocks are above D and below the log's end: [*first, returned). */
static size_t tail_blocks(const struct log_scan *s, const struct log_segment_scan *g, size_t *first)
{
    size_t i = 0;
    while (i < g->block_n && g->blocks[i].lsn + g->blocks[i].bytes <= s->durable)
        i++;
    size_t end = i;
    while (end < g->block_n && g->blocks[end].lsn < s->end && g->blocks[end].lsn < g->limit)
        end++;
    *first = i;
    return end;
}

struct tail {
    qv_lsn base; /* of the first block to copy; the log's end when there is none */
    uint64_t bytes;
};

static struct tail tail_measure(const struct log_scan *s)
{
    struct tail t = {.base = s->end, .bytes = 0};
    for (size_t i = s->segment_n; i-- > 0;) {
        size_t first;
        const struct log_segment_scan *g = &s->segments[i];
        size_t end = tail_blocks(s, g, &first);
        for (size_t k = end; k-- > first;) {
            if (g->blocks[k].lsn + log_round_page(g->blocks[k].bytes) != t.base)
                return t; /* damage lies between: what is below it stays where it is */
            t.base = g->blocks[k].lsn;
            t.bytes += log_round_page(g->blocks[k].bytes);
        }
    }
    return t;
}

/* The block in s->block, under the new segment's salt. */
static int tail_write(struct log_scan *s, struct log_open_segment *to, qv_lsn durable,
                      struct qv_errmsg *msg)
{
    struct log_block_header *h = (struct log_block_header *)(void *)s->block.data;
    size_t n = (size_t)log_round_page(h->bytes);
    QV_ASSERT(to->offset + n <= to->bytes);
    h->salt = to->salt;
    h->durable = durable;
    h->prev_crc = to->prev_crc;
    h->flags = 0;
    log_block_seal(s->block.data);
    int err = qv_file_pwrite_full(to->file, to->offset, s->block.data, n, msg);
    to->offset += n;
    to->prev_crc = h->body_crc;
    return err;
}

static int tail_copy_segment(struct log_scan *s, const struct log_segment_scan *g, const char *dir,
                             qv_lsn base, struct log_open_segment *to, struct qv_errmsg *msg)
{
    char name[LOG_NAME_BYTES];
    char path[LOG_PATH_BYTES];
    struct qv_file *f = NULL;
    size_t first;
    size_t end = tail_blocks(s, g, &first);
    if (first == end)
        return 0;
    log_segment_name(name, g->seq);
    int err = log_path(path, dir, name);
    if (err == 0)
        err = qv_disk_open(s->disk, path, QV_OPEN_READ, &f, msg);
    for (size_t k = first; k < end && err == 0; k++) {
        if (g->blocks[k].lsn < base)
            continue;
        err = log_scan_read(s, f, &g->blocks[k], msg);
        if (err == QV_ECORRUPT) /* it was right a moment ago */
            err = QV_CORRUPT(msg, "log %s, offset %llu: block checksum on reading again", path,
                             (unsigned long long)g->blocks[k].offset);
        if (err == 0)
            err = tail_write(s, to, base, msg);
    }
    qv_file_close(f);
    return err;
}

/* The block that begins this run of the log: empty, and says that all below it is durable. */
static int open_block_write(struct qv_log *log, qv_lsn lsn, struct qv_errmsg *msg)
{
    uint8_t *page = qv_mem_try_aligned(LOG_PAGE, LOG_PAGE);
    if (page == NULL)
        return qv_fail(msg, QV_ENOMEM, "no memory for a log block");
    struct log_block_header *h = (struct log_block_header *)(void *)page;
    memset(h, 0, sizeof *h);
    h->salt = log->current.salt;
    h->lsn = lsn;
    h->durable = lsn;
    h->clock = log->clock;
    h->bytes = (uint32_t)sizeof *h;
    h->prev_crc = log->current.prev_crc;
    h->flags = LOG_FLAG_OPEN;
    log_block_seal(page);
    int err = qv_file_pwrite_full(log->current.file, log->current.offset, page, LOG_PAGE, msg);
    log->current.offset += LOG_PAGE;
    log->current.prev_crc = h->body_crc;
    qv_mem_free(page);
    return err;
}

static int fresh_segment(struct qv_log *log, struct log_scan *s, struct tail t,
                         struct qv_errmsg *msg)
{
    uint64_t need = LOG_PAGE + t.bytes + 2 * LOG_PAGE;
    uint64_t spare = need <= log->segment_bytes ? log_spare_take(log) : LOG_NO_SPARE;
    log->current = (struct log_open_segment){
        .seq = ++log->seq_last,
        .spare = spare != LOG_NO_SPARE ? spare : log->spare_next++,
        .salt = qv_env_random_u64(log->env),
        .bytes = need <= log->segment_bytes ? log->segment_bytes : need,
    };
    int err = log_segment_make(log, &log->current, spare != LOG_NO_SPARE, msg);
    if (err == QV_ENOSPC && need < log->segment_bytes) {
        log->current.bytes = need; /* a full disk must not keep us from starting */
        err = log_segment_make(log, &log->current, false, msg);
    }
    if (err != 0)
        return err;
    for (size_t i = 0; i < s->segment_n && err == 0; i++)
        err = tail_copy_segment(s, &s->segments[i], log->dir, t.base, &log->current, msg);
    QV_ASSERT(err != 0 || log->current.offset == LOG_PAGE + t.bytes);
    if (err == 0) /* true when it can be read: publish syncs all of it before naming it */
        err = open_block_write(log, s->end, msg);
    if (err == 0)
        err = log_segment_publish(log, &log->current, 0, msg);
    log->noted = log->current.seq;
    log->next_lsn = s->end + LOG_PAGE;
    log->durable = log->next_lsn;
    log->clock_durable = log->clock;
    return err;
}

/* What the older segments hold from now on, for release. */
static void adopt(struct qv_log *log, const struct log_scan *s, qv_lsn base)
{
    for (size_t i = 0; i < s->segment_n; i++) {
        const struct log_segment_scan *g = &s->segments[i];
        bool empty = !g->header_bad && g->scanned && (!g->has_base || g->base >= base);
        qv_lsn end = g->limit < base ? g->limit : base;
        log_segment_add(log, (struct log_segment){.seq = g->seq, .end = empty ? 0 : end});
    }
}

static void numbers_take(struct qv_log *log, const struct log_scan *s)
{
    log->seq_last = s->segment_n > 0 ? s->segments[s->segment_n - 1].seq : 0;
    log->spare_next = s->spare_n > 0 ? s->spares[s->spare_n - 1] + 1 : 1;
    for (size_t i = 0; i < s->spare_n; i++) {
        char name[LOG_NAME_BYTES];
        char path[LOG_PATH_BYTES];
        log_spare_name(name, s->spares[i]);
        if (log->spare_n < log->spare_max)
            log_spare_add(log, s->spares[i]);
        else if (log_path(path, log->dir, name) == 0 && qv_disk_unlink(s->disk, path, NULL) != 0)
            QV_WARN("log", "%s: can't remove", path);
    }
    log->clock = s->clock;
    log->log_id = s->log_id != 0 ? s->log_id : qv_env_random_u64(log->env) | 1;
}

int qv_log_open(struct qv_env *env, const char *dir, const struct qv_log_config *config,
                struct qv_log **out, struct qv_errmsg *msg)
{
    struct log_scan s = {0};
    struct qv_log *log = NULL;
    *out = NULL;
    int err = log_create(env, dir, config, &log, msg);
    if (err != 0)
        return err;
    err = qv_disk_mkdir_all(env->disk, dir, msg);
    if (err == 0)
        err = log_scan_open(&s, env->disk, dir, config, msg);
    if (err == 0)
        err = log_scan_replay(&s, msg);
    if (err == 0) {
        struct tail t = tail_measure(&s);
        numbers_take(log, &s);
        err = fresh_segment(log, &s, t, msg);
        if (err == 0)
            adopt(log, &s, t.base);
    }
    log_scan_close(&s);
    if (err != 0) {
        log_free(log);
        return err;
    }
    log_step(log); /* what is superseded goes */
    *out = log;
    return 0;
}

int qv_log_check(struct qv_disk *disk, const char *dir, const struct qv_log_config *config,
                 struct qv_log_summary *out, struct qv_errmsg *msg)
{
    struct log_scan s = {0};
    int err = log_scan_open(&s, disk, dir, config, msg);
    if (err == 0)
        err = log_scan_replay(&s, msg);
    *out = (struct qv_log_summary){
        .segments = s.segment_n,
        .records = s.records,
        .begin = s.begin,
        .end = s.end,
        .clock = s.clock,
        .damages = s.damages,
        .newest_bad = s.newest_bad,
    };
    log_scan_close(&s);
    return err;
}
