/* Clients and the judges of what they are told.
 *
 * A key's history is every write of it with its time. An answer may show a write that was begun
 * before the answer, unless another one was begun after that one's acknowledgement and acknowledged
 * before the read began. A write whose outcome is not known may show at any later time, or never.
 */
#include "cluster_world.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define NAME "c"
#define OP_ARENA_BYTES ((size_t)8 << 20)
#define TIMEOUT_NS (8 * QV_NS_PER_S)

static uint64_t below(struct cluster_world *w, uint64_t n)
{
    return qv_rng_below(&w->rng, n);
}

static uint64_t now(const struct cluster_world *w)
{
    return qv_sim_now_ns(w->sim);
}

/* ---- values ---- */

static void vector_of(uint32_t key, uint64_t value, float out[CW_DIM])
{
    if (key % 2 == 0) { /* equal rows of several keys: ties */
        value %= 3;
        key = 0;
    }
    for (uint32_t i = 0; i < CW_DIM; i++)
        out[i] = (float)((value * 7919 + key * 104729 + i * 31337) % 1000) / 8.0f;
}

/* ---- the judge ---- */

static bool admissible(const struct cw_key *k, uint64_t value, uint64_t from_ns, uint64_t to_ns)
{
    for (uint32_t i = 0; i < k->count; i++) {
        const struct cw_write *x = &k->writes[i];
        if (x->value != value || x->invoked_ns > to_ns)
            continue;
        bool replaced = false;
        for (uint32_t j = 0; j < k->count && x->acked_ns != 0 && !replaced; j++) {
            const struct cw_write *y = &k->writes[j];
            replaced = y->acked_ns != 0 && y->invoked_ns > x->acked_ns && y->acked_ns < from_ns;
        }
        if (!replaced)
            return true;
    }
    return false;
}

static void tell_history(const struct cw_key *k, char *out, size_t n)
{
    size_t at = 0;
    uint32_t first = k->count > 8 ? k->count - 8 : 0;
    out[0] = '\0';
    for (uint32_t i = first; i < k->count && at < n; i++)
        at += (size_t)snprintf(
            out + at, n - at, " %llu@%.3f-%.3f", (unsigned long long)k->writes[i].value,
            (double)k->writes[i].invoked_ns * 1e-9, (double)k->writes[i].acked_ns * 1e-9);
}

/* While a shard moves, a change that waits for its second holder shows on one of them and not yet
 * on the other: only what was acknowledged is promised to stay. */
static bool may_be_over(const struct cw_op *op, const struct cw_write *x)
{
    return !op->w->config.moves || (x->acked_ns != 0 && x->acked_ns < op->begun_ns);
}

/* A value that was seen, and then another in its place, does not come back: each is written once.
 */
static bool comes_back(struct cw_op *op, struct cw_key *k, uint64_t value)
{
    bool back = false;
    bool sure = true; /* what shows was acknowledged; else it may have been seen and be lost */
    for (uint32_t i = 1; i < k->count; i++)
        sure = sure && (k->writes[i].value != value || k->writes[i].acked_ns != 0);
    for (uint32_t i = 1; i < k->count; i++) {
        struct cw_write *x = &k->writes[i];
        if (x->value == 0)
            continue; /* there are many deletes */
        if (x->value == value) {
            back = x->over_ns != 0 && x->over_ns < op->begun_ns;
            if (x->seen_ns == 0)
                x->seen_ns = now(op->w);
        } else if (sure && x->seen_ns != 0 && may_be_over(op, x) && x->seen_ns < op->begun_ns &&
                   x->over_ns == 0) {
            x->over_ns = now(op->w);
        }
    }
    return back;
}

static void judge(struct cw_op *op, const char *checker, uint32_t key, uint64_t value)
{
    struct cluster_world *w = op->w;
    char history[300];
    bool well = admissible(&w->keys[key], value, op->begun_ns, now(w));
    if (comes_back(op, &w->keys[key], value))
        checker = "comes-back";
    else if (well)
        return;
    tell_history(&w->keys[key], history, sizeof history);
    cw_fail(w, checker, "key %u shows %llu through %s at %.3f to %.3f; written:%s", key + 1,
            (unsigned long long)value, op->at->host, (double)op->begun_ns * 1e-9,
            (double)now(w) * 1e-9, history);
}

/* The value that a point shows; its vector must be that value's. */
static uint64_t value_of(struct cw_op *op, const struct qv_point_out *p)
{
    struct qv_doc v;
    float want[CW_DIM];
    if (p->id.type != QV_ID_NUM || p->id.lo == 0 || p->id.lo > CW_KEYS || p->payload.p == NULL ||
        !qv_doc_find(p->payload, qv_str_of("v"), &v)) {
        cw_fail(op->w, "points", "a point that nobody wrote: %llu", (unsigned long long)p->id.lo);
        return 0;
    }
    uint64_t value = (uint64_t)qv_doc_int(v);
    vector_of((uint32_t)p->id.lo - 1, value, want);
    if (p->has_vecs && (p->vec_count != 1 || p->vecs[0].vec.dim != CW_DIM ||
                        memcmp(p->vecs[0].vec.values, want, sizeof want) != 0))
        cw_fail(op->w, "vectors",
                "key %llu has the value %llu and another vector through %s (kind %d, at %.3f): %u "
                "of %u: %g not %g",
                (unsigned long long)p->id.lo, (unsigned long long)value, op->at->host, op->kind,
                (double)now(op->w) * 1e-9, p->vec_count, p->vec_count > 0 ? p->vecs[0].vec.dim : 0,
                p->vec_count > 0 ? (double)p->vecs[0].vec.values[0] : 0, (double)want[0]);
    return value;
}

static float distance(const float *a, const float *b)
{
    double sum = 0;
    for (uint32_t i = 0; i < CW_DIM; i++)
        sum += (double)(a[i] - b[i]) * (double)(a[i] - b[i]);
    return (float)sqrt(sum);
}

/* All keys were asked for: those that are not there must be gone. */
static void judge_all(struct cw_op *op, const char *checker, const struct qv_points_out *out)
{
    bool seen[CW_KEYS] = {false};
    float before = -1;
    for (uint32_t i = 0; i < out->count && op->w->checker == NULL; i++) {
        const struct qv_point_out *p = &out->points[i];
        uint64_t value = value_of(op, p);
        if (op->w->checker != NULL)
            return;
        uint32_t key = (uint32_t)p->id.lo - 1;
        if (seen[key])
            cw_fail(op->w, checker, "key %u stands twice in an answer", key + 1);
        seen[key] = true;
        judge(op, checker, key, value);
        if (op->kind != CW_SEARCH)
            continue;
        float v[CW_DIM];
        vector_of(key, value, v);
        if (fabsf(distance(op->vector, v) - p->score) > 1e-3f)
            cw_fail(op->w, "scores", "key %u: score %f", key + 1, (double)p->score);
        if (p->score < before)
            cw_fail(op->w, "order", "key %u is nearer than the hit before it", key + 1);
        before = p->score;
    }
    for (uint32_t k = 0; k < CW_KEYS && op->w->checker == NULL; k++) {
        bool asked = op->kind != CW_GET;
        for (uint32_t i = 0; i < op->key_count; i++)
            asked = asked || op->keys[i] == k;
        if (asked && !seen[k])
            judge(op, checker, k, 0);
    }
}

/* ---- ends ---- */

static void over(struct cw_op *op)
{
    qv_topology_unref(op->topology);
    op->topology = NULL;
    qv_arena_close(&op->arena);
    op->busy = false;
}

/* What must work where nothing fails. */
static void refused(struct cw_op *op, const char *what, int err, const struct qv_errmsg *msg)
{
    if (op->w->settled || !op->w->config.faults)
        cw_fail(op->w, "service", "%s through %s: %s: %s", what, op->at->host, qv_err_name(err),
                msg->text);
}

static void write_done(struct qv_node_write *x, int err)
{
    struct cw_op *op = x->arg;
    for (uint32_t i = 0; i < op->key_count && err == 0; i++)
        op->w->keys[op->keys[i]].writes[op->writes[i]].acked_ns = now(op->w);
    op->w->branches->writes_acked += err == 0;
    op->w->branches->writes_unknown += err == QV_EUNKNOWN;
    op->w->branches->writes_refused += err != 0 && err != QV_EUNKNOWN;
    /* one that waited at a shard for its next holder when that took over may be either way */
    const bool handed_over = err == QV_EUNKNOWN && op->w->branches->moves_done > 0;
    if (err != 0 && !(handed_over && !op->w->settled))
        refused(op, "a write", err, &x->msg);
    over(op);
}

static void read_done(struct qv_node_read *r, int err, bool on_owner)
{
    struct cw_op *op = r->arg;
    (void)on_owner;
    op->w->branches->reads_answered += err == 0;
    op->w->branches->reads_refused += err != 0;
    if (err != 0) {
        refused(op, "a read", err, &r->read.msg);
    } else if (op->kind == CW_SEARCH) {
        judge_all(op, "search", &r->read.result.out.lists[0]);
    } else if (op->kind == CW_GET) {
        judge_all(op, "get", &r->read.result.out.points);
    } else if (op->kind == CW_SCROLL) {
        judge_all(op, "scroll", &r->read.result.out.scroll.points);
    } else if (r->read.result.out.count > CW_KEYS) {
        cw_fail(op->w, "count", "%llu points of %u keys",
                (unsigned long long)r->read.result.out.count, CW_KEYS);
    }
    qv_node_read_close(r);
    over(op);
}

static void change_done(struct qv_node_change *x, int err)
{
    struct cw_op *op = x->arg;
    op->w->branches->changes_done += err == 0;
    op->w->branches->changes_refused += err != 0;
    /* a shard that moves already, or lies there; none to call back; a proxy holds none */
    const bool moot =
        err == QV_EINVAL && (x->kind == QV_NODE_MOVE || x->kind == QV_NODE_ABORT_MOVE);
    if (err != 0 && err != QV_EEXISTS && !moot)
        refused(op, "a change", err, &x->msg);
    over(op);
}

/* ---- beginnings ---- */

static struct cw_op *free_op(struct cluster_world *w)
{
    for (uint32_t i = 0; i < CW_OPS_MAX; i++) {
        if (!w->ops[i].busy)
            return &w->ops[i];
    }
    return NULL;
}

static struct cw_op *begin(struct cluster_world *w, struct cw_node *n, enum cw_op_kind kind)
{
    struct cw_op *op = free_op(w);
    if (op == NULL || n->node == NULL)
        return NULL;
    memset(op, 0, sizeof *op);
    op->w = w;
    op->at = n;
    op->life = n->life;
    op->kind = kind;
    op->begun_ns = now(w);
    op->busy = true;
    qv_arena_init(&op->arena, OP_ARENA_BYTES);
    op->topology = qv_node_topology(n->node);
    w->branches->through_proxy += n->role == QV_ROLE_PROXY;
    return op;
}

static const struct qv_collection *collection_of(const struct cw_op *op)
{
    return qv_topology_find(op->topology, qv_str_of(NAME));
}

static void choose_keys(struct cw_op *op, uint32_t max)
{
    op->key_count = 1 + (uint32_t)below(op->w, max);
    uint32_t first = (uint32_t)below(op->w, CW_KEYS);
    for (uint32_t i = 0; i < op->key_count; i++)
        op->keys[i] = (first + i * 7) % CW_KEYS;
}

static void note_writes(struct cw_op *op, bool deletes)
{
    struct cluster_world *w = op->w;
    for (uint32_t i = 0; i < op->key_count; i++) {
        struct cw_key *k = &w->keys[op->keys[i]];
        op->writes[i] = k->count;
        k->writes[k->count++] =
            (struct cw_write){.value = deletes ? 0 : ++w->value, .invoked_ns = now(w)};
    }
}

static struct qv_doc payload_of(struct cw_op *op, uint64_t value)
{
    struct qv_buf b;
    qv_buf_init(&b, 0);
    size_t mark = qv_doc_begin_object(&b);
    qv_doc_put_key(&b, "v", 1);
    qv_doc_put_int(&b, (int64_t)value);
    qv_doc_end_object(&b, mark, 1);
    struct qv_doc d = {qv_arena_dup(&op->arena, b.data, b.len), b.len};
    qv_buf_close(&b);
    return d;
}

static void fill_upsert(struct cw_op *op)
{
    struct qv_point_in *points = QV_ARENA_ARRAY(&op->arena, struct qv_point_in, op->key_count);
    for (uint32_t i = 0; i < op->key_count; i++) {
        const struct cw_key *k = &op->w->keys[op->keys[i]];
        uint64_t value = k->writes[op->writes[i]].value;
        struct qv_named_vec *v = QV_ARENA_NEW(&op->arena, struct qv_named_vec);
        float *values = qv_arena_alloc(&op->arena, CW_DIM * sizeof *values);
        vector_of(op->keys[i], value, values);
        *v = (struct qv_named_vec){
            .vec = {.kind = QV_VEC_DENSE, .dim = CW_DIM, .rows = 1, .values = values}};
        points[i] = (struct qv_point_in){.id = qv_id_num(op->keys[i] + 1),
                                         .vecs = v,
                                         .vec_count = 1,
                                         .payload = payload_of(op, value)};
    }
    op->write_op = (struct qv_write_op){
        .type = QV_WRITE_UPSERT, .points = points, .point_count = op->key_count};
}

static void fill_delete(struct cw_op *op)
{
    struct qv_id *ids = QV_ARENA_ARRAY(&op->arena, struct qv_id, op->key_count);
    for (uint32_t i = 0; i < op->key_count; i++)
        ids[i] = qv_id_num(op->keys[i] + 1);
    op->write_op = (struct qv_write_op){.type = QV_WRITE_DELETE,
                                        .select = {.ids = ids, .id_count = op->key_count}};
}

static void start_write(struct cw_op *op)
{
    struct cluster_world *w = op->w;
    choose_keys(op, 3);
    for (uint32_t i = 0; i < op->key_count; i++) {
        if (w->keys[op->keys[i]].count == CW_WRITES_MAX) {
            over(op);
            return;
        }
    }
    note_writes(op, op->kind == CW_DELETE);
    if (op->kind == CW_UPSERT)
        fill_upsert(op);
    else
        fill_delete(op);
    op->write_req =
        (struct qv_write_req){.ops = &op->write_op, .op_count = 1, .wait = below(w, 2) == 0};
    op->write = (struct qv_node_write){.node = op->at->node,
                                       .collection = collection_of(op),
                                       .req = &op->write_req,
                                       .arena = &op->arena,
                                       .deadline_ns = qv_env_mono_ns(qv_sim_node_env(op->at->sim)) +
                                                      TIMEOUT_NS,
                                       .done = write_done,
                                       .arg = op};
    int err = qv_node_write_prepare(&op->write);
    if (err != 0) {
        refused(op, "preparing a write", err, &op->write.msg);
        over(op);
        return;
    }
    qv_node_write_submit(&op->write);
}

static int never_stop(void *ctx, struct qv_errmsg *msg)
{
    (void)ctx;
    (void)msg;
    return 0;
}

static void fill_read(struct cw_op *op, struct qv_read_what *what)
{
    const struct qv_payload_select payload = {.mode = QV_SELECT_ALL};
    const struct qv_vector_select vector = {.mode = QV_SELECT_ALL};
    struct cluster_world *w = op->w;
    switch (op->kind) {
    case CW_SEARCH:
        for (uint32_t i = 0; i < CW_DIM; i++)
            op->vector[i] = (float)below(w, 1000) / 8.0f;
        op->query = (struct qv_query){
            .kind = QV_QUERY_VECTOR,
            .vec = {.kind = QV_VEC_DENSE, .dim = CW_DIM, .rows = 1, .values = op->vector},
            .limit = CW_KEYS,
            .exact = true,
            .with_payload = payload,
            .with_vector = vector};
        op->query_req = (struct qv_query_req){.queries = &op->query, .query_count = 1};
        *what = (struct qv_read_what){QV_READ_QUERY, {.query = &op->query_req}};
        break;
    case CW_GET: {
        choose_keys(op, 4);
        struct qv_id *ids = QV_ARENA_ARRAY(&op->arena, struct qv_id, op->key_count);
        for (uint32_t i = 0; i < op->key_count; i++)
            ids[i] = qv_id_num(op->keys[i] + 1);
        op->get = (struct qv_get_req){
            .ids = ids, .id_count = op->key_count, .with_payload = payload, .with_vector = vector};
        *what = (struct qv_read_what){QV_READ_GET, {.get = &op->get}};
        break;
    }
    case CW_SCROLL:
        op->scroll = (struct qv_scroll_req){
            .limit = CW_KEYS, .with_payload = payload, .with_vector = vector};
        *what = (struct qv_read_what){QV_READ_SCROLL, {.scroll = &op->scroll}};
        break;
    default:
        op->count = (struct qv_count_req){.exact = true};
        *what = (struct qv_read_what){QV_READ_COUNT, {.count = &op->count}};
    }
}

static void start_read(struct cw_op *op)
{
    op->read = (struct qv_node_read){.node = op->at->node,
                                     .collection = collection_of(op),
                                     .stop = {never_stop, op},
                                     .deadline_ns =
                                         qv_env_mono_ns(qv_sim_node_env(op->at->sim)) + TIMEOUT_NS,
                                     .done = read_done,
                                     .arg = op};
    fill_read(op, &op->read.what);
    qv_node_read_start(&op->read);
}

/* How the points are divided. Ranges: two a shard, so that neighbours in order are no neighbours in
 * number; those of the keys that there are lie in all of them. */
static void place(struct cluster_world *w, struct qv_collection_config *c,
                  struct qv_placement_range *ranges, uint64_t pick)
{
    const uint32_t n = 2 * c->shard_number;
    c->placement = (struct qv_placement_config){.strategy = QV_PLACEMENT_HASH};
    QV_ASSERT(c->shard_number <= CW_SHARDS_MAX);
    if (pick % 3 == 0) {
        w->branches->by_hash++;
        return;
    }
    if (pick % 3 == 1) {
        c->placement.strategy = QV_PLACEMENT_CONSISTENT_HASH;
        c->placement.virtual_nodes = 1 + (uint32_t)(pick / 3 % 40);
        w->branches->by_ring++;
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        ranges[i] = (struct qv_placement_range){.shard = i % c->shard_number};
        if (i > 0)
            ranges[i].ids.from = qv_id_num(1 + i * CW_KEYS / n);
        if (i + 1 < n)
            ranges[i].ids.to = qv_id_num(1 + (i + 1) * CW_KEYS / n);
    }
    c->placement.strategy = QV_PLACEMENT_RANGE;
    c->placement.range_count = n;
    c->placement.ranges = ranges;
    w->branches->by_range++;
}

/* A shard is sent to some node, or called back. */
static void start_move(struct cw_op *op)
{
    struct cluster_world *w = op->w;
    const struct cw_node *to = &w->nodes[below(w, w->config.nodes)];
    op->change = (struct qv_node_change){
        .node = op->at->node,
        .kind = below(w, 6) == 0 ? QV_NODE_ABORT_MOVE : QV_NODE_MOVE,
        .name = qv_str_of(NAME),
        .move = {.shard = (uint32_t)below(w, w->config.shards)},
        .deadline_ns = qv_env_mono_ns(qv_sim_node_env(op->at->sim)) + TIMEOUT_NS,
        .done = change_done,
        .arg = op};
    if (op->change.kind == QV_NODE_MOVE)
        op->change.move.to = to->identity.id;
    qv_node_change_start(&op->change);
}

/* Another collection comes or goes. */
static void start_admin(struct cw_op *op)
{
    struct cluster_world *w = op->w;
    static const char *const names[] = {"x", "y"};
    op->config = w->collection;
    op->config.shard_number = 1 + (uint32_t)below(w, 3);
    place(w, &op->config, op->ranges, below(w, 120));
    op->change = (struct qv_node_change){
        .node = op->at->node,
        .kind = below(w, 2) == 0 ? QV_NODE_CREATE : QV_NODE_DELETE,
        .name = qv_str_of(names[below(w, 2)]),
        .config = &op->config,
        .deadline_ns = qv_env_mono_ns(qv_sim_node_env(op->at->sim)) + TIMEOUT_NS,
        .done = change_done,
        .arg = op};
    qv_node_change_start(&op->change);
}

void cw_client_step(struct cluster_world *w)
{
    struct cw_node *n = &w->nodes[below(w, w->config.nodes)];
    uint64_t what = below(w, 100);
    enum cw_op_kind kind = what < 45   ? CW_UPSERT
                           : what < 55 ? CW_DELETE
                           : what < 72 ? CW_GET
                           : what < 88 ? CW_SEARCH
                           : what < 95 ? CW_SCROLL
                           : what < 99 ? CW_COUNT
                                       : CW_ADMIN;
    struct cw_op *op = begin(w, n, kind);
    if (op == NULL)
        return;
    if (kind == CW_ADMIN && w->config.moves && below(w, 3) > 0)
        start_move(op);
    else if (kind == CW_ADMIN)
        start_admin(op);
    else if (collection_of(op) == NULL) /* a proxy that has just come does not know it yet */
        over(op);
    else if (kind == CW_UPSERT || kind == CW_DELETE)
        start_write(op);
    else
        start_read(op);
}

void cw_forget_ops(struct cluster_world *w, const struct cw_node *n)
{
    for (uint32_t i = 0; i < CW_OPS_MAX; i++) {
        if (w->ops[i].busy && w->ops[i].at == n)
            over(&w->ops[i]); /* its writes stay without an acknowledgement */
    }
}

bool cw_busy(const struct cluster_world *w)
{
    for (uint32_t i = 0; i < CW_OPS_MAX; i++) {
        if (w->ops[i].busy)
            return true;
    }
    return false;
}

void cw_read_all(struct cluster_world *w)
{
    static const enum cw_op_kind kinds[] = {CW_SEARCH, CW_SCROLL, CW_COUNT};
    for (uint32_t i = 0; i < w->config.nodes && w->checker == NULL; i++) {
        for (uint32_t k = 0; k < 3 && w->checker == NULL; k++) {
            struct cw_op *op = begin(w, &w->nodes[i], kinds[k]);
            if (op == NULL || collection_of(op) == NULL) {
                cw_fail(w, "service", "%s does not know the collection", w->nodes[i].host);
                return;
            }
            start_read(op);
            for (int step = 0; step < 2000 && cw_busy(w); step++)
                qv_sim_run_for(w->sim, 10 * QV_NS_PER_MS);
            if (cw_busy(w))
                cw_fail(w, "ends", "a read through %s does not end", w->nodes[i].host);
        }
    }
}

void cw_make_collection(struct cluster_world *w)
{
    w->vector_config =
        (struct qv_vector_config){.name = {"", 0}, .size = CW_DIM, .distance = QV_DISTANCE_EUCLID};
    w->collection = (struct qv_collection_config){.vector_count = 1,
                                                  .vectors = &w->vector_config,
                                                  .vectors_unnamed = true,
                                                  .shard_number = w->config.shards,
                                                  .replication_factor = 1,
                                                  .write_consistency_factor = 1,
                                                  .next_number = 1};
    place(w, &w->collection, w->ranges, w->config.seed / 2 + w->config.seed / 7);
    for (int attempt = 0; attempt < 60 && w->checker == NULL; attempt++) {
        struct cw_op *op = begin(w, &w->nodes[below(w, w->config.nodes)], CW_ADMIN);
        if (op != NULL) {
            op->config = w->collection;
            op->change = (struct qv_node_change){
                .node = op->at->node,
                .kind = QV_NODE_CREATE,
                .name = qv_str_of(NAME),
                .config = &op->config,
                .deadline_ns = qv_env_mono_ns(qv_sim_node_env(op->at->sim)) + TIMEOUT_NS,
                .done = change_done,
                .arg = op};
            qv_node_change_start(&op->change);
        }
        for (int i = 0; i < 100; i++) {
            qv_sim_run_for(w->sim, 20 * QV_NS_PER_MS);
            cw_tend(w);
        }
        bool all = true;
        for (uint32_t i = 0; i < w->config.nodes; i++) {
            if (w->nodes[i].node == NULL)
                continue;
            const struct qv_topology *t = qv_node_topology(w->nodes[i].node);
            all = all && qv_topology_find(t, qv_str_of(NAME)) != NULL;
            qv_topology_unref(t);
        }
        if (all)
            return;
    }
    cw_fail(w, "service", "the collection can't be made");
}
