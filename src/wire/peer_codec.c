/* Reading messages between nodes field by field. */
#include "wire/peer_codec_private.h"

#include "base/qv_assert.h"
#include "base/utf8.h"
#include "wire/peer_codec.h"

struct qv_peer_in qv_peer_open(struct qv_peer_ctx *c, struct qv_bytes in, const char *name)
{
    return (struct qv_peer_in){.c = c, .name = name, .r = qv_pb_reader(in)};
}

void qv_peer_fail(struct qv_peer_in *m, const char *why)
{
    if (m->c->err != 0)
        return;
    m->c->err = qv_fail(m->c->msg, QV_EPROTO, "message between nodes: %s: field %u: %s", m->name,
                        m->number, why);
}

void qv_peer_fail_full(struct qv_peer_ctx *c)
{
    if (c->err == 0)
        c->err = qv_fail(c->msg, QV_ENOMEM, "message between nodes: needs too much memory");
}

void qv_peer_fail_newer(struct qv_peer_in *m, const char *what, uint64_t number)
{
    if (m->c->err != 0)
        return;
    m->c->err = qv_fail(m->c->msg, QV_ENOTIMPL,
                        "message between nodes: %s %llu is not known here: a newer node sent it",
                        what, (unsigned long long)number);
}

void qv_peer_check_needs(struct qv_peer_in *m)
{
    const uint64_t needs = qv_peer_u64(m);
    if (needs <= QV_PEER_FEATURE_LEVEL || m->c->err != 0)
        return;
    m->c->err = qv_fail(m->c->msg, QV_ENOTIMPL,
                        "message between nodes: needs feature level %llu, this node has %u",
                        (unsigned long long)needs, QV_PEER_FEATURE_LEVEL);
}

static bool read_value(struct qv_rd *r, uint32_t type, uint64_t *v, struct qv_bytes *bytes)
{
    switch (type) {
    case QV_PB_VARINT:
        *v = qv_pb_varint(r);
        break;
    case QV_PB_FIXED64:
        *v = qv_rd_u64(r);
        break;
    case QV_PB_FIXED32:
        *v = qv_rd_u32(r);
        break;
    default:
        *bytes = qv_pb_len(r);
        break;
    }
    return !r->failed;
}

bool qv_peer_next(struct qv_peer_in *m)
{
    if (m->c->err != 0 || qv_rd_left(&m->r) == 0)
        return false;
    if (!qv_pb_tag(&m->r, &m->number, &m->type)) {
        qv_peer_fail(m, "the tag behind it is malformed");
        return false;
    }
    if (!read_value(&m->r, m->type, &m->v, &m->bytes)) {
        qv_peer_fail(m, "cut short");
        return false;
    }
    return true;
}

/* ---- values ---- */

static bool is_type(struct qv_peer_in *m, uint32_t type)
{
    if (m->type != type)
        qv_peer_fail(m, "wrong wire type");
    return m->type == type;
}

uint64_t qv_peer_u64(struct qv_peer_in *m)
{
    return is_type(m, QV_PB_VARINT) ? m->v : 0;
}

uint32_t qv_peer_u32(struct qv_peer_in *m, uint32_t max)
{
    const uint64_t v = qv_peer_u64(m);
    if (v > max)
        qv_peer_fail(m, "the number is too large");
    return v > max ? 0 : (uint32_t)v;
}

bool qv_peer_bool(struct qv_peer_in *m)
{
    return qv_peer_u32(m, 1) != 0;
}

int64_t qv_peer_sint(struct qv_peer_in *m)
{
    const uint64_t v = qv_peer_u64(m);
    return (int64_t)(v >> 1 ^ (UINT64_MAX * (v & 1)));
}

uint64_t qv_peer_fixed64(struct qv_peer_in *m)
{
    return is_type(m, QV_PB_FIXED64) ? m->v : 0;
}

double qv_peer_f64(struct qv_peer_in *m)
{
    const uint64_t bits = qv_peer_fixed64(m);
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

float qv_peer_f32(struct qv_peer_in *m)
{
    const uint32_t bits = is_type(m, QV_PB_FIXED32) ? (uint32_t)m->v : 0;
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

struct qv_bytes qv_peer_bytes(struct qv_peer_in *m)
{
    return is_type(m, QV_PB_LEN) ? m->bytes : (struct qv_bytes){NULL, 0};
}

struct qv_str qv_peer_text(struct qv_peer_in *m, size_t max)
{
    const struct qv_bytes v = qv_peer_bytes(m);
    if (v.n > max)
        qv_peer_fail(m, "the text is too long");
    else if (v.n > 0 && !qv_utf8_valid(v.p, v.n))
        qv_peer_fail(m, "not valid UTF-8");
    return (struct qv_str){v.n > 0 ? (const char *)v.p : "", v.n};
}

struct qv_peer_in qv_peer_sub(struct qv_peer_in *m, const char *name)
{
    return qv_peer_open(m->c, qv_peer_bytes(m), name);
}

/* ---- lists ---- */

uint32_t qv_peer_count(struct qv_peer_in *m, uint32_t number, uint32_t max)
{
    struct qv_rd r = m->r;
    uint32_t n = 0;
    while (qv_rd_left(&r) > 0) {
        uint32_t at, type;
        if (!qv_pb_tag(&r, &at, &type))
            break;
        qv_pb_skip(&r, type);
        n += at == number && n <= max ? 1 : 0;
    }
    if (r.failed)
        qv_peer_fail(m, "what is behind it is malformed");
    else if (n > max)
        qv_peer_fail(m, "given too often");
    return m->c->err != 0 ? 0 : n;
}

void *qv_peer_array(struct qv_peer_ctx *c, size_t n, size_t bytes)
{
    void *p = qv_arena_calloc(c->arena, n == 0 ? 1 : n, bytes);
    if (p == NULL)
        qv_peer_fail_full(c);
    return p;
}
