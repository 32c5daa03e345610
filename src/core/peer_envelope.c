#include "core/peer_envelope.h"

#include "base/qv_assert.h"

#include <string.h>

#define PEER_PREFIX_BYTES 5u /* what gRPC puts before a message */
#define PEER_ALIGN 16u
#define PEER_BODY_FIELD 2047u

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

/* ---- writing: into room that is known to be enough ------------------------------------------ */

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
    for (; v > 0x7F; v >>= 7)
        *p++ = (uint8_t)(v | 0x80);
    *p++ = (uint8_t)v;
    return p;
}

static uint8_t *put_number(uint8_t *p, uint32_t field, uint64_t v)
{
    if (v == 0)
        return p;
    p = put_varint(p, (uint64_t)field << 3 | WIRE_VARINT);
    return put_varint(p, v);
}

static uint8_t *put_fixed64(uint8_t *p, uint32_t field, uint64_t v)
{
    if (v == 0)
        return p;
    p = put_varint(p, (uint64_t)field << 3 | WIRE_FIXED64);
    memcpy(p, &v, sizeof v);
    return p + sizeof v;
}

static uint8_t *put_bytes(uint8_t *p, uint32_t field, const void *bytes, size_t n)
{
    if (n == 0)
        return p;
    p = put_varint(p, (uint64_t)field << 3 | WIRE_BYTES);
    p = put_varint(p, n);
    memcpy(p, bytes, n);
    return p + n;
}

static bool is_zero(const uint8_t *p, size_t n)
{
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= p[i];
    return any == 0;
}

/* The class stands behind the text: one field more than its number. */
static uint8_t *put_error(uint8_t *p, uint32_t field, int err, const char *text)
{
    if (err == 0)
        return p;
    p = put_number(p, field, qv_err_number(err));
    p = put_bytes(p, field + 1, text, strnlen(text, QV_PEER_TEXT_BYTES_MAX - 1));
    return put_number(p, field + 2, (uint64_t)qv_err_class(err));
}

static size_t varint_bytes(uint64_t v)
{
    size_t n = 1;
    for (; v > 0x7F; v >>= 7)
        n++;
    return n;
}

/* Fills up so that what follows the body's tag and length lies at a multiple of PEER_ALIGN. */
static uint8_t *put_body_head(uint8_t *out, uint8_t *p, size_t body_bytes)
{
    size_t tail = varint_bytes((uint64_t)PEER_BODY_FIELD << 3) + varint_bytes(body_bytes);
    size_t at = PEER_PREFIX_BYTES + (size_t)(p - out) + tail;
    size_t pad = (PEER_ALIGN - at % PEER_ALIGN) % PEER_ALIGN;
    if (pad == 1)
        pad += PEER_ALIGN;
    if (pad > 0) {
        *p++ = 14 << 3 | WIRE_BYTES;
        *p++ = (uint8_t)(pad - 2);
        memset(p, 0, pad - 2);
        p += pad - 2;
    }
    p = put_varint(p, (uint64_t)PEER_BODY_FIELD << 3 | WIRE_BYTES);
    return put_varint(p, body_bytes);
}

size_t qv_peer_envelope_encode(const struct qv_peer_envelope *e,
                               uint8_t out[QV_PEER_HEAD_BYTES_MAX])
{
    uint8_t *p = out;
    if (!is_zero(e->cluster, sizeof e->cluster))
        p = put_bytes(p, 1, e->cluster, sizeof e->cluster);
    p = put_number(p, 2, e->protocol);
    p = put_number(p, 3, e->feature_level);
    p = put_fixed64(p, 4, e->from);
    p = put_fixed64(p, 5, e->from_incarnation);
    p = put_fixed64(p, 6, e->to);
    p = put_fixed64(p, 7, e->to_incarnation);
    p = put_number(p, 8, e->method);
    p = put_number(p, 9, e->priority);
    p = put_number(p, 10, e->left_ns);
    p = put_number(p, 11, e->tenant);
    p = put_fixed64(p, 12, e->trace[0]);
    p = put_fixed64(p, 13, e->trace[1]);
    p = put_number(p, 15, e->refused);
    p = put_error(p, 16, e->err, e->text);
    if (e->body.n > 0)
        p = put_body_head(out, p, e->body.n);
    QV_ASSERT(p <= out + QV_PEER_HEAD_BYTES_MAX);
    return (size_t)(p - out);
}

size_t qv_peer_hello_encode(const struct qv_peer_hello *h, uint8_t out[QV_PEER_HELLO_BYTES_MAX])
{
    uint8_t *p = put_bytes(out, 1, h->cluster, sizeof h->cluster);
    p = put_fixed64(p, 2, h->from);
    p = put_fixed64(p, 3, h->from_incarnation);
    p = put_fixed64(p, 4, h->to);
    p = put_number(p, 5, h->protocol_min);
    p = put_number(p, 6, h->protocol_max);
    p = put_number(p, 7, h->feature_level);
    p = put_bytes(p, 8, h->nonce, sizeof h->nonce);
    if (!is_zero(h->proof, sizeof h->proof))
        p = put_bytes(p, 9, h->proof, sizeof h->proof);
    p = put_error(p, 10, h->err, h->text);
    QV_ASSERT(p <= out + QV_PEER_HELLO_BYTES_MAX);
    return (size_t)(p - out);
}

/* ---- reading -------------------------------------------------------------------------------- */

struct field {
    uint32_t number;
    uint32_t type;
    uint64_t value;        /* varint, fixed64 */
    struct qv_bytes bytes; /* borrowed */
};

static bool field_read(struct qv_rd *r, struct field *f)
{
    uint64_t key = qv_rd_varint(r);
    if (r->failed || key >> 3 == 0 || key > UINT32_MAX)
        return false;
    f->number = (uint32_t)(key >> 3);
    f->type = (uint32_t)(key & 7);
    f->value = 0;
    f->bytes = (struct qv_bytes){NULL, 0};
    switch (f->type) {
    case WIRE_VARINT:
        f->value = qv_rd_varint(r);
        return !r->failed;
    case WIRE_FIXED64:
        f->value = qv_rd_u64(r);
        return !r->failed;
    case WIRE_FIXED32:
        (void)qv_rd_u32(r);
        return !r->failed;
    case WIRE_BYTES: {
        uint64_t n = qv_rd_varint(r);
        if (r->failed || n > qv_rd_left(r))
            return false;
        f->bytes.n = (size_t)n;
        f->bytes.p = qv_rd_take(r, (size_t)n);
        return true;
    }
    default:
        return false; /* groups: gone from the format, and never ours */
    }
}

/* Exactly `want` bytes, or none at all. */
static bool take_array(const struct field *f, uint8_t *out, size_t want)
{
    if (f->type != WIRE_BYTES || f->bytes.n != want)
        return false;
    memcpy(out, f->bytes.p, want);
    return true;
}

static bool take_text(const struct field *f, char out[QV_PEER_TEXT_BYTES_MAX])
{
    if (f->type != WIRE_BYTES)
        return false;
    size_t n = 0; /* shown to people and in logs: one line, without control characters */
    for (; n < f->bytes.n && n < QV_PEER_TEXT_BYTES_MAX - 1; n++)
        out[n] = f->bytes.p[n] < 0x20 || f->bytes.p[n] == 0x7F ? ' ' : (char)f->bytes.p[n];
    out[n] = '\0';
    return true;
}

static bool take_number(const struct field *f, uint64_t max, uint64_t *out)
{
    *out = f->value;
    return f->type == WIRE_VARINT && f->value <= max;
}

static bool take_u32(const struct field *f, uint32_t *out)
{
    *out = (uint32_t)f->value;
    return f->type == WIRE_VARINT && f->value <= UINT32_MAX;
}

static bool take_fixed64(const struct field *f, uint64_t *out)
{
    *out = f->value;
    return f->type == WIRE_FIXED64;
}

static bool envelope_take(struct qv_peer_envelope *e, const struct field *f)
{
    uint64_t v = 0;
    bool good;
    switch (f->number) {
    case 1:
        return take_array(f, e->cluster, sizeof e->cluster);
    case 2:
        return take_u32(f, &e->protocol);
    case 3:
        return take_u32(f, &e->feature_level);
    case 4:
        return take_fixed64(f, &e->from);
    case 5:
        return take_fixed64(f, &e->from_incarnation);
    case 6:
        return take_fixed64(f, &e->to);
    case 7:
        return take_fixed64(f, &e->to_incarnation);
    case 8:
        good = take_number(f, QV_PEER_METHODS_MAX - 1, &v);
        e->method = (uint16_t)v;
        return good;
    case 9:
        good = take_number(f, QV_PEER_PRIORITY_COUNT - 1, &v);
        e->priority = (uint8_t)v;
        return good;
    case 10:
        return take_number(f, UINT64_MAX, &e->left_ns);
    case 11:
        return take_number(f, UINT64_MAX, &e->tenant);
    case 12:
        return take_fixed64(f, &e->trace[0]);
    case 13:
        return take_fixed64(f, &e->trace[1]);
    case 15:
        good = take_number(f, 1, &v);
        e->refused = v != 0;
        return good;
    case 16:
        return take_u32(f, &e->err_number);
    case 17:
        return take_text(f, e->text);
    case 18:
        return take_u32(f, &e->err_class);
    case PEER_BODY_FIELD:
        e->body = f->bytes;
        return f->type == WIRE_BYTES;
    default:
        return true;
    }
}

int qv_peer_envelope_decode(struct qv_bytes in, struct qv_peer_envelope *out, struct qv_errmsg *msg)
{
    struct qv_rd r;
    struct field f;
    memset(out, 0, sizeof *out);
    qv_rd_init(&r, in.p, in.n);
    while (qv_rd_left(&r) > 0) {
        if (!field_read(&r, &f))
            return qv_fail(msg, QV_EPROTO, "no message between nodes: malformed");
        if (!envelope_take(out, &f))
            return qv_fail(msg, QV_EPROTO, "no message between nodes: field %u is out of range",
                           (unsigned)f.number);
    }
    out->err = qv_err_from_number(out->err_number, out->err_class);
    if (out->body.n > QV_PEER_BODY_BYTES_MAX)
        return qv_fail(msg, QV_EPROTO, "a message of %zu bytes: at most %zu are taken", out->body.n,
                       QV_PEER_BODY_BYTES_MAX);
    if (out->from == 0 || out->from_incarnation == 0 || out->protocol == 0)
        return qv_fail(msg, QV_EPROTO, "a message that does not say who sends it");
    return 0;
}

static bool hello_take(struct qv_peer_hello *h, const struct field *f)
{
    switch (f->number) {
    case 1:
        return take_array(f, h->cluster, sizeof h->cluster);
    case 2:
        return take_fixed64(f, &h->from);
    case 3:
        return take_fixed64(f, &h->from_incarnation);
    case 4:
        return take_fixed64(f, &h->to);
    case 5:
        return take_u32(f, &h->protocol_min);
    case 6:
        return take_u32(f, &h->protocol_max);
    case 7:
        return take_u32(f, &h->feature_level);
    case 8:
        return take_array(f, h->nonce, sizeof h->nonce);
    case 9:
        return take_array(f, h->proof, sizeof h->proof);
    case 10:
        return take_u32(f, &h->err_number);
    case 11:
        return take_text(f, h->text);
    case 12:
        return take_u32(f, &h->err_class);
    default:
        return true;
    }
}

int qv_peer_hello_decode(struct qv_bytes in, struct qv_peer_hello *out, struct qv_errmsg *msg)
{
    struct qv_rd r;
    struct field f;
    memset(out, 0, sizeof *out);
    qv_rd_init(&r, in.p, in.n);
    while (qv_rd_left(&r) > 0) {
        if (!field_read(&r, &f) || !hello_take(out, &f))
            return qv_fail(msg, QV_EPROTO, "no greeting of a node: malformed");
    }
    out->err = qv_err_from_number(out->err_number, out->err_class);
    if (out->from == 0 || out->from_incarnation == 0 || out->protocol_min == 0 ||
        out->protocol_min > out->protocol_max)
        return qv_fail(msg, QV_EPROTO,
                       "a greeting that does not say who sends it, or what it speaks");
    return 0;
}

/* ---- rules ---------------------------------------------------------------------------------- */

static void hex(const uint8_t *p, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = '\0';
}

static int check_cluster(const uint8_t *theirs, const struct qv_peer_self *self,
                         struct qv_errmsg *msg)
{
    char a[2 * QV_CLUSTER_ID_BYTES + 1], b[2 * QV_CLUSTER_ID_BYTES + 1];
    if (memcmp(theirs, self->cluster, QV_CLUSTER_ID_BYTES) == 0)
        return 0;
    hex(theirs, QV_CLUSTER_ID_BYTES, a);
    hex(self->cluster, QV_CLUSTER_ID_BYTES, b);
    return qv_fail(msg, QV_EFORBIDDEN, "another cluster: %s, not %s", a, b);
}

static int check_version(uint32_t version, const struct qv_peer_self *self, struct qv_errmsg *msg)
{
    if (version >= self->protocol_min && version <= self->protocol_max)
        return 0;
    return qv_fail(msg, QV_EPROTO, "protocol version %u: versions %u to %u are spoken here",
                   (unsigned)version, (unsigned)self->protocol_min, (unsigned)self->protocol_max);
}

int qv_peer_envelope_check(const struct qv_peer_envelope *e, const struct qv_peer_self *self,
                           struct qv_errmsg *msg)
{
    int err = check_cluster(e->cluster, self, msg);
    if (err == 0)
        err = check_version(e->protocol, self, msg);
    if (err != 0)
        return err;
    if (e->to != self->id)
        return qv_fail(msg, QV_EUNAVAILABLE, "node %llu answers here, not node %llu",
                       (unsigned long long)self->id, (unsigned long long)e->to);
    if (e->to_incarnation != 0 && e->to_incarnation != self->incarnation)
        return qv_fail(msg, QV_EUNAVAILABLE,
                       "node %llu was started again: incarnation %llu, not %llu",
                       (unsigned long long)self->id, (unsigned long long)self->incarnation,
                       (unsigned long long)e->to_incarnation);
    return 0;
}

int qv_peer_envelope_check_answer(const struct qv_peer_envelope *e, const struct qv_peer_self *self,
                                  uint64_t asked, struct qv_errmsg *msg)
{
    if (e->from != asked)
        return qv_fail(msg, QV_EPROTO, "node %llu answered in the place of node %llu",
                       (unsigned long long)e->from, (unsigned long long)asked);
    return check_version(e->protocol, self, msg);
}

int qv_peer_hello_check(const struct qv_peer_hello *h, const struct qv_peer_self *self,
                        struct qv_peer_meeting who, uint32_t *version, struct qv_errmsg *msg)
{
    *version = 0;
    int err = check_cluster(h->cluster, self, msg);
    if (err != 0)
        return err;
    if (h->protocol_max < self->protocol_min || h->protocol_min > self->protocol_max)
        return qv_fail(msg, QV_EPROTO, "protocol versions %u to %u there, %u to %u here",
                       (unsigned)h->protocol_min, (unsigned)h->protocol_max,
                       (unsigned)self->protocol_min, (unsigned)self->protocol_max);
    if (who.meant != who.found)
        return qv_fail(msg, QV_EUNAVAILABLE, "node %llu was meant, this is node %llu",
                       (unsigned long long)who.meant, (unsigned long long)who.found);
    *version = h->protocol_max < self->protocol_max ? h->protocol_max : self->protocol_max;
    return 0;
}

void qv_peer_self_fill(struct qv_peer_self *self)
{
    if (self->protocol_max == 0)
        self->protocol_max = QV_PEER_PROTOCOL;
    if (self->protocol_min == 0)
        self->protocol_min = self->protocol_max > 1 ? self->protocol_max - 1 : 1;
    if (self->feature_level == 0)
        self->feature_level = QV_PEER_FEATURE_LEVEL;
    QV_ASSERT(self->id != 0 && self->incarnation != 0);
    QV_ASSERT(self->protocol_min <= self->protocol_max);
}

void qv_peer_limits_fill(struct qv_peer_limits *limits)
{
    static const uint32_t calls[QV_PEER_PRIORITY_COUNT] = {1024, 1024, 256, 64};
    for (unsigned i = 0; i < QV_PEER_PRIORITY_COUNT; i++) {
        if (limits->calls_max[i] == 0)
            limits->calls_max[i] = calls[i];
        if (limits->bytes_max[i] == 0)
            limits->bytes_max[i] = 2 * QV_PEER_BODY_BYTES_MAX;
    }
}
