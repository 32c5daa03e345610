#include "pb_gen.h"

#include "proto/quiver_value.pb-c.h"
#include "wire/pb_out.h"

static bool chance(const struct pb_gen *g, unsigned per_cent)
{
    return qv_rng_below(g->rng, 100) < per_cent;
}

static const char *const texts[] = {"",
                                    "a",
                                    "color",
                                    "key.sub",
                                    "a[]",
                                    "items[].price",
                                    "grüße",
                                    "東京",
                                    "\xF0\x9F\x8F\xB9",
                                    "with space",
                                    "0b1d8a7e-4f53-4c2e-9d5c-7f4f2a1b3c4d",
                                    "0b1d8a7e4f534c2e9d5c7f4f2a1b3c4d",
                                    "x",
                                    "y"};

static void gen_text(const struct pb_gen *g, const char *name, struct qv_buf *out, uint32_t number)
{
    const char *s = texts[qv_rng_below(g->rng, sizeof texts / sizeof texts[0])];
    if (strcmp(name, "uuid") == 0 && chance(g, 90))
        s = texts[10 + qv_rng_below(g->rng, 2)];
    qv_pb_put_str(out, number, qv_str_of(s));
}

static uint64_t gen_int(const struct pb_gen *g)
{
    switch (qv_rng_below(g->rng, 4)) {
    case 0:
        return qv_rng_below(g->rng, 4);
    case 1:
        return qv_rng_below(g->rng, 1000);
    case 2:
        return qv_rng_u64(g->rng) >> qv_rng_below(g->rng, 64);
    default:
        return (uint64_t) - (int64_t)qv_rng_below(g->rng, 1000);
    }
}

static double gen_real(const struct pb_gen *g)
{
    return chance(g, 50) ? (double)qv_rng_gauss(g->rng) : (double)qv_rng_below(g->rng, 100);
}

/* Numbers that only mean something together with others: most of the time such as are in order. */
static bool gen_known(const struct pb_gen *g, const char *name, uint64_t *out)
{
    if (strcmp(name, "seconds") == 0) { /* always of years that four digits tell */
        *out = (uint64_t)((int64_t)qv_rng_below(g->rng, 20000000000u) - 10000000000);
        return true;
    }
    if (strcmp(name, "nanos") == 0)
        *out = qv_rng_below(g->rng, 1000000000);
    else if (strcmp(name, "total") == 0)
        *out = 2 + qv_rng_below(g->rng, 1000);
    else if (strcmp(name, "index") == 0)
        *out = qv_rng_below(g->rng, 3);
    else
        return false;
    return chance(g, 90);
}

/* An element's bytes without a tag. */
static void gen_scalar(const struct pb_gen *g, const ProtobufCFieldDescriptor *f,
                       struct qv_buf *out)
{
    uint64_t known;
    if (gen_known(g, f->name, &known)) {
        qv_pb_put_varint(out, known);
        return;
    }
    switch (f->type) {
    case PROTOBUF_C_TYPE_FLOAT: {
        float v = (float)gen_real(g);
        qv_buf_append(out, &v, sizeof v);
        break;
    }
    case PROTOBUF_C_TYPE_DOUBLE: {
        double v = gen_real(g);
        qv_buf_append(out, &v, sizeof v);
        break;
    }
    case PROTOBUF_C_TYPE_BOOL:
        qv_pb_put_varint(out, qv_rng_below(g->rng, 2));
        break;
    case PROTOBUF_C_TYPE_ENUM: {
        const ProtobufCEnumDescriptor *e = f->descriptor;
        qv_pb_put_varint(out, (uint64_t)e->values[qv_rng_below(g->rng, e->n_values)].value);
        break;
    }
    case PROTOBUF_C_TYPE_UINT32:
        qv_pb_put_varint(out, gen_int(g) & UINT32_MAX);
        break;
    default:
        qv_pb_put_varint(out, gen_int(g));
        break;
    }
}

static enum qv_pb_wire_type wire_of(ProtobufCType t)
{
    return t == PROTOBUF_C_TYPE_FLOAT    ? QV_PB_FIXED32
           : t == PROTOBUF_C_TYPE_DOUBLE ? QV_PB_FIXED64
                                         : QV_PB_VARINT;
}

static void gen_one(const struct pb_gen *g, const ProtobufCFieldDescriptor *f, struct qv_buf *out)
{
    size_t mark;
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        gen_text(g, f->name, out, f->id);
        break;
    case PROTOBUF_C_TYPE_BYTES: {
        bool nul = chance(g, 20);
        qv_pb_put_bytes(out, f->id, nul ? "a\0b" : "text", nul ? 3 : 4);
        break;
    }
    case PROTOBUF_C_TYPE_MESSAGE: {
        struct pb_gen below = *g;
        below.depth_max--;
        mark = qv_pb_begin(out, f->id);
        pb_gen_message(&below, f->descriptor, out);
        qv_pb_end(out, mark);
        break;
    }
    default:
        qv_pb_put_tag(out, f->id, wire_of(f->type));
        gen_scalar(g, f, out);
        break;
    }
}

static void gen_repeated(const struct pb_gen *g, const ProtobufCFieldDescriptor *f,
                         struct qv_buf *out)
{
    size_t n = qv_rng_below(g->rng, g->repeat_max + 1);
    bool packable = f->type != PROTOBUF_C_TYPE_STRING && f->type != PROTOBUF_C_TYPE_MESSAGE &&
                    f->type != PROTOBUF_C_TYPE_BYTES;
    if (!packable || chance(g, g->unpacked)) {
        for (size_t i = 0; i < n; i++)
            gen_one(g, f, out);
        return;
    }
    size_t mark = qv_pb_begin(out, f->id);
    for (size_t i = 0; i < n; i++)
        gen_scalar(g, f, out);
    qv_pb_end(out, mark);
}

static void gen_unknown(const struct pb_gen *g, struct qv_buf *out)
{
    uint32_t number = 9000 + (uint32_t)qv_rng_below(g->rng, 100);
    switch (qv_rng_below(g->rng, 4)) {
    case 0:
        qv_pb_put_u64(out, number, gen_int(g));
        break;
    case 1:
        qv_pb_put_f32(out, number, 1.5f);
        break;
    case 2:
        qv_pb_put_f64(out, number, 1.5);
        break;
    default:
        qv_pb_put_str(out, number, qv_str_of("unknown"));
    }
}

/* A closed line of places, at least four most of the time. */
static void gen_ring(const struct pb_gen *g, struct qv_buf *out)
{
    const size_t from = out->len;
    size_t first = 0;
    for (uint64_t n = (chance(g, 5) ? 1u : 3u) + qv_rng_below(g->rng, 4); n > 0; n--) {
        size_t mark = qv_pb_begin(out, 1);
        qv_pb_put_f64(out, 1, gen_real(g) / 2);
        qv_pb_put_f64(out, 2, gen_real(g) / 2);
        qv_pb_end(out, mark);
        first = first == 0 ? out->len - from : first;
    }
    if (!out->failed && qv_buf_reserve(out, first) != NULL)
        qv_buf_append(out, out->data + from, first);
}

/* Messages that are nothing without their fields. */
static bool wants_all(const ProtobufCMessageDescriptor *desc)
{
    return strncmp(desc->short_name, "Geo", 3) == 0 || strcmp(desc->short_name, "Timestamp") == 0 ||
           strcmp(desc->short_name, "SliceCondition") == 0;
}

void pb_gen_message(const struct pb_gen *general, const ProtobufCMessageDescriptor *desc,
                    struct qv_buf *out)
{
    struct pb_gen here = *general;
    const struct pb_gen *g = &here;
    if (wants_all(desc))
        here.presence = here.presence / 10 + 90;
    if (strcmp(desc->short_name, "GeoLineString") == 0 && chance(g, 90)) {
        gen_ring(g, out);
        return;
    }
    bool oneof_done = false; /* one oneof a message is all there is */
    if (chance(g, g->unknown))
        gen_unknown(g, out);
    unsigned start = desc->n_fields == 0 ? 0 : (unsigned)qv_rng_below(g->rng, desc->n_fields);
    for (unsigned k = 0; k < desc->n_fields; k++) {
        unsigned i = (start + k) % desc->n_fields;
        const ProtobufCFieldDescriptor *f = &desc->fields[i];
        bool oneof = (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
        if (f->type == PROTOBUF_C_TYPE_MESSAGE && g->depth_max == 0)
            continue;
        if (oneof && oneof_done && !chance(g, g->second_variant))
            continue;
        if (!chance(g, oneof ? (g->presence + 100) / 2 : g->presence))
            continue;
        oneof_done = oneof_done || oneof;
        if (f->label == PROTOBUF_C_LABEL_REPEATED)
            gen_repeated(g, f, out);
        else
            gen_one(g, f, out);
    }
}

void pb_gen_mutate(struct qv_rng *rng, struct qv_buf *b)
{
    if (b->len == 0)
        return;
    size_t at = qv_rng_below(rng, b->len);
    switch (qv_rng_below(rng, 4)) {
    case 0:
        b->len = at;
        break;
    case 1: {
        size_t n = qv_rng_below(rng, b->len - at < 32 ? b->len - at + 1 : 32);
        if (qv_buf_reserve(b, n) != NULL)
            qv_buf_append(b, b->data + at, n);
        break;
    }
    default:
        for (uint64_t n = 1 + qv_rng_below(rng, 4); n > 0; n--)
            b->data[qv_rng_below(rng, b->len)] = (uint8_t)qv_rng_u64(rng);
    }
}
