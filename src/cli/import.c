/* quiver import: options, the collection, where to begin, the pump (cli/import_run.h), the words.
 */
#include "cli/commands.h"
#include "cli/import_run.h"
#include "cli/options.h"
#include "wire/json_scan.h"
#include "wire/json_write.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>

#define SAMPLE_IDS 64u
#define POLL_NS 200000000L

struct options {
    struct qv_source_config source;
    struct qv_target_access access;
    const char *target, *state, *distance, *datatype, *on_existing;
    uint64_t batch, in_flight, m, ef_construct, retry_seconds;
    bool create, resume, json, wait, has_m, has_ef;
};

struct import {
    struct options o;
    struct qv_target target;
    struct qv_source source;
    struct qv_import_state state;
    struct qv_import_run run;
    uint64_t resumed_from;
    double send_s, index_s;
    struct qv_errmsg msg;
};

static const char help[] =
    "usage: quiver import URL/COLLECTION FILE [options]\n"
    "\n"
    "Loads the vectors of FILE: .fbin .u8bin .fvecs .bvecs .npy .idx *-ubyte (these two also "
    ".gz),\n"
    "or .jsonl with a point a line: {\"id\": 1, \"vector\": [..], \"payload\": {..}},\n"
    "or a folder that quiver export wrote.\n"
    "\n"
    "  --payload FILE     .jsonl: the payload of each vector, an object a line\n"
    "  --create           create the collection when it is not there; of a folder: as it was\n"
    "  --distance NAME    Cosine (default), Dot, Euclid, Manhattan\n"
    "  --datatype NAME    float32 (default), float16, uint8\n"
    "  --m N, --ef-construct N  of the graph\n"
    "  --on-existing WHAT append (default), fail, or replace: delete the collection first\n"
    "  --start-id N       id of the first vector (default 0)\n"
    "  --limit N          load only the first N\n"
    "  --batch N          points a request (default 256)\n"
    "  --in-flight N      requests at a time (default 8)\n"
    "  --wait             until everything is indexed\n"
    "  --resume           go on where an import of this file was interrupted\n"
    "  --state FILE       where that is remembered (default ~/.local/state/quiver/)\n"
    "  --retry-seconds N  how long a server may be too busy or away (default 60)\n" QV_TARGET_HELP
    "  --json             result as JSON\n"
    "  --help\n"
    "\n"
    "A collection that is created for 5,000 vectors or more gets its graph when they are there, "
    "which "
    "is\n"
    "two to three times as fast; until then searches scan.\n"
    "Every acknowledged point is durable. The exit code is 0 when all are, 1 when something "
    "failed,\n"
    "2 for wrong usage or input.\n"
    "\n"
    "examples:\n"
    "  quiver import localhost:6333/sift base.fvecs --create --distance Euclid\n"
    "  quiver import localhost:6333/docs vectors.npy --payload docs.jsonl --create --wait\n"
    "  quiver import localhost:6333/docs vectors.npy --resume\n";

enum option_id {
    OPT_PAYLOAD = 256,
    OPT_CREATE,
    OPT_DISTANCE,
    OPT_DATATYPE,
    OPT_M,
    OPT_EF,
    OPT_EXISTING,
    OPT_START,
    OPT_LIMIT,
    OPT_BATCH,
    OPT_FLIGHT,
    OPT_WAIT,
    OPT_RESUME,
    OPT_STATE,
    OPT_RETRY,
    OPT_JSON
};

static const struct option options[] = {{"payload", required_argument, NULL, OPT_PAYLOAD},
                                        {"create", no_argument, NULL, OPT_CREATE},
                                        {"distance", required_argument, NULL, OPT_DISTANCE},
                                        {"datatype", required_argument, NULL, OPT_DATATYPE},
                                        {"m", required_argument, NULL, OPT_M},
                                        {"ef-construct", required_argument, NULL, OPT_EF},
                                        {"on-existing", required_argument, NULL, OPT_EXISTING},
                                        {"start-id", required_argument, NULL, OPT_START},
                                        {"limit", required_argument, NULL, OPT_LIMIT},
                                        {"batch", required_argument, NULL, OPT_BATCH},
                                        {"in-flight", required_argument, NULL, OPT_FLIGHT},
                                        {"wait", no_argument, NULL, OPT_WAIT},
                                        {"resume", no_argument, NULL, OPT_RESUME},
                                        {"state", required_argument, NULL, OPT_STATE},
                                        {"retry-seconds", required_argument, NULL, OPT_RETRY},
                                        QV_TARGET_OPTIONS,
                                        {"json", no_argument, NULL, OPT_JSON},
                                        {"help", no_argument, NULL, QV_CLI_HELP},
                                        {NULL, 0, NULL, 0}};

static int take_word(const char *name, const char *value, const char *words, const char **out,
                     struct qv_errmsg *msg)
{
    const char *p = strstr(words, value);
    size_t n = strlen(value);
    if (n == 0 || strchr(value, ' ') != NULL || p == NULL || (p != words && p[-1] != ' ') ||
        (p[n] != '\0' && p[n] != ' '))
        return qv_fail(msg, QV_EINVAL, "%s: '%.100s' is not allowed: %s", name, value, words);
    *out = value;
    return 0;
}

static int take_number_option(struct options *o, int option, const char *value,
                              struct qv_errmsg *msg)
{
    switch (option) {
    case OPT_M:
        o->has_m = true;
        return qv_cli_take_number("--m", value, 0, 1024, &o->m, msg);
    case OPT_EF:
        o->has_ef = true;
        return qv_cli_take_number("--ef-construct", value, 4, QV_EF_MAX, &o->ef_construct, msg);
    case OPT_START:
        return qv_cli_take_number("--start-id", value, 0, UINT64_MAX, &o->source.start_id, msg);
    case OPT_LIMIT:
        return qv_cli_take_number("--limit", value, 1, UINT64_MAX, &o->source.limit, msg);
    case OPT_BATCH:
        return qv_cli_take_number("--batch", value, 1, QV_BATCH_POINTS_MAX, &o->batch, msg);
    case OPT_FLIGHT:
        return qv_cli_take_number("--in-flight", value, 1, QV_IMPORT_IN_FLIGHT_MAX, &o->in_flight,
                                  msg);
    default:
        return qv_cli_take_number("--retry-seconds", value, 0, 86400, &o->retry_seconds, msg);
    }
}

static int take_option(void *arg, int option, const char *value, struct qv_errmsg *msg)
{
    struct options *o = &((struct import *)arg)->o;
    if (qv_target_take_option(&o->access, option, value))
        return 0;
    switch (option) {
    case OPT_PAYLOAD:
        o->source.payload = value;
        return 0;
    case OPT_STATE:
        o->state = value;
        return 0;
    case OPT_DISTANCE:
        return take_word("--distance", value, "Cosine Dot Euclid Manhattan", &o->distance, msg);
    case OPT_DATATYPE:
        return take_word("--datatype", value, "float32 float16 uint8", &o->datatype, msg);
    case OPT_EXISTING:
        return take_word("--on-existing", value, "append fail replace", &o->on_existing, msg);
    case OPT_CREATE:
    case OPT_WAIT:
    case OPT_RESUME:
    case OPT_JSON:
        o->create |= option == OPT_CREATE;
        o->wait |= option == OPT_WAIT;
        o->resume |= option == OPT_RESUME;
        o->json |= option == OPT_JSON;
        return 0;
    default:
        return take_number_option(o, option, value, msg);
    }
}

/* 1: --help was printed. */
static int read_options(struct import *x, int argc, char **argv)
{
    const struct qv_cli_options o = {help, options, take_option};
    x->o = (struct options){.distance = "Cosine",
                            .on_existing = "append",
                            .batch = 256,
                            .in_flight = 8,
                            .retry_seconds = 60};
    int err = qv_cli_read_options(&o, argc, argv, x, &x->msg);
    if (err != 0)
        return err;
    if (argc - optind != 2)
        return qv_fail(&x->msg, QV_EINVAL,
                       "URL/COLLECTION and FILE are needed, and nothing else; see --help");
    x->o.target = argv[optind];
    x->o.source.path = argv[optind + 1];
    return 0;
}

/* ---- the collection ---- */

/* Told twice, the first may have done it; then "already": there was none when we looked, so it is
 * ours. */
static int change_collection(struct import *x, const char *method, struct qv_bytes body,
                             int already)
{
    uint64_t repeats = x->target.repeats;
    int err = qv_target_call(&x->target, method, "", body, NULL, &x->msg);
    return err == already && x->target.repeats > repeats ? 0 : err;
}

#define GRAPH_LATER_MIN 5000u /* vectors: what a graph is built from at once */
#define GRAPH_M 16u           /* links a node where nobody says */

static int create_collection(struct import *x)
{
    struct qv_buf body;
    struct qv_str exported = qv_source_create_body(&x->source);
    x->state.graph_later = false;
    if (exported.n > 0)
        return change_collection(
            x, "PUT", (struct qv_bytes){(const uint8_t *)exported.p, exported.n}, QV_EEXISTS);
    qv_buf_init(&body, 0);
    qv_buf_str(&body, "{");
    int err = qv_source_put_schema(&x->source, x->o.distance, x->o.datatype, &body, &x->msg);
    const bool later = x->source.total >= GRAPH_LATER_MIN && !(x->o.has_m && x->o.m == 0);
    if (later || x->o.has_m || x->o.has_ef) {
        const bool says_m = later || x->o.has_m;
        qv_buf_str(&body, ",\"hnsw_config\":{");
        if (says_m)
            qv_buf_printf(&body, "\"m\":%llu", (unsigned long long)(later ? 0 : x->o.m));
        if (x->o.has_ef)
            qv_buf_printf(&body, "%s\"ef_construct\":%llu", says_m ? "," : "",
                          (unsigned long long)x->o.ef_construct);
        qv_buf_str(&body, "}");
    }
    qv_buf_str(&body, "}");
    if (err == 0)
        err = change_collection(x, "PUT", (struct qv_bytes){body.data, body.len}, QV_EEXISTS);
    qv_buf_close(&body);
    x->state.graph_later = later;
    if (err == 0 && later) /* whoever goes on after a kill must know */
        err = qv_import_state_save(&x->state, 0, &x->msg);
    return err;
}

/* All is there: its graph is built from all rows at once. */
static int make_graph(struct import *x)
{
    struct qv_buf body;
    qv_buf_init(&body, 0);
    qv_buf_printf(&body, "{\"hnsw_config\":{\"m\":%llu}}",
                  (unsigned long long)(x->o.has_m ? x->o.m : GRAPH_M));
    int err = qv_target_call(&x->target, "PATCH", "", (struct qv_bytes){body.data, body.len}, NULL,
                             &x->msg);
    qv_buf_close(&body);
    return err;
}

/* fresh: there is nothing of ours in it. */
static int prepare_collection(struct import *x, bool resuming, bool *fresh)
{
    struct qv_target_info info;
    const char *on = x->o.on_existing;
    *fresh = true;
    int err = qv_target_read_info(&x->target, &info, &x->msg);
    if (err == QV_ENOTFOUND && !x->o.create)
        return qv_fail(&x->msg, QV_ENOTFOUND, "%s has no collection '%s'; --create makes it",
                       x->target.base, x->target.collection);
    if (err == QV_ENOTFOUND)
        return create_collection(x);
    if (err != 0)
        return err;
    *fresh = info.points == 0;
    /* An import that was interrupted left it without. */
    x->state.graph_later = x->state.graph_later && info.no_graph;
    if (resuming || strcmp(on, "append") == 0)
        return 0;
    if (strcmp(on, "fail") == 0)
        return qv_fail(&x->msg, QV_EEXISTS, "collection '%s' exists already", x->target.collection);
    *fresh = true;
    err = change_collection(x, "DELETE", (struct qv_bytes){NULL, 0}, QV_ENOTFOUND);
    return err != 0 ? err : create_collection(x);
}

/* ---- where to begin ---- */

static int count_found(struct qv_buf *body, uint32_t *found, struct qv_errmsg *msg)
{
    struct qv_json j;
    struct qv_arena arena;
    *found = 0;
    qv_arena_init(&arena, (size_t)1 << 20);
    qv_json_init(&j, (struct qv_bytes){body->data, body->len}, &arena, msg);
    qv_json_begin_object(&j);
    while (qv_json_find_key(&j, "result")) {
        qv_json_begin_array(&j);
        while (qv_json_next_item(&j)) {
            qv_json_skip(&j);
            (*found)++;
        }
    }
    int err = qv_json_finish(&j);
    qv_arena_close(&arena);
    return err;
}

/* Does the server hold what the state says is done? Looks at ids spread over it, the last among
 * them: the collection may have been made anew. */
static int check_done(struct import *x, uint64_t done, bool *holds)
{
    struct qv_buf body;
    struct qv_buf answer;
    uint32_t found = 0;
    uint64_t n = done < SAMPLE_IDS ? done : SAMPLE_IDS;
    *holds = true;
    if (x->source.is_json) /* ids are in the lines: reading them costs as much as sending them */
        return 0;
    qv_buf_init(&body, 0);
    qv_buf_str(&body, "{\"with_payload\":false,\"ids\":[");
    for (uint64_t i = 0; i < n; i++) {
        uint64_t id = x->o.source.start_id;
        id += n == 1 ? done - 1 : (uint64_t)((double)(done - 1) * (double)i / (double)(n - 1));
        qv_buf_printf(&body, "%s%llu", i > 0 ? "," : "", (unsigned long long)id);
    }
    qv_buf_str(&body, "]}");
    int err = qv_target_call(&x->target, "POST", "/points", (struct qv_bytes){body.data, body.len},
                             &answer, &x->msg);
    qv_buf_close(&body);
    if (err != 0)
        return err;
    err = count_found(&answer, &found, &x->msg);
    qv_buf_close(&answer);
    *holds = found == n;
    return err;
}

static int begin(struct import *x)
{
    struct qv_import_identity id = {.base = x->target.base,
                                    .collection = x->target.collection,
                                    .file = x->o.source.path,
                                    .payload = x->o.source.payload,
                                    .start_id = x->o.source.start_id,
                                    .limit = x->o.source.limit};
    uint64_t done = 0;
    bool fresh = true;
    bool holds = true;
    int err = qv_import_state_init(&id, x->o.state, &x->state, &x->msg);
    if (err == 0 && x->o.resume)
        err = qv_import_state_load(&x->state, &done, &x->msg);
    else if (err == 0 && qv_import_state_load(&x->state, &done, &x->msg) != 0)
        x->msg.text[0] = 0; /* nothing that this one needs */
    if (!x->o.resume)
        done = 0; /* begins again, but knows of the graph */
    if (err == 0 && done > x->source.total)
        err = qv_fail(&x->msg, QV_EINVAL, "%s: %llu points done; the input has %llu", x->state.path,
                      (unsigned long long)done, (unsigned long long)x->source.total);
    if (err == 0)
        err = prepare_collection(x, done > 0, &fresh);
    if (err == 0 && done > 0 && !fresh)
        err = check_done(x, done, &holds);
    if (err != 0)
        return err;
    if (done > 0 && (fresh || !holds)) {
        fprintf(stderr, "the collection does not hold what was sent before: beginning again\n");
        done = 0;
    }
    x->resumed_from = done;
    qv_source_skip(&x->source, done);
    return 0;
}

/* ---- the run ---- */

static int send_points(struct import *x)
{
    struct qv_progress progress;
    qv_progress_init(&progress, "import", "points", x->resumed_from, x->source.total);
    x->run = (struct qv_import_run){.target = &x->target,
                                    .source = &x->source,
                                    .state = &x->state,
                                    .batch = (uint32_t)x->o.batch,
                                    .in_flight = (uint32_t)x->o.in_flight,
                                    .retry_ms = (uint32_t)x->o.retry_seconds * 1000,
                                    .retries = x->target.repeats,
                                    .progress = &progress};
    int err = qv_import_run(&x->run, &x->msg);
    qv_progress_finish(&progress);
    x->send_s = (double)(qv_progress_now_ns() - progress.start_ns) / 1e9;
    if (err != 0 && x->run.acked > 0)
        fprintf(stderr, "%llu of %llu points are acknowledged; --resume goes on there%s\n",
                (unsigned long long)x->run.acked, (unsigned long long)x->source.total,
                x->state.graph_later ? ", and makes the graph at its end" : "");
    return err;
}

static int wait_indexed(struct import *x)
{
    struct qv_progress progress;
    struct qv_target_info info;
    qv_progress_init(&progress, "index ", "vectors", 0, x->source.total);
    for (;;) {
        int err = qv_target_read_info(&x->target, &info, &x->msg);
        if (err != 0)
            return err;
        if (progress.total < info.points)
            progress.total = info.points;
        qv_progress_update(&progress, info.indexed, 0);
        if (strcmp(info.status, "green") == 0)
            break;
        struct timespec t = {0, POLL_NS};
        (void)nanosleep(&t, NULL);
    }
    qv_progress_finish(&progress);
    x->index_s = (double)(qv_progress_now_ns() - progress.start_ns) / 1e9;
    return 0;
}

static void print_result(const struct import *x)
{
    const struct qv_import_run *r = &x->run;
    double seconds = x->send_s > 0 ? x->send_s : 1e-9;
    if (!x->o.json) {
        printf("%llu points in %.1f s: %.0f points/s, %.1f MB/s",
               (unsigned long long)r->sent_points, x->send_s, (double)r->sent_points / seconds,
               (double)r->bytes / seconds / 1e6);
        if (x->o.wait)
            printf("; indexed %.1f s later", x->index_s);
        printf("\n");
        return;
    }
    printf("{\"points\":%llu,\"total\":%llu,\"resumed_from\":%llu,\"batches\":%llu,"
           "\"retries\":%llu,\"bytes\":%llu,\"seconds\":%.3f,\"index_seconds\":%.3f,"
           "\"points_per_s\":%.1f,\"mb_per_s\":%.2f}\n",
           (unsigned long long)r->sent_points, (unsigned long long)x->source.total,
           (unsigned long long)x->resumed_from, (unsigned long long)r->batches,
           (unsigned long long)r->retries, (unsigned long long)r->bytes, x->send_s, x->index_s,
           (double)r->sent_points / seconds, (double)r->bytes / seconds / 1e6);
}

static int run(struct import *x)
{
    (void)signal(SIGPIPE, SIG_IGN);
    int err = qv_source_open(&x->o.source, &x->source, &x->msg);
    if (err == 0)
        err = qv_target_open(x->o.target, &x->o.access, &x->target, &x->msg);
    if (err != 0)
        return QV_EINVAL;
    x->target.patience_ms = x->o.retry_seconds * 1000;
    err = begin(x);
    if (err == 0)
        err = send_points(x);
    if (err == 0 && x->state.graph_later)
        err = make_graph(x);
    if (err == 0)
        qv_import_state_remove(&x->state);
    if (err == 0 && x->o.wait)
        err = wait_indexed(x);
    if (err == 0)
        print_result(x);
    return err;
}

int qv_cli_import(int argc, char **argv)
{
    struct import x = {0};
    int err = read_options(&x, argc, argv);
    if (err > 0)
        return 0;
    if (err == 0)
        err = run(&x);
    qv_target_close(&x.target);
    qv_source_close(&x.source);
    return qv_cli_end("import", err, &x.msg);
}
