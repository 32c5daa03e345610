#include "shard/change_batch.h"

#include "base/qv_assert.h"
#include "core/limits.h"
#include "shard/shard_replay.h"

static int bad(struct qv_errmsg *msg, const char *why)
{
    return qv_fail(msg, QV_ECORRUPT, "a batch of changes: %s", why);
}

void qv_batch_begin(struct qv_buf *b)
{
    qv_buf_u8(b, QV_BATCH_FORMAT);
}

void qv_batch_put(struct qv_buf *b, const struct qv_batch_record *r)
{
    QV_ASSERT(r->body.n <= QV_RECORD_BYTES_MAX);
    qv_buf_u32(b, (uint32_t)r->body.n);
    qv_buf_u8(b, r->kind);
    qv_buf_u32(b, r->generation);
    qv_buf_u64(b, r->version.clock);
    qv_buf_u32(b, r->version.writer);
    qv_buf_u64(b, r->prev_clock);
    qv_buf_u64(b, r->position);
    qv_buf_append(b, r->body.p, r->body.n);
}

int qv_batch_open(struct qv_rd *rd, struct qv_bytes bytes, struct qv_errmsg *msg)
{
    qv_rd_init(rd, bytes.p, bytes.n);
    uint8_t format = qv_rd_u8(rd);
    if (rd->failed || format == 0)
        return bad(msg, "cut short");
    if (format > QV_BATCH_FORMAT)
        return qv_fail(msg, QV_ENOTIMPL, "a batch of changes of format %u: from a newer version",
                       format);
    return 0;
}

int qv_batch_next(struct qv_rd *rd, struct qv_batch_record *out, struct qv_errmsg *msg)
{
    uint32_t n = qv_rd_u32(rd);
    out->kind = qv_rd_u8(rd);
    out->generation = qv_rd_u32(rd);
    out->version.clock = qv_rd_u64(rd);
    out->version.writer = qv_rd_u32(rd);
    out->prev_clock = qv_rd_u64(rd);
    out->position = qv_rd_u64(rd);
    if (rd->failed || n > qv_rd_left(rd))
        return bad(msg, "cut short");
    if (n > QV_RECORD_BYTES_MAX || out->kind == QV_BODY_NONE || out->kind >= QV_BODY_KIND_COUNT ||
        out->version.clock == 0)
        return bad(msg, "a record that is none");
    out->body = (struct qv_bytes){qv_rd_take(rd, n), n};
    return 0;
}

int qv_logged_decode(uint8_t type, struct qv_bytes change, struct qv_logged *out,
                     struct qv_errmsg *msg)
{
    struct qv_rd rd;
    *out = (struct qv_logged){.kind = QV_BODY_CHANGES, .body = change};
    if (type == QV_RECORD_TYPE_CHANGES)
        return 0;
    if (type != QV_RECORD_TYPE_REPLAY)
        return QV_CORRUPT(msg, "log record of type %u", type);
    qv_rd_init(&rd, change.p, change.n);
    out->stream = qv_rd_u64(&rd);
    out->position = qv_rd_u64(&rd);
    out->kind = qv_rd_u8(&rd);
    out->body = (struct qv_bytes){rd.p, qv_rd_left(&rd)};
    if (rd.failed || out->stream == 0 || out->kind >= QV_BODY_KIND_COUNT ||
        (out->kind == QV_BODY_NONE && out->body.n != 0))
        return QV_CORRUPT(msg, "log record of a replay, %zu bytes, kind %u", change.n, out->kind);
    return 0;
}

void qv_replay_head(uint64_t stream, uint64_t position, uint8_t kind,
                    uint8_t out[QV_REPLAY_HEAD_BYTES])
{
    memcpy(out, &stream, sizeof stream);
    memcpy(out + 8, &position, sizeof position);
    out[16] = kind;
}

/* ---- bodies ---- */

int qv_body_next(struct qv_rd *rd, uint8_t kind, struct qv_arena *arena, struct qv_body_item *out,
                 struct qv_errmsg *msg)
{
    const uint8_t *begin = rd->p;
    size_t used = 0;
    int err = 0;
    if (kind == QV_BODY_CHANGES) {
        err = qv_change_decode(rd, arena, &out->change, msg);
        out->id = out->change.id;
    } else {
        if (qv_id_decode(rd->p, qv_rd_left(rd), &out->id, &used) != 0)
            return bad(msg, "a copy of no id");
        (void)qv_rd_take(rd, used);
        err = qv_copy_decode(rd, arena, &out->copy, msg);
        out->change = (struct qv_change){.id = out->id};
    }
    out->bytes = (struct qv_bytes){begin, (size_t)(rd->p - begin)};
    return err;
}

int qv_batch_put_some(struct qv_buf *b, const struct qv_batch_record *r,
                      const struct qv_key_set *keys, struct qv_arena *arena, struct qv_errmsg *msg)
{
    struct qv_rd rd;
    struct qv_batch_record some = *r;
    const size_t at = b->len;
    uint32_t kept = 0;
    int err = 0;
    if (keys == NULL) {
        qv_batch_put(b, r);
        return 0;
    }
    qv_rd_init(&rd, r->body.p, r->body.n);
    uint32_t n = qv_rd_u32(&rd);
    some.body = (struct qv_bytes){(const uint8_t *)&kept, sizeof kept};
    qv_batch_put(b, &some);
    for (uint32_t i = 0; i < n && err == 0; i++) {
        struct qv_body_item item;
        qv_arena_reset(arena);
        err = qv_body_next(&rd, r->kind, arena, &item, msg);
        if (err == 0 && qv_key_set_has(keys, &item.id)) {
            qv_buf_append(b, item.bytes.p, item.bytes.n);
            kept++;
        }
    }
    if (b->failed)
        return QV_ENOMEM;
    if (err != 0 || kept == 0) {
        b->len = at;
        return err;
    }
    uint32_t bytes = (uint32_t)(b->len - at - QV_BATCH_RECORD_BYTES);
    memcpy(b->data + at, &bytes, sizeof bytes);
    memcpy(b->data + at + QV_BATCH_RECORD_BYTES, &kept, sizeof kept);
    return 0;
}

bool qv_batch_check(struct qv_bytes bytes, const char **reason)
{
    struct qv_errmsg msg = {""};
    struct qv_arena arena;
    struct qv_rd rd;
    int err = qv_batch_open(&rd, bytes, &msg);
    qv_arena_init(&arena, (size_t)1 << 30);
    while (err == 0 && qv_rd_left(&rd) > 0) {
        struct qv_batch_record r;
        struct qv_rd body;
        err = qv_batch_next(&rd, &r, &msg);
        if (err != 0)
            break;
        qv_rd_init(&body, r.body.p, r.body.n);
        uint32_t n = qv_rd_u32(&body);
        if (body.failed || n == 0 || n > QV_CHANGE_IDS_MAX)
            err = bad(&msg, "a record of too many changes, or of none");
        for (uint32_t i = 0; i < n && err == 0; i++) {
            struct qv_body_item item;
            qv_arena_reset(&arena);
            err = qv_body_next(&body, r.kind, &arena, &item, &msg);
        }
        if (err == 0 && qv_rd_left(&body) > 0)
            err = bad(&msg, "a record with bytes too many");
    }
    qv_arena_close(&arena);
    if (reason != NULL)
        *reason = err == 0 ? NULL : "not a batch of changes";
    return err == 0;
}
