/* Documents from anywhere: what qv_doc_check accepts can be walked to its last byte, is equal to
 * itself, and built again gives the same bytes.
 * covers: src/core/doc_check.c src/core/doc.c */
#include "core/doc.h"

#include "base/qv_assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void rebuild(struct qv_buf *b, struct qv_doc d)
{
    struct qv_doc_iter it;
    struct qv_doc value;
    struct qv_doc found;
    struct qv_str key;
    uint32_t n = 0;
    size_t mark;

    switch (qv_doc_type(d)) {
    case QV_DOC_NULL:
        qv_doc_put_null(b);
        break;
    case QV_DOC_FALSE:
    case QV_DOC_TRUE:
        qv_doc_put_bool(b, qv_doc_bool(d));
        break;
    case QV_DOC_INT:
        qv_doc_put_int(b, qv_doc_int(d));
        break;
    case QV_DOC_DOUBLE:
        qv_doc_put_double(b, qv_doc_double(d));
        break;
    case QV_DOC_STRING:
        key = qv_doc_str(d);
        qv_doc_put_str(b, key.p, key.n);
        break;
    case QV_DOC_ARRAY:
        mark = qv_doc_begin_array(b);
        qv_doc_iter_init(&it, d);
        for (; qv_doc_next(&it, NULL, &value); n++)
            rebuild(b, value);
        qv_doc_end_array(b, mark, n);
        break;
    case QV_DOC_OBJECT:
        mark = qv_doc_begin_object(b);
        qv_doc_iter_init(&it, d);
        for (; qv_doc_next(&it, &key, &value); n++) {
            if (n < 8) {
                bool there = qv_doc_find(d, key, &found);
                QV_ASSERT(there && found.p == value.p && found.n == value.n);
            }
            qv_doc_put_key(b, key.p, key.n);
            rebuild(b, value);
        }
        qv_doc_end_object(b, mark, n);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qv_errmsg msg;
    struct qv_buf b;
    if (qv_doc_check(data, size, &msg) != 0)
        return 0;
    const struct qv_doc d = {data, size};
    qv_buf_init(&b, 0);
    rebuild(&b, d);
    QV_ASSERT(b.len == size && memcmp(b.data, data, size) == 0);
    QV_ASSERT(qv_doc_equal(d, (struct qv_doc){b.data, b.len}));
    if (qv_doc_check_member(data, size, &msg) == 0) { /* "first" and "last" around it, turned */
        struct qv_buf pair[2];
        for (int i = 0; i < 2; i++) {
            qv_buf_init(&pair[i], 0);
            size_t mark = qv_doc_begin_object(&pair[i]);
            for (int k = 0; k < 2; k++) {
                qv_doc_put_key(&pair[i], k == i ? "a" : "b", 1);
                if (k == i)
                    qv_doc_put_doc(&pair[i], d);
                else
                    qv_doc_put_null(&pair[i]);
            }
            qv_doc_end_object(&pair[i], mark, 2);
        }
        QV_ASSERT(qv_doc_equal((struct qv_doc){pair[0].data, pair[0].len},
                               (struct qv_doc){pair[1].data, pair[1].len}));
        qv_buf_close(&pair[0]);
        qv_buf_close(&pair[1]);
    }
    qv_buf_close(&b);
    return 0;
}
