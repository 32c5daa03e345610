/* The walk follows protobuf-c 1.4's unpacking allocation by allocation: the message itself, its
 * list of scanned members (16 on the stack, then slabs that double), one array per repeated field,
 * one block per string or bytes field and per unknown field. The arena gives 16-byte blocks and
 * takes nothing back, so sizes are rounded and transient slabs count. */
#include "wire/pb_guard.h"

#include "base/qv_assert.h"
#include "base/utf8.h"
#include "proto/quiver_value.pb-c.h"
#include "wire/pb_wire.h"

#define SCANNED_MEMBER_BYTES 32u
#define SCANNED_ON_STACK 16u
#define UNKNOWN_FIELD_BYTES sizeof(ProtobufCMessageUnknownField)
#define FIELDS_MAX 64u

struct guard {
    const struct qv_pb_limits *limits;
    struct qv_pb_cost *cost;
    struct qv_errmsg *msg;
};

/* One message under way. */
struct level {
    const ProtobufCMessageDescriptor *desc;
    uint64_t seen; /* bit per index of desc->fields */
    size_t members;
    size_t unknown;
    unsigned depth;
};

static size_t round_up(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

static int charge(struct guard *g, size_t bytes)
{
    g->cost->bytes += bytes;
    if (g->cost->bytes > g->limits->bytes_max)
        return qv_fail(g->msg, QV_ETOOBIG, "message needs more than %zu bytes in memory",
                       g->limits->bytes_max);
    return 0;
}

static int malformed(struct guard *g, const struct level *l, const char *why)
{
    return qv_fail(g->msg, QV_EBADREQ, "failed to decode Protobuf message: %s: %s",
                   l->desc->short_name, why);
}

static int malformed_field(struct guard *g, const struct level *l,
                           const ProtobufCFieldDescriptor *f, const char *why)
{
    return qv_fail(g->msg, QV_EBADREQ, "failed to decode Protobuf message: %s.%s: %s",
                   l->desc->short_name, f->name, why);
}

/* Index in desc->fields, or -1. Numbers are in ranges of consecutive ones; most messages have one
 * range, so this is a subtraction. */
static int find_field(const ProtobufCMessageDescriptor *desc, uint32_t number)
{
    for (unsigned i = 0; i < desc->n_field_ranges; i++) {
        const ProtobufCIntRange *r = &desc->field_ranges[i];
        unsigned n = desc->field_ranges[i + 1].orig_index - r->orig_index;
        if (number >= (uint32_t)r->start_value && number - (uint32_t)r->start_value < n)
            return (int)(r->orig_index + (number - (uint32_t)r->start_value));
    }
    return -1;
}

static uint32_t wire_of(ProtobufCType t)
{
    switch (t) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return QV_PB_FIXED32;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return QV_PB_FIXED64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return QV_PB_LEN;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_ENUM:
        return QV_PB_VARINT;
    }
    QV_UNREACHABLE();
}

static size_t element_bytes(ProtobufCType t)
{
    switch (t) {
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return 4;
    }
}

static int walk(struct guard *g, const ProtobufCMessageDescriptor *desc, struct qv_bytes in,
                unsigned depth);

/* How many elements a packed array holds; -1 when it is malformed. */
static int64_t count_packed(struct qv_bytes in, uint32_t wire)
{
    if (wire != QV_PB_VARINT) {
        size_t each = wire == QV_PB_FIXED32 ? 4 : 8;
        return in.n % each == 0 ? (int64_t)(in.n / each) : -1;
    }
    struct qv_rd r = qv_pb_reader(in);
    int64_t count = 0;
    while (qv_rd_left(&r) > 0) {
        (void)qv_pb_varint(&r);
        if (r.failed)
            return -1;
        count++;
    }
    return count;
}

static int walk_text(struct guard *g, const struct level *l, const ProtobufCFieldDescriptor *f,
                     struct qv_bytes v)
{
    bool text = f->type == PROTOBUF_C_TYPE_STRING || l->desc == &qv_pb__value__descriptor;
    if (text && !qv_utf8_valid(v.p, v.n))
        return malformed_field(g, l, f, "not valid UTF-8");
    if (f->type == PROTOBUF_C_TYPE_STRING && v.n > 0 && memchr(v.p, 0, v.n) != NULL)
        return malformed_field(g, l, f, "text holds a NUL");
    return charge(g, round_up(v.n + 1));
}

/* A length-delimited field that the descriptor knows. */
static int walk_len(struct guard *g, struct level *l, unsigned index, struct qv_bytes v)
{
    const ProtobufCFieldDescriptor *f = &l->desc->fields[index];
    bool repeated = f->label == PROTOBUF_C_LABEL_REPEATED;
    uint32_t wire = wire_of(f->type);
    if (wire != QV_PB_LEN) {
        if (!repeated)
            return malformed_field(g, l, f, "wrong wire type");
        int64_t count = count_packed(v, wire);
        if (count < 0)
            return malformed_field(g, l, f, "broken packed array");
        return charge(g, (size_t)count * element_bytes(f->type));
    }
    if (repeated) {
        int err = charge(g, element_bytes(f->type));
        if (err != 0)
            return err;
    }
    if (f->type != PROTOBUF_C_TYPE_MESSAGE)
        return walk_text(g, l, f, v);
    if (!repeated && (l->seen >> index & 1) != 0)
        return malformed_field(g, l, f, "given twice");
    return walk(g, (const ProtobufCMessageDescriptor *)f->descriptor, v, l->depth + 1);
}

static int walk_known(struct guard *g, struct level *l, struct qv_rd *r, unsigned index,
                      uint32_t type)
{
    const ProtobufCFieldDescriptor *f = &l->desc->fields[index];
    int err = 0;
    if (type == QV_PB_LEN) {
        struct qv_bytes v = qv_pb_len(r);
        if (r->failed)
            return malformed_field(g, l, f, "cut short");
        err = walk_len(g, l, index, v);
    } else {
        if (type != wire_of(f->type))
            return malformed_field(g, l, f, "wrong wire type");
        qv_pb_skip(r, type);
        if (r->failed)
            return malformed_field(g, l, f, "cut short or too long");
        if (f->label == PROTOBUF_C_LABEL_REPEATED)
            err = charge(g, element_bytes(f->type));
    }
    if (err == 0 && f->label == PROTOBUF_C_LABEL_REPEATED && (l->seen >> index & 1) == 0)
        err = charge(g, 16); /* rounding of its array */
    l->seen |= UINT64_C(1) << index;
    return err;
}

static int walk_unknown(struct guard *g, struct level *l, struct qv_rd *r, uint32_t type)
{
    const uint8_t *from = r->p;
    qv_pb_skip(r, type);
    if (r->failed)
        return malformed(g, l, "an unknown field is cut short");
    if (l->unknown++ == 0) {
        int err = charge(g, 16);
        if (err != 0)
            return err;
    }
    return charge(g, UNKNOWN_FIELD_BYTES + round_up((size_t)(r->p - from)));
}

/* Slabs of protobuf-c's list of scanned members: charged when one is begun. */
static int charge_member(struct guard *g, struct level *l)
{
    size_t n = l->members++;
    if (n < SCANNED_ON_STACK)
        return 0;
    /* Slab k >= 1 begins at member 16 * (2^k - 1) and has room for 16 * 2^k. */
    size_t group = n / SCANNED_ON_STACK + 1;
    if (n % SCANNED_ON_STACK != 0 || (group & (group - 1)) != 0)
        return 0;
    return charge(g, group * SCANNED_ON_STACK * SCANNED_MEMBER_BYTES);
}

static int walk(struct guard *g, const ProtobufCMessageDescriptor *desc, struct qv_bytes in,
                unsigned depth)
{
    QV_ASSERT(desc->magic == PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC);
    QV_ASSERT(desc->n_fields <= FIELDS_MAX);
    struct level l = {.desc = desc, .depth = depth};
    if (depth > g->limits->depth_max)
        return qv_fail(g->msg, QV_EBADREQ,
                       "failed to decode Protobuf message: nested deeper than %u",
                       g->limits->depth_max);
    if (depth > g->cost->depth)
        g->cost->depth = depth;
    if (++g->cost->messages > g->limits->messages_max)
        return qv_fail(g->msg, QV_ETOOBIG, "message holds more than %u submessages",
                       g->limits->messages_max);
    int err = charge(g, round_up(desc->sizeof_message));
    struct qv_rd r = qv_pb_reader(in);
    while (err == 0 && qv_rd_left(&r) > 0) {
        uint32_t number, type;
        if (!qv_pb_tag(&r, &number, &type))
            return malformed(g, &l, "a field's tag is malformed");
        err = charge_member(g, &l);
        if (err != 0)
            break;
        int index = find_field(desc, number);
        err = index < 0 ? walk_unknown(g, &l, &r, type)
                        : walk_known(g, &l, &r, (unsigned)index, type);
    }
    return err;
}

int qv_pb_guard(const ProtobufCMessageDescriptor *desc, struct qv_bytes in,
                const struct qv_pb_limits *limits, struct qv_pb_cost *cost, struct qv_errmsg *msg)
{
    QV_ASSERT(limits->depth_max > 0 && limits->depth_max <= 256);
    memset(cost, 0, sizeof *cost);
    struct guard g = {.limits = limits, .cost = cost, .msg = msg};
    return walk(&g, desc, in, 1);
}

static void *arena_take(void *ctx, size_t size)
{
    return qv_arena_alloc((struct qv_arena *)ctx, size);
}

static void arena_keep(void *ctx, void *p)
{
    (void)ctx;
    (void)p;
}

int qv_pb_unpack(const ProtobufCMessageDescriptor *desc, struct qv_bytes in, struct qv_arena *arena,
                 ProtobufCMessage **out, struct qv_errmsg *msg)
{
    struct qv_pb_limits limits = {.depth_max = QV_PB_DEPTH_MAX,
                                  .messages_max = QV_PB_MESSAGES_MAX,
                                  .bytes_max = arena->limit_bytes - arena->used_bytes};
    struct qv_pb_cost cost;
    *out = NULL;
    int err = qv_pb_guard(desc, in, &limits, &cost, msg);
    if (err != 0)
        return err;
    ProtobufCAllocator allocator = {arena_take, arena_keep, arena};
    ProtobufCMessage *m = protobuf_c_message_unpack(desc, &allocator, in.n, in.p);
    if (m == NULL && arena->failed)
        return qv_fail(msg, QV_ENOMEM, "no memory to decode a message of %zu bytes", in.n);
    if (m == NULL)
        return qv_fail(msg, QV_EBADREQ, "failed to decode Protobuf message: %s", desc->short_name);
    *out = m;
    return 0;
}
