#include "cli/target.h"

#include "cli/progress.h"
#include "wire/json_scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PORT_DEFAULT 6333
#define PAUSE_MS_MIN 50u
#define PAUSE_MS_MAX 2000u
#define ANSWER_ARENA_BYTES ((size_t)16 << 20)

static int bad_url(const char *text, const char *why, struct qv_errmsg *msg)
{
    return qv_fail(msg, QV_EINVAL, "'%.200s': %s; allowed: [http[s]://]HOST[:PORT]/COLLECTION",
                   text, why);
}

/* Cuts text into base URL and collection. */
static int split(const char *text, struct qv_target *out, struct qv_errmsg *msg)
{
    const char *scheme = strstr(text, "://");
    const char *host = scheme != NULL ? scheme + 3 : text;
    bool tls = strncmp(text, "https://", 8) == 0;
    if (scheme != NULL && !tls && strncmp(text, "http://", 7) != 0)
        return bad_url(text, "the scheme is not http or https", msg);
    size_t n = strlen(host);
    while (n > 0 && host[n - 1] == '/')
        n--;
    const char *slash = memrchr(host, '/', n);
    if (slash == NULL || slash == host)
        return bad_url(text, slash == host ? "no host" : "no collection", msg);
    size_t name_bytes = (size_t)(host + n - slash) - 1;
    size_t name_out = 0;
    if (name_bytes >= sizeof out->collection)
        return bad_url(text, "the collection's name is too long", msg);
    if (qv_url_decode(slash + 1, name_bytes, false, out->collection, &name_out) != 0)
        return bad_url(text, "a broken % escape", msg);
    size_t rest = (size_t)(slash - host);
    static const char word[] = "/collections";
    if (rest > sizeof word - 1 && memcmp(slash - (sizeof word - 1), word, sizeof word - 1) == 0)
        rest -= sizeof word - 1;
    const char *path = memchr(host, '/', rest);
    size_t authority = path != NULL ? (size_t)(path - host) : rest;
    const char *colon = memrchr(host, ':', authority);
    const char *bracket = memrchr(host, ']', authority);
    bool has_port = colon != NULL && (bracket == NULL || colon > bracket);
    char port[8] = "";
    if (!has_port)
        (void)snprintf(port, sizeof port, ":%d", PORT_DEFAULT);
    int len = snprintf(out->base, sizeof out->base, "%s://%.*s%s%.*s", tls ? "https" : "http",
                       (int)authority, host, port, (int)(rest - authority), host + authority);
    return len < 0 || (size_t)len >= sizeof out->base ? bad_url(text, "too long", msg) : 0;
}

bool qv_target_take_option(struct qv_target_access *access, int option, const char *value)
{
    const char **const fields[] = {&access->api_key, &access->ca, &access->cert, &access->key};
    if (option < QV_TARGET_API_KEY || option >= QV_TARGET_OPTION_END)
        return false;
    *fields[option - QV_TARGET_API_KEY] = value;
    return true;
}

int qv_target_open(const char *text, const struct qv_target_access *access, struct qv_target *out,
                   struct qv_errmsg *msg)
{
    const char *key = access->api_key;
    memset(out, 0, sizeof *out);
    if (strlen(text) > 1300)
        return bad_url(text, "too long", msg);
    int err = split(text, out, msg);
    if (err != 0)
        return err;
    if (key == NULL)
        key = getenv("QUIVER_API_KEY");
    if (key == NULL)
        key = getenv("QDRANT_API_KEY");
    if (key != NULL &&
        snprintf(out->key_text, sizeof out->key_text, "%s", key) >= (int)sizeof out->key_text)
        return qv_fail(msg, QV_EINVAL, "the API key is longer than %zu bytes",
                       sizeof out->key_text - 1);
    struct qv_client_config config = {.url = out->base,
                                      .ca_path = access->ca,
                                      .cert_path = access->cert,
                                      .key_path = access->key,
                                      .connections = 1};
    return qv_client_create(&config, &out->client, msg);
}

int qv_target_open_server(const char *text, const struct qv_target_access *access,
                          struct qv_target *out, struct qv_errmsg *msg)
{
    char with_name[1400];
    memset(out, 0, sizeof *out);
    const int n = snprintf(with_name, sizeof with_name, "%s/-", text);
    if (n < 0 || (size_t)n >= sizeof with_name || text[0] == '\0' || text[0] == '/')
        return qv_fail(msg, QV_EINVAL, "'%.200s' is not allowed: [http[s]://]HOST[:PORT] is", text);
    return qv_target_open(with_name, access, out, msg);
}

void qv_target_close(struct qv_target *t)
{
    qv_client_destroy(&t->client);
}

const struct qv_net_header *qv_target_headers(struct qv_target *t, struct qv_net_header slot[1],
                                              size_t *n)
{
    *n = t->key_text[0] != '\0' ? 1 : 0;
    slot[0] = (struct qv_net_header){"api-key", t->key_text};
    return slot;
}

/* {"status": {"error": TEXT}}, or plain text. */
static void read_error(struct qv_bytes body, char *out, size_t n)
{
    struct qv_json j;
    struct qv_arena arena;
    struct qv_str key;
    struct qv_str text = {"", 0};
    qv_arena_init(&arena, ANSWER_ARENA_BYTES);
    qv_json_init(&j, body, &arena, NULL);
    qv_json_begin_object(&j);
    while (qv_json_next_key(&j, &key)) {
        if (!qv_str_is(key, "status") || qv_json_peek(&j) != QV_JSON_OBJECT) {
            qv_json_skip(&j);
            continue;
        }
        qv_json_begin_object(&j);
        while (qv_json_next_key(&j, &key)) {
            if (qv_str_is(key, "error"))
                text = qv_json_string(&j);
            else
                qv_json_skip(&j);
        }
    }
    if (qv_json_finish(&j) != 0)
        text = (struct qv_str){(const char *)body.p, body.n};
    (void)snprintf(out, n, "%.*s", text.n < n ? (int)text.n : (int)n, text.n > 0 ? text.p : "");
    qv_arena_close(&arena);
}

static int error_of_status(int status)
{
    switch (status) {
    case 401:
    case 403:
        return QV_EAUTH;
    case 404:
        return QV_ENOTFOUND;
    case 409:
        return QV_EEXISTS;
    case 429:
        return QV_EBUSY;
    default:
        return status >= 500 ? QV_EUNAVAILABLE : QV_EINVAL;
    }
}

static int fail_call(const struct qv_target *t, int err, struct qv_errmsg *msg)
{
    const char *why = qv_client_why(t->client);
    if (err != QV_EUNAVAILABLE)
        return qv_fail(msg, err, "%s: %s", t->base, qv_err_text(err));
    return qv_fail(msg, err, "%s: no server answers there%s%s", t->base, why[0] != '\0' ? ": " : "",
                   why);
}

/* may_repeat: what failed passes, and the server is one that was there. */
static int call_once(struct qv_target *t, const struct qv_client_request *request,
                     struct qv_buf *out, bool *may_repeat, struct qv_errmsg *msg)
{
    struct qv_client_answer answer;
    int err = qv_client_call(t->client, request, &answer);
    t->met = t->met || err != QV_EUNAVAILABLE;
    *may_repeat = t->met && (err == QV_EUNAVAILABLE || err == QV_EUNKNOWN || err == QV_ETIMEOUT);
    if (err != 0)
        return fail_call(t, err, msg);
    *may_repeat = answer.status == 429 || answer.status == 503;
    if (answer.status / 100 != 2) {
        char text[400];
        read_error((struct qv_bytes){answer.body.data, answer.body.len}, text, sizeof text);
        err =
            qv_fail(msg, error_of_status(answer.status), "%s: %d %s", t->base, answer.status, text);
    } else if (out != NULL) {
        *out = answer.body;
        qv_buf_init(&answer.body, 0);
    }
    qv_client_answer_close(&answer);
    return err;
}

int qv_target_call(struct qv_target *t, const char *method, const char *suffix,
                   struct qv_bytes body, struct qv_buf *out, struct qv_errmsg *msg)
{
    struct qv_buf path;
    struct qv_net_header slot[1];
    bool may_repeat;
    uint64_t begin_ns = qv_progress_now_ns();
    uint32_t pause_ms = PAUSE_MS_MIN;
    qv_buf_init(&path, 0);
    qv_buf_str(&path, "/collections/");
    qv_url_encode(&path, t->collection, strlen(t->collection));
    qv_buf_append(&path, suffix, strlen(suffix) + 1);
    struct qv_client_request request = {.method = method, .path = (const char *)path.data};
    request.body = body;
    request.headers = qv_target_headers(t, slot, &request.n_headers);
    int err = call_once(t, &request, out, &may_repeat, msg);
    while (err != 0 && may_repeat &&
           qv_progress_now_ns() - begin_ns < t->patience_ms * 1000000ull) {
        struct timespec pause = {pause_ms / 1000, (long)(pause_ms % 1000) * 1000000L};
        (void)nanosleep(&pause, NULL);
        pause_ms = pause_ms * 2 < PAUSE_MS_MAX ? pause_ms * 2 : PAUSE_MS_MAX;
        t->repeats++;
        err = call_once(t, &request, out, &may_repeat, msg);
    }
    qv_buf_close(&path);
    return err;
}

int qv_target_get(struct qv_target *t, const char *path, struct qv_buf *out, struct qv_errmsg *msg)
{
    struct qv_net_header slot[1];
    struct qv_client_request request = {.method = "GET", .path = path};
    bool may_repeat;
    request.headers = qv_target_headers(t, slot, &request.n_headers);
    return call_once(t, &request, out, &may_repeat, msg);
}

/* {"hnsw_config": {"m": ..}} */
static void read_config(struct qv_json *j, struct qv_target_info *out)
{
    struct qv_str key;
    qv_json_begin_object(j);
    while (qv_json_find_key(j, "hnsw_config")) {
        qv_json_begin_object(j);
        while (qv_json_next_key(j, &key)) {
            if (qv_str_is(key, "m"))
                out->no_graph = !qv_json_null(j) && qv_json_u64(j) == 0;
            else
                qv_json_skip(j);
        }
    }
}

static void read_info(struct qv_json *j, struct qv_target_info *out)
{
    struct qv_str key;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "points_count")) {
            out->points = qv_json_null(j) ? 0 : qv_json_u64(j);
        } else if (qv_str_is(key, "indexed_vectors_count")) {
            out->indexed = qv_json_null(j) ? 0 : qv_json_u64(j);
        } else if (qv_str_is(key, "status")) {
            struct qv_str s = qv_json_string(j);
            (void)snprintf(out->status, sizeof out->status, "%.*s", (int)(s.n < 15 ? s.n : 15),
                           s.p);
        } else if (qv_str_is(key, "config")) {
            read_config(j, out);
        } else {
            qv_json_skip(j);
        }
    }
}

int qv_target_read_info(struct qv_target *t, struct qv_target_info *out, struct qv_errmsg *msg)
{
    struct qv_buf body;
    struct qv_json j;
    struct qv_arena arena;
    memset(out, 0, sizeof *out);
    qv_buf_init(&body, 0);
    int err = qv_target_call(t, "GET", "", (struct qv_bytes){NULL, 0}, &body, msg);
    if (err != 0)
        return err;
    qv_arena_init(&arena, ANSWER_ARENA_BYTES);
    qv_json_init(&j, (struct qv_bytes){body.data, body.len}, &arena, msg);
    qv_json_begin_object(&j);
    while (qv_json_find_key(&j, "result"))
        read_info(&j, out);
    err = qv_json_finish(&j);
    qv_arena_close(&arena);
    qv_buf_close(&body);
    return err;
}
