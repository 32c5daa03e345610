#include "wire/pb_fields.h"

#include "base/qv_assert.h"
#include "proto/quiver_points.pb-c.h"
#include "wire/pb_out.h"

#include <ctype.h>

#define NAME_MAX_BYTES 64u

/* "BestScore" -> "best_score" */
static size_t snake(const char *name, char out[NAME_MAX_BYTES])
{
    size_t n = 0;
    for (const char *p = name; *p != '\0' && n + 2 < NAME_MAX_BYTES; p++) {
        if (isupper((unsigned char)*p) && p > name && !isupper((unsigned char)p[-1]))
            out[n++] = '_';
        out[n++] = (char)tolower((unsigned char)*p);
    }
    out[n] = '\0';
    return n;
}

/* Not NULL when a message of this type is nothing but a map. */
static const ProtobufCFieldDescriptor *only_map(const ProtobufCMessageDescriptor *desc)
{
    const ProtobufCFieldDescriptor *f = desc->n_fields == 1 ? &desc->fields[0] : NULL;
    if (f == NULL || f->type != PROTOBUF_C_TYPE_MESSAGE || f->label != PROTOBUF_C_LABEL_REPEATED)
        return NULL;
    const char *entry = ((const ProtobufCMessageDescriptor *)f->descriptor)->short_name;
    size_t n = strlen(entry);
    return n > 5 && strcmp(entry + n - 5, "Entry") == 0 ? f : NULL;
}

/* ---- message -> object ---- */

static const void *member(const ProtobufCMessage *m, size_t offset)
{
    return (const char *)m + offset;
}

static bool present(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return *(const size_t *)member(m, f->quantifier_offset) > 0;
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return *(const uint32_t *)member(m, f->quantifier_offset) == f->id;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE || f->type == PROTOBUF_C_TYPE_STRING)
        return *(void *const *)member(m, f->offset) != NULL;
    return *(const protobuf_c_boolean *)member(m, f->quantifier_offset) != 0;
}

static int put_message(struct qv_pb_ctx *c, const ProtobufCMessage *m, const char *type);

static int put_enum(struct qv_pb_ctx *c, const ProtobufCFieldDescriptor *f, int value)
{
    char text[NAME_MAX_BYTES];
    const ProtobufCEnumValue *v =
        protobuf_c_enum_descriptor_get_value((const ProtobufCEnumDescriptor *)f->descriptor, value);
    if (v == NULL)
        return qv_fail(c->msg, QV_EINVAL, "%s: unknown value %d", f->name, value);
    size_t n = snake(v->name, text);
    qv_doc_put_str(&c->scratch, text, n);
    return 0;
}

static int put_one(struct qv_pb_ctx *c, const ProtobufCFieldDescriptor *f, const void *p)
{
    struct qv_buf *b = &c->scratch;
    uint64_t u;
    switch (f->type) {
    case PROTOBUF_C_TYPE_BOOL:
        qv_doc_put_bool(b, *(const protobuf_c_boolean *)p != 0);
        return 0;
    case PROTOBUF_C_TYPE_UINT32:
        qv_doc_put_int(b, *(const uint32_t *)p);
        return 0;
    case PROTOBUF_C_TYPE_UINT64:
        u = *(const uint64_t *)p;
        if (u > INT64_MAX)
            return qv_fail(c->msg, QV_EVALIDATION, "%s: out of range", f->name);
        qv_doc_put_int(b, (int64_t)u);
        return 0;
    case PROTOBUF_C_TYPE_FLOAT:
        qv_doc_put_double(b, (double)*(const float *)p);
        return 0;
    case PROTOBUF_C_TYPE_ENUM:
        return put_enum(c, f, *(const int *)p);
    case PROTOBUF_C_TYPE_STRING:
        qv_doc_put_str(b, *(char *const *)p, strlen(*(char *const *)p));
        return 0;
    case PROTOBUF_C_TYPE_MESSAGE:
        return put_message(c, *(ProtobufCMessage *const *)p, NULL);
    default:
        QV_UNREACHABLE();
    }
}

static int put_map(struct qv_pb_ctx *c, const ProtobufCMessage *m,
                   const ProtobufCFieldDescriptor *f)
{
    size_t n = *(const size_t *)member(m, f->quantifier_offset);
    ProtobufCMessage *const *map = *(ProtobufCMessage * *const *)member(m, f->offset);
    struct qv_pb_entry *e;
    uint32_t kept;
    int err = qv_pb_entries_read(c, map, n, &e, &kept);
    if (err != 0)
        return err;
    size_t mark = qv_doc_begin_object(&c->scratch);
    for (size_t i = 0; i < n && err == 0; i++) {
        if (e[i].dropped)
            continue;
        qv_doc_put_key(&c->scratch, e[i].key.p, e[i].key.n);
        if (e[i].value == NULL)
            qv_doc_put_null(&c->scratch);
        else
            err = put_message(c, e[i].value, NULL);
    }
    qv_doc_end_object(&c->scratch, mark, kept);
    return err;
}

static int put_repeated(struct qv_pb_ctx *c, const ProtobufCMessage *m,
                        const ProtobufCFieldDescriptor *f)
{
    size_t n = *(const size_t *)member(m, f->quantifier_offset);
    char *const *list = *(char **const *)member(m, f->offset);
    QV_ASSERT(f->type == PROTOBUF_C_TYPE_STRING);
    size_t mark = qv_doc_begin_array(&c->scratch);
    for (size_t i = 0; i < n; i++)
        qv_doc_put_str(&c->scratch, list[i], strlen(list[i]));
    qv_doc_end_array(&c->scratch, mark, (uint32_t)n);
    return 0;
}

/* REST has the stemmer as one object with a type; protobuf as a choice of messages. */
static int put_stemmer(struct qv_pb_ctx *c, const QvPb__StemmingAlgorithm *m)
{
    if (m->stemming_params_case == QV_PB__STEMMING_ALGORITHM__STEMMING_PARAMS_SNOWBALL)
        return put_message(c, &m->snowball->base, "snowball");
    if (m->stemming_params_case != QV_PB__STEMMING_ALGORITHM__STEMMING_PARAMS_DISABLED)
        return qv_fail(c->msg, QV_EINVAL, "stemmer: empty");
    size_t mark = qv_doc_begin_object(&c->scratch);
    qv_doc_put_key(&c->scratch, "type", 4);
    qv_doc_put_str(&c->scratch, "none", 4);
    qv_doc_end_object(&c->scratch, mark, 1);
    return 0;
}

static int put_fields(struct qv_pb_ctx *c, const ProtobufCMessage *m, uint32_t *count)
{
    int err = 0;
    for (unsigned i = 0; i < m->descriptor->n_fields && err == 0; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        if (!present(m, f))
            continue;
        qv_doc_put_key(&c->scratch, f->name, strlen(f->name));
        err = f->label == PROTOBUF_C_LABEL_REPEATED ? put_repeated(c, m, f)
                                                    : put_one(c, f, member(m, f->offset));
        ++*count;
    }
    return err;
}

static int put_message(struct qv_pb_ctx *c, const ProtobufCMessage *m, const char *type)
{
    if (m->descriptor == &qv_pb__stemming_algorithm__descriptor)
        return put_stemmer(c, (const QvPb__StemmingAlgorithm *)m);
    const ProtobufCFieldDescriptor *map = only_map(m->descriptor);
    if (map != NULL)
        return put_map(c, m, map);
    uint32_t count = 0;
    size_t mark = qv_doc_begin_object(&c->scratch);
    if (type != NULL) {
        qv_doc_put_key(&c->scratch, "type", 4);
        qv_doc_put_str(&c->scratch, type, strlen(type));
        count++;
    }
    int err = put_fields(c, m, &count);
    qv_doc_end_object(&c->scratch, mark, count);
    return err;
}

int qv_pb_fields_doc(struct qv_pb_ctx *c, const ProtobufCMessage *m, const char *type)
{
    return put_message(c, m, type);
}

/* ---- object -> message ---- */

static void write_enum(struct qv_buf *b, const ProtobufCFieldDescriptor *f, struct qv_str s)
{
    const ProtobufCEnumDescriptor *e = f->descriptor;
    for (unsigned i = 0; i < e->n_values; i++) {
        char text[NAME_MAX_BYTES];
        size_t n = snake(e->values[i].name, text);
        if (qv_str_equal(s, (struct qv_str){text, n})) {
            qv_pb_put_u64(b, f->id, (uint64_t)e->values[i].value);
            return;
        }
    }
}

static bool is_number(struct qv_doc d)
{
    return qv_doc_type(d) == QV_DOC_INT || qv_doc_type(d) == QV_DOC_DOUBLE;
}

static void write_stemmer(struct qv_buf *b, uint32_t number, struct qv_doc d)
{
    struct qv_doc type, language;
    if (qv_doc_type(d) != QV_DOC_OBJECT || !qv_doc_find(d, qv_str_of("type"), &type) ||
        qv_doc_type(type) != QV_DOC_STRING)
        return;
    size_t mark = qv_pb_begin(b, number);
    if (qv_str_equal(qv_doc_str(type), qv_str_of("snowball"))) {
        size_t inner = qv_pb_begin(b, 1);
        if (qv_doc_find(d, qv_str_of("language"), &language) &&
            qv_doc_type(language) == QV_DOC_STRING)
            qv_pb_put_str(b, 1, qv_doc_str(language));
        qv_pb_end(b, inner);
    } else {
        qv_pb_end(b, qv_pb_begin(b, 2));
    }
    qv_pb_end(b, mark);
}

static void write_message(struct qv_buf *b, const ProtobufCFieldDescriptor *f, struct qv_doc d)
{
    const ProtobufCMessageDescriptor *desc = f->descriptor;
    if (desc == &qv_pb__stemming_algorithm__descriptor) {
        write_stemmer(b, f->id, d);
        return;
    }
    size_t mark = qv_pb_begin(b, f->id);
    if (desc == &qv_pb__stopwords_set__descriptor && qv_doc_type(d) == QV_DOC_STRING)
        qv_pb_put_str(b, 1, qv_doc_str(d)); /* one language by name */
    else if (qv_doc_type(d) == QV_DOC_OBJECT)
        qv_pb_fields_write(b, desc, d);
    qv_pb_end(b, mark);
}

static void write_one(struct qv_buf *b, const ProtobufCFieldDescriptor *f, struct qv_doc d)
{
    enum qv_doc_type t = qv_doc_type(d);
    if (t == QV_DOC_NULL)
        return;
    switch (f->type) {
    case PROTOBUF_C_TYPE_BOOL:
        if (t == QV_DOC_FALSE || t == QV_DOC_TRUE)
            qv_pb_put_bool(b, f->id, qv_doc_bool(d));
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_UINT64:
        if (t == QV_DOC_INT && qv_doc_int(d) >= 0)
            qv_pb_put_u64(b, f->id, (uint64_t)qv_doc_int(d));
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        if (is_number(d))
            qv_pb_put_f32(b, f->id, (float)qv_doc_double(d));
        break;
    case PROTOBUF_C_TYPE_ENUM:
        if (t == QV_DOC_STRING)
            write_enum(b, f, qv_doc_str(d));
        break;
    case PROTOBUF_C_TYPE_STRING:
        if (t == QV_DOC_STRING)
            qv_pb_put_str(b, f->id, qv_doc_str(d));
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        write_message(b, f, d);
        break;
    default:
        break;
    }
}

static void write_map(struct qv_buf *b, const ProtobufCFieldDescriptor *map, struct qv_doc object)
{
    const ProtobufCMessageDescriptor *entry = map->descriptor;
    struct qv_doc_iter it;
    struct qv_str key;
    struct qv_doc value;
    qv_doc_iter_init(&it, object);
    while (qv_doc_next(&it, &key, &value)) {
        size_t mark = qv_pb_begin(b, map->id);
        qv_pb_put_str(b, 1, key);
        write_one(b, &entry->fields[1], value);
        qv_pb_end(b, mark);
    }
}

void qv_pb_fields_write(struct qv_buf *b, const ProtobufCMessageDescriptor *desc,
                        struct qv_doc object)
{
    const ProtobufCFieldDescriptor *map = only_map(desc);
    if (map != NULL) {
        write_map(b, map, object);
        return;
    }
    for (unsigned i = 0; i < desc->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &desc->fields[i];
        struct qv_doc value, item;
        if (!qv_doc_find(object, qv_str_of(f->name), &value))
            continue;
        if (f->label != PROTOBUF_C_LABEL_REPEATED) {
            write_one(b, f, value);
            continue;
        }
        if (qv_doc_type(value) != QV_DOC_ARRAY)
            continue;
        struct qv_doc_iter it;
        qv_doc_iter_init(&it, value);
        while (qv_doc_next(&it, NULL, &item))
            write_one(b, f, item);
    }
}
