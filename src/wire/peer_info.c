#include "wire/peer_info.h"

#include "base/qv_assert.h"
#include "core/peer.h"
#include "wire/peer_codec_private.h"

/* ---- asking ---- */

void qv_peer_encode_tell_ask(struct qv_buf *b, const struct qv_tell_ask *ask)
{
    struct qv_peer_out o = {b, b->len};
    qv_pb_put_u64(b, 1, QV_PEER_FEATURE_LEVEL);
    if (ask->one)
        qv_pb_put_bytes(b, 2, ask->collection, sizeof ask->collection);
    qv_peer_put_bool(&o, 3, ask->fields);
}

int qv_peer_decode_tell_ask(struct qv_bytes in, struct qv_tell_ask *out, struct qv_errmsg *msg)
{
    struct qv_peer_ctx c = {.msg = msg};
    struct qv_peer_in m = qv_peer_open(&c, in, "InfoAsk");
    *out = (struct qv_tell_ask){0};
    while (qv_peer_next(&m)) {
        if (m.number == 1) {
            qv_peer_check_needs(&m);
        } else if (m.number == 2) {
            qv_peer_uuid(&m, out->collection);
            out->one = true;
        } else if (m.number == 3) {
            out->fields = qv_peer_bool(&m);
        }
    }
    return c.err;
}

/* ---- telling ---- */

static void put_shard(struct qv_peer_out *o, const struct qv_shard_tell *s)
{
    const size_t mark = qv_peer_begin(o, 2);
    const uint64_t sums[] = {s->points,        s->indexed_vectors,    s->pending,
                             s->dirty_bytes,   s->disk_bytes,         s->vector_bytes,
                             s->payload_bytes, s->payload_index_bytes};
    const struct qv_str texts[] = {s->reason, s->log_reason, s->damage, s->failing};
    qv_pb_put_bytes(o->b, 1, s->collection, sizeof s->collection);
    qv_peer_put_u64(o, 2, s->number);
    for (uint32_t i = 0; i < 8; i++)
        qv_peer_put_u64(o, 3 + i, sums[i]);
    if (s->err != 0) {
        qv_pb_put_u64(o->b, 11, qv_err_number(s->err));
        qv_pb_put_u64(o->b, 12, (uint64_t)qv_err_class(s->err));
    }
    for (uint32_t i = 0; i < 4; i++)
        qv_peer_put_str(o, 13 + i, texts[i]);
    for (uint32_t i = 0; i < s->field_count; i++) {
        const size_t inner = qv_pb_begin(o->b, 17);
        qv_peer_put_u64(o, 1, s->fields[i].index);
        qv_peer_put_u64(o, 2, s->fields[i].points);
        qv_pb_end(o->b, inner);
    }
    qv_peer_end(o, mark);
}

void qv_peer_encode_tell(struct qv_buf *b, const struct qv_node_tell *t)
{
    struct qv_peer_out o = {b, b->len};
    QV_ASSERT(t->shard_count <= QV_TELL_SHARDS_MAX);
    qv_pb_put_u64(b, 1, QV_PEER_FEATURE_LEVEL);
    for (uint32_t i = 0; i < t->shard_count; i++)
        put_shard(&o, &t->shards[i]);
    qv_peer_put_u64(&o, 3, t->epoch);
    qv_peer_put_bool(&o, 4, t->reachable);
    qv_peer_put_str(&o, 5, t->why);
    qv_peer_put_str(&o, 6, t->version);
}

static void read_field(struct qv_peer_in *m, struct qv_shard_tell *s, struct qv_tell_field **list)
{
    if (*list == NULL)
        *list = QV_PEER_ARRAY(m->c, struct qv_tell_field,
                              1 + qv_peer_count(m, 17, QV_TELL_FIELDS_MAX - 1));
    if (*list == NULL || m->c->err != 0)
        return;
    struct qv_tell_field *f = &(*list)[s->field_count++];
    struct qv_peer_in in = qv_peer_sub(m, "FieldInfo");
    while (qv_peer_next(&in)) {
        if (in.number == 1)
            f->index = qv_peer_u32(&in, UINT32_MAX);
        else if (in.number == 2)
            f->points = qv_peer_u64(&in);
    }
}

static void read_shard(struct qv_peer_in *m, struct qv_shard_tell *s)
{
    struct qv_peer_in in = qv_peer_sub(m, "ShardInfo");
    uint64_t *const sums[] = {&s->points,        &s->indexed_vectors,    &s->pending,
                              &s->dirty_bytes,   &s->disk_bytes,         &s->vector_bytes,
                              &s->payload_bytes, &s->payload_index_bytes};
    struct qv_str *const texts[] = {&s->reason, &s->log_reason, &s->damage, &s->failing};
    struct qv_tell_field *fields = NULL;
    unsigned error = 0, error_class = 0;
    bool named = false;
    for (uint32_t i = 0; i < 4; i++)
        *texts[i] = (struct qv_str){"", 0};
    while (qv_peer_next(&in)) {
        if (in.number == 1) {
            qv_peer_uuid(&in, s->collection);
            named = true;
        } else if (in.number == 2) {
            s->number = qv_peer_u32(&in, UINT32_MAX);
        } else if (in.number >= 3 && in.number < 11) {
            *sums[in.number - 3] = qv_peer_u64(&in);
        } else if (in.number == 11) {
            error = qv_peer_u32(&in, UINT32_MAX);
        } else if (in.number == 12) {
            error_class = qv_peer_u32(&in, UINT32_MAX);
        } else if (in.number >= 13 && in.number < 17) {
            *texts[in.number - 13] = qv_peer_text(&in, QV_TELL_TEXT_BYTES_MAX);
        } else if (in.number == 17) {
            read_field(&in, s, &fields);
        }
    }
    if (!named)
        qv_peer_fail(&in, "a shard of no collection");
    s->fields = fields;
    s->err = qv_err_from_number(error, error_class);
}

int qv_peer_decode_tell(struct qv_bytes in, struct qv_arena *arena, struct qv_node_tell *out,
                        struct qv_errmsg *msg)
{
    struct qv_peer_ctx c = {.arena = arena, .msg = msg};
    struct qv_peer_in m = qv_peer_open(&c, in, "InfoAnswer");
    struct qv_shard_tell *shards = NULL;
    *out = (struct qv_node_tell){.why = {"", 0}, .version = {"", 0}};
    while (qv_peer_next(&m)) {
        if (m.number == 1) {
            qv_peer_check_needs(&m);
        } else if (m.number == 2) {
            if (shards == NULL)
                shards = QV_PEER_ARRAY(&c, struct qv_shard_tell,
                                       1 + qv_peer_count(&m, 2, QV_TELL_SHARDS_MAX - 1));
            if (shards != NULL && c.err == 0)
                read_shard(&m, &shards[out->shard_count++]);
        } else if (m.number == 3) {
            out->epoch = qv_peer_u64(&m);
        } else if (m.number == 4) {
            out->reachable = qv_peer_bool(&m);
        } else if (m.number == 5) {
            out->why = qv_peer_text(&m, QV_TELL_TEXT_BYTES_MAX);
        } else if (m.number == 6) {
            out->version = qv_peer_text(&m, QV_TELL_TEXT_BYTES_MAX);
        }
    }
    out->shards = shards;
    return c.err;
}
