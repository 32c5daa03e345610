#include "wire/pb_value.h"

#include "base/qv_assert.h"
#include "base/utf8.h"
#include "core/limits.h"
#include "wire/pb_guard.h"
#include "wire/pb_out.h"

#include <math.h>
#include <stdlib.h>

/* ---- maps ---- */

#define PAIRWISE_MAX 16u

static int compare_entries(const void *a, const void *b)
{
    const struct qv_pb_entry *x = *(struct qv_pb_entry *const *)a;
    const struct qv_pb_entry *y = *(struct qv_pb_entry *const *)b;
    int c = qv_str_compare(x->key, y->key);
    return c != 0 ? c : (x > y) - (x < y);
}

int qv_pb_entries_distinct(struct qv_pb_ctx *c, struct qv_pb_entry *e, size_t n, uint32_t *kept)
{
    size_t dropped = 0;
    QV_ASSERT(n <= UINT32_MAX);
    if (n <= PAIRWISE_MAX) {
        for (size_t i = 0; i < n; i++) {
            e[i].dropped = false;
            for (size_t j = i + 1; j < n && !e[i].dropped; j++)
                e[i].dropped = qv_str_equal(e[i].key, e[j].key);
            dropped += e[i].dropped;
        }
        *kept = (uint32_t)(n - dropped);
        return 0;
    }
    struct qv_pb_entry **order = QV_ARENA_ARRAY(c->arena, struct qv_pb_entry *, n);
    if (order == NULL)
        return qv_fail(c->msg, QV_ETOOBIG, "request needs too much memory");
    for (size_t i = 0; i < n; i++)
        order[i] = &e[i];
    qsort(order, n, sizeof(struct qv_pb_entry *), compare_entries);
    for (size_t i = 0; i < n; i++) {
        order[i]->dropped = i + 1 < n && qv_str_equal(order[i]->key, order[i + 1]->key);
        dropped += order[i]->dropped;
    }
    *kept = (uint32_t)(n - dropped);
    return 0;
}

/* Member number 1 or 2 of an entry; both are pointers in every entry message. */
static void *entry_member(const ProtobufCMessage *m, unsigned index)
{
    QV_ASSERT(m->descriptor->n_fields == 2);
    void *p;
    memcpy(&p, (const char *)m + m->descriptor->fields[index].offset, sizeof p);
    return p;
}

int qv_pb_entries_read(struct qv_pb_ctx *c, ProtobufCMessage *const *map, size_t n,
                       struct qv_pb_entry **out, uint32_t *kept)
{
    struct qv_pb_entry *e = QV_ARENA_ARRAY(c->arena, struct qv_pb_entry, n);
    if (e == NULL)
        return qv_fail(c->msg, QV_ETOOBIG, "request needs too much memory");
    for (size_t i = 0; i < n; i++) {
        const char *key = entry_member(map[i], 0);
        e[i].key = key == NULL ? (struct qv_str){"", 0} : qv_str_of(key);
        e[i].value = entry_member(map[i], 1);
    }
    *out = e;
    return qv_pb_entries_distinct(c, e, n, kept);
}

int qv_pb_take_doc(struct qv_pb_ctx *c, size_t from, struct qv_doc *out)
{
    if (c->scratch.failed)
        return qv_fail(c->msg, QV_ETOOBIG, "payload is larger than %u bytes", QV_PAYLOAD_BYTES_MAX);
    QV_ASSERT(from <= c->scratch.len);
    out->n = c->scratch.len - from;
    c->scratch.len = from;
    if (out->n > QV_PAYLOAD_BYTES_MAX)
        return qv_fail(c->msg, QV_ETOOBIG, "payload is larger than %u bytes", QV_PAYLOAD_BYTES_MAX);
    out->p = qv_arena_dup(c->arena, c->scratch.data + from, out->n);
    if (out->p == NULL)
        return qv_fail(c->msg, QV_ETOOBIG, "request needs too much memory");
    return 0;
}

/* ---- unpacked messages -> documents; depth is bounded by the guard ---- */

static int put_value(struct qv_pb_ctx *c, const QvPb__Value *v);

static int put_map(struct qv_pb_ctx *c, ProtobufCMessage *const *map, size_t n)
{
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
        err = put_value(c, (const QvPb__Value *)e[i].value);
    }
    qv_doc_end_object(&c->scratch, mark, kept);
    return err;
}

static int put_list(struct qv_pb_ctx *c, const QvPb__ListValue *list)
{
    size_t n = list == NULL ? 0 : list->n_values;
    int err = 0;
    size_t mark = qv_doc_begin_array(&c->scratch);
    for (size_t i = 0; i < n && err == 0; i++)
        err = put_value(c, list->values[i]);
    qv_doc_end_array(&c->scratch, mark, (uint32_t)n);
    return err;
}

static int put_value(struct qv_pb_ctx *c, const QvPb__Value *v)
{
    struct qv_buf *b = &c->scratch;
    switch (v == NULL ? QV_PB__VALUE__KIND__NOT_SET : v->kind_case) {
    case QV_PB__VALUE__KIND_DOUBLE_VALUE:
        if (!isfinite(v->double_value))
            return qv_fail(c->msg, QV_EINVAL, "payload holds a number that is not finite");
        qv_doc_put_double(b, v->double_value);
        return 0;
    case QV_PB__VALUE__KIND_INTEGER_VALUE:
        qv_doc_put_int(b, v->integer_value);
        return 0;
    case QV_PB__VALUE__KIND_STRING_VALUE:
        qv_doc_put_str(b, v->string_value.len == 0 ? "" : (const char *)v->string_value.data,
                       v->string_value.len);
        return 0;
    case QV_PB__VALUE__KIND_BOOL_VALUE:
        qv_doc_put_bool(b, v->bool_value != 0);
        return 0;
    case QV_PB__VALUE__KIND_STRUCT_VALUE:
        return put_map(c, (ProtobufCMessage *const *)v->struct_value->fields,
                       v->struct_value->n_fields);
    case QV_PB__VALUE__KIND_LIST_VALUE:
        return put_list(c, v->list_value);
    default:
        qv_doc_put_null(b);
        return 0;
    }
}

int qv_pb_map_doc(struct qv_pb_ctx *c, ProtobufCMessage *const *map, size_t n, struct qv_doc *out)
{
    *out = (struct qv_doc){NULL, 0};
    if (n == 0)
        return 0;
    size_t from = c->scratch.len;
    int err = put_map(c, map, n);
    return err != 0 ? err : qv_pb_take_doc(c, from, out);
}

/* ---- the wire's bytes -> documents ---- */

#define UNUSUAL 1
#define SCAN_ENTRIES_MAX 64u /* of one nested object; a larger one goes the general way */

int qv_pb_entry_scan(struct qv_bytes entry, struct qv_pb_entry *out)
{
    struct qv_rd r = qv_pb_reader(entry);
    unsigned seen = 0;
    *out = (struct qv_pb_entry){.key = {"", 0}};
    while (qv_rd_left(&r) > 0) {
        uint8_t tag = *r.p++;
        if (tag != (1 << 3 | QV_PB_LEN) && tag != (2 << 3 | QV_PB_LEN))
            return UNUSUAL;
        struct qv_bytes v = qv_pb_len(&r);
        unsigned bit = tag >> 3;
        if (r.failed || (seen & bit) != 0)
            return UNUSUAL;
        seen |= bit;
        if (bit == 1)
            out->key = (struct qv_str){(const char *)v.p, v.n};
        else
            out->raw = v;
    }
    if (out->key.n > 0 && memchr(out->key.p, 0, out->key.n) != NULL)
        return UNUSUAL;
    return qv_utf8_valid(out->key.p, out->key.n) ? 0 : UNUSUAL;
}

int qv_pb_object_scan(struct qv_pb_ctx *c, struct qv_pb_entry *e, size_t n, unsigned depth)
{
    uint32_t kept;
    int err = qv_pb_entries_distinct(c, e, n, &kept);
    if (err != 0 || kept != n)
        return err != 0 ? err : UNUSUAL; /* equal keys: what is dropped must be looked at too */
    size_t mark = qv_doc_begin_object(&c->scratch);
    for (size_t i = 0; i < n; i++) {
        qv_doc_put_key(&c->scratch, e[i].key.p, e[i].key.n);
        err = qv_pb_value_scan(c, e[i].raw, depth);
        if (err != 0)
            return err;
    }
    qv_doc_end_object(&c->scratch, mark, kept);
    return 0;
}

static int scan_struct(struct qv_pb_ctx *c, struct qv_bytes in, unsigned depth)
{
    struct qv_pb_entry e[SCAN_ENTRIES_MAX];
    size_t n = 0;
    struct qv_rd r = qv_pb_reader(in);
    while (qv_rd_left(&r) > 0) {
        if (*r.p++ != (1 << 3 | QV_PB_LEN) || n == SCAN_ENTRIES_MAX)
            return UNUSUAL;
        struct qv_bytes v = qv_pb_len(&r);
        if (r.failed || qv_pb_entry_scan(v, &e[n++]) != 0)
            return UNUSUAL;
    }
    return qv_pb_object_scan(c, e, n, depth + 2);
}

static int scan_list(struct qv_pb_ctx *c, struct qv_bytes in, unsigned depth)
{
    struct qv_rd r = qv_pb_reader(in);
    uint32_t n = 0;
    size_t mark = qv_doc_begin_array(&c->scratch);
    while (qv_rd_left(&r) > 0) {
        if (*r.p++ != (1 << 3 | QV_PB_LEN))
            return UNUSUAL;
        struct qv_bytes v = qv_pb_len(&r);
        int err = r.failed ? UNUSUAL : qv_pb_value_scan(c, v, depth + 1);
        if (err != 0)
            return err;
        n++;
    }
    qv_doc_end_array(&c->scratch, mark, n);
    return 0;
}

static int scan_double(struct qv_pb_ctx *c, struct qv_rd *r)
{
    double v;
    uint64_t bits = qv_rd_u64(r);
    memcpy(&v, &bits, sizeof v);
    if (r->failed || !isfinite(v))
        return UNUSUAL;
    qv_doc_put_double(&c->scratch, v);
    return 0;
}

static int scan_varint(struct qv_pb_ctx *c, struct qv_rd *r, unsigned kind)
{
    uint64_t v = qv_pb_varint(r);
    if (r->failed)
        return UNUSUAL;
    if (kind == 1)
        qv_doc_put_null(&c->scratch);
    else if (kind == 3)
        qv_doc_put_int(&c->scratch, (int64_t)v);
    else
        qv_doc_put_bool(&c->scratch, v != 0);
    return 0;
}

static int scan_len(struct qv_pb_ctx *c, struct qv_rd *r, unsigned kind, unsigned depth)
{
    struct qv_bytes v = qv_pb_len(r);
    if (r->failed)
        return UNUSUAL;
    if (kind == 6)
        return scan_struct(c, v, depth + 1);
    if (kind == 7)
        return scan_list(c, v, depth + 1);
    if (!qv_utf8_valid(v.p, v.n))
        return UNUSUAL;
    qv_doc_put_str(&c->scratch, (const char *)v.p, v.n);
    return 0;
}

/* One kind and nothing else: what every encoder writes. */
static int scan_kind(struct qv_pb_ctx *c, struct qv_rd *r, unsigned depth)
{
    unsigned tag = *r->p++;
    switch (tag) {
    case 1 << 3 | QV_PB_VARINT:
    case 3 << 3 | QV_PB_VARINT:
    case 5 << 3 | QV_PB_VARINT:
        return scan_varint(c, r, tag >> 3);
    case 2 << 3 | QV_PB_FIXED64:
        return scan_double(c, r);
    case 4 << 3 | QV_PB_LEN:
    case 6 << 3 | QV_PB_LEN:
    case 7 << 3 | QV_PB_LEN:
        return scan_len(c, r, tag >> 3, depth);
    default:
        return UNUSUAL;
    }
}

int qv_pb_value_scan(struct qv_pb_ctx *c, struct qv_bytes value, unsigned depth)
{
    struct qv_rd r = qv_pb_reader(value);
    if (depth > QV_PB_DEPTH_MAX)
        return UNUSUAL;
    if (value.n == 0) {
        qv_doc_put_null(&c->scratch);
        return 0;
    }
    size_t from = c->scratch.len;
    int err = scan_kind(c, &r, depth);
    if (err == 0 && qv_rd_left(&r) > 0)
        err = UNUSUAL;
    if (err != 0)
        c->scratch.len = from;
    return err;
}

/* ---- documents -> the wire ---- */

static void write_list(struct qv_buf *b, struct qv_doc array)
{
    struct qv_doc_iter it;
    struct qv_doc item;
    qv_doc_iter_init(&it, array);
    while (qv_doc_next(&it, NULL, &item)) {
        size_t mark = qv_pb_begin(b, 1);
        qv_pb_value_write(b, item);
        qv_pb_end(b, mark);
    }
}

void qv_pb_map_write(struct qv_buf *b, uint32_t number, struct qv_doc object)
{
    struct qv_doc_iter it;
    struct qv_str key;
    struct qv_doc value;
    qv_doc_iter_init(&it, object);
    while (qv_doc_next(&it, &key, &value)) {
        size_t entry = qv_pb_begin(b, number);
        qv_pb_put_str(b, 1, key);
        size_t mark = qv_pb_begin(b, 2);
        qv_pb_value_write(b, value);
        qv_pb_end(b, mark);
        qv_pb_end(b, entry);
    }
}

void qv_pb_value_write(struct qv_buf *b, struct qv_doc d)
{
    size_t mark;
    switch (qv_doc_type(d)) {
    case QV_DOC_NULL:
        qv_pb_put_u64(b, 1, 0);
        break;
    case QV_DOC_FALSE:
    case QV_DOC_TRUE:
        qv_pb_put_bool(b, 5, qv_doc_bool(d));
        break;
    case QV_DOC_INT:
        qv_pb_put_u64(b, 3, (uint64_t)qv_doc_int(d));
        break;
    case QV_DOC_DOUBLE:
        qv_pb_put_f64(b, 2, qv_doc_double(d));
        break;
    case QV_DOC_STRING:
        qv_pb_put_str(b, 4, qv_doc_str(d));
        break;
    case QV_DOC_ARRAY:
        mark = qv_pb_begin(b, 7);
        write_list(b, d);
        qv_pb_end(b, mark);
        break;
    case QV_DOC_OBJECT:
        mark = qv_pb_begin(b, 6);
        qv_pb_map_write(b, 1, d);
        qv_pb_end(b, mark);
        break;
    }
}
