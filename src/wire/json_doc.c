/* JSON <-> documents. A document is built in the scanner's scratch buffer, then copied to the arena
 * at its exact size: containers carry their byte length, so it is known only when they end. */
#include "wire/json_doc.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "core/limits.h"
#include "wire/json_write.h"

#include <stdlib.h>

#define KEYS_ON_STACK 16u

/* A key and its value: bytes [at, end) of the scratch buffer. */
struct member {
    struct qv_str key;
    size_t at;
    size_t end;
    bool superseded;
};

static int compare_members(const void *a, const void *b)
{
    const struct member *x = a;
    const struct member *y = b;
    int c = qv_str_compare(x->key, y->key);
    return c != 0 ? c : (x->at > y->at) - (x->at < y->at);
}

static int compare_places(const void *a, const void *b)
{
    const struct member *x = a;
    const struct member *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

/* Takes out every member but the last of each key. Keys point into the buffer; bytes move down in
 * order, so each key is read before it is overwritten. Returns how many are left. */
static uint32_t drop_superseded(struct qv_buf *b, struct member *m, uint32_t count)
{
    qsort(m, count, sizeof *m, compare_members);
    for (uint32_t i = 0; i + 1 < count; i++)
        m[i].superseded = qv_str_equal(m[i].key, m[i + 1].key);
    qsort(m, count, sizeof *m, compare_places);
    uint32_t kept = 0;
    size_t to = m[0].at;
    for (uint32_t i = 0; i < count; i++) {
        if (m[i].superseded)
            continue;
        size_t n = m[i].end - m[i].at;
        memmove(b->data + to, b->data + m[i].at, n);
        to += n;
        kept++;
    }
    b->len = to;
    return kept;
}

/* The object that began at mark has `count` members; equal keys among them go. Its new count. */
static uint32_t keep_last(struct qv_json *j, size_t mark, uint32_t count)
{
    struct member few[KEYS_ON_STACK];
    struct member *m = few;
    QV_ASSERT(count >= 2);
    if (j->err != 0 || j->doc.failed)
        return count;
    if (count > KEYS_ON_STACK) {
        m = qv_mem_try_calloc(count, sizeof *m);
        if (m == NULL) {
            qv_json_fail_full(j);
            return count;
        }
    }
    const uint8_t *data = j->doc.data;
    struct qv_doc_iter it = {
        .p = data + mark + QV_DOC_EMPTY_OBJECT_BYTES, .left = count, .is_object = true};
    struct qv_doc value;
    for (uint32_t i = 0; i < count; i++) {
        m[i].at = (size_t)(it.p - data);
        (void)qv_doc_next(&it, &m[i].key, &value);
        m[i].end = (size_t)(it.p - data);
        m[i].superseded = false;
    }
    QV_ASSERT(m[count - 1].end == j->doc.len);
    bool twice = count > KEYS_ON_STACK; /* sorting tells */
    for (uint32_t i = 1; i < count && !twice; i++) {
        for (uint32_t k = 0; k < i && !twice; k++)
            twice = qv_str_equal(m[i].key, m[k].key);
    }
    if (twice)
        count = drop_superseded(&j->doc, m, count);
    if (m != few)
        qv_mem_free(m);
    return count;
}

static void build_value(struct qv_json *j, uint32_t depth);

static void build_object(struct qv_json *j, uint32_t depth)
{
    struct qv_str key;
    struct qv_str last = {"", 0};
    bool ascending = true; /* then no key stands twice */
    uint32_t count = 0;
    size_t mark = qv_doc_begin_object(&j->doc);
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        ascending = ascending && (count == 0 || qv_str_compare(last, key) < 0);
        last = key;
        count++;
        qv_doc_put_key(&j->doc, key.p, key.n);
        build_value(j, depth + 1);
    }
    if (!ascending)
        count = keep_last(j, mark, count);
    qv_doc_end_object(&j->doc, mark, count);
}

static void build_array(struct qv_json *j, uint32_t depth)
{
    uint32_t count = 0;
    size_t mark = qv_doc_begin_array(&j->doc);
    qv_json_begin_array(j);
    while (qv_json_next_item(j)) {
        build_value(j, depth + 1);
        count++;
    }
    qv_doc_end_array(&j->doc, mark, count);
}

static void build_number(struct qv_json *j)
{
    struct qv_json_number n = qv_json_number(j);
    if (n.is_int)
        qv_doc_put_int(&j->doc, n.i);
    else
        qv_doc_put_double(&j->doc, n.d);
}

static void build_value(struct qv_json *j, uint32_t depth)
{
    struct qv_str s;
    enum qv_json_type type = qv_json_peek(j);
    bool nests = type == QV_JSON_ARRAY || type == QV_JSON_OBJECT;
    if (nests && depth >= QV_DOC_DEPTH_MAX) {
        qv_json_fail_at(j, NULL, "recursion limit exceeded");
        return;
    }
    if (j->doc.failed) {
        qv_json_fail(j, QV_ETOOBIG, "a payload of more than %u bytes", QV_PAYLOAD_BYTES_MAX);
        return;
    }
    switch (type) {
    case QV_JSON_NONE:
        qv_json_skip(j); /* says what is wrong */
        break;
    case QV_JSON_NULL:
        (void)qv_json_null(j);
        qv_doc_put_null(&j->doc);
        break;
    case QV_JSON_BOOL:
        qv_doc_put_bool(&j->doc, qv_json_bool(j));
        break;
    case QV_JSON_NUMBER:
        build_number(j);
        break;
    case QV_JSON_STRING:
        s = qv_json_string(j);
        qv_doc_put_str(&j->doc, s.p, s.n);
        break;
    case QV_JSON_ARRAY:
        build_array(j, depth);
        break;
    case QV_JSON_OBJECT:
        build_object(j, depth);
        break;
    }
}

struct qv_doc qv_json_doc(struct qv_json *j)
{
    const struct qv_doc none = {NULL, 0};
    qv_buf_clear(&j->doc);
    build_value(j, 0);
    if (j->err == 0 && j->doc.failed)
        qv_json_fail(j, QV_ETOOBIG, "a payload of more than %u bytes", QV_PAYLOAD_BYTES_MAX);
    if (j->err != 0)
        return none;
    struct qv_doc out = {qv_arena_dup(j->arena, j->doc.data, j->doc.len), j->doc.len};
    if (out.p == NULL) {
        qv_json_fail_full(j);
        return none;
    }
    return out;
}

struct qv_doc qv_json_doc_object(struct qv_json *j, const char *what)
{
    if (qv_json_peek(j) != QV_JSON_OBJECT) {
        qv_json_fail_type(j, what);
        return (struct qv_doc){NULL, 0};
    }
    return qv_json_doc(j);
}

int qv_json_read_doc(struct qv_bytes text, struct qv_arena *a, struct qv_doc *out,
                     struct qv_errmsg *msg)
{
    struct qv_json j;
    qv_json_init(&j, text, a, msg);
    *out = qv_json_doc(&j);
    int err = qv_json_finish(&j);
    if (err != 0)
        *out = (struct qv_doc){NULL, 0};
    return err;
}

static void write_members(struct qv_buf *b, struct qv_doc d, bool is_object)
{
    struct qv_doc_iter it;
    struct qv_str key;
    struct qv_doc value;
    bool first = true;
    qv_doc_iter_init(&it, d);
    while (qv_doc_next(&it, &key, &value)) {
        if (!first)
            qv_buf_append(b, ",", 1);
        first = false;
        if (is_object) {
            qv_json_write_str(b, key);
            qv_buf_append(b, ":", 1);
        }
        qv_json_write_doc(b, value);
    }
}

void qv_json_write_doc(struct qv_buf *b, struct qv_doc d)
{
    switch (qv_doc_type(d)) {
    case QV_DOC_NULL:
        qv_buf_append(b, "null", 4);
        break;
    case QV_DOC_FALSE:
    case QV_DOC_TRUE:
        qv_json_write_bool(b, qv_doc_bool(d));
        break;
    case QV_DOC_INT:
        qv_json_write_i64(b, qv_doc_int(d));
        break;
    case QV_DOC_DOUBLE:
        qv_json_write_f64(b, qv_doc_double(d));
        break;
    case QV_DOC_STRING:
        qv_json_write_str(b, qv_doc_str(d));
        break;
    case QV_DOC_ARRAY:
        qv_buf_append(b, "[", 1);
        write_members(b, d, false);
        qv_buf_append(b, "]", 1);
        break;
    case QV_DOC_OBJECT:
        qv_buf_append(b, "{", 1);
        write_members(b, d, true);
        qv_buf_append(b, "}", 1);
        break;
    }
}
