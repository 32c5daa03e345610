#include "cli/export_run.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "wire/json_scan.h"

#include <stdio.h>
#include <time.h>

#define BACKOFF_MS_MIN 50u
#define BACKOFF_MS_MAX 4000u
#define SAVE_EVERY_NS 300000000ull
#define IDS_ARENA_BYTES ((size_t)64 << 20)

/* The scout asks for ids; a page's state goes IDLE -> WAITING (a body, not sent) -> FLYING ->
 * READY -> IDLE, with a way back to WAITING. */
enum slot_state { SLOT_IDLE, SLOT_WAITING, SLOT_FLYING, SLOT_READY };

struct pump;

struct slot {
    struct pump *pump;
    enum slot_state state;
    const char *path;
    struct qv_buf body;
    struct qv_buf answer;
    char next[QV_EXPORT_ID_MAX]; /* of the page: the id after it, "" at the end */
    uint32_t tries;
    uint64_t failing_since_ns;
    uint64_t due_ns; /* WAITING: when to send */
};

struct pump {
    struct qv_export_run *x;
    struct slot scout;
    struct slot *slots;   /* page n is in n % in_flight */
    uint64_t asked, done; /* pages whose ids are known, that are in the sink */
    bool ended;           /* the scout has seen the last page */
    uint32_t flying;
    int err;
    struct qv_errmsg *msg;
    uint64_t saved_ns;
    char offset[QV_EXPORT_ID_MAX]; /* that the scout asked from */
    struct qv_arena arena;
    char point_path[800], scroll_path[800];
};

/* ---- calls ---- */

static bool may_repeat(const struct qv_client_response *r)
{
    if (r->err != 0)
        return r->err == QV_EUNAVAILABLE || r->err == QV_EUNKNOWN || r->err == QV_ETIMEOUT;
    return r->status == 429 || r->status == 503;
}

static void fail(struct pump *p, const struct qv_client_response *r)
{
    if (p->err != 0)
        return;
    if (r->err != 0)
        p->err =
            qv_fail(p->msg, r->err, "%s: %s", p->x->target->base,
                    r->err == QV_EUNAVAILABLE ? "no server answers there" : qv_err_text(r->err));
    else
        p->err = qv_fail(p->msg, r->status == 404 ? QV_ENOTFOUND : QV_EPROTO, "%s: %d %.*s",
                         p->x->target->base, r->status, (int)(r->body.n < 300 ? r->body.n : 300),
                         (const char *)r->body.p);
}

static void on_answer(void *arg, const struct qv_client_response *r)
{
    struct slot *s = arg;
    struct pump *p = s->pump;
    uint64_t now = qv_progress_now_ns();
    p->flying--;
    qv_client_stop(p->x->target->client);
    if (r->err == 0 && r->status / 100 == 2) {
        qv_buf_clear(&s->answer);
        qv_buf_append(&s->answer, r->body.p, r->body.n);
        s->state = SLOT_READY;
        s->tries = 0;
        if (s->answer.failed && p->err == 0)
            p->err = qv_fail(p->msg, QV_ENOMEM, "no memory for a page");
        return;
    }
    s->state = SLOT_WAITING;
    if (s->tries == 0)
        s->failing_since_ns = now;
    if (!may_repeat(r) || now - s->failing_since_ns > (uint64_t)p->x->retry_ms * 1000000) {
        fail(p, r);
        return;
    }
    uint64_t ms = (uint64_t)BACKOFF_MS_MIN << (s->tries < 7 ? s->tries : 7);
    s->due_ns = now + (ms < BACKOFF_MS_MAX ? ms : BACKOFF_MS_MAX) * 1000000;
    s->tries++;
    p->x->retries++;
}

static void send_slot(struct pump *p, struct slot *s)
{
    struct qv_net_header slot[1];
    struct qv_client_request request = {.method = "POST",
                                        .path = s->path,
                                        .body = {s->body.data, s->body.len},
                                        .timeout_ms = 60000};
    request.headers = qv_target_headers(p->x->target, slot, &request.n_headers);
    s->state = SLOT_FLYING;
    p->flying++;
    int err = qv_client_send(p->x->target->client, &request, on_answer, s);
    if (err == 0)
        return;
    p->flying--;
    s->state = SLOT_WAITING;
    if (p->err == 0)
        p->err = qv_fail(p->msg, err, "a request can't be sent: %s", qv_err_text(err));
}

/* ---- the scout ---- */

static void put_scroll(struct pump *p, const char *from)
{
    struct qv_buf *b = &p->scout.body;
    qv_buf_clear(b);
    qv_buf_printf(b, "{\"limit\":%u,\"with_payload\":false,\"with_vector\":false", p->x->batch);
    if (from[0] != '\0')
        qv_buf_printf(b, ",\"offset\":%s", from);
    if (p->x->filter != NULL) {
        qv_buf_str(b, ",\"filter\":");
        qv_buf_str(b, p->x->filter);
    }
    qv_buf_str(b, "}");
    (void)snprintf(p->offset, sizeof p->offset, "%s", from);
    p->scout.state = SLOT_WAITING;
    p->scout.due_ns = 0;
    if (b->failed && p->err == 0)
        p->err = qv_fail(p->msg, QV_ENOMEM, "no memory for a request");
}

static void read_ids(struct qv_json *j, struct qv_buf *body, uint32_t *count)
{
    struct qv_str key;
    qv_json_begin_array(j);
    while (qv_json_next_item(j)) {
        qv_json_begin_object(j);
        while (qv_json_next_key(j, &key)) {
            if (!qv_str_is(key, "id")) {
                qv_json_skip(j);
                continue;
            }
            struct qv_str id = qv_export_raw(j);
            if ((*count)++ > 0)
                qv_buf_str(body, ",");
            qv_buf_append(body, id.p, id.n);
        }
    }
}

/* The scout's answer -> the page's request. */
static int read_page(struct pump *p, struct slot *page, uint32_t *count)
{
    struct qv_json j;
    struct qv_str key;
    struct qv_errmsg why = {""};
    qv_arena_reset(&p->arena);
    qv_buf_clear(&page->body);
    qv_buf_str(&page->body, "{\"with_payload\":true,\"with_vector\":true,\"ids\":[");
    page->next[0] = '\0';
    qv_json_init(&j, (struct qv_bytes){p->scout.answer.data, p->scout.answer.len}, &p->arena, &why);
    qv_json_begin_object(&j);
    while (qv_json_find_key(&j, "result")) {
        qv_json_begin_object(&j);
        while (qv_json_next_key(&j, &key)) {
            if (qv_str_is(key, "points")) {
                read_ids(&j, &page->body, count);
            } else if (qv_str_is(key, "next_page_offset") && !qv_json_null(&j)) {
                struct qv_str id = qv_export_raw(&j);
                if (id.n >= sizeof page->next)
                    qv_json_fail(&j, QV_EFORMAT, "an id of %zu bytes", id.n);
                else
                    memcpy(page->next, id.p, id.n), page->next[id.n] = '\0';
            } else if (!qv_str_is(key, "next_page_offset")) {
                qv_json_skip(&j);
            }
        }
    }
    qv_buf_str(&page->body, "]}");
    if (qv_json_finish(&j) != 0)
        return qv_fail(p->msg, QV_EPROTO, "the server's page can't be read: %.300s", why.text);
    return page->body.failed ? qv_fail(p->msg, QV_ENOMEM, "no memory for a request") : 0;
}

/* Takes the scout's answer where there is room for its page, and sends it out again. */
static void scout_step(struct pump *p)
{
    struct slot *page = &p->slots[p->asked % p->x->in_flight];
    uint32_t count = 0;
    if (p->scout.state != SLOT_READY || page->state != SLOT_IDLE || p->err != 0)
        return;
    p->err = read_page(p, page, &count);
    if (p->err == 0 && page->next[0] != '\0' &&
        (count == 0 || strcmp(page->next, p->offset) == 0)) /* such pages would never end */
        p->err = qv_fail(p->msg, QV_EPROTO, "the server's pages go round in a circle");
    if (p->err != 0)
        return;
    p->scout.state = SLOT_IDLE;
    p->ended = page->next[0] == '\0';
    if (!p->ended)
        put_scroll(p, page->next);
    page->due_ns = 0;
    page->state = SLOT_WAITING;
    p->asked++;
    if (count == 0) { /* nothing to ask for: an answer without points */
        qv_buf_clear(&page->answer);
        qv_buf_str(&page->answer, "{\"result\":[]}");
        page->state = SLOT_READY;
    }
}

/* ---- the loop ---- */

static void send_due(struct pump *p, struct slot *s, uint64_t now)
{
    if (p->err == 0 && s->state == SLOT_WAITING && s->due_ns <= now)
        send_slot(p, s);
}

static void write_ready(struct pump *p)
{
    while (p->err == 0 && p->done < p->asked) {
        struct slot *s = &p->slots[p->done % p->x->in_flight];
        if (s->state != SLOT_READY)
            return;
        struct qv_bytes answer = {s->answer.data, s->answer.len};
        p->err = qv_export_sink_put(p->x->sink, answer, s->next, p->msg);
        s->state = SLOT_IDLE;
        p->done++;
        p->x->pages++;
        qv_progress_update(p->x->progress, p->x->sink->points, p->x->sink->bytes);
    }
}

/* Nothing is under way: until the first repetition is due. */
static void sleep_until_due(const struct pump *p)
{
    uint64_t due = p->scout.state == SLOT_WAITING ? p->scout.due_ns : UINT64_MAX;
    uint64_t now = qv_progress_now_ns();
    for (uint32_t i = 0; i < p->x->in_flight; i++) {
        if (p->slots[i].state == SLOT_WAITING && p->slots[i].due_ns < due)
            due = p->slots[i].due_ns;
    }
    uint64_t ns = due != UINT64_MAX && due > now ? due - now : 0;
    struct timespec t = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    (void)nanosleep(&t, NULL);
}

static void save(struct pump *p, bool always)
{
    struct qv_errmsg msg;
    uint64_t now = qv_progress_now_ns();
    if (!always && now - p->saved_ns < SAVE_EVERY_NS)
        return;
    p->saved_ns = now;
    int err = qv_export_sink_save(p->x->sink, &msg);
    if (err != 0 && p->err == 0) {
        p->err = err;
        *p->msg = msg;
    }
}

static void run(struct pump *p)
{
    struct qv_export_run *x = p->x;
    put_scroll(p, x->sink->next);
    while (p->err == 0 && !(p->ended && p->done == p->asked)) {
        uint64_t now = qv_progress_now_ns();
        scout_step(p);
        send_due(p, &p->scout, now);
        for (uint32_t i = 0; i < x->in_flight; i++)
            send_due(p, &p->slots[i], now);
        write_ready(p);
        if (p->err != 0 || (p->ended && p->done == p->asked))
            break;
        if (p->flying > 0)
            qv_client_run(x->target->client);
        else if (p->scout.state != SLOT_READY) /* else there is room for its page now */
            sleep_until_due(p);
        save(p, false);
    }
    while (p->flying > 0)
        qv_client_run(x->target->client);
    if (p->err != 0) /* what is whole stays a place to go on from */
        save(p, true);
}

static void slot_init(struct slot *s, struct pump *p, const char *path)
{
    s->pump = p;
    s->path = path;
    qv_buf_init(&s->body, 0);
    qv_buf_init(&s->answer, 0);
}

static void slot_close(struct slot *s)
{
    qv_buf_close(&s->body);
    qv_buf_close(&s->answer);
}

static int make_path(const struct pump *p, const char *suffix, char *out, size_t n)
{
    struct qv_buf b;
    qv_buf_init(&b, n - 1);
    qv_buf_str(&b, "/collections/");
    qv_url_encode(&b, p->x->target->collection, strlen(p->x->target->collection));
    qv_buf_str(&b, suffix);
    int err = b.failed ? qv_fail(p->msg, QV_EINVAL, "the collection's name is too long") : 0;
    if (err == 0) {
        memcpy(out, b.data, b.len);
        out[b.len] = '\0';
    }
    qv_buf_close(&b);
    return err;
}

int qv_export_run(struct qv_export_run *x, struct qv_errmsg *msg)
{
    struct pump p = {.x = x, .msg = msg, .saved_ns = qv_progress_now_ns()};
    QV_ASSERT(x->in_flight >= 1 && x->in_flight <= QV_EXPORT_IN_FLIGHT_MAX && x->batch >= 1);
    qv_arena_init(&p.arena, IDS_ARENA_BYTES);
    p.slots = qv_mem_calloc(x->in_flight, sizeof *p.slots);
    slot_init(&p.scout, &p, p.scroll_path);
    for (uint32_t i = 0; i < x->in_flight; i++)
        slot_init(&p.slots[i], &p, p.point_path);
    p.err = make_path(&p, "/points/scroll", p.scroll_path, sizeof p.scroll_path);
    if (p.err == 0)
        p.err = make_path(&p, "/points", p.point_path, sizeof p.point_path);
    if (p.err == 0)
        run(&p);
    QV_ASSERT(p.flying == 0);
    slot_close(&p.scout);
    for (uint32_t i = 0; i < x->in_flight; i++)
        slot_close(&p.slots[i]);
    qv_mem_free(p.slots);
    qv_arena_close(&p.arena);
    return p.err;
}
