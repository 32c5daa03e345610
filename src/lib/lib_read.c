/* Searches, points by id, scrolling, counting: on the caller's thread, under a reader index. */
#include "lib/lib_private.h"

#include "base/mem.h"
#include "core/limits.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#define QUERY_BYTES_MIN                                                                            \
    (offsetof(struct quiver_query, threshold) + sizeof(((struct quiver_query *)0)->threshold))
/* Queries over several shards that make one read: enough for a message to weigh nothing, few enough
 * for the memory of one read. */
#define SPREAD_PIECE ((size_t)100)
#define SCROLL_BYTES_MIN                                                                           \
    (offsetof(struct quiver_scroll, flags) + sizeof(((struct quiver_scroll *)0)->flags))

static struct qv_payload_select payload_of(unsigned flags)
{
    return (struct qv_payload_select){.mode = flags & QUIVER_WITH_PAYLOAD ? QV_SELECT_ALL
                                                                          : QV_SELECT_NONE};
}

static struct qv_vector_select vectors_of(unsigned flags)
{
    return (struct qv_vector_select){.mode = flags & QUIVER_WITH_VECTORS ? QV_SELECT_ALL
                                                                         : QV_SELECT_NONE};
}

/* ---- search ---- */

static int read_target(const struct quiver_query *q, struct qv_query *out, struct qv_errmsg *msg)
{
    if (q->vector == NULL && q->like == NULL)
        return qv_fail(msg, QV_EINVAL, "vector: NULL, and no point to be like");
    if (q->vector == NULL) {
        out->kind = QV_QUERY_ID;
        if (qv_lib_id_in(q->like, &out->id) != 0)
            return qv_fail(msg, QV_EINVAL, "like: neither number nor UUID");
        return 0;
    }
    if (q->dim == 0 || q->dim > QV_DIM_MAX)
        return qv_fail(msg, QV_EINVAL, "dim: %u, 1 to %u are allowed", q->dim, QV_DIM_MAX);
    for (uint32_t i = 0; i < q->dim; i++) {
        if (!isfinite(q->vector[i]))
            return qv_fail(msg, QV_EINVAL, "vector: element %u is not a finite number", i);
    }
    out->kind = QV_QUERY_VECTOR;
    out->vec = (struct qv_vec){.kind = QV_VEC_DENSE, .dim = q->dim, .rows = 1, .values = q->vector};
    return 0;
}

static int read_query(const struct quiver_query *q, struct qv_arena *a, struct qv_query *out,
                      struct qv_errmsg *msg)
{
    memset(out, 0, sizeof *out);
    out->using_ = qv_str_of(q->vector_name != NULL ? q->vector_name : "");
    out->limit = q->limit != 0 ? q->limit : 10;
    out->offset = q->offset;
    if (out->limit + out->offset > QV_LIMIT_MAX)
        return qv_fail(msg, QV_ELIMIT, "limit + offset: %llu, at most %u are allowed",
                       (unsigned long long)(out->limit + out->offset), QV_LIMIT_MAX);
    if (q->ef > QV_EF_MAX)
        return qv_fail(msg, QV_ELIMIT, "ef: %u, at most %u is allowed", q->ef, QV_EF_MAX);
    out->hnsw_ef.has = q->ef != 0;
    out->hnsw_ef.v = q->ef;
    out->exact = q->exact != 0;
    out->has_threshold = q->has_threshold != 0;
    out->threshold = q->threshold;
    if (out->has_threshold && isnan(out->threshold))
        return qv_fail(msg, QV_EINVAL, "threshold: not a number");
    out->with_payload = payload_of(q->flags);
    out->with_vector = vectors_of(q->flags);
    int err = qv_lib_filter(a, q->filter, &out->filter, msg);
    return err == 0 ? read_target(q, out, msg) : err;
}

/* given: the caller's struct, of its own size. *r: made, with what the query needs in its arena. */
static int begin_search(const void *given, struct quiver_results **r, struct qv_query *query,
                        unsigned *flags, struct qv_errmsg *msg)
{
    struct quiver_query q;
    *r = NULL;
    if (qv_lib_options(&q, sizeof q, given, QUERY_BYTES_MIN) != 0)
        return qv_fail(msg, QV_EINVAL, "query: size is not set: use QUIVER_QUERY_INIT");
    *r = qv_lib_results_create();
    *flags = q.flags;
    return read_query(&q, &(*r)->arena, query, msg);
}

static int search_one(struct quiver_collection *c, const void *given, unsigned reader,
                      struct quiver_results **out, struct qv_errmsg *msg)
{
    struct qv_query query;
    struct quiver_results *r;
    unsigned flags = 0;
    int err = begin_search(given, &r, &query, &flags, msg);
    if (err == 0)
        err = qv_shard_query(c->shard, reader, &r->arena, &query, &r->points, msg);
    if (err == 0)
        err = qv_lib_results_finish(r, flags);
    if (err != 0)
        quiver_results_free(&r);
    *out = r;
    return err;
}

/* ---- over several shards ---- */

struct spread {
    struct quiver_collection *c;
    size_t count;
    struct quiver_results **out;
    struct qv_query *queries;
    unsigned *flags;
    size_t at; /* which query fails */
};

/* One message a shard; the shards' workers run at once. */
static int spread_piece(const struct spread *s, size_t from, size_t n, struct qv_errmsg *msg)
{
    const struct qv_query_req req = {.queries = s->queries + from, .query_count = (uint32_t)n};
    const struct qv_read_what what = {QV_READ_QUERY, {.query = &req}};
    struct qv_lib_read x;
    int err = qv_lib_spread_read(s->c, &what, &x, msg);
    if (err != 0)
        return err;
    for (size_t i = from; i < from + n && err == 0; i++)
        err = qv_lib_results_take(s->out[i], &x.read.read.result.out.lists[i - from], s->flags[i]);
    qv_lib_read_close(&x);
    return err;
}

/* A piece that fails is asked one by one: whose fault it is is told. */
static int spread_pieces(struct spread *s, struct qv_errmsg *msg)
{
    int err = 0;
    for (size_t from = 0; from < s->count && err == 0; from += SPREAD_PIECE) {
        const size_t n = s->count - from < SPREAD_PIECE ? s->count - from : SPREAD_PIECE;
        s->at = from;
        err = spread_piece(s, from, n, msg);
        if (err == 0 || n == 1)
            continue;
        err = 0;
        for (size_t i = from; i < from + n && err == 0; i++) {
            s->at = i;
            err = spread_piece(s, i, 1, msg);
        }
    }
    return err;
}

/* given: structs of the caller's size, stride bytes apart. On an error all of out are NULL. */
static int spread_search(struct spread *s, const char *given, size_t stride, struct qv_errmsg *msg)
{
    int err = 0;
    s->queries = qv_mem_calloc(s->count, sizeof *s->queries);
    s->flags = qv_mem_calloc(s->count, sizeof *s->flags);
    for (size_t i = 0; i < s->count && err == 0; i++) {
        s->at = i;
        err = begin_search(given + i * stride, &s->out[i], &s->queries[i], &s->flags[i], msg);
    }
    if (err == 0)
        err = spread_pieces(s, msg);
    for (size_t i = 0; i < s->count && err != 0; i++)
        quiver_results_free(&s->out[i]);
    qv_mem_free(s->queries);
    qv_mem_free(s->flags);
    return err;
}

int quiver_search(struct quiver_collection *c, const struct quiver_query *query,
                  struct quiver_results **out, struct quiver_error *why)
{
    struct qv_errmsg msg = {""};
    qv_lib_clear(why);
    *out = NULL;
    if (query == NULL)
        return qv_lib_refuse(why, QV_EINVAL, "query: NULL");
    if (c->shard == NULL) {
        struct spread s = {.c = c, .count = 1, .out = out};
        return qv_lib_fail(why, spread_search(&s, (const char *)query, 0, &msg), &msg);
    }
    unsigned reader = qv_lib_reader_take(c->db);
    int err = search_one(c, query, reader, out, &msg);
    qv_lib_reader_give(c->db, reader);
    return qv_lib_fail(why, err, &msg);
}

/* ---- batches ---- */

/* Queries are taken one by one by whoever is free: the caller, and jobs on the compute workers. */
struct batch {
    struct quiver_collection *c;
    const char *queries;
    size_t stride, count;
    struct quiver_results **out;
    atomic_size_t next;
    atomic_bool failed;
    pthread_mutex_t lock; /* running, err, err_at, msg */
    pthread_cond_t cond;
    unsigned running;
    int err;
    size_t err_at;
    struct qv_errmsg msg;
};

static void batch_fail(struct batch *b, int err, size_t at, const struct qv_errmsg *msg)
{
    pthread_mutex_lock(&b->lock);
    if (b->err == 0 || at < b->err_at) {
        b->err = err;
        b->err_at = at;
        b->msg = *msg;
    }
    pthread_mutex_unlock(&b->lock);
    atomic_store(&b->failed, true);
}

static void batch_run(struct batch *b, unsigned reader)
{
    while (!atomic_load(&b->failed)) {
        size_t i = atomic_fetch_add(&b->next, 1);
        if (i >= b->count)
            return;
        struct qv_errmsg msg = {""};
        int err = search_one(b->c, b->queries + i * b->stride, reader, &b->out[i], &msg);
        if (err != 0)
            batch_fail(b, err, i, &msg);
    }
}

static void batch_job(struct qv_job *job, unsigned worker)
{
    struct batch *b = job->arg;
    batch_run(b, worker);
    pthread_mutex_lock(&b->lock);
    b->running--;
    pthread_cond_signal(&b->cond);
    pthread_mutex_unlock(&b->lock);
}

/* Jobs that found no place in the queue are not missed: the others take their share. */
static void batch_share(struct batch *b, struct qv_job *jobs, unsigned n)
{
    struct qv_env *env = qv_uv_env_env(b->c->db->env);
    for (unsigned i = 0; i < n; i++) {
        jobs[i] = (struct qv_job){.run = batch_job, .arg = b};
        pthread_mutex_lock(&b->lock);
        b->running++;
        pthread_mutex_unlock(&b->lock);
        if (qv_env_submit(env, QV_JOB_INTERACTIVE, &jobs[i]) != 0) {
            pthread_mutex_lock(&b->lock);
            b->running--;
            pthread_mutex_unlock(&b->lock);
            return;
        }
    }
}

static void batch_wait(struct batch *b)
{
    pthread_mutex_lock(&b->lock);
    while (b->running > 0)
        pthread_cond_wait(&b->cond, &b->lock);
    pthread_mutex_unlock(&b->lock);
    pthread_cond_destroy(&b->cond);
    pthread_mutex_destroy(&b->lock);
}

static int refuse_query(struct quiver_error *why, int err, size_t at, const struct qv_errmsg *msg)
{
    return qv_lib_refuse(why, err, "query %zu: %s", at,
                         msg->text[0] != '\0' ? msg->text : qv_err_text(err));
}

int quiver_search_batch(struct quiver_collection *c, const struct quiver_query *queries,
                        size_t count, struct quiver_results **out, struct quiver_error *why)
{
    struct qv_job jobs[QV_EPOCH_READERS_MAX];
    qv_lib_clear(why);
    for (size_t i = 0; i < count; i++)
        out[i] = NULL;
    if (count == 0)
        return 0;
    if (queries == NULL)
        return qv_lib_refuse(why, QV_EINVAL, "queries: NULL");
    struct quiver_query first; /* its size is the way to the next: nothing is read by a wrong one */
    if (qv_lib_options(&first, sizeof first, queries, QUERY_BYTES_MIN) != 0)
        return qv_lib_refuse(why, QV_EINVAL, "query 0: size is not set: use QUIVER_QUERY_INIT");
    if (c->shard == NULL) {
        struct qv_errmsg msg = {""};
        struct spread s = {.c = c, .count = count, .out = out};
        int err = spread_search(&s, (const char *)queries, queries->size, &msg);
        return err == 0 ? 0 : refuse_query(why, err, s.at, &msg);
    }
    struct batch b = {.c = c,
                      .queries = (const char *)queries,
                      .stride = queries->size,
                      .count = count,
                      .out = out};
    pthread_mutex_init(&b.lock, NULL);
    pthread_cond_init(&b.cond, NULL);
    size_t helpers = c->db->threads < count - 1 ? c->db->threads : count - 1;
    batch_share(&b, jobs, (unsigned)helpers);
    unsigned reader = qv_lib_reader_take(c->db);
    batch_run(&b, reader);
    qv_lib_reader_give(c->db, reader);
    batch_wait(&b);
    if (b.err == 0)
        return 0;
    for (size_t i = 0; i < count; i++)
        quiver_results_free(&out[i]);
    return refuse_query(why, b.err, b.err_at, &b.msg);
}

/* ---- by id ---- */

static int get_into(struct quiver_collection *c, const struct qv_get_req *req,
                    struct quiver_results *r, unsigned flags, struct qv_errmsg *msg)
{
    struct qv_lib_read x;
    if (c->shard == NULL) {
        int err =
            qv_lib_spread_read(c, &(const struct qv_read_what){QV_READ_GET, {.get = req}}, &x, msg);
        if (err != 0)
            return err;
        err = qv_lib_results_take(r, &x.read.read.result.out.points, flags);
        qv_lib_read_close(&x);
        return err;
    }
    unsigned reader = qv_lib_reader_take(c->db);
    int err = qv_shard_get(c->shard, reader, &r->arena, req, &r->points, msg);
    qv_lib_reader_give(c->db, reader);
    return err == 0 ? qv_lib_results_finish(r, flags) : err;
}

int quiver_get(struct quiver_collection *c, const struct quiver_id *ids, size_t count,
               unsigned flags, struct quiver_results **out, struct quiver_error *why)
{
    struct qv_errmsg msg = {""};
    struct qv_get_req req = {.with_payload = payload_of(flags), .with_vector = vectors_of(flags)};
    qv_lib_clear(why);
    *out = NULL;
    if (count > QV_BATCH_POINTS_MAX)
        return qv_lib_refuse(why, QV_ELIMIT, "%zu ids, at most %u are allowed", count,
                             QV_BATCH_POINTS_MAX);
    struct quiver_results *r = qv_lib_results_create();
    int err = qv_lib_ids(&r->arena, ids, count, &req.ids, &msg);
    req.id_count = (uint32_t)count;
    if (err == 0)
        err = get_into(c, &req, r, flags, &msg);
    if (err != 0)
        quiver_results_free(&r);
    *out = r;
    return qv_lib_fail(why, err, &msg);
}

static int spread_scroll(struct quiver_collection *c, const struct qv_scroll_req *req,
                         struct quiver_results *r, unsigned flags, struct quiver_id *next,
                         struct qv_errmsg *msg)
{
    const struct qv_read_what what = {QV_READ_SCROLL, {.scroll = req}};
    struct qv_lib_read x;
    int err = qv_lib_spread_read(c, &what, &x, msg);
    if (err != 0)
        return err;
    const struct qv_scroll_out *page = &x.read.read.result.out.scroll;
    err = qv_lib_results_take(r, &page->points, flags);
    if (err == 0 && page->has_next)
        *next = qv_lib_id_out(&page->next);
    qv_lib_read_close(&x);
    return err;
}

static int scroll_into(struct quiver_collection *c, const struct quiver_scroll *s,
                       struct quiver_results *r, struct quiver_id *next, struct qv_errmsg *msg)
{
    struct qv_scroll_out page;
    struct qv_scroll_req req = {.limit = s->limit != 0 ? s->limit : 10,
                                .with_payload = payload_of(s->flags),
                                .with_vector = vectors_of(s->flags)};
    if (req.limit > QV_LIMIT_MAX)
        return qv_fail(msg, QV_ELIMIT, "limit: %u, at most %u is allowed", s->limit, QV_LIMIT_MAX);
    req.has_offset = s->offset.kind != 0;
    if (req.has_offset && qv_lib_id_in(&s->offset, &req.offset) != 0)
        return qv_fail(msg, QV_EINVAL, "offset: neither number nor UUID");
    int err = qv_lib_filter(&r->arena, s->filter, &req.filter, msg);
    if (err != 0)
        return err;
    if (c->shard == NULL)
        return spread_scroll(c, &req, r, s->flags, next, msg);
    unsigned reader = qv_lib_reader_take(c->db);
    err = qv_shard_scroll(c->shard, reader, &r->arena, &req, &page, msg);
    qv_lib_reader_give(c->db, reader);
    if (err != 0)
        return err;
    r->points = page.points;
    if (page.has_next)
        *next = qv_lib_id_out(&page.next);
    return qv_lib_results_finish(r, s->flags);
}

int quiver_scroll(struct quiver_collection *c, const struct quiver_scroll *scroll,
                  struct quiver_results **out, struct quiver_id *next, struct quiver_error *why)
{
    struct quiver_scroll s = QUIVER_SCROLL_INIT;
    struct quiver_id unused;
    struct qv_errmsg msg = {""};
    qv_lib_clear(why);
    *out = NULL;
    next = next != NULL ? next : &unused;
    bool fits = scroll != NULL && qv_lib_options(&s, sizeof s, scroll, SCROLL_BYTES_MIN) == 0;
    *next = (struct quiver_id){0, 0, 0, 0}; /* which may be scroll->offset: read before */
    if (!fits)
        return qv_lib_refuse(why, QV_EINVAL, "scroll: size is not set: use QUIVER_SCROLL_INIT");
    struct quiver_results *r = qv_lib_results_create();
    int err = scroll_into(c, &s, r, next, &msg);
    if (err != 0)
        quiver_results_free(&r);
    *out = r;
    return qv_lib_fail(why, err, &msg);
}

static int count_into(struct quiver_collection *c, struct qv_arena *arena,
                      const struct qv_count_req *req, uint64_t *out, struct qv_errmsg *msg)
{
    struct qv_lib_read x;
    if (c->shard == NULL) {
        const struct qv_read_what what = {QV_READ_COUNT, {.count = req}};
        int err = qv_lib_spread_read(c, &what, &x, msg);
        if (err != 0)
            return err;
        *out = x.read.read.result.out.count;
        qv_lib_read_close(&x);
        return 0;
    }
    unsigned reader = qv_lib_reader_take(c->db);
    int err = qv_shard_count(c->shard, reader, arena, req, out, msg);
    qv_lib_reader_give(c->db, reader);
    return err;
}

int quiver_count(struct quiver_collection *c, const char *filter, uint64_t *out,
                 struct quiver_error *why)
{
    struct qv_arena arena;
    const struct qv_filter *f;
    struct qv_errmsg msg = {""};
    qv_lib_clear(why);
    *out = 0;
    qv_arena_init(&arena, QV_REQUEST_ARENA_BYTES);
    int err = qv_lib_filter(&arena, filter, &f, &msg);
    if (err == 0)
        err = count_into(c, &arena, &(const struct qv_count_req){.filter = f}, out, &msg);
    qv_arena_close(&arena);
    return qv_lib_fail(why, err, &msg);
}
