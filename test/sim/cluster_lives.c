/* Seeded lives of a cluster: see cluster_world.h. `make sim`. */
#include "cluster_world.h"

#include "base/mem.h"
#include "quiet.h"
#include "report.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FAILED_MAX 200u

struct failure {
    uint64_t seed;
    const char *checker;
    char text[600];
};

struct campaign {
    uint64_t seed, from, count; /* seed != 0: this one alone */
    uint32_t nodes, minutes, seconds;
    bool moves;
    struct cw_branches branches;
    struct qv_sim_net_stats net;
    struct failure failed[FAILED_MAX];
    uint32_t failed_count;
    uint64_t seeds_run;
    double sim_seconds;
};

static double now_s(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void note_failure(struct campaign *c, uint64_t seed, const char *checker, const char *text)
{
    fprintf(stderr, "\nseed %llu: %s: %s\nreplay with: make sim SEED=%llu NODES=%u MINUTES=%u%s\n",
            (unsigned long long)seed, checker, text, (unsigned long long)seed, c->nodes, c->minutes,
            c->moves ? " MOVES=1" : "");
    if (c->failed_count == FAILED_MAX)
        return;
    struct failure *f = &c->failed[c->failed_count++];
    f->seed = seed;
    f->checker = checker;
    (void)snprintf(f->text, sizeof f->text, "%s", text);
}

static void one_seed(struct campaign *c, uint64_t seed)
{
    struct cluster_world *w = qv_mem_calloc(1, sizeof *w);
    const struct cw_config config = {.seed = seed,
                                     .nodes = c->nodes,
                                     .proxies = c->nodes > 2 ? 1 + (uint32_t)(seed % 2) : 0,
                                     .shards = 1 + (uint32_t)(seed % 6),
                                     .faults = seed % 10 != 0,
                                     .moves = c->moves};
    cw_open(w, &config, &c->branches);
    if (w->checker == NULL)
        cw_run(w, c->minutes * 60ull * QV_NS_PER_S);
    if (w->checker == NULL)
        cw_settle(w);
    c->sim_seconds += (double)qv_sim_now_ns(w->sim) * 1e-9;
    c->seeds_run++;
    struct qv_sim_net_stats net;
    qv_sim_net_stats(w->net, &net);
    c->net.messages += net.messages;
    c->net.bytes += net.bytes;
    c->net.lost += net.lost;
    c->net.held += net.held;
    c->net.resets += net.resets;
    for (int i = 0; i < QV_SIM_NET_FAULT_COUNT; i++)
        c->net.faults[i] += net.faults[i];
    if (w->checker != NULL)
        note_failure(c, seed, w->checker, w->wrong);
    if (w->checker != NULL)
        return; /* what has failed may not be able to end */
    cw_close(w);
    qv_mem_free(w);
}

/* A process a seed: what a node's crash leaves behind in memory goes with it, and a seed that ends
 * the process is a finding like others. The campaign lies in memory that both see. */
static void one_process(struct campaign *c, uint64_t seed)
{
    char text[64];
    int status = 0;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        one_seed(c, seed);
        fflush(NULL);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        note_failure(c, seed, "process", "it could not be started");
    } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        (void)snprintf(text, sizeof text, "it ended with status %d", status);
        note_failure(c, seed, "process", text);
    }
}

static json_t *faults_json(const struct campaign *c)
{
    static const char *const names[QV_SIM_NET_FAULT_COUNT] = {"block", "lose", "duplicate",
                                                              "delay", "slow", "reset"};
    json_t *j = json_object();
    for (int i = 0; i < QV_SIM_NET_FAULT_COUNT; i++)
        json_object_set_new(j, names[i], json_integer((json_int_t)c->net.faults[i]));
    json_object_set_new(j, "killed", json_integer((json_int_t)c->branches.processes_killed));
    json_object_set_new(j, "power_off", json_integer((json_int_t)c->branches.powers_off));
    return j;
}

static int report(const struct campaign *c, double seconds, double cpu, const char *out)
{
    json_t *j = report_begin("sim", seconds);
    json_t *failed = json_array();
    json_t *branches = json_object();
    for (uint32_t i = 0; i < c->failed_count; i++) {
        json_t *f = json_object();
        json_object_set_new(f, "seed", json_integer((json_int_t)c->failed[i].seed));
        json_object_set_new(f, "checker", json_string(c->failed[i].checker));
        json_object_set_new(f, "text", json_string(c->failed[i].text));
        json_array_append_new(failed, f);
    }
#define X(name) json_object_set_new(branches, #name, json_integer((json_int_t)c->branches.name));
    CW_BRANCHES(X)
#undef X
    json_object_set_new(j, "seeds", json_integer((json_int_t)c->seeds_run));
    json_object_set_new(j, "failed", failed);
    json_object_set_new(j, "sim_seconds", json_real(c->sim_seconds));
    json_object_set_new(j, "cpu_seconds", json_real(cpu));
    json_object_set_new(j, "sim_seconds_per_cpu_second", json_real(c->sim_seconds / cpu));
    json_object_set_new(j, "messages", json_integer((json_int_t)c->net.messages));
    json_object_set_new(j, "faults", faults_json(c));
    json_object_set_new(j, "branches", branches);
    return report_end(j, out);
}

/* Of so many seeds each must have seen everything. */
#define SEEDS_MIN 50u

static uint32_t say_never(const struct campaign *c)
{
    uint32_t never = 0;
#define X(name)                                                                                    \
    if (c->branches.name == 0) {                                                                   \
        fprintf(stderr, "never happened: %s\n", #name);                                            \
        never++;                                                                                   \
    }
    CW_BRANCHES(X)
#undef X
    if (!c->moves)
        never -= 3; /* begun, done, taken back */
    return c->seeds_run >= SEEDS_MIN ? never : 0;
}

static void run(struct campaign *c)
{
    double begin = now_s(CLOCK_MONOTONIC);
    double said = begin;
    for (uint64_t i = 0; i < c->count; i++) {
        one_process(c, c->from + i);
        double now = now_s(CLOCK_MONOTONIC);
        if (c->seconds != 0 && now - begin >= c->seconds)
            break;
        if (now - said >= 1) {
            double rate = (double)(i + 1) / (now - begin);
            double left = (double)(c->count - i - 1) / rate;
            if (c->seconds != 0 && c->seconds - (now - begin) < left)
                left = c->seconds - (now - begin);
            fprintf(stderr, "\r%llu seeds, %.1f a second, %.0f s to go   ",
                    (unsigned long long)(i + 1), rate, left);
            fflush(stderr);
            said = now;
        }
    }
    fputc('\n', stderr);
}

/* Of the seeds' processes. */
static double cpu_s(void)
{
    struct rusage used;
    (void)getrusage(RUSAGE_CHILDREN, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"from", required_argument, NULL, 'f'},
                                            {"count", required_argument, NULL, 'c'},
                                            {"nodes", required_argument, NULL, 'n'},
                                            {"minutes", required_argument, NULL, 'm'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"seed", required_argument, NULL, 'S'},
                                            {"moves", no_argument, NULL, 'M'},
                                            {"out", required_argument, NULL, 'o'},
                                            {NULL, 0, NULL, 0}};
    struct campaign *c =
        mmap(NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (c == MAP_FAILED)
        return 2;
    *c = (struct campaign){.from = 1, .count = 100, .nodes = 5, .minutes = 2};
    const char *out = NULL;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        bool number = option != 'o' && option != 'M' && option != '?';
        uint64_t v = number ? strtoull(optarg, NULL, 10) : 0;
        if (option == 'f')
            c->from = v;
        else if (option == 'c')
            c->count = v;
        else if (option == 'n')
            c->nodes = (uint32_t)v;
        else if (option == 'm')
            c->minutes = (uint32_t)v;
        else if (option == 's')
            c->seconds = (uint32_t)v;
        else if (option == 'S') {
            c->from = v;
            c->count = 1;
        } else if (option == 'M')
            c->moves = true;
        else if (option == 'o')
            out = optarg;
        else
            return 2;
    }
    if (c->nodes == 0 || c->nodes > CW_NODES_MAX || c->minutes == 0 || c->count == 0) {
        fprintf(stderr, "sim: nodes 1 to %u, minutes and count 1 or more\n", CW_NODES_MAX);
        return 2;
    }
    quiet_log();
    double begin = now_s(CLOCK_MONOTONIC);
    run(c);
    int written = report(c, now_s(CLOCK_MONOTONIC) - begin, cpu_s(), out);
    uint32_t failed = c->failed_count + say_never(c) + (written != 0);
    printf("%llu passed, %u failed\n", (unsigned long long)(c->seeds_run - c->failed_count),
           failed);
    return failed > 0;
}
