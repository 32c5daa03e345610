/* Answers and what can be asked of them. */
#include "lib/lib_private.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "core/limits.h"
#include "wire/json_doc.h"

#include <string.h>

struct quiver_results *qv_lib_results_create(void)
{
    struct quiver_results *r = qv_mem_calloc(1, sizeof *r);
    qv_arena_init(&r->arena, QV_REQUEST_ARENA_BYTES);
    return r;
}

static int write_payloads(struct quiver_results *r)
{
    struct qv_buf b;
    int err = 0;
    r->payloads = QV_ARENA_ARRAY(&r->arena, const char *, r->points.count + 1);
    if (r->payloads == NULL)
        return QV_ETOOBIG;
    qv_buf_init(&b, QV_REQUEST_ARENA_BYTES);
    for (uint32_t i = 0; i < r->points.count && err == 0; i++) {
        struct qv_doc doc = r->points.points[i].payload;
        qv_buf_clear(&b);
        if (doc.p != NULL)
            qv_json_write_doc(&b, doc);
        else
            qv_buf_str(&b, "{}");
        r->payloads[i] = b.failed ? NULL : qv_arena_strndup(&r->arena, (const char *)b.data, b.len);
        if (r->payloads[i] == NULL)
            err = QV_ETOOBIG;
    }
    qv_buf_close(&b);
    return err;
}

/* Names are the configuration's, which may go before the answer does. */
static int keep_names(struct quiver_results *r)
{
    for (uint32_t i = 0; i < r->points.count; i++) {
        struct qv_point_out *p = &r->points.points[i];
        struct qv_named_vec *vecs =
            QV_ARENA_ARRAY(&r->arena, struct qv_named_vec, p->vec_count + 1);
        if (vecs == NULL)
            return QV_ETOOBIG;
        for (uint32_t v = 0; v < p->vec_count; v++) {
            vecs[v] = p->vecs[v];
            vecs[v].name.p = qv_arena_strndup(&r->arena, vecs[v].name.p, vecs[v].name.n);
            if (vecs[v].name.p == NULL)
                return QV_ETOOBIG;
        }
        p->vecs = vecs;
    }
    return 0;
}

int qv_lib_results_finish(struct quiver_results *r, unsigned flags)
{
    int err = flags & QUIVER_WITH_PAYLOAD ? write_payloads(r) : 0;
    return err == 0 && (flags & QUIVER_WITH_VECTORS) != 0 ? keep_names(r) : err;
}

static int copy_vectors(struct qv_arena *a, struct qv_point_out *p)
{
    struct qv_named_vec *vecs = QV_ARENA_ARRAY(a, struct qv_named_vec, p->vec_count + 1);
    if (vecs == NULL)
        return QV_ETOOBIG;
    for (uint32_t v = 0; v < p->vec_count; v++) {
        struct qv_vec *vec = &vecs[v].vec;
        vecs[v] = p->vecs[v];
        if (vec->kind != QV_VEC_DENSE) /* nobody can ask for it */
            continue;
        vec->values = qv_arena_dup(a, vec->values, vec->dim * sizeof *vec->values);
        if (vec->values == NULL)
            return QV_ETOOBIG;
    }
    p->vecs = vecs;
    return 0;
}

int qv_lib_results_take(struct quiver_results *r, const struct qv_points_out *points,
                        unsigned flags)
{
    struct qv_point_out *own = QV_ARENA_ARRAY(&r->arena, struct qv_point_out, points->count + 1);
    int err = own == NULL ? QV_ETOOBIG : 0;
    r->points = (struct qv_points_out){.points = own};
    for (uint32_t i = 0; i < points->count && err == 0; i++) {
        own[i] = points->points[i];
        r->points.count++;
        if (own[i].has_vecs)
            err = copy_vectors(&r->arena, &own[i]);
    }
    if (err == 0)
        err = qv_lib_results_finish(r, flags);
    for (uint32_t i = 0; i < r->points.count; i++) /* told as text, and borrowed until now */
        own[i].payload = (struct qv_doc){NULL, 0};
    return err;
}

size_t quiver_results_count(const struct quiver_results *r)
{
    return r != NULL ? r->points.count : 0;
}

static const struct qv_point_out *point_at(const struct quiver_results *r, size_t i)
{
    QV_ASSERT(r != NULL);
    QV_ASSERT(i < r->points.count);
    return &r->points.points[i];
}

struct quiver_id quiver_results_id(const struct quiver_results *r, size_t i)
{
    return qv_lib_id_out(&point_at(r, i)->id);
}

float quiver_results_score(const struct quiver_results *r, size_t i)
{
    return point_at(r, i)->score;
}

const char *quiver_results_payload(const struct quiver_results *r, size_t i)
{
    (void)point_at(r, i);
    return r->payloads != NULL ? r->payloads[i] : NULL;
}

const float *quiver_results_vector(const struct quiver_results *r, size_t i, const char *name,
                                   uint32_t *dim)
{
    const struct qv_point_out *p = point_at(r, i);
    struct qv_str wanted = qv_str_of(name != NULL ? name : "");
    if (dim != NULL)
        *dim = 0;
    for (uint32_t v = 0; p->has_vecs && v < p->vec_count; v++) {
        const struct qv_vec *vec = &p->vecs[v].vec;
        if (!qv_str_equal(p->vecs[v].name, wanted) || vec->kind != QV_VEC_DENSE)
            continue;
        if (dim != NULL)
            *dim = vec->dim;
        return vec->values;
    }
    return NULL;
}

void quiver_results_free(struct quiver_results **p)
{
    struct quiver_results *r = *p;
    if (r == NULL)
        return;
    qv_arena_close(&r->arena);
    qv_mem_free(r);
    *p = NULL;
}
