#include "shard_world_private.h"

#include "base/mem.h"
#include "shard/shard_private.h"
#include "simd/convert.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the checker ---- */

static bool fail(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool fail(struct world *w, const char *fmt, ...)
{
    va_list ap;
    if (w->wrong[0] == '\0') {
        va_start(ap, fmt);
        vsnprintf(w->wrong, sizeof w->wrong, fmt, ap);
        va_end(ap);
    }
    return false;
}

static bool vec_equal(int v, uint32_t stamp, const struct qv_vec *got)
{
    float want[16];
    static const uint32_t sorted[NNZ_S] = {5, 77, 900};
    world_vec_values(v, stamp, want);
    if (v == 3) { /* stored by ascending index */
        float s[NNZ_S] = {want[1], want[2], want[0]};
        return got->kind == QV_VEC_SPARSE && got->dim == NNZ_S &&
               memcmp(got->values, s, sizeof s) == 0 &&
               memcmp(got->indices, sorted, sizeof sorted) == 0;
    }
    if (v == 2)
        return got->kind == QV_VEC_MULTI && got->dim == DIM_M && got->rows == ROWS_M &&
               memcmp(got->values, want, DIM_M * ROWS_M * sizeof(float)) == 0;
    if (v == 0)
        return got->dim == DIM_A && memcmp(got->values, want, DIM_A * sizeof(float)) == 0;
    float norm = 0;
    for (int i = 0; i < DIM_B; i++)
        norm += want[i] * want[i];
    bool same = got->dim == DIM_B;
    for (int i = 0; i < DIM_B && same; i++)
        same = fabsf(got->values[i] - want[i] / sqrtf(norm)) < 1e-3f;
    return same;
}

static bool point_is(const struct world_state *s, const struct qv_point_out *p)
{
    struct qv_buf b;
    if (!s->alive)
        return false;
    qv_buf_init(&b, 0);
    world_put_payload(&b, s, false);
    bool same = qv_doc_equal((struct qv_doc){b.data, b.len}, p->payload);
    qv_buf_close(&b);
    uint32_t vecs = 0;
    for (int v = 0; v < 4 && same; v++) {
        if (s->stamp[v] == 0)
            continue;
        const struct qv_vec *got = NULL;
        for (uint32_t i = 0; i < p->vec_count; i++) {
            if (qv_str_equal(p->vecs[i].name, qv_str_of(world_vec_names[v])))
                got = &p->vecs[i].vec;
        }
        vecs++;
        same = got != NULL && vec_equal(v, s->stamp[v], got);
    }
    return same && vecs == p->vec_count;
}

static void describe(const struct world_model *m, char *out, size_t n)
{
    size_t at = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < m->count && at + 100 < n; i++) {
        const struct world_state *s = &m->states[i];
        at += (size_t)snprintf(out + at, n - at, " {%s a%u b%u m%u s%u n%d t%d o%d.%d.%d}",
                               s->alive ? "alive" : "dead", s->stamp[0], s->stamp[1], s->stamp[2],
                               s->stamp[3], s->n, s->t, s->o, s->ox, s->oy);
    }
}

/* Narrows the model of an id to what is seen; false: it is none of what it may be. */
static bool settle_id(struct world *w, uint32_t shard, uint32_t i, const struct qv_point_out *p)
{
    struct world_model *m = &w->model[shard][i];
    for (uint32_t k = 0; k < m->count; k++) {
        const struct world_state s = m->states[k];
        if (p == NULL ? s.alive : !point_is(&s, p))
            continue;
        if (m->count > 1 && w->settling) {
            w->replays_unknown_lost += k == 0;
            w->replays_unknown_kept += k > 0;
        }
        if (w->settling) {
            m->states[0] = s;
            m->count = 1;
        }
        return true;
    }
    char text[360];
    describe(m, text, sizeof text);
    char got[80] = "nothing";
    if (p != NULL)
        snprintf(got, sizeof got, "a point of %u vectors, payload of %u keys", p->vec_count,
                 qv_doc_count(p->payload));
    return fail(w, "shard %u id %u: %s; may be%s", shard, i, got, text);
}

static int read_all(struct world *w, uint32_t shard, struct qv_arena *arena,
                    struct qv_scroll_out *out, struct qv_errmsg *msg)
{
    struct qv_scroll_req req = {.limit = WORLD_IDS + 10,
                                .with_payload = {.mode = QV_SELECT_ALL},
                                .with_vector = {.mode = QV_SELECT_ALL}};
    return qv_shard_scroll(qv_store_shard(w->store, shard + 1), 0, arena, &req, out, msg);
}

static bool verify_points(struct world *w, uint32_t shard, const struct qv_points_out *points)
{
    for (uint32_t k = 1; k < points->count; k++) {
        if (qv_id_compare(&points->points[k - 1].id, &points->points[k].id) >= 0)
            return fail(w, "shard %u: scroll out of order", shard);
    }
    uint32_t seen = 0;
    for (uint32_t i = 0; i < WORLD_IDS; i++) {
        struct qv_id id = world_id_of(shard, i);
        const struct qv_point_out *p = NULL;
        for (uint32_t k = 0; k < points->count && p == NULL; k++) {
            if (qv_id_equal(&points->points[k].id, &id))
                p = &points->points[k];
        }
        seen += p != NULL;
        if (!settle_id(w, shard, i, p))
            return false;
    }
    if (seen != points->count)
        return fail(w, "shard %u: %u points nobody wrote", shard, points->count - seen);
    return true;
}

static double dist_a(const float *q, uint32_t stamp)
{
    float v[16];
    double d = 0;
    world_vec_values(0, stamp, v);
    for (int i = 0; i < DIM_A; i++)
        d += ((double)q[i] - v[i]) * ((double)q[i] - v[i]);
    return sqrt(d);
}

static int double_compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The model is certain here. */
static bool verify_hits(struct world *w, uint32_t shard, const struct qv_query *query,
                        const float *q, const struct world_range *f,
                        const struct qv_points_out *out)
{
    const uint32_t limit = (uint32_t)query->limit;
    const bool exact = query->exact || f != NULL;
    double best[WORLD_IDS];
    uint32_t n = 0;
    for (uint32_t i = 0; i < WORLD_IDS; i++) {
        const struct world_state *s = &w->model[shard][i].states[0];
        if (s->alive && s->stamp[0] != 0 && (f == NULL || world_in_range(s, f)))
            best[n++] = dist_a(q, s->stamp[0]);
    }
    qsort(best, n, sizeof *best, double_compare);
    uint32_t want = n < limit ? n : limit;
    if (exact && out->count != want)
        return fail(w, "shard %u: %u hits of %u", shard, out->count, want);
    w->recall_of += exact ? 0 : want;
    for (uint32_t k = 0; k < out->count; k++) {
        const struct world_state *s = NULL;
        for (uint32_t i = 0; i < WORLD_IDS && s == NULL; i++) {
            struct qv_id id = world_id_of(shard, i);
            if (qv_id_equal(&id, &out->points[k].id))
                s = &w->model[shard][i].states[0];
        }
        if (s == NULL || !s->alive || s->stamp[0] == 0 || (f != NULL && !world_in_range(s, f)))
            return fail(w, "shard %u: a hit that is not there or does not match", shard);
        double score = out->points[k].score;
        if (fabs(score - dist_a(q, s->stamp[0])) > 1e-4)
            return fail(w, "shard %u: a hit of another vector: score %g, not %g", shard, score,
                        dist_a(q, s->stamp[0]));
        if (exact && fabs(score - best[k]) > 1e-4)
            return fail(w, "shard %u: hit %u at %g, not %g", shard, k, score, best[k]);
        w->recall_hits += !exact && want > 0 && score <= best[want - 1] + 1e-4;
    }
    return true;
}

static bool verify_search(struct world *w, uint32_t shard, bool strict)
{
    struct qv_shard *s = qv_store_shard(w->store, shard + 1);
    for (int round = 0; round < 6; round++) {
        struct qv_arena arena;
        struct qv_points_out out;
        struct qv_errmsg msg = {""};
        float q[16];
        struct world_range f = {.lo = 1 + (int32_t)qv_rng_below(&w->rng, 20)};
        f.hi = f.lo + (int32_t)qv_rng_below(&w->rng, 20);
        bool filtered = round >= 4;
        world_vec_values(0, 1000000 + (uint32_t)qv_rng_below(&w->rng, 1000), q);
        qv_arena_init(&arena, (size_t)16 << 20);
        struct qv_query query = {
            .kind = QV_QUERY_VECTOR,
            .vec = {.kind = QV_VEC_DENSE, .dim = DIM_A, .rows = 1, .values = q},
            .using_ = qv_str_of("a"),
            .limit = 1 + qv_rng_below(&w->rng, 20),
            .exact = round % 2 == 0,
            .hnsw_ef = {true, 100},
            .filter = filtered ? world_range_filter(&arena, &f) : NULL};
        int err = qv_shard_query(s, 0, &arena, &query, &out, &msg);
        bool ok = true;
        if (err != 0) {
            w->read_errors++;
            ok = strict ? fail(w, "query: %s: %s", qv_err_name(err), msg.text) : true;
        } else {
            ok = verify_hits(w, shard, &query, q, filtered ? &f : NULL, &out);
        }
        uint64_t count;
        const struct qv_count_req req = {.filter = query.filter};
        if (ok && err == 0 && filtered && qv_shard_count(s, 0, &arena, &req, &count, &msg) == 0) {
            uint64_t want = 0;
            for (uint32_t i = 0; i < WORLD_IDS; i++)
                want += world_in_range(&w->model[shard][i].states[0], &f);
            if (count != want)
                ok = fail(w, "shard %u: counts %llu, not %llu", shard, (unsigned long long)count,
                          (unsigned long long)want);
        }
        qv_arena_close(&arena);
        if (!ok)
            return false;
    }
    return true;
}

/* ---- order and facets; the model is certain ---- */

struct ordered {
    int32_t value;
    struct qv_id id;
};

static int ordered_compare(const void *pa, const void *pb)
{
    const struct ordered *a = pa;
    const struct ordered *b = pb;
    if (a->value != b->value)
        return a->value < b->value ? -1 : 1;
    return qv_id_compare(&a->id, &b->id);
}

/* By n (integers) or o.x (floats), as the model has it; a value of 0 is none. */
static uint32_t model_order(const struct world *w, uint32_t shard, bool by_n,
                            const struct world_range *f, struct ordered *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < WORLD_IDS; i++) {
        const struct world_state *s = &w->model[shard][i].states[0];
        int32_t value = by_n ? s->n : s->ox;
        if (s->alive && value != 0 && (f == NULL || world_in_range(s, f)))
            out[n++] = (struct ordered){value, world_id_of(shard, i)};
    }
    qsort(out, n, sizeof *out, ordered_compare);
    return n;
}

static bool unread(struct world *w, bool strict, const char *what, const struct qv_errmsg *msg)
{
    w->read_errors++;
    return strict ? fail(w, "%s: %s", what, msg->text) : true;
}

static bool verify_order(struct world *w, uint32_t shard, struct qv_arena *arena, bool strict)
{
    struct ordered want[WORLD_IDS];
    struct qv_scroll_out got;
    struct qv_errmsg msg = {""};
    bool by_n = qv_rng_below(&w->rng, 2) == 0;
    bool filtered = qv_rng_below(&w->rng, 2) == 0;
    struct world_range f = {.lo = 1 + (int32_t)qv_rng_below(&w->rng, 20)};
    f.hi = f.lo + (int32_t)qv_rng_below(&w->rng, 20);
    struct qv_order_by by = {.key = qv_str_of(by_n ? "n" : "o.x"),
                             .desc = qv_rng_below(&w->rng, 2) == 0};
    struct qv_scroll_req req = {.order_by = &by,
                                .limit = 1 + qv_rng_below(&w->rng, WORLD_IDS),
                                .filter = filtered ? world_range_filter(arena, &f) : NULL};
    if (qv_rng_below(&w->rng, 2) == 0)
        by.start_from = (struct qv_order_value){.type = QV_ORDER_FLOAT,
                                                .f = (double)qv_rng_below(&w->rng, 60) / 2};
    if (qv_path_parse(arena, by.key, &by.path, &msg) != 0)
        return fail(w, "path: %s", msg.text);
    uint32_t n = model_order(w, shard, by_n, filtered ? &f : NULL, want);
    if (qv_shard_scroll(qv_store_shard(w->store, shard + 1), 0, arena, &req, &got, &msg) != 0)
        return unread(w, strict, "order_by", &msg);
    uint32_t at = 0;
    for (uint32_t i = 0; i < n && at < req.limit; i++) {
        const struct ordered *e = &want[by.desc ? n - 1 - i : i];
        const struct qv_point_out *p = &got.points.points[at];
        if (by.start_from.type != QV_ORDER_NONE &&
            (by.desc ? e->value > by.start_from.f : e->value < by.start_from.f))
            continue;
        if (at >= got.points.count || !qv_id_equal(&p->id, &e->id) ||
            (by_n ? p->order_value.i != e->value : p->order_value.f != e->value))
            return fail(w, "shard %u: order_by %s: entry %u of %u is not value %d", shard, by.key.p,
                        at, n, e->value);
        at++;
    }
    if (at != got.points.count)
        return fail(w, "shard %u: order_by gives %u, not %u", shard, got.points.count, at);
    return true;
}

static bool verify_facet(struct world *w, uint32_t shard, struct qv_arena *arena, bool strict)
{
    uint64_t counts[4] = {0};
    struct qv_facet_out got;
    struct qv_errmsg msg = {""};
    bool filtered = qv_rng_below(&w->rng, 2) == 0;
    struct world_range f = {.lo = 1 + (int32_t)qv_rng_below(&w->rng, 20)};
    f.hi = f.lo + (int32_t)qv_rng_below(&w->rng, 20);
    struct qv_facet_req req = {.key = qv_str_of("t"),
                               .limit = 1 + qv_rng_below(&w->rng, 4),
                               .filter = filtered ? world_range_filter(arena, &f) : NULL};
    if (qv_path_parse(arena, req.key, &req.path, &msg) != 0)
        return fail(w, "path: %s", msg.text);
    for (uint32_t i = 0; i < WORLD_IDS; i++) {
        const struct world_state *s = &w->model[shard][i].states[0];
        if (s->alive && (!filtered || world_in_range(s, &f)))
            counts[s->t]++;
    }
    counts[0] = 0;
    if (qv_shard_facet(qv_store_shard(w->store, shard + 1), 0, arena, &req, &got, &msg) != 0)
        return unread(w, strict, "facet", &msg);
    for (uint32_t i = 0; i < req.limit; i++) {
        int best = 0;
        for (int t = 1; t < 4; t++)
            best = counts[t] > counts[best] ? t : best;
        if (counts[best] == 0)
            return got.count == i || fail(w, "shard %u: facet of %u values", shard, got.count);
        char text[16];
        snprintf(text, sizeof text, "t%d", best);
        if (i >= got.count || got.hits[i].count != counts[best] ||
            !qv_str_equal(qv_doc_str(got.hits[i].value), qv_str_of(text)))
            return fail(w, "shard %u: facet: hit %u is not %s", shard, i, text);
        counts[best] = 0;
    }
    return got.count == req.limit || fail(w, "shard %u: facet beyond its limit", shard);
}

static bool verify_order_and_facets(struct world *w, uint32_t shard, bool strict)
{
    bool ok = true;
    for (int round = 0; round < 3 && ok; round++) {
        struct qv_arena arena;
        qv_arena_init(&arena, (size_t)64 << 20);
        ok = verify_order(w, shard, &arena, strict) && verify_facet(w, shard, &arena, strict);
        qv_arena_close(&arena);
    }
    return ok;
}

static bool verify_shard(struct world *w, uint32_t shard, bool strict)
{
    struct qv_arena arena;
    struct qv_scroll_out all;
    struct qv_errmsg msg = {""};
    qv_arena_init(&arena, (size_t)64 << 20);
    int err = read_all(w, shard, &arena, &all, &msg);
    bool ok;
    if (err != 0) {
        w->read_errors++;
        ok = strict ? fail(w, "scroll: %s: %s", qv_err_name(err), msg.text) : true;
    } else {
        uint64_t count = 0;
        const struct qv_count_req req = {.filter = NULL};
        ok = verify_points(w, shard, &all.points);
        if (ok &&
            qv_shard_count(qv_store_shard(w->store, shard + 1), 0, &arena, &req, &count, &msg) ==
                0 &&
            count != all.points.count)
            ok = fail(w, "shard %u: counts %llu, scrolls %u", shard, (unsigned long long)count,
                      all.points.count);
    }
    qv_arena_close(&arena);
    return ok && (err != 0 || !world_all_certain(w, shard) ||
                  (verify_search(w, shard, strict) && verify_order_and_facets(w, shard, strict)));
}

bool world_verify(struct world *w, bool strict)
{
    if (w->wrong[0] != '\0')
        return false;
    for (uint32_t s = 0; s < WORLD_SHARDS; s++) {
        struct qv_shard_info info;
        qv_shard_info(qv_store_shard(w->store, s + 1), &info);
        if (info.err == QV_ECORRUPT) {
            w->quarantined++;
            if (info.reason[0] == '\0')
                return fail(w, "shard %u: quarantined without a reason", s);
            if (strict)
                return fail(w, "shard %u: quarantined: %s", s, info.reason);
            continue;
        }
        if (!verify_shard(w, s, strict))
            return false;
    }
    return true;
}

bool world_check_structures(struct world *w)
{
    for (uint32_t i = 0; i < WORLD_SHARDS; i++) {
        struct qv_shard *s = qv_store_shard(w->store, i + 1);
        struct qv_errmsg msg = {""};
        if (atomic_load(&s->state) != QV_SHARD_OPEN)
            continue;
        if (qv_slot_table_check(&s->slots, &msg) != 0)
            return fail(w, "slot table: %s", msg.text);
        for (uint32_t v = 0; v < s->vector_count; v++) {
            struct qv_hnsw_check_report report;
            if (qv_shard_index_idle(s) && s->vectors[v].graph != NULL &&
                qv_hnsw_check(s->vectors[v].graph, &report, &msg) != 0)
                return fail(w, "graph %u: %s", v, msg.text);
        }
    }
    return true;
}
