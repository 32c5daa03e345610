#include "cli/bench_index_serve.h"

#include "base/mem.h"

#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CALLS_MAX (1u << 22) /* kept for `stats`; later ones only count towards the fastest */

struct server {
    const struct qv_cli_bench_asked *asked;
    double *ns;      /* of the calls under way, by query */
    double *fastest; /* by query; INFINITY: not asked */
    double *calls;   /* each call since the last `stats` */
    size_t calls_n, calls_cap;
};

static double clock_s(clockid_t id)
{
    struct timespec t;
    (void)clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int by_double(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile_us(double *v, size_t n, double p)
{
    if (n == 0)
        return 0;
    const size_t at = (size_t)(p * (double)n);
    qsort(v, n, sizeof *v, by_double);
    return v[at < n ? at : n - 1] / 1e3;
}

static int keep_call(struct server *s, double ns)
{
    if (s->calls_n == s->calls_cap) {
        if (s->calls_cap >= CALLS_MAX)
            return 0;
        const size_t cap = s->calls_cap > 0 ? s->calls_cap * 2 : 65536;
        double *grown = qv_mem_try_realloc(s->calls, cap * sizeof *grown);
        if (grown == NULL)
            return QV_ENOMEM;
        s->calls = grown;
        s->calls_cap = cap;
    }
    s->calls[s->calls_n++] = ns;
    return 0;
}

struct asked {
    double wall_s, cpu_s;
    uint64_t hits;
    long long read; /* bytes, from disks */
};

/* Queries from <= i < to; adds to *sum. */
static int ask_range(struct server *s, uint32_t ef, uint32_t from, uint32_t to, struct asked *sum)
{
    uint64_t hits;
    struct qv_cli_bench_memory before;
    struct qv_cli_bench_memory after;
    s->asked->memory(s->asked->ctx, &before);
    const double cpu = clock_s(CLOCK_THREAD_CPUTIME_ID);
    s->asked->ask(s->asked->ctx, ef, from, to, s->ns);
    sum->cpu_s += clock_s(CLOCK_THREAD_CPUTIME_ID) - cpu;
    s->asked->memory(s->asked->ctx, &after);
    sum->read += after.read - before.read;
    for (uint32_t i = from; i < to; i++) {
        sum->wall_s += s->ns[i] / 1e9;
        if (s->ns[i] < s->fastest[i])
            s->fastest[i] = s->ns[i];
        if (keep_call(s, s->ns[i]) != 0)
            return 1;
    }
    const int err = s->asked->judge(s->asked->ctx, from, to, &hits);
    sum->hits += err == 0 ? hits : 0;
    return err;
}

static int ask(struct server *s, uint32_t ef, uint32_t from, uint32_t count)
{
    struct asked sum = {0};
    for (uint32_t left = count, at = from % s->asked->queries; left > 0; at = 0) {
        const uint32_t room = s->asked->queries - at;
        const uint32_t n = left < room ? left : room;
        const int err = ask_range(s, ef, at, at + n, &sum);
        if (err != 0)
            return err;
        left -= n;
    }
    printf("{\"wall_s\":%.6f,\"cpu_s\":%.6f,\"hits\":%llu,\"read_bytes\":%lld}\n", sum.wall_s,
           sum.cpu_s, (unsigned long long)sum.hits, sum.read);
    return 0;
}

static void print_stats(struct server *s)
{
    size_t asked = 0;
    for (uint32_t i = 0; i < s->asked->queries; i++)
        if (isfinite(s->fastest[i]))
            s->ns[asked++] = s->fastest[i];
    printf("{\"calls\":%zu,\"queries\":%zu,\"p50_us\":%.2f,\"p99_us\":%.2f,"
           "\"p50_min_of_passes_us\":%.2f,\"p99_min_of_passes_us\":%.2f}\n",
           s->calls_n, asked, quantile_us(s->calls, s->calls_n, 0.5),
           quantile_us(s->calls, s->calls_n, 0.99), quantile_us(s->ns, asked, 0.5),
           quantile_us(s->ns, asked, 0.99));
    s->calls_n = 0;
    for (uint32_t i = 0; i < s->asked->queries; i++)
        s->fastest[i] = INFINITY;
}

static void print_memory(const struct server *s)
{
    struct qv_cli_bench_memory m;
    s->asked->memory(s->asked->ctx, &m);
    printf("{\"memory_bytes\":%lld,\"memory_anon_bytes\":%lld,\"memory_file_bytes\":%lld,"
           "\"page_cache_bytes\":%lld}\n",
           m.rss + m.page_cache, m.anon, m.rss - m.anon, m.page_cache);
}

/* A number from 1 (or 0) to max behind *at, which is moved behind it. */
static bool take_number(const char **at, uint32_t min, uint32_t max, uint32_t *out)
{
    char *end;
    const unsigned long v = **at >= '0' && **at <= '9' ? strtoul(*at, &end, 10) : ULONG_MAX;
    if (v < min || v > max)
        return false;
    *out = (uint32_t)v;
    *at = end + (*end == ' ' ? 1 : 0);
    return true;
}

static int obey(struct server *s, const char *line, bool *quit)
{
    uint32_t ef, from, count;
    const char *at = line + 7;
    if (strncmp(line, "ask ef=", 7) == 0 && take_number(&at, 1, s->asked->ef_max, &ef) &&
        take_number(&at, 0, UINT32_MAX, &from) && take_number(&at, 1, UINT32_MAX, &count))
        return ask(s, ef, from, count);
    if (strcmp(line, "stats\n") == 0) {
        print_stats(s);
        return 0;
    }
    if (strcmp(line, "memory\n") == 0) {
        print_memory(s);
        return 0;
    }
    *quit = strcmp(line, "quit\n") == 0;
    if (!*quit)
        fprintf(stderr, "quiver bench index: what is '%.40s'\n", line);
    return *quit ? 0 : 2;
}

int qv_cli_bench_index_serve(const struct qv_cli_bench_asked *asked)
{
    struct server s = {.asked = asked};
    s.ns = qv_mem_try_calloc(asked->queries, sizeof *s.ns);
    s.fastest = qv_mem_try_calloc(asked->queries, sizeof *s.fastest);
    int err = s.ns == NULL || s.fastest == NULL ? 1 : 0;
    for (uint32_t i = 0; err == 0 && i < asked->queries; i++)
        s.fastest[i] = INFINITY;
    char line[256];
    bool quit = false;
    while (err == 0 && !quit && fgets(line, sizeof line, stdin) != NULL) {
        err = obey(&s, line, &quit);
        (void)fflush(stdout);
    }
    qv_mem_free(s.ns);
    qv_mem_free(s.fastest);
    qv_mem_free(s.calls);
    return err;
}
