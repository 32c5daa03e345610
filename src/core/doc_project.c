/* The part of a document that a set of paths reaches: what with_payload's include asks for. */
#include "core/doc.h"

#include "base/mem.h"
#include "base/qv_assert.h"

/* Paths that are still of interest here, each at its next step. */
struct route {
    const struct qv_path_step *next;
    const struct qv_path_step *end;
};

struct wanted {
    struct route *routes;
    uint32_t count;
};

static bool project(struct qv_doc d, const struct wanted *w, unsigned depth, struct qv_buf *out);

static int wanted_init(struct wanted *w, uint32_t room)
{
    w->count = 0;
    w->routes = qv_mem_try_calloc(room, sizeof *w->routes);
    return w->routes == NULL ? QV_ENOMEM : 0;
}

static void wanted_close(struct wanted *w)
{
    qv_mem_free(w->routes);
}

/* Those of w whose next step leads to this child; *whole when one of them ends with it. */
static void follow(const struct wanted *w, const struct qv_str *key, uint32_t index,
                   struct wanted *child, bool *whole)
{
    child->count = 0;
    *whole = false;
    for (uint32_t i = 0; i < w->count; i++) {
        const struct qv_path_step *step = w->routes[i].next;
        const struct qv_path_step *end = w->routes[i].end;
        bool leads = key != NULL ? step->kind == QV_STEP_KEY && qv_str_equal(step->key, *key)
                                 : step->kind == QV_STEP_ALL ||
                                       (step->kind == QV_STEP_INDEX && step->index == index);
        if (!leads)
            continue;
        if (step + 1 == end || (step + 2 == end && step[1].kind == QV_STEP_ALL))
            *whole = true;
        child->routes[child->count++] = (struct route){step + 1, end};
    }
}

static bool project_children(struct qv_doc d, const struct wanted *w, unsigned depth,
                             struct qv_buf *out)
{
    struct wanted child;
    struct qv_doc_iter it;
    struct qv_str key;
    struct qv_doc value;
    bool object = qv_doc_type(d) == QV_DOC_OBJECT;
    if (wanted_init(&child, w->count) != 0) {
        out->failed = true;
        wanted_close(&child);
        return false;
    }
    size_t start = out->len;
    size_t mark = object ? qv_doc_begin_object(out) : qv_doc_begin_array(out);
    uint32_t kept = 0;
    uint32_t index = 0;
    qv_doc_iter_init(&it, d);
    while (qv_doc_next(&it, &key, &value)) {
        bool whole;
        size_t before = out->len;
        follow(w, object ? &key : NULL, index++, &child, &whole);
        if (child.count == 0)
            continue;
        if (object)
            qv_doc_put_key(out, key.p, key.n);
        if (whole)
            qv_doc_put_doc(out, value);
        else if (!project(value, &child, depth + 1, out)) {
            out->len = before;
            continue;
        }
        kept++;
    }
    if (object)
        qv_doc_end_object(out, mark, kept);
    else
        qv_doc_end_array(out, mark, kept);
    wanted_close(&child);
    if (kept == 0)
        out->len = start;
    return kept > 0;
}

/* false: nothing of it is reached, nothing was written. */
static bool project(struct qv_doc d, const struct wanted *w, unsigned depth, struct qv_buf *out)
{
    enum qv_doc_type type = qv_doc_type(d);
    QV_ASSERT(depth <= QV_DOC_DEPTH_MAX);
    return (type == QV_DOC_OBJECT || type == QV_DOC_ARRAY) && project_children(d, w, depth, out);
}

int qv_path_project(struct qv_doc root, const struct qv_path *paths, uint32_t count,
                    struct qv_buf *out)
{
    struct wanted w;
    int err = wanted_init(&w, count);
    for (uint32_t i = 0; i < count && err == 0; i++) {
        w.routes[i] = (struct route){paths[i].steps, paths[i].steps + paths[i].count};
    }
    w.count = count;
    if (err == 0 && !project(root, &w, 0, out))
        qv_doc_end_object(out, qv_doc_begin_object(out), 0);
    wanted_close(&w);
    return err != 0 ? err : out->failed ? QV_ENOMEM : 0;
}
