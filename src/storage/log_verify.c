/* Reading a closed segment of a log that is being written, to find bits that flipped before a start
 * needs it. The owner picks a segment and judges what was found; the reading is a job's, on a file
 * of its own: the log may release the segment, and write its next life into the same file, in the
 * middle of it. What is found then means nothing, so the owner asks whether the log still has the
 * segment. */
#include "storage/log_internal.h"

#include "base/mem.h"

/* Needed at the next start, and never written again? */
static bool wanted(const struct qv_log *log, const struct log_segment *s)
{
    return !s->failed && s->end > log->released && s->end > log->replay_from;
}

bool qv_log_verify_next(const struct qv_log *log, uint64_t after, struct qv_log_verify *out)
{
    const struct log_segment *best = NULL;
    char name[LOG_NAME_BYTES];
    for (size_t i = 0; i < log->segment_n; i++) {
        const struct log_segment *s = &log->segments[i];
        if (s->seq > after && wanted(log, s) && (best == NULL || s->seq < best->seq))
            best = s;
    }
    if (best == NULL)
        return false;
    *out = (struct qv_log_verify){.seq = best->seq, .end = best->end};
    log_segment_name(name, best->seq);
    return log_path(out->path, log->dir, name) == 0;
}

bool qv_log_verify_counts(const struct qv_log *log, const struct qv_log_verify *v)
{
    for (size_t i = 0; i < log->segment_n; i++) {
        if (log->segments[i].seq == v->seq)
            return wanted(log, &log->segments[i]);
    }
    return false;
}

/* Not counted: whether it is corruption the owner says. */
static int bad(const struct qv_log_verify *v, const char *what, struct qv_errmsg *msg)
{
    return qv_fail(msg, QV_ECORRUPT, "log %s, offset %llu: %s", v->path,
                   (unsigned long long)v->offset, what);
}

static int verify_header(struct qv_log_verify *v, struct qv_file *f, struct qv_errmsg *msg)
{
    struct log_segment_header h;
    int err = qv_file_pread_full(f, 0, &h, sizeof h, msg);
    if (err != 0)
        return err == QV_EEOF ? bad(v, "the file is cut short", msg) : err;
    const char *why = log_segment_header_check(&h, v->seq);
    if (why != NULL)
        return bad(v, why, msg);
    v->salt = h.salt;
    v->prev_crc = h.crc;
    v->segment_bytes = h.segment_bytes;
    v->offset = LOG_PAGE;
    return 0;
}

/* The block at v->offset; *block keeps its bytes. */
static int verify_block(struct qv_log_verify *v, struct qv_file *f, struct qv_buf *block,
                        struct qv_errmsg *msg)
{
    struct log_block_header h;
    if (v->offset + LOG_PAGE > v->segment_bytes)
        return bad(v, "the segment ends before what it held", msg);
    int err = qv_file_pread_full(f, v->offset, &h, sizeof h, msg);
    if (err != 0)
        return err == QV_EEOF ? bad(v, "the file is cut short", msg) : err;
    bool first = v->offset == LOG_PAGE;
    if (!log_block_header_valid(&h, v->salt, v->segment_bytes - v->offset) ||
        h.prev_crc != v->prev_crc || (!first && h.lsn != v->lsn))
        return bad(v, "unreadable block", msg);
    size_t n = (size_t)log_round_page(h.bytes);
    qv_buf_clear(block);
    uint8_t *p = qv_buf_reserve(block, n);
    if (p == NULL)
        return QV_ENOMEM;
    err = qv_file_pread_full(f, v->offset, p, n, msg);
    if (err != 0)
        return err == QV_EEOF ? bad(v, "the file is cut short", msg) : err;
    if (memcmp(p, &h, sizeof h) != 0 || !log_block_body_valid(p))
        return bad(v, "block checksum", msg);
    v->offset += n;
    v->bytes += n;
    v->lsn = h.lsn + n;
    v->prev_crc = h.body_crc;
    return 0;
}

int qv_log_verify_step(struct qv_disk *disk, struct qv_log_verify *v, uint64_t bytes_max,
                       struct qv_errmsg *msg)
{
    struct qv_file *f = NULL;
    struct qv_buf block;
    int err = qv_disk_open(disk, v->path, QV_OPEN_READ, &f, msg);
    if (err != 0) /* released meanwhile, or gone: the owner knows which */
        return err == QV_ENOTFOUND ? bad(v, "the file is missing", msg) : err;
    qv_buf_init(&block, 0);
    uint64_t to = v->bytes + bytes_max;
    if (v->offset == 0)
        err = verify_header(v, f, msg);
    while (err == 0 && v->lsn < v->end && v->bytes < to)
        err = verify_block(v, f, &block, msg);
    v->done = err != 0 || v->lsn >= v->end;
    qv_buf_close(&block);
    qv_file_close(f);
    return err;
}
