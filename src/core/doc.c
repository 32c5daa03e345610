/* Documents: readers and builders. Every reader trusts its bytes: they were checked (doc_check.c)
 * or built here. */
#include "core/doc.h"

#include "core/doc_index.h"

#include "base/qv_assert.h"

#include <math.h>

#define CONTAINER_HEAD 9u /* tag, bytes, count */
#define EQUAL_LINEAR_MAX 16u

static uint32_t get_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

int qv_str_compare(struct qv_str a, struct qv_str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n == 0 ? 0 : memcmp(a.p, b.p, n);
    if (c != 0)
        return c;
    return a.n < b.n ? -1 : a.n > b.n;
}

/* Bytes of the value that starts at p. */
static size_t value_bytes(const uint8_t *p)
{
    switch ((enum qv_doc_type)p[0]) {
    case QV_DOC_NULL:
    case QV_DOC_FALSE:
    case QV_DOC_TRUE:
        return 1;
    case QV_DOC_INT:
    case QV_DOC_DOUBLE:
        return 9;
    case QV_DOC_STRING:
    case QV_DOC_ARRAY:
    case QV_DOC_OBJECT:
        return 5 + (size_t)get_u32(p + 1);
    }
    QV_UNREACHABLE();
}

enum qv_doc_type qv_doc_type(struct qv_doc d)
{
    QV_ASSERT(d.p != NULL && d.n > 0);
    return (enum qv_doc_type)d.p[0];
}

bool qv_doc_bool(struct qv_doc d)
{
    enum qv_doc_type t = qv_doc_type(d);
    QV_ASSERT(t == QV_DOC_TRUE || t == QV_DOC_FALSE);
    return t == QV_DOC_TRUE;
}

int64_t qv_doc_int(struct qv_doc d)
{
    int64_t v;
    QV_ASSERT(qv_doc_type(d) == QV_DOC_INT);
    memcpy(&v, d.p + 1, sizeof v);
    return v;
}

double qv_doc_double(struct qv_doc d)
{
    double v;
    if (qv_doc_type(d) == QV_DOC_INT)
        return (double)qv_doc_int(d);
    QV_ASSERT(qv_doc_type(d) == QV_DOC_DOUBLE);
    memcpy(&v, d.p + 1, sizeof v);
    return v;
}

struct qv_str qv_doc_str(struct qv_doc d)
{
    QV_ASSERT(qv_doc_type(d) == QV_DOC_STRING);
    return (struct qv_str){(const char *)d.p + 5, get_u32(d.p + 1)};
}

uint32_t qv_doc_count(struct qv_doc d)
{
    QV_ASSERT(qv_doc_type(d) == QV_DOC_ARRAY || qv_doc_type(d) == QV_DOC_OBJECT);
    QV_ASSERT(d.n >= CONTAINER_HEAD);
    return get_u32(d.p + 5);
}

void qv_doc_iter_init(struct qv_doc_iter *it, struct qv_doc container)
{
    it->left = qv_doc_count(container);
    it->p = container.p + CONTAINER_HEAD;
    it->is_object = container.p[0] == QV_DOC_OBJECT;
}

bool qv_doc_next(struct qv_doc_iter *it, struct qv_str *key, struct qv_doc *out)
{
    if (it->left == 0)
        return false;
    it->left--;
    if (it->is_object) {
        uint32_t n = get_u32(it->p);
        if (key != NULL)
            *key = (struct qv_str){(const char *)it->p + 4, n};
        it->p += 4 + (size_t)n;
    } else if (key != NULL) {
        *key = (struct qv_str){NULL, 0};
    }
    *out = (struct qv_doc){it->p, value_bytes(it->p)};
    it->p += out->n;
    return true;
}

bool qv_doc_find(struct qv_doc object, struct qv_str key, struct qv_doc *out)
{
    struct qv_doc_iter it;
    struct qv_str k;
    QV_ASSERT(qv_doc_type(object) == QV_DOC_OBJECT);
    qv_doc_iter_init(&it, object);
    while (qv_doc_next(&it, &k, out)) {
        if (qv_str_equal(k, key))
            return true;
    }
    return false;
}

/* ---- equality ---- */

static bool arrays_equal(struct qv_doc a, struct qv_doc b)
{
    struct qv_doc_iter ia;
    struct qv_doc_iter ib;
    struct qv_doc va;
    struct qv_doc vb;
    qv_doc_iter_init(&ia, a);
    qv_doc_iter_init(&ib, b);
    while (qv_doc_next(&ia, NULL, &va) && qv_doc_next(&ib, NULL, &vb)) {
        if (!qv_doc_equal(va, vb))
            return false;
    }
    return true;
}

static bool objects_equal(struct qv_doc a, struct qv_doc b)
{
    struct qv_doc_index index = {0};
    struct qv_doc_iter ia;
    struct qv_doc_iter ib;
    struct qv_str ka;
    struct qv_str kb;
    struct qv_doc va;
    struct qv_doc vb;
    bool equal = true;
    /* A large object in another order is looked up in an index; without memory for one, walked. */
    const bool large = qv_doc_count(b) > EQUAL_LINEAR_MAX;

    qv_doc_iter_init(&ia, a);
    qv_doc_iter_init(&ib, b);
    while (equal && qv_doc_next(&ia, &ka, &va) && qv_doc_next(&ib, &kb, &vb)) {
        if (!qv_str_equal(ka, kb)) { /* not in the same order */
            if (large && index.entries == NULL && qv_doc_index_init(&index, b) != 0)
                index.entries = NULL;
            equal = index.entries != NULL ? qv_doc_index_find(&index, ka, &vb)
                                          : qv_doc_find(b, ka, &vb);
        }
        equal = equal && qv_doc_equal(va, vb);
    }
    qv_doc_index_close(&index);
    return equal;
}

bool qv_doc_equal(struct qv_doc a, struct qv_doc b)
{
    enum qv_doc_type t = qv_doc_type(a);
    if (t != qv_doc_type(b))
        return false;
    switch (t) {
    case QV_DOC_NULL:
    case QV_DOC_FALSE:
    case QV_DOC_TRUE:
        return true;
    case QV_DOC_INT:
        return qv_doc_int(a) == qv_doc_int(b);
    case QV_DOC_DOUBLE:
        return qv_doc_double(a) == qv_doc_double(b);
    case QV_DOC_STRING:
        return qv_str_equal(qv_doc_str(a), qv_doc_str(b));
    case QV_DOC_ARRAY:
        return qv_doc_count(a) == qv_doc_count(b) && arrays_equal(a, b);
    case QV_DOC_OBJECT:
        return qv_doc_count(a) == qv_doc_count(b) && objects_equal(a, b);
    }
    QV_UNREACHABLE();
}

/* ---- builders ---- */

void qv_doc_put_null(struct qv_buf *b)
{
    qv_buf_u8(b, QV_DOC_NULL);
}

void qv_doc_put_bool(struct qv_buf *b, bool v)
{
    qv_buf_u8(b, v ? QV_DOC_TRUE : QV_DOC_FALSE);
}

void qv_doc_put_int(struct qv_buf *b, int64_t v)
{
    qv_buf_u8(b, QV_DOC_INT);
    qv_buf_append(b, &v, sizeof v);
}

void qv_doc_put_double(struct qv_buf *b, double v)
{
    if (!isfinite(v)) {
        qv_doc_put_null(b);
        return;
    }
    qv_buf_u8(b, QV_DOC_DOUBLE);
    qv_buf_append(b, &v, sizeof v);
}

static void put_text(struct qv_buf *b, const char *p, size_t n)
{
    if (n > UINT32_MAX) {
        b->failed = true;
        return;
    }
    qv_buf_u32(b, (uint32_t)n);
    qv_buf_append(b, p, n);
}

void qv_doc_put_str(struct qv_buf *b, const char *p, size_t n)
{
    qv_buf_u8(b, QV_DOC_STRING);
    put_text(b, p, n);
}

void qv_doc_put_key(struct qv_buf *b, const char *p, size_t n)
{
    put_text(b, p, n);
}

void qv_doc_put_doc(struct qv_buf *b, struct qv_doc v)
{
    QV_ASSERT(v.p != NULL && v.n > 0);
    qv_buf_append(b, v.p, v.n);
}

static size_t begin_container(struct qv_buf *b, enum qv_doc_type type)
{
    static const uint8_t zeros[CONTAINER_HEAD - 1];
    size_t mark = b->len;
    qv_buf_u8(b, (uint8_t)type);
    qv_buf_append(b, zeros, sizeof zeros);
    return mark;
}

static void end_container(struct qv_buf *b, enum qv_doc_type type, size_t mark, uint32_t count)
{
    if (b->failed)
        return;
    QV_ASSERT(mark + CONTAINER_HEAD <= b->len && b->data[mark] == type);
    size_t bytes = b->len - mark - 5;
    if (bytes > UINT32_MAX) {
        b->failed = true;
        return;
    }
    uint32_t n = (uint32_t)bytes;
    memcpy(b->data + mark + 1, &n, sizeof n);
    memcpy(b->data + mark + 5, &count, sizeof count);
}

size_t qv_doc_begin_array(struct qv_buf *b)
{
    return begin_container(b, QV_DOC_ARRAY);
}

void qv_doc_end_array(struct qv_buf *b, size_t mark, uint32_t count)
{
    end_container(b, QV_DOC_ARRAY, mark, count);
}

size_t qv_doc_begin_object(struct qv_buf *b)
{
    return begin_container(b, QV_DOC_OBJECT);
}

void qv_doc_end_object(struct qv_buf *b, size_t mark, uint32_t count)
{
    end_container(b, QV_DOC_OBJECT, mark, count);
}
