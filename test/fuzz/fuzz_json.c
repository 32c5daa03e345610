/* JSON from anywhere: what is read as a document is a valid document, and written and read again it
 * is the same bytes; what is read as an array of floats comes back bit for bit.
 * covers: src/wire/json_[dnsw]*.c src/wire/json_float.c
 * options: -max_len=8192 */
#include "wire/json_doc.h"
#include "wire/json_write.h"

#include "base/qv_assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void as_document(struct qv_bytes text)
{
    struct qv_arena a;
    struct qv_doc d;
    struct qv_doc again;
    struct qv_errmsg msg;
    struct qv_buf b;
    qv_arena_init(&a, 64 << 20);
    qv_buf_init(&b, 0);
    if (qv_json_read_doc(text, &a, &d, &msg) == 0) {
        QV_ASSERT(qv_doc_check(d.p, d.n, &msg) == 0);
        qv_json_write_doc(&b, d);
        QV_ASSERT(qv_json_read_doc((struct qv_bytes){b.data, b.len}, &a, &again, &msg) == 0);
        QV_ASSERT(again.n == d.n && memcmp(again.p, d.p, d.n) == 0);
    } else {
        QV_ASSERT(msg.text[0] != '\0');
    }
    qv_buf_close(&b);
    qv_arena_close(&a);
}

static void as_floats(struct qv_bytes text)
{
    struct qv_arena a;
    struct qv_json j;
    struct qv_errmsg msg;
    struct qv_buf b;
    uint32_t n;
    uint32_t n_again;
    qv_arena_init(&a, 64 << 20);
    qv_buf_init(&b, 0);
    qv_json_init(&j, text, &a, &msg);
    const float *v = qv_json_floats(&j, 4096, &n);
    if (qv_json_finish(&j) == 0) {
        qv_json_write_floats(&b, v, n);
        qv_json_init(&j, (struct qv_bytes){b.data, b.len}, &a, &msg);
        const float *again = qv_json_floats(&j, 4096, &n_again);
        QV_ASSERT(qv_json_finish(&j) == 0 && n_again == n);
        QV_ASSERT(n == 0 || memcmp(v, again, n * sizeof *v) == 0);
    }
    qv_buf_close(&b);
    qv_arena_close(&a);
}

/* Every reader of a scalar, on the first value. */
static void as_scalars(struct qv_bytes text)
{
    struct qv_arena a;
    struct qv_errmsg msg;
    qv_arena_init(&a, 1 << 20);
    for (int kind = 0; kind < 7; kind++) {
        struct qv_json j;
        qv_json_init(&j, text, &a, &msg);
        switch (kind) {
        case 0:
            (void)qv_json_u64(&j);
            break;
        case 1:
            (void)qv_json_u32(&j);
            break;
        case 2:
            (void)qv_json_f64(&j);
            break;
        case 3:
            (void)qv_json_f32(&j);
            break;
        case 4:
            (void)qv_json_bool(&j);
            break;
        case 5:
            (void)qv_json_string(&j);
            break;
        default:
            qv_json_skip(&j);
            break;
        }
        (void)qv_json_finish(&j);
    }
    qv_arena_close(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qv_bytes text = {data, size};
    as_document(text);
    as_floats(text);
    as_scalars(text);
    return 0;
}
