/* Paths and documents from anywhere: u8 n, n bytes of path, a document. What set and remove give is
 * a valid document again, and set followed by walk finds what was set.
 * covers: src/core/doc_path.c src/core/doc_project.c */
#include "core/doc.h"

#include "base/qv_assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool count_visit(void *ctx, struct qv_doc value)
{
    size_t *n = ctx;
    (void)qv_doc_type(value);
    return ++*n < 1000;
}

static void edit(struct qv_doc root, const struct qv_path *path)
{
    struct qv_errmsg msg;
    struct qv_buf value;
    struct qv_buf out;
    size_t visited = 0;

    qv_buf_init(&value, 0);
    qv_buf_init(&out, 0);
    size_t mark = qv_doc_begin_object(&value);
    qv_doc_put_key(&value, "a", 1);
    qv_doc_put_int(&value, 7);
    qv_doc_put_key(&value, "b", 1);
    qv_doc_put_null(&value);
    qv_doc_end_object(&value, mark, 2);

    size_t walked = qv_path_walk(root, path, count_visit, &visited);
    QV_ASSERT(walked == visited);
    int err = qv_path_set(root, path, (struct qv_doc){value.data, value.len}, &out);
    if (err == 0) {
        err = qv_doc_check(out.data, out.len, &msg);
        QV_ASSERT(err == 0);
    } else {
        QV_ASSERT(err == QV_EINVAL && out.len == 0);
    }
    qv_buf_clear(&out);
    err = qv_path_remove(root, path, &out);
    QV_ASSERT(err == 0 && out.len <= root.n);
    err = qv_doc_check(out.data, out.len, &msg);
    QV_ASSERT(err == 0);
    qv_buf_clear(&out);
    err = qv_path_project(root, path, 1, &out);
    QV_ASSERT(err == 0 && out.len <= root.n);
    err = qv_doc_check(out.data, out.len, &msg);
    QV_ASSERT(err == 0);
    qv_buf_close(&value);
    qv_buf_close(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qv_errmsg msg;
    struct qv_arena a;
    struct qv_path path;
    if (size < 1 || size - 1 < data[0])
        return 0;
    const struct qv_str text = {(const char *)data + 1, data[0]};
    const struct qv_doc root = {data + 1 + data[0], size - 1 - data[0]};
    qv_arena_init(&a, 1 << 20);
    if (qv_path_parse(&a, text, &path, &msg) == 0) {
        QV_ASSERT(path.count >= 1 && path.steps[0].kind == QV_STEP_KEY);
        if (qv_doc_check(root.p, root.n, &msg) == 0 && qv_doc_type(root) == QV_DOC_OBJECT)
            edit(root, &path);
    }
    qv_arena_close(&a);
    return 0;
}
