/* What JSON costs: reading an upsert of 1000 x 128 floats and a 768-d query, writing vectors, ours
 * beside jansson and beside the C library's printf. One pinned core, passes interleaved, minimum
 * and median; JSON on stdout. bench_json [passes] */
#include "base/buf.h"
#include "base/mem.h"
#include "base/rng.h"
#include "wire/json_request.h"
#include "wire/json_write.h"

#include <jansson.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define POINTS 1000u
#define DIM 128u
#define QUERY_DIM 768u
#define PASSES_MAX 1000

enum digits { DIGITS_SHORT, DIGITS_17 }; /* as we and C# print a float; as Python prints it */

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void put_floats(struct qv_buf *b, struct qv_rng *rng, uint32_t n, enum digits digits)
{
    for (uint32_t i = 0; i < n; i++) {
        float v = qv_rng_gauss(rng) * 0.1f;
        qv_buf_str(b, i == 0 ? "[" : ", ");
        if (digits == DIGITS_SHORT)
            qv_json_write_f32(b, v);
        else
            qv_json_write_f64(b, (double)v);
    }
    qv_buf_str(b, "]");
}

static void make_upsert(struct qv_buf *b, enum digits digits)
{
    struct qv_rng rng;
    qv_rng_init(&rng, 1);
    qv_buf_init(b, 0);
    qv_buf_str(b, "{\"points\": [");
    for (uint32_t i = 0; i < POINTS; i++) {
        qv_buf_printf(b, "%s{\"id\": %u, \"vector\": ", i == 0 ? "" : ", ", i);
        put_floats(b, &rng, DIM, digits);
        qv_buf_printf(b, ", \"payload\": {\"group\": %u, \"name\": \"point %u\"}}", i % 10, i);
    }
    qv_buf_str(b, "]}");
}

static void make_query(struct qv_buf *b, enum digits digits)
{
    struct qv_rng rng;
    qv_rng_init(&rng, 2);
    qv_buf_init(b, 0);
    qv_buf_str(b, "{\"query\": ");
    put_floats(b, &rng, QUERY_DIM, digits);
    qv_buf_str(b, ", \"limit\": 10}");
}

/* ---- what is timed; each returns something that depends on its work ---- */

static double ours_upsert(const struct qv_buf *body, struct qv_arena *arena)
{
    struct qv_write_op op;
    struct qv_errmsg msg;
    qv_arena_reset(arena);
    if (qv_json_read_write(QV_WRITE_UPSERT, (struct qv_bytes){body->data, body->len}, arena, &op,
                           &msg) != 0)
        abort();
    return (double)op.points[op.point_count - 1].vecs[0].vec.values[DIM - 1];
}

static double ours_query(const struct qv_buf *body, struct qv_arena *arena)
{
    struct qv_query_req req;
    struct qv_errmsg msg;
    qv_arena_reset(arena);
    if (qv_json_read_query(QV_JSON_QUERY, (struct qv_bytes){body->data, body->len}, arena, &req,
                           &msg) != 0)
        abort();
    return (double)req.queries[0].vec.values[QUERY_DIM - 1];
}

static double jansson_floats(const json_t *array, float *out)
{
    size_t i;
    json_t *v;
    json_array_foreach(array, i, v) out[i] = (float)json_number_value(v);
    return (double)out[json_array_size(array) - 1];
}

static double jansson_upsert(const struct qv_buf *body, struct qv_arena *arena)
{
    static float out[DIM];
    double last = 0;
    size_t i;
    json_t *point;
    json_error_t error;
    json_t *root = json_loadb((const char *)body->data, body->len, 0, &error);
    (void)arena;
    json_array_foreach(json_object_get(root, "points"), i, point) last =
        jansson_floats(json_object_get(point, "vector"), out);
    json_decref(root);
    return last;
}

static double jansson_query(const struct qv_buf *body, struct qv_arena *arena)
{
    static float out[QUERY_DIM];
    json_error_t error;
    json_t *root = json_loadb((const char *)body->data, body->len, 0, &error);
    (void)arena;
    double last = jansson_floats(json_object_get(root, "query"), out);
    json_decref(root);
    return last;
}

static float written[POINTS * DIM];
static struct qv_buf sink;

static double ours_write(const struct qv_buf *body, struct qv_arena *arena)
{
    (void)body;
    (void)arena;
    qv_buf_clear(&sink);
    qv_json_write_floats(&sink, written, POINTS * DIM);
    return (double)sink.len;
}

static double printf_write(const struct qv_buf *body, struct qv_arena *arena)
{
    (void)body;
    (void)arena;
    qv_buf_clear(&sink);
    for (uint32_t i = 0; i < POINTS * DIM; i++)
        qv_buf_printf(&sink, "%.9g,", (double)written[i]);
    return (double)sink.len;
}

struct row {
    const char *name;
    const char *peer;
    double (*ours)(const struct qv_buf *, struct qv_arena *);
    double (*theirs)(const struct qv_buf *, struct qv_arena *);
    const struct qv_buf *body;
    double bytes;
};

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void run_row(const struct row *r, int passes, struct qv_arena *arena, bool last)
{
    static double ours[PASSES_MAX];
    static double theirs[PASSES_MAX];
    double check = 0;
    for (int i = -2; i < passes; i++) { /* two to warm up */
        double t0 = now_s();
        check += r->ours(r->body, arena);
        double t1 = now_s();
        check += r->theirs(r->body, arena);
        double t2 = now_s();
        if (i >= 0) {
            ours[i] = t1 - t0;
            theirs[i] = t2 - t1;
        }
    }
    qsort(ours, (size_t)passes, sizeof *ours, compare_doubles);
    qsort(theirs, (size_t)passes, sizeof *theirs, compare_doubles);
    printf("  {\"name\": \"%s\", \"bytes\": %.0f, \"min_us\": %.1f, \"median_us\": %.1f, "
           "\"mb_per_s\": %.0f, \"peer\": \"%s\", \"peer_min_us\": %.1f, \"peer_median_us\": %.1f, "
           "\"ratio\": %.2f, \"check\": %.3g}%s\n",
           r->name, r->bytes, ours[0] * 1e6, ours[passes / 2] * 1e6, r->bytes / ours[0] / 1e6,
           r->peer, theirs[0] * 1e6, theirs[passes / 2] * 1e6,
           theirs[passes / 2] / ours[passes / 2], check, last ? "" : ",");
}

int main(int argc, char **argv)
{
    struct qv_buf bodies[4];
    struct qv_arena arena;
    struct qv_rng rng;
    cpu_set_t cpus;
    int passes = argc > 1 ? atoi(argv[1]) : 15;
    passes = passes < 1 ? 1 : passes > PASSES_MAX ? PASSES_MAX : passes;
    CPU_ZERO(&cpus);
    CPU_SET(0, &cpus);
    (void)sched_setaffinity(0, sizeof cpus, &cpus);
    qv_arena_init(&arena, QV_REQUEST_ARENA_BYTES);
    qv_rng_init(&rng, 3);
    qv_buf_init(&sink, 0);
    for (uint32_t i = 0; i < POINTS * DIM; i++)
        written[i] = qv_rng_gauss(&rng) * 0.1f;
    make_upsert(&bodies[0], DIGITS_SHORT);
    make_upsert(&bodies[1], DIGITS_17);
    make_query(&bodies[2], DIGITS_SHORT);
    make_query(&bodies[3], DIGITS_17);
    const struct row rows[] = {
        {"upsert 1000x128, short decimals", "jansson", ours_upsert, jansson_upsert, &bodies[0],
         (double)bodies[0].len},
        {"upsert 1000x128, 17 digits", "jansson", ours_upsert, jansson_upsert, &bodies[1],
         (double)bodies[1].len},
        {"query 768, short decimals", "jansson", ours_query, jansson_query, &bodies[2],
         (double)bodies[2].len},
        {"query 768, 17 digits", "jansson", ours_query, jansson_query, &bodies[3],
         (double)bodies[3].len},
        {"write 128000 floats", "printf %.9g", ours_write, printf_write, &bodies[0],
         ours_write(NULL, NULL)},
    };
    const size_t n = sizeof rows / sizeof rows[0];
    printf("{\"schema\": \"quiver/bench_json/1\", \"passes\": %d, \"rows\": [\n", passes);
    for (size_t i = 0; i < n; i++)
        run_row(&rows[i], passes, &arena, i + 1 == n);
    printf("]}\n");
    for (size_t i = 0; i < 4; i++)
        qv_buf_close(&bodies[i]);
    qv_buf_close(&sink);
    qv_arena_close(&arena);
    return 0;
}
