/* Snapshots among the crash test's writes. One is asked for when nothing is in doubt, and from then
 * on each state that a point may have had is remembered, with the order in which changes were sent
 * and answered. The snapshot is restored into a collection of its own, in which
 *   - every point is in one of those states, and
 *   - no change is missing that was answered before some change that is there was sent:
 * the state at one point of the log. The server may be killed anywhere in this. */
#include "crash.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESTORED "/collections/restored%u"

/* ---- what may be in it ---- */

void crash_snapshot_sent(struct slot *s)
{
    struct crash *c = s->c;
    c->events++;
    for (uint32_t i = 0; i < s->count && c->recording; i++) {
        struct point *p = &c->points[s->ids[i]];
        s->past_at[i] = p->past_count;
        if (p->past_count < PAST_MAX)
            p->past[p->past_count] = (struct past){.s = s->after[i], .sent = c->events};
        p->past_count += p->past_count <= PAST_MAX;
    }
    for (uint32_t i = 0; i < s->count && !c->recording; i++)
        s->past_at[i] = PAST_MAX;
}

void crash_snapshot_acked(struct slot *s)
{
    struct crash *c = s->c;
    c->events++;
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->past_at[i] < PAST_MAX)
            c->points[s->ids[i]].past[s->past_at[i]].acked = c->events;
    }
}

static void wrong(struct crash *c, const char *what, long long id)
{
    fprintf(stderr, "crash: the restored snapshot: %s (%lld)\n", what, id);
    c->snapshot_failures++;
}

static bool fits(const struct state *s, const json_t *seen)
{
    if (seen == NULL || !s->alive)
        return seen == NULL && !s->alive;
    return crash_same_vector(json_object_get(seen, "vector"), s->stamp) &&
           crash_same_payload(json_object_get(seen, "payload"), s);
}

/* The latest of its past that each point may show, + 1; 0: too many to tell. */
static uint8_t latest[IDS];

static void look(struct crash *c, uint32_t id, const json_t *seen)
{
    const struct point *p = &c->points[id];
    bool any = false;
    latest[id] = 0;
    for (uint32_t k = 0; k < p->past_count && p->past_count <= PAST_MAX; k++) {
        if (!fits(&p->past[k].s, seen))
            continue;
        if (!any && p->past[k].sent > c->snap_newest) /* equal states: surely the first of them */
            c->snap_newest = p->past[k].sent;
        any = true;
        latest[id] = (uint8_t)(k + 1);
    }
    if (!any && p->past_count <= PAST_MAX)
        wrong(c, seen == NULL ? "a point is missing" : "a point is in no state that it had", id);
}

static void compare_restored(struct crash *c, const json_t *points)
{
    static bool seen[IDS];
    memset(seen, 0, sizeof seen);
    c->snap_newest = 0;
    for (size_t i = 0; i < json_array_size(points); i++) {
        const json_t *point = json_array_get(points, i);
        long long id = json_integer_value(json_object_get(point, "id"));
        if (id < 0 || id >= IDS || seen[id]) {
            wrong(c, "an id that is not ours, or twice", id);
            continue;
        }
        seen[id] = true;
        look(c, (uint32_t)id, point);
    }
    for (uint32_t id = 0; id < IDS; id++) {
        if (!seen[id])
            look(c, id, NULL);
    }
    for (uint32_t id = 0; id < IDS; id++) {
        const struct point *p = &c->points[id];
        if (latest[id] == 0 || latest[id] >= p->past_count)
            continue;
        const struct past *next = &p->past[latest[id]];
        if (next->acked != 0 && next->acked < c->snap_newest)
            wrong(c, "a change is missing, and a later one is there", id);
    }
    c->restores++;
}

/* ---- the requests, beside the writers' ---- */

static void scrolled(void *arg, const struct qv_client_response *r)
{
    struct crash *c = arg;
    json_error_t why;
    if (r->err != 0)
        return; /* the server died */
    json_t *answer = json_loadb((const char *)r->body.p, r->body.n, 0, &why);
    if (r->status != 200 || answer == NULL)
        wrong(c, "it can't be read", r->status);
    else
        compare_restored(c, json_object_get(json_object_get(answer, "result"), "points"));
    json_decref(answer);
    c->snap = SNAP_NONE;
    if (c->snap_again && !c->dead)
        crash_snapshot_begin(c);
}

static void ask(struct crash *c, const char *method, qv_client_done_f *done)
{
    struct qv_client_request r = {.method = method,
                                  .path = c->snap_path,
                                  .body = {c->snap_body.data, c->snap_body.len},
                                  .timeout_ms = 60000};
    if (qv_client_send(c->client, &r, done, c) != 0)
        wrong(c, "a request can't be sent", 0);
}

static void restored(void *arg, const struct qv_client_response *r)
{
    struct crash *c = arg;
    if (r->err != 0)
        return;
    if (r->status != 200) {
        fprintf(stderr, "crash: %.*s\n", (int)r->body.n, (const char *)r->body.p);
        wrong(c, "it can't be restored", r->status);
        return;
    }
    snprintf(c->snap_path, sizeof c->snap_path, RESTORED "/points/scroll", c->snap_round);
    qv_buf_clear(&c->snap_body);
    qv_buf_printf(&c->snap_body, "{\"limit\":%d,\"with_vector\":true,\"with_payload\":true}",
                  IDS + 1);
    ask(c, "POST", scrolled);
}

static void made(void *arg, const struct qv_client_response *r)
{
    struct crash *c = arg;
    json_error_t why;
    if (r->err != 0)
        return;
    c->recording = false; /* what is sent from now on can't be in it */
    json_t *answer = json_loadb((const char *)r->body.p, r->body.n, 0, &why);
    const char *name =
        json_string_value(json_object_get(json_object_get(answer, "result"), "name"));
    if (r->status != 200 || name == NULL) {
        wrong(c, "it can't be made", r->status);
    } else {
        c->snapshots++;
        c->snap = SNAP_MADE;
        snprintf(c->snap_name, sizeof c->snap_name, "%s", name);
        snprintf(c->snap_path, sizeof c->snap_path, RESTORED "/snapshots/recover", c->snap_round);
        qv_buf_clear(&c->snap_body);
        qv_buf_printf(&c->snap_body,
                      "{\"location\":\"http://127.0.0.1:%u/collections/c/snapshots/%s\"}", c->port,
                      name);
        ask(c, "PUT", restored);
    }
    json_decref(answer);
}

void crash_snapshot_begin(struct crash *c)
{
    for (uint32_t id = 0; id < IDS; id++) {
        struct point *p = &c->points[id];
        p->past[0] = (struct past){.s = p->now};
        p->past_count = 1;
    }
    for (int i = 0; i < SLOTS; i++) { /* under way: sent before, answered perhaps later */
        struct slot *s = &c->slots[i];
        for (uint32_t k = 0; k < s->count; k++) {
            struct point *p = &c->points[s->ids[k]];
            s->past_at[k] = PAST_MAX;
            if (!p->busy)
                continue;
            s->past_at[k] = p->past_count;
            p->past[p->past_count++] = (struct past){.s = s->after[k]};
        }
    }
    c->recording = true;
    c->snap = SNAP_MAKING;
    c->snap_round++;
    snprintf(c->snap_path, sizeof c->snap_path, "/collections/c/snapshots");
    qv_buf_clear(&c->snap_body);
    ask(c, "POST", made);
}

/* ---- after a start ---- */

static void check_leftovers(struct crash *c)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/snapshots/:tmp", c->dir);
    DIR *d = opendir(path);
    const struct dirent *e;
    while (d != NULL && (e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            wrong(c, "a file was left unfinished", 0);
    }
    if (d != NULL)
        closedir(d);
}

/* Snapshots that are listed are whole: at most a few lie there, and they go. */
static bool remove_listed(struct crash *c)
{
    json_t *answer = NULL;
    json_t *gone = NULL;
    int status = crash_call(c, "GET", "/collections/c/snapshots", NULL, &answer);
    const json_t *list = json_object_get(answer, "result");
    for (size_t i = 0; status == 200 && i < json_array_size(list); i++) {
        char path[400];
        const json_t *d = json_array_get(list, i);
        if (json_object_get(d, "checksum") == NULL || json_object_get(d, "creation_time") == NULL)
            wrong(c, "a file without its checksum is listed", 0);
        snprintf(path, sizeof path, "/collections/c/snapshots/%s",
                 json_string_value(json_object_get(d, "name")));
        status = crash_call(c, "DELETE", path, NULL, &gone);
        json_decref(gone);
        gone = NULL;
    }
    json_decref(answer);
    return status >= 0;
}

/* Every collection but the one that is written to. */
static bool remove_restored(struct crash *c)
{
    json_t *answer = NULL;
    json_t *gone = NULL;
    int status = crash_call(c, "GET", "/collections", NULL, &answer);
    const json_t *list = json_object_get(json_object_get(answer, "result"), "collections");
    for (size_t i = 0; status == 200 && i < json_array_size(list); i++) {
        char path[400];
        const char *name = json_string_value(json_object_get(json_array_get(list, i), "name"));
        if (strcmp(name, "c") == 0)
            continue;
        snprintf(path, sizeof path, "/collections/%s", name);
        status = crash_call(c, "DELETE", path, NULL, &gone);
        json_decref(gone);
        gone = NULL;
    }
    json_decref(answer);
    return status >= 0;
}

bool crash_snapshot_check(struct crash *c)
{
    json_t *answer = NULL;
    char body[100];
    check_leftovers(c);
    snprintf(body, sizeof body, "{\"limit\":%d,\"with_vector\":true,\"with_payload\":true}",
             IDS + 1);
    snprintf(c->snap_path, sizeof c->snap_path, RESTORED "/points/scroll", c->snap_round);
    int status = crash_call(c, "POST", c->snap_path, body, &answer);
    if (status == 200 && c->snap == SNAP_MADE) /* the kill came when it was being restored */
        compare_restored(c, json_object_get(json_object_get(answer, "result"), "points"));
    else if (status >= 0 && status != 200 && status != 404)
        wrong(c, "the collection can't be read", status);
    json_decref(answer);
    c->snap = SNAP_NONE;
    c->recording = false;
    return status >= 0 && remove_restored(c) && remove_listed(c);
}
