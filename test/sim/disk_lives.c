/* Seeded lives of a store on a disk that tears, loses, flips, fills up and fails; whatever happens,
 * an answer is right or an error that names the place. See test/lib/shard_world.h for the model.
 *
 * A bit is flipped while the store is closed. Then either an open (or a read) refuses and names
 * what is bad, or everything is as it was: the bit meant nothing. What was detected is not
 * destroyed: with the bit back in its place the store opens and has everything. Bits of the log's
 * last segments are left alone: a block that nothing was written behind can't be told from a torn
 * one. */
#include "quiet.h"
#include "report.h"
#include "shard/store_private.h"
#include "shard_world.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS 7
#define FAILED_MAX 1000

enum fault {
    TORN,
    LOST,
    FLIP_LOG,
    FLIP_VECTORS,
    FLIP_GRAPH,
    FLIP_SLOTS,
    FLIP_KV,
    FLIP_STORE,
    FULL,
    EIO_FAULT,
    FAULTS
};

static const char *const fault_names[FAULTS] = {
    "torn",       "lost",    "flip_log",   "flip_vectors", "flip_graph",
    "flip_slots", "flip_kv", "flip_store", "full",         "eio"};
static const char *const flip_parts[FAULTS] = {
    [FLIP_LOG] = "/log/0",    [FLIP_VECTORS] = "/rows-", [FLIP_GRAPH] = "/graph-",
    [FLIP_SLOTS] = "/slots-", [FLIP_KV] = "/kv/",        [FLIP_STORE] = "node/store"};

struct campaign {
    uint64_t faults[FAULTS];
    uint64_t flips, detected, harmless, acked, lives, served_wrong;
    uint64_t returned; /* times that writes were taken again in the life that a fault hit */
    uint64_t failed[FAILED_MAX];
    size_t failed_n;
    FILE *say;
};

static uint64_t below(struct world *w, uint64_t n)
{
    return qv_rng_below(&w->rng, n);
}

static void work(struct world *w, bool verify)
{
    uint64_t writes = 5 + below(w, 50);
    for (uint64_t i = 0; i < writes && w->wrong[0] == '\0'; i++) {
        (void)world_write_some(w);
        if (below(w, 3) == 0)
            qv_sim_run(w->sim, below(w, 40));
        if (below(w, 12) == 0)
            qv_sim_run_for(w->sim, below(w, 500) * QV_NS_PER_MS);
        if (verify && below(w, 20) == 0) {
            world_run(w);
            (void)world_verify(w, true);
        }
    }
}

static bool wrong(struct world *w, const char *what, const char *text)
{
    if (w->wrong[0] == '\0')
        snprintf(w->wrong, sizeof w->wrong, "%s: %.400s", what, text);
    return false;
}

/* Opens what must open, and finds everything in it. */
static bool open_well(struct world *w)
{
    struct qv_errmsg msg = {""};
    int err = world_open(w, &msg);
    if (err != 0)
        return wrong(w, qv_err_name(err), msg.text);
    return world_verify(w, true) && world_check_structures(w);
}

static bool power_fails(struct campaign *c, struct world *w)
{
    struct qv_sim_disk_counts before = *qv_sim_disk_counts(w->disk);
    if (below(w, 2) == 0) {
        qv_sim_disk_die_after(w->disk, 1 + below(w, 80));
        work(w, false);
        qv_sim_run_for(w->sim, below(w, 600) * QV_NS_PER_MS);
    }
    world_crash(w, true);
    c->faults[TORN] += qv_sim_disk_counts(w->disk)->writes_torn > before.writes_torn;
    c->faults[LOST] += qv_sim_disk_counts(w->disk)->sectors_lost > before.sectors_lost ||
                       qv_sim_disk_counts(w->disk)->names_lost > before.names_lost;
    return w->wrong[0] == '\0' && open_well(w);
}

/* The disk is as it should be again: in the same life, without anybody's help, writes are taken,
 * and everything that was acknowledged is there. */
static bool service_returns(struct world *w, const char *after)
{
    uint64_t before = w->acked;
    bool stopped = true;
    for (int i = 0; i < 200 && stopped; i++) {
        qv_sim_run_for(w->sim, 100 * QV_NS_PER_MS);
        stopped = qv_log_error(w->store->log) != 0;
        for (uint32_t s = 0; s < WORLD_SHARDS; s++) {
            struct qv_shard_info info;
            qv_shard_info(qv_store_shard(w->store, s + 1), &info);
            stopped = stopped || info.err != 0;
            if (stopped && i == 199)
                return wrong(w, after, info.reason);
        }
    }
    if (stopped)
        return wrong(w, after, qv_log_reason(w->store->log));
    unsigned written = 0; /* none while too much is in doubt for the model */
    for (int i = 0; i < 100 && w->acked == before && w->wrong[0] == '\0'; i++) {
        written += world_write_some(w);
        world_run(w);
    }
    if (w->acked == before && written > 20)
        return wrong(w, after, "no write is taken any more");
    return w->wrong[0] == '\0' && world_verify(w, false);
}

/* Ends a life that a failing disk was in, one way or the other. */
static bool end_life(struct world *w)
{
    switch (below(w, 3)) {
    case 0:
        return world_verify(w, false);
    case 1: {
        int err = world_shut(w);
        if (err != 0)
            return wrong(w, "close", qv_err_name(err));
        break;
    }
    default:
        world_crash(w, below(w, 2) == 0);
    }
    return w->wrong[0] == '\0' && open_well(w);
}

static bool disk_fills(struct campaign *c, struct world *w)
{
    uint64_t before = qv_sim_disk_counts(w->disk)->errors_space;
    qv_sim_disk_set_capacity(w->disk, qv_sim_disk_used(w->disk) + below(w, 40000));
    for (int i = 0; i < 20 && qv_sim_disk_counts(w->disk)->errors_space == before; i++)
        work(w, true);
    world_run(w);
    if (!world_verify(w, false)) /* reads go on */
        return false;
    c->faults[FULL] += qv_sim_disk_counts(w->disk)->errors_space > before;
    if (below(w, 4) == 0) { /* power fails while it is full; there is room only after that */
        world_crash(w, below(w, 2) == 0);
        qv_sim_disk_set_capacity(w->disk, 0);
        return open_well(w);
    }
    qv_sim_disk_set_capacity(w->disk, 0);
    if (!service_returns(w, "after a full disk"))
        return false;
    c->returned++;
    return end_life(w);
}

static bool disk_fails(struct campaign *c, struct world *w)
{
    static const char *const parts[] = {NULL,      "/log/", "/rows-",    "/graph-",
                                        "/slots-", "/kv/",  "node/store"};
    uint64_t before = qv_sim_disk_counts(w->disk)->errors_io;
    uint64_t count = below(w, 4) == 0 ? 1000000 : 1 + below(w, 8); /* some go on failing */
    qv_sim_disk_fail(w->disk, 1 + (unsigned)below(w, 31), parts[below(w, 7)], 1 + below(w, 30),
                     count, QV_EIO);
    for (int i = 0; i < 4 && qv_sim_disk_counts(w->disk)->errors_io == before; i++)
        work(w, false);
    qv_sim_run_for(w->sim, below(w, 4000) * QV_NS_PER_MS);
    world_run(w);
    (void)world_verify(w, false);
    c->faults[EIO_FAULT] += qv_sim_disk_counts(w->disk)->errors_io > before;
    if (w->wrong[0] != '\0')
        return false;
    if (below(w, 4) == 0) {
        world_crash(w, below(w, 2) == 0);
        qv_sim_disk_fail(w->disk, 0, NULL, 0, 0, 0);
        return open_well(w);
    }
    qv_sim_disk_fail(w->disk, 0, NULL, 0, 0, 0);
    if (!service_returns(w, "after a failing disk"))
        return false;
    c->returned++;
    return end_life(w);
}

/* A file of the class and a place in it. */
static bool choose_place(struct world *w, enum fault class, char path[512], uint64_t *offset)
{
    size_t n = 0;
    struct qv_file *f;
    const char *part = class == FLIP_LOG && below(w, 8) == 0 ? "/log/newest" : flip_parts[class];
    while (qv_sim_disk_find(w->disk, part, n) != NULL)
        n++;
    if (part == flip_parts[FLIP_LOG])
        n = n > 2 ? n - 2 : 0;
    if (n == 0)
        return false;
    snprintf(path, 512, "%s", qv_sim_disk_find(w->disk, part, below(w, n)));
    uint64_t size = 0;
    int err = qv_disk_open(w->disk, path, QV_OPEN_READ, &f, NULL);
    if (err != 0)
        return false;
    err = qv_file_size(f, &size, NULL);
    qv_file_close(f);
    if (err != 0 || size == 0)
        return false;
    *offset = below(w, class == FLIP_VECTORS && size > 12288 ? 12288 : size);
    return true;
}

static bool bit_is_back(struct world *w, const char *path, uint64_t offset, unsigned bit,
                        uint8_t flipped)
{
    struct qv_file *f;
    uint8_t now = 0;
    int err = qv_disk_open(w->disk, path, QV_OPEN_READ, &f, NULL);
    if (err != 0)
        return false;
    err = qv_file_pread_full(f, offset, &now, 1, NULL);
    qv_file_close(f);
    return err == 0 && now == flipped && qv_sim_disk_flip(w->disk, path, offset, bit) == 0;
}

static uint8_t byte_at(struct world *w, const char *path, uint64_t offset)
{
    struct qv_file *f;
    uint8_t byte = 0;
    int err = qv_disk_open(w->disk, path, QV_OPEN_READ, &f, NULL);
    if (err == 0) {
        err = qv_file_pread_full(f, offset, &byte, 1, NULL);
        (void)err;
        qv_file_close(f);
    }
    return byte;
}

static bool bit_flips(struct campaign *c, struct world *w, enum fault class)
{
    char path[512];
    uint64_t offset;
    struct qv_errmsg msg = {""};
    unsigned bit = (unsigned)below(w, 8);
    if (below(w, 2) == 0) {
        world_run(w);
        int err = world_shut(w);
        if (err != 0)
            return wrong(w, "close", qv_err_name(err));
    } else {
        world_crash(w, below(w, 2) == 0);
    }
    if (!open_well(w)) /* what was in doubt is decided before the bit flips */
        return false;
    world_crash(w, false);
    if (!choose_place(w, class, path, &offset))
        return open_well(w);
    if (qv_sim_disk_flip(w->disk, path, offset, bit) != 0)
        return wrong(w, "flip", path);
    uint8_t flipped = byte_at(w, path, offset);
    uint64_t quarantined = w->quarantined;
    uint64_t errors = w->read_errors;
    c->flips++;
    c->faults[class]++;
    int err = world_open(w, &msg);
    if (err != 0 && (err != QV_ECORRUPT || strstr(msg.text, "node") == NULL) && err != QV_ENOTIMPL)
        return wrong(w, "refused without a name", msg.text);
    bool right = err != 0 || world_verify(w, false);
    if (!right) {
        char text[1000];
        snprintf(text, sizeof text, "%.300s, after bit %u of %s, offset %llu", w->wrong, bit, path,
                 (unsigned long long)offset);
        memcpy(w->wrong, text, sizeof text);
        c->served_wrong++;
        return false;
    }
    bool detected = err != 0 || w->quarantined > quarantined || w->read_errors > errors;
    c->detected += detected;
    c->harmless += !detected;
    if (!detected)
        return true;
    if (w->store != NULL)
        world_crash(w, false);
    if (!bit_is_back(w, path, offset, bit, flipped))
        return wrong(w, "what was found damaged has been changed", path);
    return open_well(w);
}

static bool one_seed(struct campaign *c, uint64_t seed)
{
    struct world *w = calloc(1, sizeof *w);
    world_init(w, seed);
    bool ok = open_well(w);
    for (int round = 0; round < ROUNDS && ok; round++) {
        enum fault fault = (enum fault)((seed + (uint64_t)round * 3 + below(w, 2)) % FAULTS);
        work(w, true);
        if (w->wrong[0] != '\0')
            ok = false;
        else if (fault == TORN || fault == LOST)
            ok = power_fails(c, w);
        else if (fault == FULL)
            ok = disk_fills(c, w);
        else if (fault == EIO_FAULT)
            ok = disk_fails(c, w);
        else
            ok = bit_flips(c, w, fault);
        if (!ok)
            fprintf(c->say, "\nseed %llu, round %d, %s: %s\n", (unsigned long long)seed, round,
                    fault_names[fault], w->wrong);
    }
    c->acked += w->acked;
    c->lives += w->lives;
    if (!ok && c->failed_n < FAILED_MAX)
        c->failed[c->failed_n++] = seed;
    world_close(w);
    free(w);
    return ok;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int report(const struct campaign *c, uint64_t from, uint64_t count, double seconds,
                  const char *out)
{
    json_t *j = report_begin("sim-disk", seconds);
    json_t *faults = json_object();
    json_t *failed = json_array();
    for (int i = 0; i < FAULTS; i++)
        json_object_set_new(faults, fault_names[i], json_integer((json_int_t)c->faults[i]));
    for (size_t i = 0; i < c->failed_n; i++)
        json_array_append_new(failed, json_integer((json_int_t)c->failed[i]));
    const struct {
        const char *key;
        uint64_t v;
    } numbers[] = {{"from", from},
                   {"seeds", count},
                   {"flips", c->flips},
                   {"detected", c->detected},
                   {"harmless", c->harmless},
                   {"lives", c->lives},
                   {"acked", c->acked},
                   {"returned", c->returned},
                   {"served_wrong", c->served_wrong}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        json_object_set_new(j, numbers[i].key, json_integer((json_int_t)numbers[i].v));
    json_object_set_new(j, "faults", faults);
    json_object_set_new(j, "failed_seeds", failed);
    return report_end(j, out);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"from", required_argument, NULL, 'f'},
                                            {"count", required_argument, NULL, 'c'},
                                            {"out", required_argument, NULL, 'o'},
                                            {NULL, 0, NULL, 0}};
    static struct campaign c;
    uint64_t from = 1;
    uint64_t count = 200;
    const char *out = NULL;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'f')
            from = strtoull(optarg, NULL, 10);
        else if (option == 'c')
            count = strtoull(optarg, NULL, 10);
        else if (option == 'o')
            out = optarg;
        else
            return 2;
    }
    c.say = stderr;
    if (count == 0)
        return 2;
    quiet_log();
    double begin = now_s();
    double said = begin;
    for (uint64_t i = 0; i < count; i++) {
        if (!one_seed(&c, from + i))
            fprintf(c.say, "replay with: make sim-disk FROM=%llu COUNT=1\n",
                    (unsigned long long)(from + i));
        double now = now_s();
        if (now - said >= 1 || i + 1 == count) {
            double rate = (double)(i + 1) / (now - begin);
            fprintf(c.say, "\r%llu of %llu seeds, %.1f a second, %.0f s to go   ",
                    (unsigned long long)(i + 1), (unsigned long long)count, rate,
                    (double)(count - i - 1) / rate);
            fflush(c.say);
            said = now;
        }
    }
    fputc('\n', c.say);
    int written = report(&c, from, count, now_s() - begin, out);
    uint64_t failed = c.failed_n + (written != 0 ? 1 : 0);
    printf("%llu passed, %llu failed\n", (unsigned long long)(count - c.failed_n),
           (unsigned long long)failed);
    return failed > 0;
}
