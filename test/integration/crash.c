/* Kills a real server N times while it is written to, and checks after each restart what it kept.
 *
 * The writer keeps four requests in flight (upserts over gRPC and REST, updates of vectors,
 * deletes, payload changes), each id in one of them at most, and remembers per id the state that
 * the last acknowledged change left and the one that an unanswered change may have made. Kills come
 * at random moments and, by QUIVER_KILL_AT (src/io/kill_disk.h), at chosen operations on chosen
 * files.
 *
 * Exit 0: nothing lost, nothing back, nothing wrong, every phase hit. */
#include "crash.h"

#include "base/hash.h"
#include "report.h"

#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *const phase_names[PHASES] = {
    "log_append", "log_sync", "checkpoint", "recycling", "graph_save", "vector_write",
    "start_up",   "recovery", "snapshot",   "restore",   "random"};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint32_t below(struct crash *c, uint32_t n)
{
    return (uint32_t)qv_rng_below(&c->rng, n);
}

/* ---- vectors ---- */

static float noise(uint64_t a, uint64_t b)
{
    return (float)(qv_hash_mix(a * 0x9E3779B97F4A7C15u + b) % 200001) / 100000.0f - 1.0f;
}

static void vector_of(uint32_t stamp, float *out)
{
    for (uint32_t i = 0; i < DIM; i++)
        out[i] = 3.0f * noise(stamp % CENTRES, i + 1000) + noise(stamp, i);
}

/* ---- the server ---- */

static bool read_port(struct crash *c)
{
    char text[512];
    size_t n = 0;
    uint64_t end = now_ns() + START_MS_MAX * 1000000ull;
    while (n < sizeof text - 1 && now_ns() < end) {
        struct pollfd p = {.fd = c->out_fd, .events = POLLIN};
        if (poll(&p, 1, 1000) <= 0)
            continue;
        ssize_t got = read(c->out_fd, text + n, sizeof text - 1 - n);
        if (got <= 0)
            return false; /* died before it listened */
        n += (size_t)got;
        text[n] = '\0';
        const char *at = strstr(text, "http://127.0.0.1:");
        if (at != NULL && strchr(at, '\n') != NULL)
            return sscanf(at, "http://127.0.0.1:%u", &c->port) == 1;
    }
    return false;
}

static void child(struct crash *c, const char *kill_at, int out)
{
    char log[4096];
    snprintf(log, sizeof log, "%s/server.log", c->dir);
    char data[4096];
    snprintf(data, sizeof data, "%s/data", c->dir);
    char snapshots[4200];
    snprintf(snapshots, sizeof snapshots, "storage.snapshots_path=%s/snapshots", c->dir);
    int err = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    if (kill_at != NULL)
        setenv("QUIVER_KILL_AT", kill_at, 1);
    execl(c->quiver, c->quiver, "serve", "--storage-path", data, "--host", "127.0.0.1",
          "--http-port", "0", "--grpc-port", "0", "--set", "storage.log.segment_mb=1", "--set",
          "storage.checkpoint.dirty_mb=1", "--set", "storage.checkpoint.max_age_sec=1", "--set",
          "log_level=WARN", "--set", snapshots, (char *)NULL);
    _exit(127);
}

/* true: it listens. false: it died on the way. */
static bool start(struct crash *c, const char *kill_at)
{
    int fds[2];
    uint64_t begin = now_ns();
    if (pipe(fds) != 0)
        exit(2);
    c->pid = fork();
    if (c->pid < 0)
        exit(2);
    if (c->pid == 0)
        child(c, kill_at, fds[1]);
    close(fds[1]);
    c->out_fd = fds[0];
    c->dead = false;
    c->struck_by_us = false;
    if (!read_port(c))
        return false;
    double ms = (double)(now_ns() - begin) / 1e6;
    c->restart_ms_max = ms > c->restart_ms_max ? ms : c->restart_ms_max;
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u", c->port);
    struct qv_client_config config = {.url = url};
    struct qv_errmsg msg;
    if (qv_client_create(&config, &c->client, &msg) != 0) {
        fprintf(stderr, "crash: %s\n", msg.text);
        exit(2);
    }
    return true;
}

/* Waits for the process; *killed: by SIGKILL. */
static void reap(struct crash *c, bool *killed)
{
    int status = 0;
    qv_client_destroy(&c->client);
    while (waitpid(c->pid, &status, 0) < 0)
        ;
    close(c->out_fd);
    *killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    if (!*killed && !(WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
        fprintf(stderr, "crash: the server ended by itself (status %x); see %s/server.log\n",
                (unsigned)status, c->dir);
        c->check_failures++;
    }
    c->pid = 0;
}

static void stop_cleanly(struct crash *c)
{
    bool killed;
    kill(c->pid, SIGTERM);
    reap(c, &killed);
}

/* ---- requests ---- */

int crash_call(struct crash *c, const char *method, const char *path, const char *body,
               json_t **answer)
{
    struct qv_client_request r = {.method = method, .path = path, .timeout_ms = 30000};
    if (body != NULL)
        r.body = (struct qv_bytes){(const uint8_t *)body, strlen(body)};
    struct qv_client_answer a;
    int err = qv_client_call(c->client, &r, &a);
    if (err != 0)
        return err;
    json_error_t why;
    *answer = json_loadb((const char *)a.body.data, a.body.len, 0, &why);
    int status = a.status;
    qv_client_answer_close(&a);
    return *answer == NULL ? -1 : status;
}

static void put_vector(struct qv_buf *b, uint32_t stamp)
{
    float v[DIM];
    vector_of(stamp, v);
    for (int i = 0; i < DIM; i++)
        qv_buf_printf(b, "%s%.9g", i == 0 ? "[" : ",", (double)v[i]);
    qv_buf_str(b, "]");
}

static void put_payload(struct qv_buf *b, const struct state *s)
{
    qv_buf_str(b, "{");
    if (s->n != 0)
        qv_buf_printf(b, "\"n\":%d", s->n);
    if (s->t != 0)
        qv_buf_printf(b, "%s\"t\":\"t%d\"", s->n != 0 ? "," : "", s->t);
    qv_buf_str(b, "}");
}

static void put_ids(struct qv_buf *b, const struct slot *s)
{
    qv_buf_str(b, "\"points\":[");
    for (uint32_t i = 0; i < s->count; i++)
        qv_buf_printf(b, "%s%u", i == 0 ? "" : ",", s->ids[i]);
    qv_buf_str(b, "]");
}

static void put_points(struct qv_buf *b, const struct slot *s, bool payload)
{
    qv_buf_str(b, "{\"points\":[");
    for (uint32_t i = 0; i < s->count; i++) {
        qv_buf_printf(b, "%s{\"id\":%u,\"vector\":", i == 0 ? "" : ",", s->ids[i]);
        put_vector(b, s->after[i].stamp);
        if (payload) {
            qv_buf_str(b, ",\"payload\":");
            put_payload(b, &s->after[i]);
        }
        qv_buf_str(b, "}");
    }
    qv_buf_str(b, "]}");
}

/* protobuf: a field of bytes */
static void pb_bytes(struct qv_buf *b, unsigned field, const void *p, size_t n)
{
    qv_buf_varint(b, field << 3 | 2);
    qv_buf_varint(b, n);
    qv_buf_append(b, p, n);
}

static void pb_entry(struct qv_buf *b, const char *key, const struct qv_buf *value)
{
    struct qv_buf entry;
    qv_buf_init(&entry, 0);
    pb_bytes(&entry, 1, key, strlen(key));
    pb_bytes(&entry, 2, value->data, value->len);
    pb_bytes(b, 3, entry.data, entry.len);
    qv_buf_close(&entry);
}

static void pb_point(struct qv_buf *b, uint32_t id, const struct state *s)
{
    struct qv_buf point;
    struct qv_buf inner;
    struct qv_buf outer;
    float v[DIM];
    qv_buf_init(&point, 0);
    qv_buf_init(&inner, 0);
    qv_buf_init(&outer, 0);
    qv_buf_varint(&inner, 1 << 3);
    qv_buf_varint(&inner, id);
    pb_bytes(&point, 1, inner.data, inner.len);
    if (s->n != 0) {
        qv_buf_clear(&inner);
        qv_buf_varint(&inner, 3 << 3);
        qv_buf_varint(&inner, (uint64_t)s->n);
        pb_entry(&point, "n", &inner);
    }
    if (s->t != 0) {
        char text[16];
        int n = snprintf(text, sizeof text, "t%d", s->t);
        qv_buf_clear(&inner);
        pb_bytes(&inner, 4, text, (size_t)n);
        pb_entry(&point, "t", &inner);
    }
    vector_of(s->stamp, v);
    qv_buf_clear(&inner);
    pb_bytes(&inner, 1, v, sizeof v); /* Vector.data, packed */
    pb_bytes(&outer, 1, inner.data, inner.len);
    pb_bytes(&point, 4, outer.data, outer.len);
    pb_bytes(b, 3, point.data, point.len);
    qv_buf_close(&point);
    qv_buf_close(&inner);
    qv_buf_close(&outer);
}

static void build(struct slot *s, bool wait)
{
    static const char *const paths[KINDS] = {
        "", "/vectors", "/delete", "/payload", "/payload", "/payload/clear", "/payload/delete"};
    struct qv_buf *b = &s->body;
    qv_buf_clear(b);
    snprintf(s->path, sizeof s->path, "/collections/c/points%s?wait=%s", paths[s->kind],
             wait ? "true" : "false");
    if (s->grpc) {
        snprintf(s->path, sizeof s->path, "/qdrant.Points/Upsert");
        pb_bytes(b, 1, "c", 1);
        qv_buf_varint(b, 2 << 3);
        qv_buf_varint(b, wait);
        for (uint32_t i = 0; i < s->count; i++)
            pb_point(b, s->ids[i], &s->after[i]);
        return;
    }
    if (s->kind == UPSERT || s->kind == VECTORS) {
        put_points(b, s, s->kind == UPSERT);
        return;
    }
    qv_buf_str(b, "{");
    put_ids(b, s);
    if (s->kind == SET || s->kind == OVERWRITE) {
        struct state given = s->after[0];
        given.n = s->kind == SET ? given.n : given.n;
        given.t = s->kind == SET ? 0 : given.t;
        qv_buf_str(b, ",\"payload\":");
        put_payload(b, &given);
    }
    if (s->kind == DELETE_KEY)
        qv_buf_str(b, ",\"keys\":[\"n\"]");
    qv_buf_str(b, "}");
}

static void effect(struct crash *c, struct slot *s, int n, int t)
{
    for (uint32_t i = 0; i < s->count; i++) {
        struct state *a = &s->after[i];
        *a = c->points[s->ids[i]].now;
        switch (s->kind) {
        case UPSERT:
            *a = (struct state){
                .alive = true, .stamp = ++c->stamp, .n = (int)below(c, 100), .t = (int)below(c, 5)};
            break;
        case VECTORS:
            a->stamp = ++c->stamp;
            break;
        case DELETE:
            *a = (struct state){0};
            break;
        case SET:
            a->n = n;
            break;
        case OVERWRITE:
            a->n = n;
            a->t = t;
            break;
        case CLEAR:
            a->n = a->t = 0;
            break;
        case DELETE_KEY:
            a->n = 0;
            break;
        case KINDS:
            break;
        }
    }
}

static void choose(struct crash *c, struct slot *s)
{
    static const uint8_t weights[] = {UPSERT, UPSERT, UPSERT, UPSERT,    VECTORS, VECTORS,
                                      DELETE, SET,    SET,    OVERWRITE, CLEAR,   DELETE_KEY};
    s->kind = weights[below(c, sizeof weights)];
    s->grpc = s->kind == UPSERT && below(c, 2) == 0;
    uint32_t want = 1 + below(c, s->kind == UPSERT ? BATCH : 6);
    s->count = 0;
    for (uint32_t tries = 0; s->count < want && tries < want * 6; tries++) {
        uint32_t id = below(c, IDS);
        struct point *p = &c->points[id];
        if (p->busy || (s->kind != UPSERT && !p->now.alive))
            continue;
        p->busy = true;
        s->ids[s->count++] = id;
    }
    if (s->count == 0) { /* nothing lives yet */
        s->kind = UPSERT;
        while (c->points[s->ids[0] = below(c, IDS)].busy)
            ;
        c->points[s->ids[0]].busy = true;
        s->count = 1;
    }
    effect(c, s, 1 + (int)below(c, 100), (int)below(c, 5));
    build(s, below(c, 3) == 0);
}

static void answered(void *arg, const struct qv_client_response *r);

static void send_next(struct slot *s)
{
    struct crash *c = s->c;
    if (c->dead)
        return;
    if (now_ns() >= c->deadline_ns && !c->struck_by_us) {
        c->struck_by_us = true;
        kill(c->pid, SIGKILL);
    }
    choose(c, s);
    crash_snapshot_sent(s);
    struct qv_client_request r = {
        .method = s->grpc                                                           ? NULL
                  : s->kind == UPSERT || s->kind == VECTORS || s->kind == OVERWRITE ? "PUT"
                                                                                    : "POST",
        .path = s->path,
        .grpc = s->grpc,
        .body = {s->body.data, s->body.len},
        .timeout_ms = 20000};
    if (qv_client_send(c->client, &r, answered, s) != 0) {
        fprintf(stderr, "crash: a request can't be sent\n");
        exit(2);
    }
}

static void answered(void *arg, const struct qv_client_response *r)
{
    struct slot *s = arg;
    struct crash *c = s->c;
    bool ok = r->err == 0 && (s->grpc ? r->grpc_status == 0 : r->status == 200);
    bool never = r->err == QV_EUNAVAILABLE || (r->err == 0 && r->status == 429);
    if (r->err == 0 && !ok && !never) {
        c->refused++;
        fprintf(stderr, "crash: refused: %s %d/%d %s %.200s\n", s->path, r->status, r->grpc_status,
                r->grpc_message, s->grpc ? "" : (const char *)r->body.p);
    }
    for (uint32_t i = 0; i < s->count; i++) {
        struct point *p = &c->points[s->ids[i]];
        p->busy = false;
        if (ok) {
            p->now = s->after[i];
        } else if (!never) {
            p->maybe = s->after[i];
            p->doubt = true;
        }
    }
    if (ok)
        crash_snapshot_acked(s);
    c->acked += ok ? s->count : 0;
    c->unknown += ok || never ? 0 : s->count;
    if (r->err != 0)
        c->dead = true;
    else
        send_next(s);
}

/* Writes until the server dies. */
static void write_until_death(struct crash *c, uint64_t ms)
{
    c->deadline_ns = now_ns() + ms * 1000000u;
    if (c->snap == SNAP_MAKING)
        crash_snapshot_begin(c);
    for (int i = 0; i < SLOTS; i++)
        send_next(&c->slots[i]);
    qv_client_run(c->client);
}

/* ---- after a restart ---- */

bool crash_same_payload(const json_t *payload, const struct state *s)
{
    char text[16];
    const json_t *n = json_object_get(payload, "n");
    const json_t *t = json_object_get(payload, "t");
    snprintf(text, sizeof text, "t%d", s->t);
    if ((n != NULL) != (s->n != 0) || (t != NULL) != (s->t != 0))
        return false;
    if (n != NULL && (!json_is_integer(n) || json_integer_value(n) != s->n))
        return false;
    return (t == NULL || strcmp(json_string_value(t), text) == 0) &&
           json_object_size(payload) == (size_t)(s->n != 0) + (size_t)(s->t != 0);
}

bool crash_same_vector(const json_t *vector, uint32_t stamp)
{
    float want[DIM];
    vector_of(stamp, want);
    if (json_array_size(vector) != DIM)
        return false;
    for (size_t i = 0; i < DIM; i++) {
        float got = (float)json_number_value(json_array_get(vector, i));
        if (memcmp(&got, &want[i], sizeof got) != 0)
            return false;
    }
    return true;
}

static void compare(struct crash *c, uint32_t id, const json_t *seen)
{
    struct point *p = &c->points[id];
    const struct state *may[2] = {&p->now, p->doubt ? &p->maybe : NULL};
    bool vector = false;
    const struct state *is = NULL;
    bool alive_possible = p->now.alive || (p->doubt && p->maybe.alive);
    for (int k = 0; k < 2 && is == NULL; k++) {
        if (may[k] == NULL)
            continue;
        if (seen == NULL || !may[k]->alive) {
            if (seen == NULL && !may[k]->alive)
                is = may[k];
            continue;
        }
        bool same = crash_same_vector(json_object_get(seen, "vector"), may[k]->stamp);
        vector = vector || same;
        if (same && crash_same_payload(json_object_get(seen, "payload"), may[k]))
            is = may[k];
    }
    if (is != NULL) {
        p->now = *is;
    } else {
        fprintf(stderr, "crash: id %u: %s; expected alive %d stamp %u n %d t %d%s\n", id,
                seen == NULL ? "not there" : "other", p->now.alive, p->now.stamp, p->now.n,
                p->now.t, p->doubt ? ", or what was under way" : "");
        if (seen == NULL)
            c->lost++;
        else if (!alive_possible)
            c->resurrected++;
        else if (!vector)
            c->wrong_vector++;
        else
            c->wrong_payload++;
        if (seen == NULL)
            p->now = (struct state){0};
    }
    p->doubt = false;
}

#define PAGE 1000
#define PAGES_MAX (IDS / PAGE + 3)

/* All points as the server scrolls them; false: it died meanwhile. */
static bool read_pages(struct crash *c, json_t **pages, size_t *n)
{
    long long from = 0;
    *n = 0;
    while (from >= 0) {
        char body[256];
        snprintf(body, sizeof body,
                 "{\"limit\":%d,\"offset\":%lld,\"with_vector\":true,\"with_payload\":true}", PAGE,
                 from);
        int status = *n == PAGES_MAX
                         ? -1
                         : crash_call(c, "POST", "/collections/c/points/scroll", body, &pages[*n]);
        if (status < 0)
            return false;
        (*n)++;
        if (status != 200) {
            fprintf(stderr, "crash: scroll: %d\n", status);
            c->lost++;
            return false;
        }
        const json_t *next =
            json_object_get(json_object_get(pages[*n - 1], "result"), "next_page_offset");
        from = json_is_integer(next) ? json_integer_value(next) : -1;
    }
    return true;
}

static void compare_page(struct crash *c, const json_t *page, bool *seen)
{
    const json_t *points = json_object_get(json_object_get(page, "result"), "points");
    for (size_t i = 0; i < json_array_size(points); i++) {
        const json_t *point = json_array_get(points, i);
        long long id = json_integer_value(json_object_get(point, "id"));
        if (id < 0 || id >= IDS || seen[id]) {
            fprintf(stderr, "crash: id %lld: not ours, or twice\n", id);
            c->resurrected++;
            continue;
        }
        seen[id] = true;
        compare(c, (uint32_t)id, point);
    }
}

/* false: the server died before it had told everything, and nothing is known. */
static bool compare_all(struct crash *c)
{
    bool seen[IDS] = {false};
    json_t *pages[PAGES_MAX] = {NULL};
    size_t n;
    bool whole = read_pages(c, pages, &n);
    for (size_t i = 0; i < n && whole; i++)
        compare_page(c, pages[i], seen);
    for (uint32_t id = 0; id < IDS && whole; id++) {
        if (!seen[id])
            compare(c, id, NULL);
    }
    for (size_t i = 0; i < n; i++)
        json_decref(pages[i]);
    return whole;
}

static int double_compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double l2(const float *q, uint32_t stamp)
{
    float v[DIM];
    double d = 0;
    vector_of(stamp, v);
    for (int i = 0; i < DIM; i++)
        d += ((double)q[i] - v[i]) * ((double)q[i] - v[i]);
    return sqrt(d);
}

/* Hits at ef 100 among the true ten nearest; negative: the server died. */
static int one_query(struct crash *c, const float *q, double bound)
{
    struct qv_buf b;
    json_t *answer = NULL;
    int hits = 0;
    qv_buf_init(&b, 0);
    qv_buf_str(&b, "{\"query\":[");
    for (int i = 0; i < DIM; i++)
        qv_buf_printf(&b, "%s%.9g", i == 0 ? "" : ",", (double)q[i]);
    qv_buf_str(&b, "],\"limit\":10,\"params\":{\"hnsw_ef\":100}}");
    qv_buf_u8(&b, 0);
    int status =
        crash_call(c, "POST", "/collections/c/points/query", (const char *)b.data, &answer);
    qv_buf_close(&b);
    if (status != 200)
        return -1;
    const json_t *points = json_object_get(json_object_get(answer, "result"), "points");
    for (size_t i = 0; i < json_array_size(points); i++) {
        long long id = json_integer_value(json_object_get(json_array_get(points, i), "id"));
        if (id < 0 || id >= IDS || !c->points[id].now.alive)
            c->resurrected++;
        else
            hits += l2(q, c->points[id].now.stamp) <= bound + 1e-6;
    }
    json_decref(answer);
    return hits > 10 ? 10 : hits;
}

static bool measure_recall(struct crash *c)
{
    static double dist[IDS];
    int hits = 0;
    int of = 0;
    for (int round = 0; round < QUERIES; round++) {
        float q[DIM];
        uint32_t n = 0;
        vector_of(0x40000000u + below(c, 1000000), q);
        for (uint32_t id = 0; id < IDS; id++) {
            if (c->points[id].now.alive)
                dist[n++] = l2(q, c->points[id].now.stamp);
        }
        if (n < 100)
            return true; /* too few to tell */
        qsort(dist, n, sizeof *dist, double_compare);
        int found = one_query(c, q, dist[9]);
        if (found < 0)
            return false;
        hits += found;
        of += 10;
    }
    double recall = (double)hits / of;
    if (getenv("QV_VERBOSE") != NULL)
        fprintf(stderr, "recall %.4f\n", recall);
    c->recall_min = recall < c->recall_min ? recall : c->recall_min;
    if (recall < RECALL_FLOOR)
        fprintf(stderr, "crash: recall %.4f\n", recall);
    return true;
}

static void check_copy(struct crash *c)
{
    char command[8192];
    snprintf(command, sizeof command,
             "rm -rf '%s/copy' && cp -r '%s/data' '%s/copy' && '%s' check '%s/copy' "
             "> '%s/check.txt' 2>&1",
             c->dir, c->dir, c->dir, c->quiver, c->dir, c->dir);
    c->checks++;
    int status = system(command);
    if (status != 0) {
        fprintf(stderr, "crash: quiver check says %x; see %s/check.txt\n", (unsigned)status,
                c->dir);
        c->check_failures++;
    }
}

/* ---- the campaign ---- */

static void spec_of(struct crash *c, enum phase phase, char *out, size_t n)
{
    static const char *const when[] = {"before", "half", "after"};
    const char *w = when[below(c, 3)];
    const char *cut = when[below(c, 2) * 2]; /* not half */
    switch (phase) {
    case LOG_APPEND:
        snprintf(out, n, "write:/log/:%u:%s:" SERVING, 1 + below(c, 60), w);
        break;
    case LOG_SYNC:
        snprintf(out, n, "sync:/log/:%u:%s:" SERVING, 1 + below(c, 60), cut);
        break;
    case CHECKPOINT:
        snprintf(out, n, "%s:slots-:%u:%s:" SERVING, below(c, 2) ? "sync" : "rename",
                 1 + below(c, 3), cut);
        break;
    case RECYCLING:
        snprintf(out, n, "rename:/log/:%u:%s:" SERVING, 1 + below(c, 4), cut);
        break;
    case GRAPH_SAVE:
        snprintf(out, n, "write:graph-:%u:%s:" SERVING, 1 + below(c, 6), w);
        break;
    case VECTOR_WRITE:
        snprintf(out, n, "write:rows-:%u:%s:" SERVING, 1 + below(c, 100), w);
        break;
    case SNAPSHOT: /* writing it, its checksum, its names */
        snprintf(out, n, "%s:/snapshots/:%u:%s:" SERVING, below(c, 2) ? "any" : "rename",
                 1 + below(c, 3), cut);
        break;
    case RESTORE: /* the new shard's files, the switch */
        snprintf(out, n, "%s:%s:%u:%s:" SERVING, below(c, 2) ? "any" : "sync",
                 below(c, 3) == 0 ? "/meta" : "shards/", 20 + below(c, 60), cut);
        break;
    case START_UP:
    case RECOVERY:
        snprintf(out, n, "any::%u:%s", 1 + below(c, c->first_ops), cut);
        break;
    default:
        out[0] = '\0';
        break;
    }
}

static enum phase next_phase(const struct crash *c, struct qv_rng *rng)
{
    enum phase best = (enum phase)qv_rng_below(rng, PHASES);
    for (int p = 0; p < PHASES; p++) {
        if (c->by_phase[p] < c->by_phase[best])
            best = (enum phase)p;
    }
    return best;
}

static void count_kill(struct crash *c, enum phase phase)
{
    c->kills++;
    c->by_phase[phase]++;
}

/* What the graph's walk compares: the collection's quantization_config. */
static const char *const mode_settings[] = {
    "", ",\"quantization_config\":{\"scalar\":{\"type\":\"int8\"}}",
    ",\"quantization_config\":{\"binary\":{}}"};
static const char *const mode_names[] = {"default", "scalar", "binary"};
#define MODES (sizeof mode_names / sizeof mode_names[0])

static void create_collection(struct crash *c)
{
    json_t *answer = NULL;
    char body[256];
    snprintf(body, sizeof body, "{\"vectors\":{\"size\":32,\"distance\":\"Euclid\"}%s}",
             mode_settings[c->mode]);
    int status = crash_call(c, "PUT", "/collections/c", body, &answer);
    json_decref(answer);
    if (status != 200) {
        fprintf(stderr, "crash: the collection can't be created: %d\n", status);
        exit(2);
    }
}

/* One life, from start to a kill. clean: the one before ended by SIGTERM. */
static void one_life(struct crash *c, enum phase phase, bool clean)
{
    char spec[128];
    bool killed;
    spec_of(c, phase, spec, sizeof spec);
    bool listens = start(c, spec[0] != '\0' ? spec : NULL);
    if (!listens) {
        reap(c, &killed);
        if (killed)
            count_kill(c, clean ? START_UP : RECOVERY);
        return;
    }
    if ((phase == START_UP || phase == RECOVERY) && c->first_ops > 8)
        c->first_ops = c->first_ops * 3 / 4; /* it came too late */
    if (!compare_all(c) || !crash_snapshot_check(c) ||
        !measure_recall(c)) { /* it died while it was asked */
        reap(c, &killed);
        if (killed)
            count_kill(c, RANDOM);
        return;
    }
    c->snap = phase == SNAPSHOT || phase == RESTORE || below(c, 2) == 0 ? SNAP_MAKING : SNAP_NONE;
    c->snap_again = phase == SNAPSHOT || phase == RESTORE;
    write_until_death(c, phase == RANDOM ? 20 + below(c, 1500) : LIFE_MS_MAX);
    bool by_us = c->struck_by_us;
    reap(c, &killed);
    if (killed)
        count_kill(c, by_us || phase == START_UP || phase == RECOVERY ? RANDOM : phase);
}

static void progress(const struct crash *c, unsigned n, uint64_t begin)
{
    double s = (double)(now_ns() - begin) / 1e9;
    double rate = (double)c->kills / s;
    fprintf(stderr, "\r%llu of %u kills, %.2f a second, %llu acked, %.0f s to go   ",
            (unsigned long long)c->kills, n, rate, (unsigned long long)c->acked,
            rate > 0 ? (n - (double)c->kills) / rate : 0.0);
}

static void run(struct crash *c, unsigned n)
{
    uint64_t begin = now_ns();
    if (!start(c, NULL))
        exit(2);
    create_collection(c);
    write_until_death(c, 1500);
    bool killed;
    reap(c, &killed);
    count_kill(c, RANDOM);
    for (unsigned life = 0; c->kills < n; life++) {
        enum phase phase = next_phase(c, &c->rng);
        if (phase == START_UP && start(c, NULL)) { /* a clean end first */
            if (!compare_all(c))
                c->check_failures++;
            stop_cleanly(c);
        }
        one_life(c, phase, phase == START_UP);
        if (life % 7 == 3)
            check_copy(c);
        progress(c, n, begin);
        if (c->lost + c->resurrected + c->wrong_vector + c->wrong_payload + c->check_failures +
                c->snapshot_failures >
            20)
            break;
    }
    if (!start(c, NULL) || !compare_all(c) || !crash_snapshot_check(c) || !measure_recall(c)) {
        fprintf(stderr, "crash: the last start failed\n");
        c->check_failures++;
    }
    stop_cleanly(c);
    check_copy(c);
    fputc('\n', stderr);
}

static int write_json(const struct crash *c, const char *out, uint64_t seed, double seconds)
{
    json_t *phases = json_object();
    for (int p = 0; p < PHASES; p++)
        json_object_set_new(phases, phase_names[p], json_integer((json_int_t)c->by_phase[p]));
    json_t *j = report_begin("crash", seconds);
    const struct {
        const char *key;
        uint64_t v;
    } numbers[] = {{"seed", seed},
                   {"kills", c->kills},
                   {"acked", c->acked},
                   {"unknown", c->unknown},
                   {"lost", c->lost},
                   {"resurrected", c->resurrected},
                   {"wrong_vector", c->wrong_vector},
                   {"wrong_payload", c->wrong_payload},
                   {"refused", c->refused},
                   {"checks", c->checks},
                   {"snapshots", c->snapshots},
                   {"restores", c->restores},
                   {"snapshot_failures", c->snapshot_failures},
                   {"check_failures", c->check_failures}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        json_object_set_new(j, numbers[i].key, json_integer((json_int_t)numbers[i].v));
    json_object_set_new(j, "kills_by_phase", phases);
    json_object_set_new(j, "mode", json_string(mode_names[c->mode]));
    json_object_set_new(j, "recall_min", json_real(c->recall_min));
    json_object_set_new(j, "recall_floor", json_real(RECALL_FLOOR));
    json_object_set_new(j, "restart_ms_max", json_real(c->restart_ms_max));
    return report_end(j, out);
}

static bool mode_of(const char *name, unsigned *out)
{
    for (unsigned i = 0; i < MODES; i++) {
        *out = i;
        if (strcmp(name, mode_names[i]) == 0)
            return true;
    }
    fprintf(stderr, "crash: --mode is '%s'; allowed: default, scalar, binary\n", name);
    return false;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"n", required_argument, NULL, 'n'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"out", required_argument, NULL, 'o'},
                                            {"quiver", required_argument, NULL, 'q'},
                                            {"dir", required_argument, NULL, 'd'},
                                            {"mode", required_argument, NULL, 'm'},
                                            {NULL, 0, NULL, 0}};
    static struct crash c = {.recall_min = 1.0, .first_ops = 60};
    unsigned n = 10;
    uint64_t seed = 1;
    const char *out = NULL;
    const char *mode = NULL; /* by the seed */
    int option;
    c.quiver = "build/quiver";
    c.dir = "build/crash";
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'n')
            n = (unsigned)strtoul(optarg, NULL, 10);
        else if (option == 's')
            seed = strtoull(optarg, NULL, 10);
        else if (option == 'o')
            out = optarg;
        else if (option == 'q')
            c.quiver = optarg;
        else if (option == 'd')
            c.dir = optarg;
        else if (option == 'm')
            mode = optarg;
        else
            return 2;
    }
    c.mode = (unsigned)(seed % MODES);
    if (mode != NULL && !mode_of(mode, &c.mode))
        return 2;
    signal(SIGPIPE, SIG_IGN);
    char command[8192];
    snprintf(command, sizeof command, "rm -rf '%s' && mkdir -p '%s'", c.dir, c.dir);
    if (n == 0 || system(command) != 0)
        return 2;
    printf("seed %llu, mode %s\n", (unsigned long long)seed, mode_names[c.mode]);
    fflush(stdout);
    qv_rng_init(&c.rng, seed);
    for (int i = 0; i < SLOTS; i++)
        c.slots[i].c = &c;
    uint64_t begin = now_ns();
    run(&c, n);
    int written = write_json(&c, out, seed, (double)(now_ns() - begin) / 1e9);
    bool wrong = c.lost + c.resurrected + c.wrong_vector + c.wrong_payload + c.check_failures +
                     c.snapshot_failures >
                 0;
    for (int p = 0; p < PHASES && n >= 100; p++)
        wrong = wrong || c.by_phase[p] < 5;
    for (int i = 0; i < SLOTS; i++)
        qv_buf_close(&c.slots[i].body);
    qv_buf_close(&c.snap_body);
    wrong = wrong || written != 0 || c.recall_min < RECALL_FLOOR;
    printf("%u passed, %d failed\n", wrong ? 0 : n, wrong ? 1 : 0); /* one a kill, or none */
    return wrong;
}
