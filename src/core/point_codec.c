/* Changes and copies as bytes (docs/formats-points.md). On the path of every upsert: one
 * reservation and one pass to encode; one allocation and one pass to decode. */
#include "core/point.h"

#include "base/qv_assert.h"
#include "base/utf8.h"
#include "core/vector.h"

#define VERSION_BYTES 12u
#define VARINT_BYTES_MAX 10u
#define HEAD_VERSION 0x80u
#define PART_BYTES_MIN 2u

enum { FLAG_ALIVE = 1, FLAG_BASE = 2, FLAG_FLOOR = 4 };

/* ---- encode ---- */

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
    while (v > 0x7F) {
        *p++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p++ = (uint8_t)v;
    return p;
}

static uint8_t *put_bytes(uint8_t *p, const void *from, size_t n)
{
    p = put_varint(p, n);
    if (n > 0)
        memcpy(p, from, n);
    return p + n;
}

static uint8_t *put_version(uint8_t *p, struct qv_version v)
{
    memcpy(p, &v.clock, sizeof v.clock);
    memcpy(p + sizeof v.clock, &v.writer, sizeof v.writer);
    return p + VERSION_BYTES;
}

/* An upper bound on the bytes of the parts. */
static size_t parts_bytes_max(const struct qv_part *parts, uint32_t count)
{
    size_t n = VARINT_BYTES_MAX;
    for (uint32_t i = 0; i < count; i++) {
        n += 1 + VERSION_BYTES + 2 * VARINT_BYTES_MAX + parts[i].value.n;
        n += parts[i].kind == QV_PART_PAYLOAD ? parts[i].key.n : 0;
    }
    return n;
}

/* base: in a copy, whose version goes without saying; NULL in a change. */
static uint8_t *put_part(uint8_t *p, const struct qv_part *part, const struct qv_version *base)
{
    const bool own = base != NULL && qv_version_compare(part->version, *base) != 0;
    *p++ = (uint8_t)((unsigned)part->kind | (unsigned)part->state << 4 | (own ? HEAD_VERSION : 0u));
    if (own)
        p = put_version(p, part->version);
    p = part->kind == QV_PART_VECTOR ? put_varint(p, part->number)
                                     : put_bytes(p, part->key.p, part->key.n);
    return part->state == QV_PART_INLINE ? put_bytes(p, part->value.p, part->value.n) : p;
}

static uint8_t *put_parts(uint8_t *p, const struct qv_part *parts, uint32_t count,
                          const struct qv_version *base)
{
    QV_ASSERT(base != NULL || count <= QV_POINT_PARTS_MAX);
    p = put_varint(p, count);
    for (uint32_t i = 0; i < count; i++) {
        QV_ASSERT(i == 0 || qv_part_compare(&parts[i - 1], &parts[i]) < 0);
        p = put_part(p, &parts[i], base);
    }
    return p;
}

/* May a change of this type hold such a part? */
static bool part_allowed(uint8_t type, uint8_t kind, uint8_t state)
{
    switch (type) {
    case QV_CHANGE_PUT:
        return state == QV_PART_INLINE;
    case QV_CHANGE_SET:
        return state != QV_PART_IN_ROW;
    case QV_CHANGE_REPLACE:
        return state == QV_PART_INLINE && kind == QV_PART_PAYLOAD;
    default:
        return false;
    }
}

void qv_change_encode(struct qv_buf *b, const struct qv_change *c)
{
    QV_ASSERT(c->type >= QV_CHANGE_PUT && c->type <= QV_CHANGE_CLEAR);
    uint8_t *start =
        qv_buf_reserve(b, 1 + QV_ID_BYTES_MAX + parts_bytes_max(c->parts, c->part_count));
    if (start == NULL)
        return;
    uint8_t *p = start;
    *p++ = c->type;
    p += qv_id_encode(&c->id, p);
    for (uint32_t i = 0; i < c->part_count; i++)
        QV_ASSERT(part_allowed(c->type, c->parts[i].kind, c->parts[i].state));
    p = put_parts(p, c->parts, c->part_count, NULL);
    b->len += (size_t)(p - start);
    QV_ASSERT(b->len <= b->cap);
}

void qv_copy_encode(struct qv_buf *b, const struct qv_copy *c)
{
    const bool has_base = qv_version_compare(c->base, QV_VERSION_NONE) != 0;
    const bool has_floor = qv_version_compare(c->floor, c->base) > 0;
    QV_ASSERT(has_base || !c->alive);
    QV_ASSERT(has_floor || qv_version_compare(c->floor, c->base) == 0);
    uint8_t *start =
        qv_buf_reserve(b, 1 + 2 * VERSION_BYTES + parts_bytes_max(c->parts, c->part_count));
    if (start == NULL)
        return;
    uint8_t *p = start;
    *p++ = (uint8_t)((c->alive ? FLAG_ALIVE : 0) | (has_base ? FLAG_BASE : 0) |
                     (has_floor ? FLAG_FLOOR : 0));
    if (has_base)
        p = put_version(p, c->base);
    if (has_floor)
        p = put_version(p, c->floor);
    p = put_parts(p, c->parts, c->part_count, &c->base);
    b->len += (size_t)(p - start);
    QV_ASSERT(b->len <= b->cap);
}

/* ---- decode ---- */

static int bad(struct qv_errmsg *msg, const char *why)
{
    return qv_fail(msg, QV_ECORRUPT, "point: %s", why);
}

static struct qv_version get_version(struct qv_rd *r)
{
    struct qv_version v;
    v.clock = qv_rd_u64(r);
    v.writer = qv_rd_u32(r);
    return v;
}

static uint64_t get_varint(struct qv_rd *r)
{
    if (!r->failed && r->p < r->end && *r->p < 0x80)
        return *r->p++;
    return qv_rd_varint(r);
}

static const uint8_t *get_bytes(struct qv_rd *r, size_t *n)
{
    uint64_t want = get_varint(r);
    if (r->failed || want > qv_rd_left(r)) {
        r->failed = true;
        return NULL;
    }
    *n = (size_t)want;
    return qv_rd_take(r, *n);
}

/* What names the part: a vector's number or a payload key. */
static int get_name(struct qv_rd *r, struct qv_part *out, struct qv_errmsg *msg)
{
    if (out->kind == QV_PART_VECTOR) {
        uint64_t number = get_varint(r);
        if (r->failed || number > UINT32_MAX)
            return bad(msg, "a vector's number is cut or too large");
        out->number = (uint32_t)number;
        return 0;
    }
    size_t n = 0;
    const uint8_t *key = get_bytes(r, &n);
    if (key == NULL)
        return bad(msg, "a key is cut");
    if (!qv_utf8_valid(key, n))
        return bad(msg, "a key is not UTF-8");
    out->key = (struct qv_str){(const char *)key, n};
    return 0;
}

static int get_value(struct qv_rd *r, struct qv_part *out, struct qv_errmsg *msg)
{
    size_t n = 0;
    const uint8_t *p = get_bytes(r, &n);
    if (p == NULL)
        return bad(msg, "a value is cut");
    out->value = (struct qv_bytes){p, n};
    return out->kind == QV_PART_VECTOR ? qv_vec_check_stored(p, n, msg)
                                       : qv_doc_check_member(p, n, msg);
}

/* base: as in put_part. */
static int get_part(struct qv_rd *r, const struct qv_version *base, struct qv_part *out,
                    struct qv_errmsg *msg)
{
    const uint8_t head = qv_rd_u8(r);
    *out = (struct qv_part){.kind = head & 0x0F, .state = head >> 4 & 7};
    if (r->failed)
        return bad(msg, "a part is cut");
    if (out->kind > QV_PART_PAYLOAD || out->state > QV_PART_IN_ROW)
        return bad(msg, "unknown kind or state of a part");
    if (head & HEAD_VERSION) {
        if (base == NULL)
            return bad(msg, "a change's part has a version of its own");
        out->version = get_version(r);
        if (r->failed || qv_version_compare(out->version, *base) == 0)
            return bad(msg, "a part's version is cut or needless");
    } else if (base != NULL) {
        out->version = *base;
    }
    int err = get_name(r, out, msg);
    if (err == 0 && out->state == QV_PART_INLINE)
        err = get_value(r, out, msg);
    return err;
}

static int get_parts(struct qv_rd *r, struct qv_arena *arena, const struct qv_version *base,
                     struct qv_part **parts, uint32_t *part_count, struct qv_errmsg *msg)
{
    const uint64_t count = get_varint(r);
    const uint64_t count_max = base == NULL ? QV_POINT_PARTS_MAX : UINT32_MAX;
    if (r->failed || count > count_max || count > qv_rd_left(r) / PART_BYTES_MIN)
        return bad(msg, "impossible number of parts");
    *part_count = (uint32_t)count;
    *parts = NULL;
    if (count == 0)
        return 0;
    struct qv_part *p = qv_arena_alloc(arena, (size_t)count * sizeof *p);
    if (p == NULL)
        return qv_fail(msg, QV_ENOMEM, "no memory for %u parts", *part_count);
    *parts = p;
    for (uint32_t i = 0; i < count; i++) {
        int err = get_part(r, base, &p[i], msg);
        if (err != 0)
            return err;
        if (i > 0 && qv_part_compare(&p[i - 1], &p[i]) >= 0)
            return bad(msg, "parts do not ascend");
    }
    return 0;
}

int qv_change_decode(struct qv_rd *r, struct qv_arena *arena, struct qv_change *out,
                     struct qv_errmsg *msg)
{
    size_t used;
    *out = (struct qv_change){.type = qv_rd_u8(r)};
    if (r->failed || out->type < QV_CHANGE_PUT || out->type > QV_CHANGE_CLEAR)
        return bad(msg, "unknown type of change");
    if (qv_id_decode(r->p, qv_rd_left(r), &out->id, &used) != 0)
        return bad(msg, "the id is cut or of an unknown type");
    r->p += used;
    int err = get_parts(r, arena, NULL, &out->parts, &out->part_count, msg);
    QV_ASSERT(err != 0 || out->part_count == 0 || out->parts != NULL);
    for (uint32_t i = 0; err == 0 && i < out->part_count; i++) {
        if (!part_allowed(out->type, out->parts[i].kind, out->parts[i].state))
            err = bad(msg, "a part that its type of change can't hold");
    }
    return err;
}

int qv_copy_decode(struct qv_rd *r, struct qv_arena *arena, struct qv_copy *out,
                   struct qv_errmsg *msg)
{
    const char *reason = NULL;
    const uint8_t flags = qv_rd_u8(r);
    *out = (struct qv_copy){.alive = flags & FLAG_ALIVE};
    if (r->failed || flags > (FLAG_ALIVE | FLAG_BASE | FLAG_FLOOR))
        return bad(msg, "unknown flags");
    if (flags & FLAG_BASE) {
        out->base = get_version(r);
        if (r->failed || qv_version_compare(out->base, QV_VERSION_NONE) == 0)
            return bad(msg, "the base is cut or none");
    }
    out->floor = out->base;
    if (flags & FLAG_FLOOR) {
        out->floor = get_version(r);
        if (r->failed || qv_version_compare(out->floor, out->base) <= 0)
            return bad(msg, "the floor is cut or not above the base");
    }
    int err = get_parts(r, arena, &out->base, &out->parts, &out->part_count, msg);
    if (err == 0 && !qv_copy_check(out, &reason))
        err = bad(msg, reason);
    return err;
}
