/* Paths into documents: parse, walk, set, remove. Recursion is bounded by the path's length, which
 * is bounded by QV_DOC_DEPTH_MAX, and by the document's depth. */
#include "core/doc_index.h"

#include "base/qv_assert.h"
#include "base/utf8.h"

#define MERGE_LINEAR_MAX 16u

/* ---- parse ---- */

struct parser {
    const char *p;
    const char *end;
    struct qv_str text;
    struct qv_errmsg *msg;
};

static int malformed(const struct parser *x, const char *why)
{
    int shown = (int)(x->text.n < 200 ? x->text.n : 200);
    return qv_fail(x->msg, QV_EINVAL, "Invalid json path: '%.*s': %s", shown, x->text.p, why);
}

/* Letters and digits of any script, '_' and '-'. Beyond ASCII every character passes. */
static bool plain_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || (unsigned char)c >= 0x80;
}

static int parse_key(struct parser *x, struct qv_path_step *out)
{
    const char *start = x->p;
    out->kind = QV_STEP_KEY;
    out->index = 0;
    if (x->p < x->end && *x->p == '"') {
        start = ++x->p;
        while (x->p < x->end && *x->p != '"') {
            if (*x->p == '\\')
                return malformed(x, "a quoted key can't hold a backslash");
            x->p++;
        }
        if (x->p == x->end)
            return malformed(x, "a quote is not closed");
        out->key = (struct qv_str){start, (size_t)(x->p - start)};
        x->p++;
        return 0;
    }
    while (x->p < x->end && plain_char(*x->p))
        x->p++;
    if (x->p == start)
        return malformed(x, "a key is missing; keys with other characters need quotes");
    out->key = (struct qv_str){start, (size_t)(x->p - start)};
    return 0;
}

/* Behind '['. An index beyond 32 bits reaches nothing, like any other past an array's end. */
static int parse_index(struct parser *x, struct qv_path_step *out)
{
    uint64_t v = 0;
    const char *start = x->p;
    out->key = (struct qv_str){NULL, 0};
    while (x->p < x->end && *x->p >= '0' && *x->p <= '9') {
        if (__builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*x->p - '0'), &v))
            return malformed(x, "an index is too large");
        x->p++;
    }
    out->kind = x->p == start ? QV_STEP_ALL : QV_STEP_INDEX;
    out->index = v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
    if (x->p == x->end || *x->p != ']')
        return malformed(x, "']' is missing");
    x->p++;
    return 0;
}

static int parse_step(struct parser *x, struct qv_path_step *out)
{
    char c = *x->p++;
    if (c == '.')
        return parse_key(x, out);
    if (c == '[')
        return parse_index(x, out);
    return malformed(x, "'.' or '[' is missing");
}

int qv_path_parse(struct qv_arena *a, struct qv_str text, struct qv_path *out,
                  struct qv_errmsg *msg)
{
    struct qv_path_step steps[QV_DOC_DEPTH_MAX];
    struct parser x = {.p = text.p, .end = text.p + text.n, .text = text, .msg = msg};
    uint32_t n = 0;

    if (text.n == 0)
        return qv_fail(msg, QV_EINVAL, "Invalid json path: it is empty");
    if (!qv_utf8_valid(text.p, text.n))
        return qv_fail(msg, QV_EINVAL, "Invalid json path: it is not UTF-8");
    int err = parse_key(&x, &steps[n++]);
    while (err == 0 && x.p < x.end) {
        if (n == QV_DOC_DEPTH_MAX)
            return malformed(&x, "too many steps");
        err = parse_step(&x, &steps[n++]);
    }
    if (err != 0)
        return err;
    out->steps = qv_arena_dup(a, steps, n * sizeof *steps);
    out->count = n;
    if (out->steps == NULL)
        return qv_fail(msg, QV_ENOMEM, "no memory for a path");
    return 0;
}

/* ---- walk ---- */

struct walk {
    const struct qv_path_step *end;
    qv_path_visit_f visit;
    void *ctx;
    size_t visited;
};

static bool walk_from(struct walk *w, struct qv_doc at, const struct qv_path_step *step);

/* The elements of an array: all, or the one at index. */
static bool walk_elements(struct walk *w, struct qv_doc array, const struct qv_path_step *step)
{
    struct qv_doc_iter it;
    struct qv_doc value;
    uint32_t i = 0;

    if (step->kind == QV_STEP_INDEX && step->index >= qv_doc_count(array))
        return true;
    qv_doc_iter_init(&it, array);
    while (qv_doc_next(&it, NULL, &value)) {
        if (step->kind == QV_STEP_INDEX && i++ < step->index)
            continue;
        if (!walk_from(w, value, step + 1))
            return false;
        if (step->kind == QV_STEP_INDEX)
            break;
    }
    return true;
}

static bool walk_from(struct walk *w, struct qv_doc at, const struct qv_path_step *step)
{
    struct qv_doc value;
    for (; step < w->end && step->kind == QV_STEP_KEY; step++) {
        if (qv_doc_type(at) != QV_DOC_OBJECT || !qv_doc_find(at, step->key, &value))
            return true;
        at = value;
    }
    if (step < w->end)
        return qv_doc_type(at) != QV_DOC_ARRAY || walk_elements(w, at, step);
    w->visited++;
    return w->visit(w->ctx, at);
}

size_t qv_path_walk(struct qv_doc root, const struct qv_path *path, qv_path_visit_f visit,
                    void *ctx)
{
    struct walk w = {.end = path->steps + path->count, .visit = visit, .ctx = ctx};
    QV_ASSERT(path->count >= 1 && path->count <= QV_DOC_DEPTH_MAX);
    if (root.p != NULL)
        (void)walk_from(&w, root, path->steps);
    return w.visited;
}

/* ---- set ---- */

struct edit {
    const struct qv_path_step *end;
    struct qv_doc value;       /* set: the object that is merged in */
    struct qv_doc_index index; /* of value, when it is large */
    struct qv_buf *out;
};

static bool find_new(const struct edit *e, struct qv_str key, struct qv_doc *out)
{
    return e->index.entries != NULL ? qv_doc_index_find(&e->index, key, out)
                                    : qv_doc_find(e->value, key, out);
}

/* Keys of `object` in their order, replaced by or without those of e->value (null removes), then
 * the new ones. */
static int merge_object(struct edit *e, struct qv_doc object)
{
    struct qv_doc_index old;
    struct qv_doc_iter it;
    struct qv_str key;
    struct qv_doc value;
    struct qv_doc given;
    uint32_t count = 0;

    int err = qv_doc_index_init(&old, object);
    if (err != 0)
        return err;
    size_t mark = qv_doc_begin_object(e->out);
    if (object.p != NULL) {
        qv_doc_iter_init(&it, object);
        while (qv_doc_next(&it, &key, &value)) {
            const bool replaced = find_new(e, key, &given);
            if (replaced && qv_doc_type(given) == QV_DOC_NULL)
                continue;
            value = replaced ? given : value;
            qv_doc_put_key(e->out, key.p, key.n);
            qv_doc_put_doc(e->out, value);
            count++;
        }
    }
    qv_doc_iter_init(&it, e->value);
    while (qv_doc_next(&it, &key, &given)) {
        if (qv_doc_type(given) == QV_DOC_NULL || qv_doc_index_find(&old, key, &value))
            continue;
        qv_doc_put_key(e->out, key.p, key.n);
        qv_doc_put_doc(e->out, given);
        count++;
    }
    qv_doc_end_object(e->out, mark, count);
    qv_doc_index_close(&old);
    return 0;
}

static int set_from(struct edit *e, struct qv_doc at, const struct qv_path_step *step);

static int set_key(struct edit *e, struct qv_doc object, const struct qv_path_step *step)
{
    struct qv_doc_iter it;
    struct qv_str key;
    struct qv_doc value;
    uint32_t count = 0;
    bool found = false;
    int err = 0;

    size_t mark = qv_doc_begin_object(e->out);
    if (object.p != NULL) {
        qv_doc_iter_init(&it, object);
        while (err == 0 && qv_doc_next(&it, &key, &value)) {
            qv_doc_put_key(e->out, key.p, key.n);
            count++;
            if (!found && qv_str_equal(key, step->key)) {
                found = true;
                err = set_from(e, value, step + 1);
            } else {
                qv_doc_put_doc(e->out, value);
            }
        }
    }
    if (err == 0 && !found) {
        qv_doc_put_key(e->out, step->key.p, step->key.n);
        count++;
        err = set_from(e, (struct qv_doc){NULL, 0}, step + 1);
    }
    qv_doc_end_object(e->out, mark, count);
    return err;
}

static int set_elements(struct edit *e, struct qv_doc array, const struct qv_path_step *step)
{
    struct qv_doc_iter it;
    struct qv_doc value;
    uint32_t count = 0;
    int err = 0;

    size_t mark = qv_doc_begin_array(e->out);
    if (array.p != NULL) {
        qv_doc_iter_init(&it, array);
        while (err == 0 && qv_doc_next(&it, NULL, &value)) {
            if (step->kind == QV_STEP_ALL || step->index == count)
                err = set_from(e, value, step + 1);
            else
                qv_doc_put_doc(e->out, value);
            count++;
        }
    }
    qv_doc_end_array(e->out, mark, count);
    return err;
}

/* What stands in the way and has the wrong type is replaced: by an object where a key is wanted, by
 * an empty array where an element is. */
static int set_from(struct edit *e, struct qv_doc at, const struct qv_path_step *step)
{
    const struct qv_doc none = {NULL, 0};
    const bool element = step < e->end && step->kind != QV_STEP_KEY;
    const enum qv_doc_type wanted = element ? QV_DOC_ARRAY : QV_DOC_OBJECT;

    if (at.p != NULL && qv_doc_type(at) != wanted)
        at = none;
    if (step == e->end)
        return merge_object(e, at);
    return element ? set_elements(e, at, step) : set_key(e, at, step);
}

/* Containers around the deepest scalar. */
static uint32_t doc_depth(struct qv_doc d)
{
    struct qv_doc_iter it;
    struct qv_doc value;
    uint32_t deepest = 0;
    enum qv_doc_type t = qv_doc_type(d);

    if (t != QV_DOC_ARRAY && t != QV_DOC_OBJECT)
        return 0;
    qv_doc_iter_init(&it, d);
    while (qv_doc_next(&it, NULL, &value)) {
        uint32_t depth = doc_depth(value);
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest + 1;
}

int qv_path_set(struct qv_doc root, const struct qv_path *path, struct qv_doc value,
                struct qv_buf *out)
{
    struct edit e = {.end = path->steps + path->count, .value = value, .out = out};
    const size_t start = out->len;

    QV_ASSERT(path->count >= 1 && path->count <= QV_DOC_DEPTH_MAX);
    QV_ASSERT(root.p == NULL || qv_doc_type(root) == QV_DOC_OBJECT);
    QV_ASSERT(qv_doc_type(value) == QV_DOC_OBJECT);
    int err = 0;
    if (qv_doc_count(value) > MERGE_LINEAR_MAX)
        err = qv_doc_index_init(&e.index, value);
    if (err == 0)
        err = set_from(&e, root, path->steps);
    qv_doc_index_close(&e.index);
    if (err == 0 && out->failed)
        err = QV_ENOMEM;
    if (err == 0 &&
        doc_depth((struct qv_doc){out->data + start, out->len - start}) > QV_DOC_DEPTH_MAX)
        err = QV_EINVAL;
    if (err != 0 && !out->failed)
        out->len = start;
    return err;
}

/* ---- remove ---- */

static void remove_from(struct edit *e, struct qv_doc at, const struct qv_path_step *step);

static void remove_key(struct edit *e, struct qv_doc object, const struct qv_path_step *step)
{
    struct qv_doc_iter it;
    struct qv_str key;
    struct qv_doc value;
    uint32_t count = 0;

    size_t mark = qv_doc_begin_object(e->out);
    qv_doc_iter_init(&it, object);
    while (qv_doc_next(&it, &key, &value)) {
        const bool hit = qv_str_equal(key, step->key);
        if (hit && step + 1 == e->end)
            continue;
        qv_doc_put_key(e->out, key.p, key.n);
        if (hit)
            remove_from(e, value, step + 1);
        else
            qv_doc_put_doc(e->out, value);
        count++;
    }
    qv_doc_end_object(e->out, mark, count);
}

/* A last "[]" empties the array. A last index removes nothing: done twice it would remove another
 * element. */
static void remove_elements(struct edit *e, struct qv_doc array, const struct qv_path_step *step)
{
    struct qv_doc_iter it;
    struct qv_doc value;
    uint32_t i = 0;
    uint32_t count = 0;
    const bool last = step + 1 == e->end;

    size_t mark = qv_doc_begin_array(e->out);
    qv_doc_iter_init(&it, array);
    while (qv_doc_next(&it, NULL, &value)) {
        const bool hit = step->kind == QV_STEP_ALL || step->index == i;
        i++;
        if (hit && last && step->kind == QV_STEP_ALL)
            continue;
        if (hit && !last)
            remove_from(e, value, step + 1);
        else
            qv_doc_put_doc(e->out, value);
        count++;
    }
    qv_doc_end_array(e->out, mark, count);
}

static void remove_from(struct edit *e, struct qv_doc at, const struct qv_path_step *step)
{
    const enum qv_doc_type t = qv_doc_type(at);
    if (step->kind == QV_STEP_KEY && t == QV_DOC_OBJECT)
        remove_key(e, at, step);
    else if (step->kind != QV_STEP_KEY && t == QV_DOC_ARRAY)
        remove_elements(e, at, step);
    else
        qv_doc_put_doc(e->out, at);
}

int qv_path_remove(struct qv_doc root, const struct qv_path *path, struct qv_buf *out)
{
    struct edit e = {.end = path->steps + path->count, .out = out};
    QV_ASSERT(path->count >= 1 && path->count <= QV_DOC_DEPTH_MAX);
    QV_ASSERT(qv_doc_type(root) == QV_DOC_OBJECT);
    remove_from(&e, root, path->steps);
    return out->failed ? QV_ENOMEM : 0;
}
