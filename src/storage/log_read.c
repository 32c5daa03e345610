/* Reading back what a log in use holds, from a position on: for who follows a shard and is behind
 * what memory has of it.
 *
 * The owner finds the segment of a position: of those that hold anything behind it the one that
 * ends first (a segment ends where the next takes over; log_internal.h, invariant 4). Blocks below
 * the log's durable position are complete and are never written again while the log is held, so a
 * job reads them from a file of its own. From one step to the next the place is remembered: headers
 * are walked from the segment's begin only once. */
#include "storage/log_internal.h"

#include "base/mem.h"

int qv_log_read_find(const struct qv_log *log, struct qv_log_read *r)
{
    const struct log_segment *best = NULL;
    char name[LOG_NAME_BYTES];
    QV_ASSERT(r->to <= log->durable);
    if (r->from >= r->to)
        return QV_EEOF;
    for (size_t i = 0; i < log->segment_n; i++) {
        const struct log_segment *s = &log->segments[i];
        if (s->end > r->from && (best == NULL || s->end < best->end))
            best = s;
    }
    if (best == NULL && log->current.file == NULL)
        return QV_ENOTFOUND;
    r->seq = best != NULL ? best->seq : log->current.seq;
    r->end = best != NULL && best->end < r->to ? best->end : r->to;
    log_segment_name(name, r->seq);
    return log_path(r->path, log->dir, name);
}

static int bad(const struct qv_log_read *r, const char *what, struct qv_errmsg *msg)
{
    return QV_CORRUPT(msg, "log %s, offset %llu: %s", r->path, (unsigned long long)r->offset, what);
}

static int begin_segment(struct qv_log_read *r, struct qv_file *f, struct qv_errmsg *msg)
{
    struct log_segment_header h;
    r->offset = 0;
    int err = qv_file_pread_full(f, 0, &h, sizeof h, msg);
    if (err != 0)
        return err == QV_EEOF ? bad(r, "the file is cut short", msg) : err;
    const char *why = log_segment_header_check(&h, r->seq);
    if (why != NULL)
        return bad(r, why, msg);
    r->at_seq = r->seq;
    r->salt = h.salt;
    r->segment_bytes = h.segment_bytes;
    r->offset = LOG_PAGE;
    r->lsn = 0;
    return 0;
}

/* The header of the block at r->offset; *bytes: with its padding. */
static int read_header(struct qv_log_read *r, struct qv_file *f, size_t *bytes,
                       struct qv_errmsg *msg)
{
    struct log_block_header h;
    if (r->offset + LOG_PAGE > r->segment_bytes)
        return bad(r, "the segment ends before what it held", msg);
    int err = qv_file_pread_full(f, r->offset, &h, sizeof h, msg);
    if (err != 0)
        return err == QV_EEOF ? bad(r, "the file is cut short", msg) : err;
    if (!log_block_header_valid(&h, r->salt, r->segment_bytes - r->offset) ||
        (r->lsn != 0 && h.lsn != r->lsn))
        return bad(r, "unreadable block", msg);
    if (r->lsn == 0 && h.lsn > r->from && h.lsn > LOG_FIRST_LSN)
        return bad(r, "what lies before it is missing", msg);
    r->lsn = h.lsn;
    *bytes = (size_t)log_round_page(h.bytes);
    return 0;
}

struct reading {
    struct qv_log_read *r;
    qv_log_read_f fn;
    void *arg;
};

/* The records of the block in `block` that are wanted. */
static int give_records(const struct reading *x, const uint8_t *block, struct qv_errmsg *msg)
{
    struct qv_log_read *r = x->r;
    struct qv_log_record rec;
    struct qv_bytes change;
    size_t pos = sizeof(struct log_block_header);
    int err = 0;
    while (log_block_next(block, &pos, &rec, &change, &err)) {
        qv_lsn end = r->lsn + pos;
        if (end <= r->from)
            continue;
        if (end > r->end)
            return 0;
        if (rec.shard == r->shard)
            err = x->fn(x->arg, &rec, change, end);
        if (err != 0)
            return err;
        r->from = end;
    }
    return err == QV_ECORRUPT ? bad(r, "record", msg) : err;
}

static int read_block(const struct reading *x, struct qv_file *f, size_t bytes,
                      struct qv_buf *block, struct qv_errmsg *msg)
{
    struct qv_log_read *r = x->r;
    qv_buf_clear(block);
    uint8_t *p = qv_buf_reserve(block, bytes);
    if (p == NULL)
        return QV_ENOMEM;
    int err = qv_file_pread_full(f, r->offset, p, bytes, msg);
    if (err != 0)
        return err == QV_EEOF ? bad(r, "the file is cut short", msg) : err;
    if (!log_block_header_valid((const void *)p, r->salt, r->segment_bytes - r->offset) ||
        !log_block_body_valid(p))
        return bad(r, "block checksum", msg);
    return give_records(x, p, msg);
}

int qv_log_read_step(struct qv_disk *disk, struct qv_log_read *r, uint64_t bytes_max,
                     qv_log_read_f fn, void *arg, struct qv_errmsg *msg)
{
    const struct reading x = {r, fn, arg};
    struct qv_file *f = NULL;
    struct qv_buf block;
    uint64_t read = 0;
    int err = qv_disk_open(disk, r->path, QV_OPEN_READ, &f, msg);
    if (err != 0)
        return err == QV_ENOTFOUND ? bad(r, "the file is missing", msg) : err;
    qv_buf_init(&block, 0);
    if (r->at_seq != r->seq || r->lsn > r->from)
        err = begin_segment(r, f, msg);
    while (err == 0 && r->from < r->end && read < bytes_max) {
        size_t bytes = 0;
        err = read_header(r, f, &bytes, msg);
        if (err == 0 && r->lsn + bytes > r->from) {
            err = read_block(&x, f, bytes, &block, msg);
            read += bytes;
        }
        if (err != 0)
            break;
        if (r->lsn + bytes > r->end) { /* the rest of it is not wanted yet: it is read again then */
            r->from = r->end;
            break;
        }
        if (r->lsn + bytes > r->from)
            r->from = r->lsn + bytes;
        r->offset += bytes;
        r->lsn += bytes;
    }
    qv_buf_close(&block);
    qv_file_close(f);
    return err;
}
