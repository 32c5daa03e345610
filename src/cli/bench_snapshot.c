/* quiver bench snapshot: n points lie in a server; writers change points of their own, each waiting
 * for its last change before it sends the next; meanwhile a snapshot is made. What a writer waits
 * for one answer at most is the result. Then the snapshot is restored into another collection,
 * which must hold all n points, and of each writer's sequence of changes a beginning without a gap:
 * the state at one point of the log.
 *
 * Change k of a writer puts its point k mod RING, whose vector says k: so a beginning of p changes
 * shows in point j the largest k < p that is j mod RING. */
#include "cli/bench_snapshot.h"

#include "base/mem.h"
#include "base/rng.h"
#include "cli/bench_kit.h"
#include "cli/bench_wire.h"
#include "cli/options.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME "bench"
#define RESTORED "restored"
#define RING 500u
#define WRITERS_MAX 64
#define SAMPLE 1000u
#define QUIET_NS 2000000000ull /* of writing before the snapshot */
#define K_MAX (1u << 24)       /* exact in a float */

struct options {
    const char *dir;
    uint64_t n, dim, writers, m;
    bool json;
};

struct bench;

struct writer {
    struct bench *b;
    uint64_t first_id;
    uint32_t sent; /* changes */
    struct qv_buf message;
    float *row;
};

struct bench {
    struct options opt;
    struct writer writers[WRITERS_MAX];
    struct qv_bench_child child;
    struct qv_client *client;
    uint64_t start_ns, write_ns, asked_ns, answered_ns;
    uint64_t changes, during;
    double before_max_ms, during_max_ms, restore_s, bytes;
    bool same, done;
    char name[256];
    char dir[4096];
    char commit[64];
    struct qv_errmsg msg;
};

static const char usage[] =
    "usage: quiver bench snapshot [options]\n"
    "\n"
    "A snapshot while points are written: what writers wait, and what is restored.\n"
    "\n"
    "  --n N         points (default 1000000)\n"
    "  --dim N       (default 128)\n"
    "  --writers N   each with one change under way (default 4)\n"
    "  --m N         of the graph; 0: none (default 0)\n"
    "  --dir DIR     where the data is put while it runs (default: the present directory)\n"
    "  --json\n"
    "\n"
    "example: quiver bench snapshot --n 1000000 --dim 128 --json\n";

static void fill_rows(void *arg, uint64_t first, uint32_t count, float *out)
{
    const struct bench *b = arg;
    struct qv_rng rng;
    for (uint32_t i = 0; i < count; i++) {
        qv_rng_init(&rng, 77000003ull + first + i);
        for (uint64_t d = 0; d < b->opt.dim; d++)
            out[i * b->opt.dim + d] = qv_rng_gauss(&rng);
    }
}

/* ---- writers ---- */

static void send_snapshot(struct bench *b);

static void send_change(struct writer *w);

static void change_done(void *arg, const struct qv_client_response *r)
{
    struct writer *w = arg;
    struct bench *b = w->b;
    if (r->err != 0 || r->grpc_status != 0) {
        qv_fail(&b->msg, QV_EIO, "change: %s", r->err != 0 ? qv_err_text(r->err) : r->grpc_message);
        b->done = true;
        return;
    }
    double ms = (double)r->latency_ns * 1e-6;
    double *max = b->asked_ns == 0 ? &b->before_max_ms : &b->during_max_ms;
    *max = ms > *max ? ms : *max;
    b->changes++;
    b->during += b->asked_ns != 0;
    if (b->asked_ns == 0 && qv_bench_now_ns() - b->write_ns > QUIET_NS)
        send_snapshot(b);
    if (!b->done && w->sent < K_MAX)
        send_change(w);
}

static void send_change(struct writer *w)
{
    struct bench *b = w->b;
    w->row[0] = (float)w->sent;
    const struct qv_bench_points points = {.first_id = w->first_id + w->sent % RING,
                                           .rows = w->row,
                                           .count = 1,
                                           .dim = (uint32_t)b->opt.dim};
    qv_buf_clear(&w->message);
    qv_bench_put_upsert(&w->message, NAME, &points, NULL);
    w->sent++;
    struct qv_client_request request = {
        .path = "/qdrant.Points/Upsert", .grpc = true, .body = {w->message.data, w->message.len}};
    int err = qv_client_send(b->client, &request, change_done, w);
    if (err != 0) {
        qv_fail(&b->msg, err, "change: %s", qv_err_text(err));
        b->done = true;
    }
}

/* The text behind "key":" up to its quote. */
static bool text_of(const struct qv_buf *text, const char *key, char *out, size_t room)
{
    char want[64];
    int k = snprintf(want, sizeof want, "\"%s\":\"", key);
    const char *at = memmem(text->data, text->len, want, (size_t)k);
    if (at == NULL)
        return false;
    at += k;
    size_t n = 0;
    const char *end = (const char *)text->data + text->len;
    while (at + n < end && at[n] != '"' && n + 1 < room)
        n++;
    memcpy(out, at, n);
    out[n] = '\0';
    return n > 0;
}

static void snapshot_done(void *arg, const struct qv_client_response *r)
{
    struct bench *b = arg;
    b->answered_ns = qv_bench_now_ns();
    b->done = true;
    struct qv_buf text = {.data = (uint8_t *)(uintptr_t)r->body.p, .len = r->body.n};
    if (r->err != 0 || r->status != 200 || !text_of(&text, "name", b->name, sizeof b->name))
        qv_fail(&b->msg, QV_EIO, "the snapshot failed: %d %s %.*s", r->status, qv_err_text(r->err),
                (int)(r->body.n < 200 ? r->body.n : 200), (const char *)r->body.p);
    b->bytes = qv_bench_number_of(&text, "size");
}

static void send_snapshot(struct bench *b)
{
    struct qv_client_request request = {
        .method = "POST", .path = "/collections/" NAME "/snapshots", .timeout_ms = 3600000};
    b->asked_ns = qv_bench_now_ns();
    int err = qv_client_send(b->client, &request, snapshot_done, b);
    if (err != 0) {
        qv_fail(&b->msg, err, "snapshot: %s", qv_err_text(err));
        b->done = true;
    }
}

static int write_and_snapshot(struct bench *b)
{
    b->msg.text[0] = '\0';
    b->write_ns = qv_bench_now_ns();
    for (uint64_t i = 0; i < b->opt.writers; i++) {
        struct writer *w = &b->writers[i];
        w->b = b;
        w->first_id = b->opt.n + i * RING;
        w->row = qv_mem_calloc(b->opt.dim, sizeof *w->row);
        qv_buf_init(&w->message, 0);
        send_change(w);
    }
    qv_client_run(b->client);
    return b->msg.text[0] != '\0' ? QV_EIO : 0;
}

/* ---- what was restored ---- */

static int restore(struct bench *b)
{
    struct qv_buf text;
    char body[8192];
    char dir[PATH_MAX];
    if (realpath(b->dir, dir) == NULL)
        return qv_fail(&b->msg, QV_EIO, "%s is gone", b->dir);
    snprintf(body, sizeof body, "{\"location\":\"file://%.4000s/snapshots/" NAME "/%s\"}", dir,
             b->name);
    uint64_t t = qv_bench_now_ns();
    int err = qv_bench_rest(b->client, "PUT", "/collections/" RESTORED "/snapshots/recover", body,
                            &text, &b->msg);
    b->restore_s = (double)(qv_bench_now_ns() - t) * 1e-9;
    qv_buf_close(&text);
    return err;
}

static int get_points(struct bench *b, const char *collection, const uint64_t *ids, uint32_t n,
                      struct qv_buf *out)
{
    struct qv_buf body;
    char path[128];
    qv_buf_init(&body, 0);
    qv_buf_str(&body, "{\"with_vector\":true,\"with_payload\":false,\"ids\":[");
    for (uint32_t i = 0; i < n; i++)
        qv_buf_printf(&body, "%s%llu", i == 0 ? "" : ",", (unsigned long long)ids[i]);
    qv_buf_str(&body, "]}");
    qv_buf_u8(&body, 0);
    snprintf(path, sizeof path, "/collections/%s/points", collection);
    int err = qv_bench_rest(b->client, "POST", path, (const char *)body.data, out, &b->msg);
    qv_buf_close(&body);
    return err;
}

/* Which change each of a writer's points shows; UINT32_MAX: none. */
static void changes_of(const struct qv_buf *text, uint64_t first_id, uint32_t *seen)
{
    static const char id_key[] = "{\"id\":";
    static const char vector_key[] = "\"vector\":[";
    const char *at = (const char *)text->data;
    const char *end = at + text->len;
    while ((at = memmem(at, (size_t)(end - at), id_key, sizeof id_key - 1)) != NULL) {
        unsigned long long id = strtoull(at + sizeof id_key - 1, NULL, 10);
        at = memmem(at, (size_t)(end - at), vector_key, sizeof vector_key - 1);
        if (at == NULL)
            return;
        if (id >= first_id && id < first_id + RING)
            seen[id - first_id] = (uint32_t)strtod(at + sizeof vector_key - 1, NULL);
    }
}

static bool is_beginning(const uint32_t *seen)
{
    uint32_t changes = 0;
    for (uint32_t j = 0; j < RING; j++)
        changes = seen[j] != UINT32_MAX && seen[j] + 1 > changes ? seen[j] + 1 : changes;
    for (uint32_t j = 0; j < RING; j++) {
        uint32_t want = changes > j ? j + (changes - 1 - j) / RING * RING : UINT32_MAX;
        if (seen[j] != want)
            return false;
    }
    return true;
}

static int check_writer(struct bench *b, const struct writer *w, uint64_t *points)
{
    uint64_t ids[RING];
    uint32_t seen[RING];
    struct qv_buf text;
    for (uint32_t j = 0; j < RING; j++) {
        ids[j] = w->first_id + j;
        seen[j] = UINT32_MAX;
    }
    int err = get_points(b, RESTORED, ids, RING, &text);
    if (err == 0) {
        changes_of(&text, w->first_id, seen);
        b->same = b->same && is_beginning(seen);
        for (uint32_t j = 0; j < RING; j++)
            *points += seen[j] != UINT32_MAX;
    }
    qv_buf_close(&text);
    return err;
}

/* The points' part of an answer. */
static size_t result_bytes(const struct qv_buf *text)
{
    const char *end = memmem(text->data, text->len, "\"status\"", 8);
    return end != NULL ? (size_t)(end - (const char *)text->data) : 0;
}

static int check_sample(struct bench *b)
{
    uint64_t ids[SAMPLE];
    struct qv_rng rng;
    struct qv_buf here;
    struct qv_buf there;
    qv_rng_init(&rng, 5);
    for (uint32_t i = 0; i < SAMPLE; i++)
        ids[i] = qv_rng_below(&rng, b->opt.n);
    int err = get_points(b, NAME, ids, SAMPLE, &here);
    qv_buf_init(&there, 0);
    if (err == 0)
        err = get_points(b, RESTORED, ids, SAMPLE, &there);
    if (err == 0) {
        size_t n = result_bytes(&here);
        b->same =
            b->same && n > 0 && n == result_bytes(&there) && memcmp(here.data, there.data, n) == 0;
    }
    qv_buf_close(&here);
    qv_buf_close(&there);
    return err;
}

static int check_restored(struct bench *b)
{
    struct qv_buf text;
    uint64_t points = b->opt.n;
    b->same = true;
    int err = check_sample(b);
    for (uint64_t i = 0; i < b->opt.writers && err == 0; i++)
        err = check_writer(b, &b->writers[i], &points);
    if (err == 0)
        err = qv_bench_rest(b->client, "POST", "/collections/" RESTORED "/points/count", "{}",
                            &text, &b->msg);
    if (err != 0)
        return err;
    b->same = b->same && qv_bench_number_of(&text, "count") == (double)points;
    qv_buf_close(&text);
    return 0;
}

/* ---- the run ---- */

static int fill_store(struct bench *b)
{
    struct qv_buf text;
    char body[160];
    snprintf(body, sizeof body,
             "{\"vectors\":{\"size\":%llu,\"distance\":\"Euclid\"},\"hnsw_config\":{\"m\":%llu}}",
             (unsigned long long)b->opt.dim, (unsigned long long)b->opt.m);
    int err = qv_bench_rest(b->client, "PUT", "/collections/" NAME, body, &text, &b->msg);
    qv_buf_close(&text);
    struct qv_bench_load load = {.client = b->client,
                                 .collection = NAME,
                                 .n = b->opt.n,
                                 .dim = (uint32_t)b->opt.dim,
                                 .batch = 1000,
                                 .in_flight = 4,
                                 .fill = fill_rows,
                                 .arg = b,
                                 .label = "loading"};
    if (err == 0)
        err = qv_bench_load_run(&load, &b->msg);
    return err == 0 ? qv_bench_wait_green(b->client, NAME, 0, &b->msg) : err;
}

static int start(struct bench *b)
{
    char snapshots[4200];
    snprintf(snapshots, sizeof snapshots, "storage.snapshots_path=%s/snapshots", b->dir);
    const struct qv_bench_child_config config = {
        .dir = b->dir, .cpu = -1, .settings = {"service.request_timeout_sec=3600", snapshots}};
    int err = qv_bench_child_start(&config, &b->child, &b->msg);
    struct qv_client_config client = {.url = b->child.url};
    return err == 0 ? qv_client_create(&client, &b->client, &b->msg) : err;
}

static void print_results(const struct bench *b)
{
    double snapshot_s = (double)(b->answered_ns - b->asked_ns) * 1e-9;
    if (!b->opt.json) {
        printf(
            "%llu x %llu: %.0f MB in %.1f s; a writer waited %.1f ms at most (%.1f before), %llu "
            "changes meanwhile; restored in %.1f s, %s\n",
            (unsigned long long)b->opt.n, (unsigned long long)b->opt.dim, b->bytes * 1e-6,
            snapshot_s, b->during_max_ms, b->before_max_ms, (unsigned long long)b->during,
            b->restore_s, b->same ? "the state at one point of the log" : "NOT one state");
        return;
    }
    printf("{");
    qv_bench_print_head(b->commit, b->start_ns);
    printf(
        ",\"n\":%llu,\"dim\":%llu,\"m\":%llu,\"writers\":%llu,\"snapshot_s\":%.3f,\"bytes\":%.0f,"
        "\"writer_wait_max_ms\":%.2f,\"writer_wait_before_max_ms\":%.2f,\"changes\":%llu,"
        "\"changes_during\":%llu,\"restore_s\":%.3f,\"restored_same\":%s}\n",
        (unsigned long long)b->opt.n, (unsigned long long)b->opt.dim, (unsigned long long)b->opt.m,
        (unsigned long long)b->opt.writers, snapshot_s, b->bytes, b->during_max_ms,
        b->before_max_ms, (unsigned long long)b->changes, (unsigned long long)b->during,
        b->restore_s, b->same ? "true" : "false");
}

static int run(struct bench *b)
{
    snprintf(b->dir, sizeof b->dir, "%.3900s%squiver-bench-XXXXXX",
             b->opt.dir != NULL ? b->opt.dir : "", b->opt.dir != NULL ? "/" : "");
    if (mkdtemp(b->dir) == NULL) {
        b->dir[0] = '\0';
        return qv_fail(&b->msg, QV_EINVAL, "no directory can be made there");
    }
    int err = start(b);
    if (err == 0)
        err = fill_store(b);
    if (err == 0) {
        qv_bench_commit(b->client, b->commit, sizeof b->commit);
        err = write_and_snapshot(b);
    }
    if (err == 0)
        err = restore(b);
    if (err == 0)
        err = check_restored(b);
    if (err == 0)
        print_results(b);
    return err;
}

int qv_cli_bench_snapshot(int argc, char **argv)
{
    struct bench *b = qv_mem_calloc(1, sizeof *b);
    b->opt = (struct options){.n = 1000000, .dim = 128, .writers = 4};
    b->start_ns = qv_bench_now_ns();
    const struct qv_bench_option table[] = {
        {"--n", QV_BENCH_NUMBER, &b->opt.n, 1, 100000000},
        {"--dim", QV_BENCH_NUMBER, &b->opt.dim, 1, 65536},
        {"--writers", QV_BENCH_NUMBER, &b->opt.writers, 1, WRITERS_MAX},
        {"--m", QV_BENCH_NUMBER, &b->opt.m, 0, 128},
        {"--dir", QV_BENCH_TEXT, &b->opt.dir, 0, 0},
        {"--json", QV_BENCH_FLAG, &b->opt.json, 0, 0},
    };
    int err = qv_bench_read_options(usage, table, sizeof table / sizeof table[0], argc, argv);
    if (err == 0) {
        (void)signal(SIGPIPE, SIG_IGN);
        err = run(b);
        int code = qv_cli_end("bench snapshot", err, &b->msg);
        err = code == 0 && !b->same ? 1 : code;
    }
    qv_client_destroy(&b->client);
    qv_bench_child_kill(&b->child);
    if (b->dir[0] != '\0')
        qv_bench_remove_dir(b->dir);
    for (uint64_t i = 0; i < WRITERS_MAX; i++) {
        qv_buf_close(&b->writers[i].message);
        qv_mem_free(b->writers[i].row);
    }
    qv_mem_free(b);
    return err < 0 ? 0 : err;
}
