#include "cli/bench_filter_set.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "base/rng.h"
#include "cli/bench_kit.h"
#include "cli/vecfile.h"
#include "index/topk.h"
#include "simd/convert.h"
#include "simd/kernels.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define K QV_FILTER_SET_K
#define SELS QV_FILTER_SET_SELS
#define PIVOTS QV_FILTER_SET_PIVOTS
#define VARIANTS QV_FILTER_SET_RANDOM
#define SEED UINT64_C(20240611)
#define BLOCK 1024u /* rows compared at a time */
#define PATH_BYTES 4096
#define THREADS_MAX 64u

static const double selectivities[SELS] = {1, 0.5, 0.1, 0.05, 0.01, 0.005, 0.001, 0.0001};

double qv_filter_set_selectivity(uint32_t sel)
{
    QV_ASSERT(sel < SELS);
    return selectivities[sel];
}

const char *qv_filter_kind_name(enum qv_filter_kind kind)
{
    static const char *const names[] = {"random", "correlated", "anticorrelated"};
    return names[kind];
}

const uint64_t *qv_filter_set_bits(const struct qv_filter_set *s, uint32_t sel,
                                   enum qv_filter_kind kind, uint32_t query)
{
    if (kind == QV_FILTER_RANDOM)
        return s->random + ((size_t)sel * VARIANTS + query % VARIANTS) * s->words;
    uint32_t pivot = kind == QV_FILTER_CORRELATED ? s->near[query] : s->far[query];
    return s->balls + ((size_t)sel * PIVOTS + pivot) * s->words;
}

/* ---- jobs on threads ---- */

struct worker {
    void *scratch;
    struct qv_hnsw_ctx *ctx;
};

struct jobs {
    struct qv_filter_set *s;
    void (*run)(struct qv_filter_set *s, uint32_t item, struct worker *w);
    size_t scratch_bytes;
    uint32_t count;
    _Atomic uint32_t next;
    struct qv_bench_progress progress;
    bool tell;
};

static void jobs_work(struct jobs *j, bool tells)
{
    struct worker w = {.scratch = qv_mem_alloc(j->scratch_bytes), .ctx = qv_hnsw_ctx_create()};
    for (;;) {
        uint32_t item = atomic_fetch_add(&j->next, 1);
        if (item >= j->count)
            break;
        j->run(j->s, item, &w);
        if (tells)
            qv_bench_progress_tell(&j->progress, item);
    }
    qv_mem_free(w.scratch);
    qv_hnsw_ctx_destroy(&w.ctx);
}

static void *jobs_loop(void *arg)
{
    jobs_work(arg, false);
    return NULL;
}

static void jobs_run(struct jobs *j, uint32_t threads, const char *label)
{
    pthread_t t[THREADS_MAX];
    j->progress = (struct qv_bench_progress){
        .label = label, .total = j->count, .start_ns = qv_bench_now_ns()};
    for (uint32_t i = 1; i < threads; i++) {
        int err = pthread_create(&t[i], NULL, jobs_loop, j);
        QV_ASSERT(err == 0);
    }
    jobs_work(j, true);
    for (uint32_t i = 1; i < threads; i++)
        (void)pthread_join(t[i], NULL);
    qv_bench_progress_tell(&j->progress, j->count);
}

/* ---- input ---- */

static int fail(const char *what)
{
    fprintf(stderr, "quiver bench filter: %s\n", what);
    return 2;
}

static int copy_rows(struct qv_filter_set *s, const struct qv_vecfile *f, uint32_t n, bool unit,
                     struct qv_vmem *mem, struct qv_rows *out)
{
    const size_t row_bytes = s->dim * qv_dtype_bytes(s->dtype);
    if (qv_vmem_reserve(mem, n * row_bytes, true) != 0 || qv_vmem_grow(mem, n * row_bytes) != 0)
        return fail("no memory for the rows");
    for (uint32_t i = 0; i < n; i++) {
        memcpy(mem->base + i * row_bytes, qv_vecfile_row(f, i), row_bytes);
        if (unit)
            qv_simd_normalise_f32((float *)(void *)(mem->base + i * row_bytes), s->dim);
    }
    *out = (struct qv_rows){.base = mem->base, .stride_bytes = row_bytes};
    return 0;
}

static int load_files(const struct qv_filter_set_options *o, struct qv_filter_set *s,
                      const struct qv_vecfile *base, const struct qv_vecfile *query)
{
    if (base->type != query->type || base->dim != query->dim ||
        (base->type != QV_VECFILE_F32 && base->type != QV_VECFILE_U8))
        return fail("--base and --query must be of one type, f32 or u8, and dimension");
    const bool cosine = strcmp(o->metric, "cosine") == 0;
    s->dtype = base->type == QV_VECFILE_U8 ? QV_DTYPE_U8 : QV_DTYPE_F32;
    if (cosine)
        s->metric = s->dtype == QV_DTYPE_F32 ? QV_METRIC_DOT : QV_METRIC_COSINE;
    else if (strcmp(o->metric, "dot") == 0 || strcmp(o->metric, "l2") == 0)
        s->metric = o->metric[0] == 'd' ? QV_METRIC_DOT : QV_METRIC_L2;
    else
        return fail("--metric: allowed are l2, cosine, dot");
    s->n = base->rows;
    s->dim = base->dim;
    s->q = query->rows < o->queries_max ? query->rows : o->queries_max;
    if (s->n < PIVOTS)
        return fail("--base: too few rows");
    const bool unit = cosine && s->dtype == QV_DTYPE_F32;
    int err = copy_rows(s, base, s->n, unit, &s->rows_mem, &s->rows);
    return err != 0 ? err : copy_rows(s, query, s->q, unit, &s->queries_mem, &s->queries);
}

static int load(const struct qv_filter_set_options *o, struct qv_filter_set *s)
{
    struct qv_vecfile base = {0};
    struct qv_vecfile query = {0};
    struct qv_errmsg msg;
    int err = 0;
    if (qv_vecfile_open(o->base, &base, &msg) != 0 || qv_vecfile_open(o->query, &query, &msg) != 0)
        err = fail(msg.text);
    else
        err = load_files(o, s, &base, &query);
    qv_vecfile_close(&base);
    qv_vecfile_close(&query);
    return err;
}

/* ---- filters ---- */

/* out[i] = distance of row i to the query, for all rows. ids: BLOCK of scratch. */
static void compare_all(const struct qv_filter_set *s, const void *query, uint32_t *ids, float *out)
{
    qv_dist_batch_f dist = qv_simd_dist_batch(s->metric, s->dtype);
    for (uint32_t at = 0; at < s->n; at += BLOCK) {
        const uint32_t n = s->n - at < BLOCK ? s->n - at : BLOCK;
        for (uint32_t i = 0; i < n; i++)
            ids[i] = at + i;
        dist(query, s->rows.base, s->rows.stride_bytes, ids, n, s->dim, out + at);
    }
}

static int by_key(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint32_t pivot_row(const struct qv_filter_set *s, uint32_t pivot)
{
    struct qv_rng rng;
    qv_rng_init(&rng, SEED + pivot);
    return (uint32_t)qv_rng_below(&rng, s->n);
}

/* scratch: BLOCK ids, n distances, n keys. The nearest members[sel] rows are in the ball. */
static void make_ball(struct qv_filter_set *s, uint32_t pivot, struct worker *w)
{
    uint64_t *keys = w->scratch;
    float *dists = (float *)(void *)(keys + s->n);
    compare_all(s, qv_rows_at(&s->rows, pivot_row(s, pivot)), (uint32_t *)(void *)(dists + s->n),
                dists);
    for (uint32_t i = 0; i < s->n; i++)
        keys[i] = qv_topk_key(dists[i], i);
    qsort(keys, s->n, sizeof *keys, by_key);
    for (uint32_t sel = 0; sel < SELS; sel++) {
        uint64_t *bits = s->balls + ((size_t)sel * PIVOTS + pivot) * s->words;
        for (uint32_t i = 0; i < s->members[sel]; i++) {
            const qv_slot slot = qv_topk_key_slot(keys[i]);
            bits[slot / 64] |= UINT64_C(1) << (slot & 63);
        }
    }
}

static void make_random(struct qv_filter_set *s)
{
    struct qv_rng rng;
    qv_rng_init(&rng, SEED);
    for (uint32_t v = 0; v < SELS * VARIANTS; v++) {
        uint64_t *bits = s->random + (size_t)v * s->words;
        uint32_t left = s->members[v / VARIANTS];
        for (uint32_t i = 0; i < s->n && left > 0; i++) { /* each subset is as likely */
            if (qv_rng_below(&rng, s->n - i) >= left)
                continue;
            bits[i / 64] |= UINT64_C(1) << (i & 63);
            left--;
        }
    }
}

static void choose_pivots(struct qv_filter_set *s)
{
    uint32_t rows[PIVOTS];
    for (uint32_t p = 0; p < PIVOTS; p++)
        rows[p] = pivot_row(s, p);
    qv_dist_f dist = qv_simd_dist(s->metric, s->dtype);
    for (uint32_t i = 0; i < s->q; i++) {
        float least = 0;
        float most = 0;
        for (uint32_t p = 0; p < PIVOTS; p++) {
            float d = dist(qv_rows_at(&s->queries, i), qv_rows_at(&s->rows, rows[p]), s->dim);
            if (p == 0 || d < least) {
                least = d;
                s->near[i] = p;
            }
            if (p == 0 || d > most) {
                most = d;
                s->far[i] = p;
            }
        }
    }
}

static int make_filters(const struct qv_filter_set_options *o, struct qv_filter_set *s)
{
    s->words = s->n / 64 + 1;
    for (uint32_t i = 0; i < SELS; i++) {
        s->members[i] = (uint32_t)(selectivities[i] * s->n);
        s->members[i] = s->members[i] == 0 ? 1 : s->members[i];
    }
    s->balls = qv_mem_try_calloc((size_t)SELS * PIVOTS * s->words, 8);
    s->random = qv_mem_try_calloc((size_t)SELS * VARIANTS * s->words, 8);
    s->near = qv_mem_try_calloc(s->q, sizeof *s->near);
    s->far = qv_mem_try_calloc(s->q, sizeof *s->far);
    if (s->balls == NULL || s->random == NULL || s->near == NULL || s->far == NULL)
        return fail("no memory for the filters");
    struct jobs j = {.s = s,
                     .run = make_ball,
                     .count = PIVOTS,
                     .scratch_bytes = (size_t)s->n * 12 + BLOCK * sizeof(uint32_t)};
    jobs_run(&j, o->threads, "filters");
    make_random(s);
    choose_pivots(s);
    return 0;
}

/* ---- truth ---- */

/* The distance of the K-th nearest member (of the last, where there are fewer). */
static float bound_of(const struct qv_filter_set *s, const uint64_t *bits, const float *dists)
{
    uint64_t keys[K];
    struct qv_topk top;
    struct qv_topk_hit hits[K];
    qv_topk_init(&top, keys, K);
    for (uint32_t w = 0; w < s->words; w++) {
        for (uint64_t word = bits[w]; word != 0; word &= word - 1) {
            const uint32_t slot = w * 64 + (uint32_t)__builtin_ctzll(word);
            qv_topk_push(&top, dists[slot], slot);
        }
    }
    uint32_t n = qv_topk_finish(&top, hits);
    return n == 0 ? 0 : hits[n - 1].dist;
}

static void find_truth(struct qv_filter_set *s, uint32_t query, struct worker *w)
{
    float *dists = w->scratch;
    compare_all(s, qv_rows_at(&s->queries, query), (uint32_t *)(void *)(dists + s->n), dists);
    for (uint32_t sel = 0; sel < SELS; sel++) {
        for (int kind = 0; kind < QV_FILTER_KINDS; kind++) {
            const enum qv_filter_kind k = (enum qv_filter_kind)kind;
            s->bounds[sel][kind][query] =
                sel == 0 && kind > 0 ? s->bounds[0][0][query]
                                     : bound_of(s, qv_filter_set_bits(s, sel, k, query), dists);
        }
    }
}

/* ---- the cache ---- */

static void cache_path(const struct qv_filter_set_options *o, const struct qv_filter_set *s,
                       const char *what, char *out)
{
    char key[256];
    const uint64_t rows = qv_hash_64(s->rows.base, s->n * s->rows.stride_bytes);
    const uint64_t queries = qv_hash_64(s->queries.base, s->q * s->queries.stride_bytes);
    int n = snprintf(key, sizeof key, "%s %s %016llx %u %u", what, o->metric,
                     (unsigned long long)rows, s->n, s->dim);
    if (strcmp(what, "graph") == 0)
        (void)snprintf(key + n, sizeof key - (size_t)n, " %u %u %d", o->m, o->ef_construct,
                       o->codes);
    else
        (void)snprintf(key + n, sizeof key - (size_t)n, " %016llx %u", (unsigned long long)queries,
                       s->q);
    (void)snprintf(out, PATH_BYTES, "%s/filter-%s-%016llx", o->cache, what,
                   (unsigned long long)qv_hash_64(key, strlen(key)));
}

static int make_truth(const struct qv_filter_set_options *o, struct qv_filter_set *s)
{
    char path[PATH_BYTES];
    const size_t all = (size_t)SELS * QV_FILTER_KINDS * s->q;
    float *bounds = qv_mem_try_calloc(all, sizeof *bounds);
    if (bounds == NULL)
        return fail("no memory for the truth");
    for (uint32_t i = 0; i < SELS * QV_FILTER_KINDS; i++)
        s->bounds[i / QV_FILTER_KINDS][i % QV_FILTER_KINDS] = bounds + (size_t)i * s->q;
    cache_path(o, s, "truth", path);
    FILE *f = o->cache[0] == 0 ? NULL : fopen(path, "re");
    const bool kept = f != NULL && fread(bounds, sizeof *bounds, all, f) == all;
    if (f != NULL)
        (void)fclose(f);
    if (kept)
        return 0;
    struct jobs j = {.s = s,
                     .run = find_truth,
                     .count = s->q,
                     .scratch_bytes = (size_t)s->n * 4 + BLOCK * sizeof(uint32_t)};
    jobs_run(&j, o->threads, "truth");
    f = o->cache[0] == 0 ? NULL : fopen(path, "we");
    if (f != NULL) {
        if (fwrite(bounds, sizeof *bounds, all, f) != all)
            fprintf(stderr, "quiver bench filter: %s was not kept\n", path);
        (void)fclose(f);
    }
    return 0;
}

static int write_file(void *arg, const void *bytes, size_t n)
{
    return fwrite(bytes, 1, n, arg) == n ? 0 : QV_EIO;
}

static int read_file(void *arg, void *bytes, size_t n, size_t *got)
{
    *got = fread(bytes, 1, n, arg);
    return ferror((FILE *)arg) != 0 ? QV_EIO : 0;
}

static void insert_row(struct qv_filter_set *s, uint32_t row, struct worker *w)
{
    int err = qv_hnsw_insert(s->graph, w->ctx, row, 0);
    QV_ASSERT(err == 0);
}

static int build_graph(const struct qv_filter_set_options *o, struct qv_filter_set *s,
                       const struct qv_hnsw_params *p, const char *path)
{
    struct qv_errmsg msg;
    if (qv_hnsw_create(p, &s->rows, &s->graph, &msg) != 0)
        return fail(msg.text);
    struct jobs j = {.s = s, .run = insert_row, .count = s->n, .scratch_bytes = 1};
    jobs_run(&j, o->threads, "graph");
    FILE *f = o->cache[0] == 0 ? NULL : fopen(path, "we");
    if (f == NULL)
        return 0;
    if (qv_hnsw_save(s->graph, write_file, f) != 0)
        fprintf(stderr, "quiver bench filter: %s was not kept\n", path);
    (void)fclose(f);
    return 0;
}

static int make_graph(const struct qv_filter_set_options *o, struct qv_filter_set *s)
{
    char path[PATH_BYTES];
    struct qv_hnsw_params p = qv_hnsw_params_default(s->metric, s->dtype, s->dim);
    struct qv_errmsg msg;
    p.m = o->m;
    p.m0 = 2 * o->m;
    p.ef_construct = o->ef_construct;
    p.max_slots = s->n;
    p.coding = o->codes ? QV_HNSW_CODING_LVQ8 : QV_HNSW_CODING_ROWS;
    cache_path(o, s, "graph", path);
    FILE *f = o->cache[0] == 0 ? NULL : fopen(path, "re");
    int err = QV_ENOTFOUND;
    if (f != NULL) {
        const struct qv_hnsw_source source = {.read = read_file, .read_arg = f};
        err = qv_hnsw_load(&p, &s->rows, &source, &s->graph, NULL, &msg);
        (void)fclose(f);
    }
    return err == 0 ? 0 : build_graph(o, s, &p, path);
}

int qv_filter_set_open(const struct qv_filter_set_options *o, struct qv_filter_set *s)
{
    QV_ASSERT(o->threads >= 1 && o->threads <= THREADS_MAX);
    *s = (struct qv_filter_set){0};
    if (o->cache[0] != 0)
        (void)mkdir(o->cache, 0777); /* where it can't be made, nothing is kept */
    int err = load(o, s);
    if (err == 0)
        err = make_filters(o, s);
    if (err == 0)
        err = make_truth(o, s);
    return err != 0 ? err : make_graph(o, s);
}

void qv_filter_set_close(struct qv_filter_set *s)
{
    qv_hnsw_destroy(&s->graph);
    qv_vmem_close(&s->rows_mem);
    qv_vmem_close(&s->queries_mem);
    qv_mem_free(s->balls);
    qv_mem_free(s->random);
    qv_mem_free(s->near);
    qv_mem_free(s->far);
    qv_mem_free(s->bounds[0][0]);
}
