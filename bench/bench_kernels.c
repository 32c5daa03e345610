/* ns per distance, per (operation, metric, dtype, ISA, dim), in cache and from DRAM, as JSON lines.
 *
 *     bench_kernels [--isa NAME] [--metric NAME] [--dtype NAME] [--dims 100,128,784] [--mb 512]
 *                   [--cpu N] [--rounds 7]
 *
 * Operations: "one" calls the single kernel, "batch" the gathered form with 32 slots a call,
 * "score" the canonical score the same way. Places: "cache" cycles over 16 rows; "dram" takes rows
 * of a table of --mb in random order. One warm-up round, then min and median of the rounds. Pinned
 * to one core: the last, unless --cpu says another. */
#include "base/mem.h"
#include "base/rng.h"
#include "simd/kernels.h"
#include "simd/score.h"

#include <getopt.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 32, CACHE_ROWS = 16, ROUNDS_MAX = 101, DIMS_MAX = 32, SLOTS = 1 << 13 };

static const char *const metric_names[] = {"l2", "dot", "cosine", "l1"};
static const char *const dtype_names[] = {"f32", "f16", "u8"};
static const char *const operation_names[] = {"one", "batch", "score"};

struct options {
    const char *isa;
    const char *metric;
    const char *dtype;
    size_t dims[DIMS_MAX];
    size_t dim_count;
    size_t table_bytes;
    int cpu;
    int rounds;
};

struct table {
    uint8_t *rows;
    size_t bytes;
    uint32_t slots[SLOTS];
    float out[SLOTS];
};

static volatile float sink;

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* One (ISA, metric, dtype, dim). */
struct subject {
    enum qv_isa isa;
    enum qv_metric metric;
    enum qv_dtype dtype;
    size_t dim;
};

/* Distances of the table's slots to row 0; ns for one. */
static double run_once(const struct subject *s, int operation, struct table *t)
{
    const size_t stride = s->dim * qv_dtype_bytes(s->dtype);
    qv_dist_f one = qv_simd_dist_isa(s->isa, s->metric, s->dtype);
    qv_dist_batch_f batch = qv_simd_dist_batch_isa(s->isa, s->metric, s->dtype);
    struct qv_scorer scorer;
    if (qv_score_init_isa(&scorer, s->isa, s->metric, s->dtype, s->dim) != QV_OK)
        return 0;

    const double start = now_ns();
    for (size_t i = 0; i < SLOTS; i += BATCH) {
        const struct qv_gather gather = {t->rows, stride, t->slots + i, BATCH};
        if (operation == 0)
            for (size_t j = 0; j < BATCH; ++j)
                t->out[i + j] = one(t->rows, t->rows + t->slots[i + j] * stride, s->dim);
        else if (operation == 1)
            batch(t->rows, t->rows, stride, t->slots + i, BATCH, s->dim, t->out + i);
        else
            qv_score_batch(&scorer, t->rows, &gather, t->out + i);
    }
    const double ns = (now_ns() - start) / SLOTS;
    sink = t->out[SLOTS / 2];
    return ns;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void run_subject(const struct subject *s, const struct options *o, struct table *t)
{
    const size_t stride = s->dim * qv_dtype_bytes(s->dtype);
    double ns[ROUNDS_MAX];
    struct qv_rng rng;
    qv_rng_init(&rng, 1);
    for (int operation = 0; operation < 3; ++operation) {
        for (int dram = 0; dram < 2; ++dram) {
            const uint64_t rows = dram ? t->bytes / stride : CACHE_ROWS;
            const int repeat = dram ? 1 : 8; /* a cached round is short */
            for (int r = -1; r < o->rounds; ++r) {
                double sum = 0;
                for (size_t i = 0; i < SLOTS; ++i)
                    t->slots[i] = (uint32_t)qv_rng_below(&rng, rows);
                for (int i = 0; i < repeat; ++i)
                    sum += run_once(s, operation, t);
                if (r >= 0)
                    ns[r] = sum / repeat;
            }
            qsort(ns, (size_t)o->rounds, sizeof ns[0], by_value);
            printf("{\"op\":\"%s\",\"metric\":\"%s\",\"dtype\":\"%s\",\"isa\":\"%s\",\"dim\":%zu,"
                   "\"place\":\"%s\",\"ns_min\":%.2f,\"ns_median\":%.2f}\n",
                   operation_names[operation], metric_names[s->metric], dtype_names[s->dtype],
                   qv_simd_isa_name(s->isa), s->dim, dram ? "dram" : "cache", ns[0],
                   ns[o->rounds / 2]);
            fflush(stdout);
        }
    }
}

static bool parse_dims(const char *text, struct options *o)
{
    o->dim_count = 0;
    for (const char *p = text; *p != '\0';) {
        char *end;
        const unsigned long dim = strtoul(p, &end, 10);
        if (end == p || dim < 1 || dim > QV_SIMD_DIM_MAX || o->dim_count == DIMS_MAX)
            return false;
        o->dims[o->dim_count++] = dim;
        p = *end == ',' ? end + 1 : end;
        if (*end != ',' && *end != '\0')
            return false;
    }
    return o->dim_count != 0;
}

static bool parse_options(int argc, char **argv, struct options *o)
{
    static const struct option names[] = {
        {"isa", required_argument, NULL, 'i'},    {"metric", required_argument, NULL, 'm'},
        {"dtype", required_argument, NULL, 'd'},  {"dims", required_argument, NULL, 'D'},
        {"mb", required_argument, NULL, 'M'},     {"cpu", required_argument, NULL, 'c'},
        {"rounds", required_argument, NULL, 'r'}, {NULL, 0, NULL, 0}};
    *o = (struct options){.dims = {100, 128, 784},
                          .dim_count = 3,
                          .table_bytes = (size_t)512 << 20,
                          .cpu = (int)sysconf(_SC_NPROCESSORS_ONLN) - 1,
                          .rounds = 7};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (c == 'i')
            o->isa = optarg;
        else if (c == 'm')
            o->metric = optarg;
        else if (c == 'd')
            o->dtype = optarg;
        else if (c == 'M')
            o->table_bytes = strtoul(optarg, NULL, 10) << 20;
        else if (c == 'c')
            o->cpu = (int)strtol(optarg, NULL, 10);
        else if (c == 'r')
            o->rounds = (int)strtol(optarg, NULL, 10);
        else if (c != 'D' || !parse_dims(optarg, o))
            return false;
    }
    return optind == argc && o->rounds >= 1 && o->rounds <= ROUNDS_MAX && o->table_bytes != 0;
}

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        perror("bench_kernels: not pinned");
}

/* Small numbers in every dtype, so that no kernel meets denormals or overflows. */
static bool table_init(struct table *t, size_t bytes)
{
    struct qv_rng rng;
    t->rows =
        (uint8_t *)mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (t->rows == MAP_FAILED)
        return false;
    t->bytes = bytes;
    qv_rng_init(&rng, 2);
    for (size_t i = 0; i + 8 <= bytes; i += 8) {
        const uint64_t v =
            (qv_rng_u64(&rng) & 0x03FF03FF03FF03FFu) | 0x3C003C003C003C00u; /* f16 and f32 near 1 */
        memcpy(t->rows + i, &v, sizeof v);
    }
    return true;
}

int main(int argc, char **argv)
{
    static struct table t;
    struct options o;
    if (!parse_options(argc, argv, &o)) {
        fprintf(stderr,
                "usage: bench_kernels [--isa serial|avx2|avx512] [--metric l2|dot|cosine|l1]"
                " [--dtype f32|f16|u8] [--dims 100,128,784] [--mb 512] [--cpu N]"
                " [--rounds 1..%d]\n",
                ROUNDS_MAX);
        return 2;
    }
    pin(o.cpu);
    if (!table_init(&t, o.table_bytes)) {
        fprintf(stderr, "bench_kernels: no memory for the table\n");
        return 1;
    }
    QV_FOR_EACH_ISA(isa)
    for (int metric = 0; metric < QV_METRIC_COUNT; ++metric)
        for (int dtype = 0; dtype < QV_DTYPE_COUNT; ++dtype)
            for (size_t d = 0; d < o.dim_count; ++d) {
                const struct subject s = {(enum qv_isa)isa, (enum qv_metric)metric,
                                          (enum qv_dtype)dtype, o.dims[d]};
                if ((o.isa == NULL || strcmp(o.isa, qv_simd_isa_name(s.isa)) == 0) &&
                    (o.metric == NULL || strcmp(o.metric, metric_names[metric]) == 0) &&
                    (o.dtype == NULL || strcmp(o.dtype, dtype_names[dtype]) == 0))
                    run_subject(&s, &o, &t);
            }
    return 0;
}
