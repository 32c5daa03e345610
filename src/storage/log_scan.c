/* Reading a log that nobody writes: which blocks are there, where it ends, what is damaged.
 *
 * First the headers, newest segment first and back to the one that replay needs: they give every
 * block's place, D (invariant 5 of log_internal.h) and each segment's limit. Then the blocks in lsn
 * order. Where the header of a block is bad, the following ones are looked for page by page:
 * nothing else says how long the bad block was. */
#include "storage/log_internal.h"

#include "base/hash.h"
#include "base/logger.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

#define WINDOW ((size_t)64 << 10)

/* ---- names and segment headers ---- */

static bool scan_name(void *arg, const char *name, bool is_dir)
{
    struct log_scan *s = arg;
    uint64_t n;
    char kind = is_dir ? 0 : log_name_parse(name, &n);
    if (kind == 's') {
        if (s->segment_n == s->segment_cap) {
            s->segment_cap = s->segment_cap == 0 ? 16 : s->segment_cap * 2;
            s->segments = qv_mem_realloc(s->segments, s->segment_cap * sizeof *s->segments);
        }
        s->segments[s->segment_n++] =
            (struct log_segment_scan){.seq = n, .limit = UINT64_MAX, .header_bad = true};
    } else if (kind == 'p') {
        if (s->spare_n == s->spare_cap) {
            s->spare_cap = s->spare_cap == 0 ? 16 : s->spare_cap * 2;
            s->spares = qv_mem_realloc(s->spares, s->spare_cap * sizeof *s->spares);
        }
        s->spares[s->spare_n++] = n;
    }
    return true;
}

static int by_seq(const void *a, const void *b)
{
    uint64_t x = ((const struct log_segment_scan *)a)->seq;
    uint64_t y = ((const struct log_segment_scan *)b)->seq;
    return x < y ? -1 : x > y;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int segment_path(const struct log_scan *s, uint64_t seq, char path[LOG_PATH_BYTES])
{
    char name[LOG_NAME_BYTES];
    log_segment_name(name, seq);
    return log_path(path, s->dir, name);
}

static int segment_file(const struct log_scan *s, const struct log_segment_scan *g,
                        struct qv_file **out, struct qv_errmsg *msg)
{
    char path[LOG_PATH_BYTES];
    int err = segment_path(s, g->seq, path);
    return err != 0 ? err : qv_disk_open(s->disk, path, QV_OPEN_READ, out, msg);
}

static int segment_header(struct log_scan *s, struct log_segment_scan *g, struct qv_file *f,
                          struct qv_errmsg *msg)
{
    struct log_segment_header h;
    memset(&h, 0, sizeof h);
    size_t got = 0;
    int err = qv_file_size(f, &g->file_bytes, msg);
    if (err == 0)
        err = qv_file_pread(f, 0, &h, sizeof h, &got, msg);
    if (err != 0)
        return err;
    g->header_bad = got != sizeof h || log_segment_header_check(&h, g->seq) != NULL;
    if (!g->header_bad && s->log_id == 0)
        s->log_id = h.log_id;
    if (!g->header_bad && h.log_id != s->log_id)
        g->header_bad = true; /* a segment of another log, copied here */
    g->salt = h.salt;
    g->header_crc = h.crc;
    if (!g->header_bad && h.segment_bytes > g->file_bytes)
        g->cut_bytes = h.segment_bytes - g->file_bytes;
    return 0;
}

/* A bad note is told and passed over: it guards against a second loss. */
static int newest_read(struct log_scan *s, struct qv_errmsg *msg)
{
    char path[LOG_PATH_BYTES];
    struct log_newest *n = &s->newest;
    struct qv_file *f = NULL;
    size_t got = 0;
    int err = log_path(path, s->dir, LOG_NEWEST_NAME);
    if (err == 0)
        err = qv_disk_open(s->disk, path, QV_OPEN_READ, &f, msg);
    if (err == QV_ENOTFOUND)
        return 0; /* made by an older version */
    if (err == 0)
        err = qv_file_pread(f, 0, n, sizeof *n, &got, msg);
    qv_file_close(f);
    if (err != 0)
        return err;
    s->newest_bad = got != sizeof *n || memcmp(n->magic, LOG_NEWEST_MAGIC, sizeof n->magic) != 0 ||
                    n->crc != qv_hash_crc32c(0, n, offsetof(struct log_newest, crc));
    if (s->newest_bad)
        QV_WARN("log", "%s: %s", path, qv_err_text(QV_CORRUPT(msg, "%s fails its checksum", path)));
    if (s->newest_bad || (s->log_id != 0 && n->log_id != s->log_id))
        memset(n, 0, sizeof *n); /* a note of another log, copied here */
    return 0;
}

int log_scan_open(struct log_scan *s, struct qv_disk *disk, const char *dir,
                  const struct qv_log_config *config, struct qv_errmsg *msg)
{
    memset(s, 0, sizeof *s);
    s->disk = disk;
    s->dir = dir;
    s->config = config;
    qv_buf_init(&s->block, 0);
    int err = qv_disk_list(disk, dir, scan_name, s, msg);
    if (err != 0)
        return err;
    if (s->segment_n > 0)
        qsort(s->segments, s->segment_n, sizeof *s->segments, by_seq);
    if (s->spare_n > 0)
        qsort(s->spares, s->spare_n, sizeof *s->spares, by_number);
    for (size_t i = s->segment_n; i-- > 0 && err == 0;) {
        struct qv_file *f = NULL;
        err = segment_file(s, &s->segments[i], &f, msg);
        if (err == 0)
            err = segment_header(s, &s->segments[i], f, msg);
        qv_file_close(f);
    }
    return err == 0 ? newest_read(s, msg) : err;
}

void log_scan_close(struct log_scan *s)
{
    for (size_t i = 0; i < s->segment_n; i++)
        qv_mem_free(s->segments[i].blocks);
    qv_mem_free(s->segments);
    qv_mem_free(s->spares);
    qv_buf_close(&s->block);
    memset(s, 0, sizeof *s);
}

/* ---- block headers ---- */

/* A window over a file, for headers that lie apart. */
struct window {
    struct qv_file *file;
    uint8_t *bytes;
    uint64_t at;
    size_t n;
};

/* The 64 bytes at *offset, which is a page; QV_EEOF behind the last. Where the file holds nothing
 * but zeros *offset moves on over them. */
static int window_header(struct window *w, uint64_t *offset, struct log_block_header *out,
                         struct qv_errmsg *msg)
{
    if (*offset < w->at || *offset + sizeof *out > w->at + w->n) {
        uint64_t data = *offset;
        int err = qv_file_next_data(w->file, *offset, &data, msg);
        if (err != 0)
            return err;
        *offset = data / LOG_PAGE * LOG_PAGE > *offset ? data / LOG_PAGE * LOG_PAGE : *offset;
        w->at = *offset;
        err = qv_file_pread(w->file, w->at, w->bytes, WINDOW, &w->n, msg);
        if (err != 0)
            return err;
    }
    if (w->n < sizeof *out)
        return QV_EEOF;
    memcpy(out, w->bytes + (*offset - w->at), sizeof *out);
    return 0;
}

static void block_add(struct log_segment_scan *g, const struct log_block_header *h, uint64_t offset)
{
    if (g->block_n == g->block_cap) {
        g->block_cap = g->block_cap == 0 ? 64 : g->block_cap * 2;
        g->blocks = qv_mem_realloc(g->blocks, g->block_cap * sizeof *g->blocks);
    }
    g->blocks[g->block_n++] = (struct log_block_at){
        .lsn = h->lsn,
        .offset = offset,
        .bytes = h->bytes,
        .prev_crc = h->prev_crc,
        .body_crc = h->body_crc,
        .flags = h->flags,
    };
}

static int segment_scan(struct log_scan *s, struct log_segment_scan *g, struct qv_file *f,
                        struct qv_errmsg *msg)
{
    struct window w = {.file = f, .bytes = qv_mem_alloc(WINDOW)};
    struct log_block_header h;
    uint64_t offset = LOG_PAGE;
    bool closed = false;
    int err = 0;
    g->scanned = true;
    while (!g->header_bad && !closed && offset + LOG_PAGE <= g->file_bytes) {
        err = window_header(&w, &offset, &h, msg);
        if (err != 0 || offset + LOG_PAGE > g->file_bytes)
            break;
        bool valid = log_block_header_valid(&h, g->salt, g->file_bytes - offset) &&
                     h.lsn >= offset - LOG_PAGE + LOG_FIRST_LSN &&
                     (!g->has_base || h.lsn - (offset - LOG_PAGE) == g->base);
        if (!valid) {
            offset += LOG_PAGE;
            continue;
        }
        g->has_base = true;
        g->base = h.lsn - (offset - LOG_PAGE);
        block_add(g, &h, offset);
        s->durable = h.durable > s->durable ? h.durable : s->durable;
        s->clock = h.clock > s->clock ? h.clock : s->clock;
        offset += log_round_page(h.bytes);
        closed = (h.flags & LOG_FLAG_CLOSE) != 0;
    }
    qv_mem_free(w.bytes);
    return err == QV_EEOF ? 0 : err;
}

/* Newest first, back to the segment that holds replay_from. */
static int scan_segments(struct log_scan *s, struct qv_errmsg *msg)
{
    qv_lsn from = s->config->replay_from;
    qv_lsn limit = UINT64_MAX;
    for (size_t i = s->segment_n; i-- > 0;) {
        struct log_segment_scan *g = &s->segments[i];
        struct qv_file *f = NULL;
        g->limit = limit;
        if (limit <= from && from != QV_LOG_FROM_OLDEST)
            continue; /* all of it is behind the checkpoint */
        int err = segment_file(s, g, &f, msg);
        if (err == 0)
            err = segment_scan(s, g, f, msg);
        qv_file_close(f);
        if (err != 0)
            return err;
        if (g->has_base && g->base < limit)
            limit = g->base;
        if (g->has_base && g->base > s->durable)
            s->durable = g->base;
    }
    return 0;
}

/* ---- blocks ---- */

int log_scan_read(struct log_scan *s, struct qv_file *f, const struct log_block_at *b,
                  struct qv_errmsg *msg)
{
    size_t n = (size_t)log_round_page(b->bytes);
    qv_buf_clear(&s->block);
    uint8_t *p = qv_buf_reserve(&s->block, n);
    if (p == NULL)
        return qv_fail(msg, QV_ENOMEM, "no memory for a log block of %zu bytes", n);
    int err = qv_file_pread_full(f, b->offset, p, n, msg);
    if (err == QV_EEOF)
        return QV_ECORRUPT;
    if (err != 0)
        return err;
    s->block.len = n;
    const struct log_block_header *h = (const struct log_block_header *)(const void *)p;
    bool same = h->lsn == b->lsn && h->bytes == b->bytes && h->body_crc == b->body_crc;
    return same && log_block_body_valid(p) ? 0 : QV_ECORRUPT;
}

static int scan_deliver(struct log_scan *s, const struct log_block_at *b)
{
    struct qv_log_record rec;
    struct qv_bytes change;
    size_t pos = 0;
    int err = 0;
    qv_lsn at = b->lsn + sizeof(struct log_block_header);
    while (log_block_next(s->block.data, &pos, &rec, &change, &err)) {
        qv_lsn end = b->lsn + pos;
        bool wanted = at >= s->config->replay_from || s->config->replay_from == QV_LOG_FROM_OLDEST;
        if (wanted) {
            s->records++;
            if (s->config->on_record != NULL)
                err = s->config->on_record(s->config->arg, &rec, change, at, end);
            if (err != 0)
                return err;
        }
        at = end;
    }
    return err;
}

static int scan_damage(struct log_scan *s, const struct log_segment_scan *g, uint64_t offset,
                       struct qv_log_damage d, struct qv_errmsg *msg)
{
    char path[LOG_PATH_BYTES];
    int err = g != NULL ? segment_path(s, g->seq, path) : 0;
    if (err != 0)
        return err;
    d.file = g != NULL ? path : s->dir;
    d.offset = offset;
    s->damages++;
    err = QV_CORRUPT(msg, "log %s, offset %llu: %s; records from lsn %llu to %llu are lost", d.file,
                     (unsigned long long)offset, d.what, (unsigned long long)d.from,
                     (unsigned long long)d.to);
    return s->config->on_damage != NULL ? s->config->on_damage(s->config->arg, &d) : err;
}

/* Position pos is not readable in g (NULL: in no segment); what follows begins at `next` (0:
 * nothing that is known). s->ended: the log ends here, by the rule. */
static int scan_gap(struct log_scan *s, const struct log_segment_scan *g, qv_lsn pos, qv_lsn next,
                    const char *what, struct qv_errmsg *msg)
{
    qv_lsn from = s->config->replay_from;
    s->ended = pos >= s->durable;
    if (s->ended || (from != QV_LOG_FROM_OLDEST && next != 0 && next <= from))
        return 0;
    uint64_t offset = g != NULL && g->has_base && pos >= g->base ? pos - g->base + LOG_PAGE : 0;
    struct qv_log_damage d = {.from = pos, .to = next, .what = what};
    return scan_damage(s, g, offset, d, msg);
}

/* Reads g's blocks from *pos on; leaves *pos behind the last good one. */
static int scan_blocks(struct log_scan *s, struct log_segment_scan *g, struct qv_file *f,
                       qv_lsn *pos, struct qv_errmsg *msg)
{
    uint32_t prev_crc = g->header_crc;
    qv_lsn prev_end = g->base;
    for (size_t i = 0; i < g->block_n && !s->ended; i++) {
        const struct log_block_at *b = &g->blocks[i];
        qv_lsn b_end = b->lsn + log_round_page(b->bytes);
        if (b->lsn >= g->limit)
            break;
        bool needed = b->lsn + b->bytes > s->config->replay_from ||
                      s->config->replay_from == QV_LOG_FROM_OLDEST;
        if (needed && b->lsn > *pos) {
            int err = scan_gap(s, g, *pos, b->lsn, "unreadable block", msg);
            if (err != 0 || s->ended)
                return err;
            *pos = b->lsn;
        }
        int err = needed ? log_scan_read(s, f, b, msg) : 0;
        if (err == 0 && b->lsn == prev_end && b->prev_crc != prev_crc)
            err = QV_ECORRUPT;
        bool bad = err == QV_ECORRUPT;
        if (!bad && err == 0 && needed) {
            err = scan_deliver(s, b);
            if (err == QV_ECORRUPT)
                return QV_CORRUPT(msg, "log %s, offset %llu: record refused or malformed", f->path,
                                  (unsigned long long)b->offset);
        }
        if (bad)
            err = scan_gap(s, g, b->lsn, b_end, "block checksum", msg);
        if (err != 0 || s->ended)
            return err;
        *pos = b_end;
        prev_end = b_end;
        prev_crc = b->body_crc;
    }
    return 0;
}

/* From *pos on an unknown number of records is lost with (the rest of) segment seq. What is written
 * from now on begins behind all that it can have held: it stays damage until it is released. */
static int scan_lost(struct log_scan *s, uint64_t seq, uint64_t offset, const char *what,
                     qv_lsn *pos, struct qv_errmsg *msg)
{
    const struct log_segment_scan g = {.seq = seq};
    struct qv_log_damage d = {.from = *pos, .to = 0, .what = what};
    *pos = log_round_page(*pos) + LOG_SEGMENT_BYTES_MAX;
    s->ended = false;
    return scan_damage(s, &g, offset, d, msg);
}

/* Invariant 7. */
static int scan_missing(struct log_scan *s, qv_lsn *pos, struct qv_errmsg *msg)
{
    const struct log_newest *n = &s->newest;
    bool newest = false;
    bool current = n->current == 0;
    for (size_t i = 0; i < s->segment_n; i++) {
        const struct log_segment_scan *g = &s->segments[i];
        newest = newest || g->seq >= n->seq;
        current = current || g->seq == n->current ||
                  (g->seq > n->current && (g->has_base || g->header_bad));
    }
    if (n->seq == 0 || (newest && current))
        return 0;
    return scan_lost(s, newest ? n->current : n->seq, 0, "the file is missing", pos, msg);
}

static int scan_segment(struct log_scan *s, struct log_segment_scan *g, qv_lsn *pos,
                        struct qv_errmsg *msg)
{
    struct qv_file *f = NULL;
    if (g->has_base && g->base > *pos) { /* what the segments before should have held */
        int err = scan_gap(s, g, *pos, g->base, "missing before this segment", msg);
        if (err != 0 || s->ended)
            return err;
        *pos = g->base;
    }
    if (g->header_bad && g->limit > *pos) {
        qv_lsn to = g->limit != UINT64_MAX ? g->limit : 0; /* 0: nothing says what it held */
        struct qv_log_damage d = {.from = *pos, .to = to, .what = "segment header"};
        /* At most its size. What is written from now on begins behind that: a segment that began
         * here would stand for all of this one, and the next open would miss nothing. */
        *pos = to != 0 ? to : log_round_page(*pos) + log_round_page(g->file_bytes) + LOG_PAGE;
        return scan_damage(s, g, 0, d, msg);
    }
    int err = 0;
    if (g->has_base)
        err = segment_file(s, g, &f, msg);
    if (err == 0 && g->has_base)
        err = scan_blocks(s, g, f, pos, msg);
    qv_file_close(f);
    /* What was cut off may have held records where no later segment says that it did not. */
    bool closed = g->block_n > 0 && (g->blocks[g->block_n - 1].flags & LOG_FLAG_CLOSE);
    if (err == 0 && g->cut_bytes > 0 && g->limit == UINT64_MAX && !closed)
        err = scan_lost(s, g->seq, g->file_bytes, "the file is shorter than it was made", pos, msg);
    return err;
}

/* Where reading begins: at replay_from, or before it in the block that holds it. */
static qv_lsn scan_start(const struct log_scan *s, size_t first)
{
    qv_lsn from = s->config->replay_from;
    qv_lsn pos = from > LOG_FIRST_LSN && from != QV_LOG_FROM_OLDEST ? from : LOG_FIRST_LSN;
    for (size_t i = first; i < s->segment_n && !s->segments[i].header_bad; i++) {
        const struct log_segment_scan *g = &s->segments[i];
        if (g->has_base)
            return g->base < pos || from == QV_LOG_FROM_OLDEST ? g->base : pos;
    }
    return pos;
}

int log_scan_replay(struct log_scan *s, struct qv_errmsg *msg)
{
    qv_lsn from = s->config->replay_from;
    s->durable = s->config->durable_to;
    if (from != QV_LOG_FROM_OLDEST && from > s->durable)
        s->durable = from;
    int err = scan_segments(s, msg);
    if (err != 0)
        return err;
    size_t first = 0;
    while (first < s->segment_n && !s->segments[first].scanned)
        first++;
    qv_lsn pos = scan_start(s, first);
    s->begin = pos;
    for (size_t i = first; i < s->segment_n && !s->ended && err == 0; i++)
        err = scan_segment(s, &s->segments[i], &pos, msg);
    if (err == 0 && !s->ended && pos < s->durable) {
        const struct log_segment_scan *g = s->segment_n > 0 ? &s->segments[s->segment_n - 1] : NULL;
        err = scan_gap(s, g, pos, s->durable, "the log ends before a checkpoint", msg);
        pos = s->durable;
    }
    if (err == 0)
        err = scan_missing(s, &pos, msg);
    s->end = log_round_page(pos);
    QV_ASSERT(err != 0 || s->end >= log_round_page(s->durable));
    return err;
}
