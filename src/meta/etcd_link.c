#include "meta/etcd_link.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "net/client.h"

#include <pthread.h>
#include <stdio.h>

#define INBOX_BYTES_MAX ((size_t)256 << 20)

/* What the client's thread says. */
struct said {
    struct said *next;
    bool is_message;
    struct qv_etcd_result r;
    char text[256];
    uint8_t body[];
};

/* A call as the client has it: freed by its thread at the call's end. */
struct sent {
    struct qv_etcd_link *link;
    uint64_t id;
    struct qv_buf body;
    bool flooded; /* the owner does not keep up: the stream was ended */
    struct qv_client *client;
};

struct qv_etcd_link {
    struct qv_env *env;
    struct qv_etcd_link_config config; /* its texts below */
    char *ca, *cert, *key;
    struct qv_etcd_link_events events;
    void *arg;
    struct qv_client *client; /* NULL: not open */
    uint64_t last_id;
    bool destroyed;
    /* The job that opens. */
    struct qv_job job;
    struct qv_timer retry; /* the job's queue was full */
    bool opening;          /* somebody waits for it */
    bool job_running;
    char *url;
    char *next_url; /* to open when the running job, which nobody waits for, has ended */
    struct qv_client *job_client;
    int job_err;
    struct qv_errmsg job_msg;
    /* From the client's thread to the owner. */
    pthread_mutex_t mutex; /* guards first, last, bytes, posted */
    struct said *first, *last;
    size_t bytes;
    bool posted;
    struct qv_task task;
};

static void inbox_clear(struct qv_etcd_link *l)
{
    while (l->first != NULL) {
        struct said *s = l->first;
        l->first = s->next;
        qv_mem_free(s);
    }
    l->last = NULL;
}

/* Nothing that runs later may find it gone. */
static void free_when_quiet(struct qv_etcd_link *l)
{
    pthread_mutex_lock(&l->mutex);
    bool posted = l->posted;
    pthread_mutex_unlock(&l->mutex);
    if (!l->destroyed || posted || l->job_running)
        return;
    QV_ASSERT(l->client == NULL);
    qv_env_timer_stop(l->env, &l->retry);
    inbox_clear(l);
    pthread_mutex_destroy(&l->mutex);
    qv_mem_free(l->ca);
    qv_mem_free(l->cert);
    qv_mem_free(l->key);
    qv_mem_free(l->url);
    qv_mem_free(l->next_url);
    qv_mem_free(l);
}

static struct said *take_first(struct qv_etcd_link *l)
{
    pthread_mutex_lock(&l->mutex);
    struct said *s = l->first;
    if (s == NULL) {
        l->posted = false;
    } else {
        l->first = s->next;
        if (l->first == NULL)
            l->last = NULL;
        l->bytes -= sizeof *s + s->r.body.n;
    }
    pthread_mutex_unlock(&l->mutex);
    return s;
}

static void deliver(struct qv_task *task)
{
    struct qv_etcd_link *l = task->arg;
    struct said *s;
    while ((s = take_first(l)) != NULL) {
        if (l->destroyed)
            ;
        else if (s->is_message)
            l->events.message(l->arg, s->r.id, s->r.body);
        else
            l->events.done(l->arg, &s->r);
        qv_mem_free(s);
    }
    free_when_quiet(l);
}

/* ---- on the client's thread ---- */

/* False when the owner has too much to read already. */
static bool say(struct sent *c, bool is_message, const struct qv_client_response *r,
                struct qv_bytes body)
{
    struct qv_etcd_link *l = c->link;
    struct said *s = qv_mem_try_alloc(sizeof *s + body.n);
    if (s == NULL) {
        QV_ASSERT(body.n > 0);
        return false;
    }
    memset(s, 0, sizeof *s);
    s->is_message = is_message;
    s->r.id = c->id;
    s->r.text = s->text;
    if (body.n > 0)
        memcpy(s->body, body.p, body.n);
    s->r.body = (struct qv_bytes){s->body, body.n};
    if (r != NULL) {
        s->r.err = r->err;
        s->r.begun = r->sent;
        s->r.grpc_status = r->grpc_status;
        snprintf(s->text, sizeof s->text, "%s", r->err != 0 ? r->why : r->grpc_message);
        if (r->err == 0 && r->status != 200)
            snprintf(s->text, sizeof s->text, "HTTP status %d", r->status);
    }
    pthread_mutex_lock(&l->mutex);
    bool full = is_message && l->bytes + body.n > INBOX_BYTES_MAX;
    bool post = !full && !l->posted;
    if (!full) {
        if (l->last != NULL)
            l->last->next = s;
        else
            l->first = s;
        l->last = s;
        l->bytes += sizeof *s + body.n;
        l->posted = true;
    }
    pthread_mutex_unlock(&l->mutex);
    if (full)
        qv_mem_free(s);
    else if (post)
        qv_env_post(l->env, &l->task);
    return !full;
}

static void on_message(void *arg, struct qv_bytes message)
{
    struct sent *c = arg;
    if (c->flooded || say(c, true, NULL, message))
        return;
    c->flooded = true; /* a message is lost: nothing after it may be given */
    qv_client_cancel_id(c->client, c->id);
}

static void on_done(void *arg, const struct qv_client_response *r)
{
    struct sent *c = arg;
    if (!say(c, false, r, r->body)) { /* no memory for the answer */
        struct qv_client_response none = {.err = QV_ETOOBIG, .sent = true, .why = ""};
        (void)say(c, false, &none, (struct qv_bytes){NULL, 0});
    }
    qv_buf_close(&c->body);
    qv_mem_free(c);
}

/* ---- opening ---- */

static void job_run(struct qv_job *job, unsigned worker)
{
    struct qv_etcd_link *l = job->arg;
    const struct qv_client_config config = {.url = l->url,
                                            .ca_path = l->config.ca,
                                            .cert_path = l->config.cert,
                                            .key_path = l->config.key,
                                            .own_thread = true,
                                            .connect_timeout_ms = l->config.connect_timeout_ms,
                                            .response_bytes_max = l->config.answer_bytes_max};
    (void)worker;
    l->job_msg.text[0] = '\0';
    l->job_err = qv_client_create(&config, &l->job_client, &l->job_msg);
}

static void job_submit(struct qv_etcd_link *l)
{
    l->job_running = qv_env_submit(l->env, QV_JOB_IO, &l->job) == 0;
    if (!l->job_running)
        qv_env_timer_start(l->env, &l->retry, 50 * QV_NS_PER_MS);
}

static void on_retry(struct qv_timer *timer)
{
    job_submit(timer->arg);
}

static void job_done(struct qv_job *job)
{
    struct qv_etcd_link *l = job->arg;
    l->job_running = false;
    if (l->opening && l->next_url == NULL) {
        l->opening = false;
        l->client = l->job_client;
        l->job_client = NULL;
        l->events.opened(l->arg, l->job_err, l->job_msg.text);
        return;
    }
    qv_client_destroy(&l->job_client); /* dropped meanwhile */
    if (l->next_url != NULL) {
        qv_mem_free(l->url);
        l->url = l->next_url;
        l->next_url = NULL;
        job_submit(l);
    }
    free_when_quiet(l);
}

void qv_etcd_link_open(struct qv_etcd_link *l, const char *url)
{
    QV_ASSERT(l->client == NULL && !l->opening && !l->destroyed);
    l->opening = true;
    if (l->job_running) {
        qv_mem_free(l->next_url);
        l->next_url = qv_mem_strdup(url);
        return;
    }
    qv_mem_free(l->url);
    l->url = qv_mem_strdup(url);
    job_submit(l);
}

/* ---- the rest ---- */

static char *copy(const char *s)
{
    return s == NULL ? NULL : qv_mem_strdup(s);
}

struct qv_etcd_link *qv_etcd_link_create(struct qv_env *env,
                                         const struct qv_etcd_link_config *config,
                                         const struct qv_etcd_link_events *events, void *arg)
{
    struct qv_etcd_link *l = qv_mem_calloc(1, sizeof *l);
    l->env = env;
    l->config = *config;
    l->config.ca = l->ca = copy(config->ca);
    l->config.cert = l->cert = copy(config->cert);
    l->config.key = l->key = copy(config->key);
    l->events = *events;
    l->arg = arg;
    l->job = (struct qv_job){.run = job_run, .done = job_done, .arg = l};
    l->retry = (struct qv_timer){.run = on_retry, .arg = l};
    l->task = (struct qv_task){.run = deliver, .arg = l};
    pthread_mutex_init(&l->mutex, NULL);
    return l;
}

void qv_etcd_link_drop(struct qv_etcd_link *l)
{
    l->opening = false;
    qv_mem_free(l->next_url);
    l->next_url = NULL;
    qv_env_timer_stop(l->env, &l->retry);
    qv_client_destroy(&l->client);
}

void qv_etcd_link_destroy(struct qv_etcd_link **link)
{
    struct qv_etcd_link *l = *link;
    *link = NULL;
    if (l == NULL)
        return;
    qv_etcd_link_drop(l);
    l->destroyed = true;
    free_when_quiet(l);
}

uint64_t qv_etcd_link_send(struct qv_etcd_link *l, const struct qv_etcd_request *request,
                           struct qv_buf *body)
{
    QV_ASSERT(l->client != NULL && !body->failed);
    struct sent *c = qv_mem_calloc(1, sizeof *c);
    *c = (struct sent){.link = l, .id = ++l->last_id, .body = *body, .client = l->client};
    qv_buf_init(body, 0);
    uint64_t id = c->id; /* the callback may come before send returns */
    /* A server that has lost its leader says so at once, and ends streams, when asked to. */
    const struct qv_net_header headers[] = {{"hasleader", "true"}, {"token", request->token}};
    const struct qv_client_request r = {.path = request->path,
                                        .grpc = true,
                                        .headers = headers,
                                        .n_headers = request->token[0] == '\0' ? 1 : 2,
                                        .body = {c->body.data, c->body.len},
                                        .timeout_ms = request->timeout_ms,
                                        .on_message = request->stream ? on_message : NULL,
                                        .keep_open = request->stream,
                                        .id = id};
    int err = qv_client_send(l->client, &r, on_done, c);
    QV_ASSERT(err == 0); /* nothing in it is from outside */
    return id;
}

void qv_etcd_link_cancel(struct qv_etcd_link *l, uint64_t id)
{
    if (l->client != NULL)
        qv_client_cancel_id(l->client, id);
}
