#include "shard_world_private.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "shard/shard_private.h"
#include "simd/convert.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPS_MAX 3
#define IDS_MAX 12
#define EVENTS_MAX 4000000u

/* ---- what a request does, as the model sees it ---- */

enum op_kind {
    OP_UPSERT,
    OP_DELETE,
    OP_UPDATE_VECTORS,
    OP_DELETE_VECTORS,
    OP_SET,
    OP_SET_KEY,
    OP_OVERWRITE,
    OP_DELETE_KEYS,
    OP_CLEAR,
    OP_KINDS
};

struct world_op {
    enum op_kind kind;
    uint32_t ids[IDS_MAX];
    uint32_t count;
    bool filtered; /* on what n in [lo, hi) matches */
    bool if_match; /* UPSERT, UPDATE_VECTORS: update_filter of that range */
    enum qv_update_mode mode;
    struct world_range range;
    struct world_state patch[IDS_MAX]; /* UPSERT, UPDATE_VECTORS by id; [0] for the others */
    bool null_n;                       /* SET: n is null, which removes it */
    unsigned mask;                     /* DELETE_VECTORS: vectors; DELETE_KEYS: 1 n, 2 t, 4 o.x */
};

struct world_write {
    struct qv_write head; /* first */
    struct world *world;
    struct world_write *next;
    struct qv_arena arena;
    struct qv_write_req req;
    struct qv_write_op ops[OPS_MAX];
    struct world_op meant[OPS_MAX];
    uint32_t shard;
    bool done;
    int err;
};

static void effect(const struct world_op *op, uint32_t at, struct world_state *s)
{
    const struct world_state *p =
        &op->patch[op->kind == OP_UPSERT || op->kind == OP_UPDATE_VECTORS ? at : 0];
    switch (op->kind) {
    case OP_UPSERT:
        *s = *p;
        s->alive = 1;
        break;
    case OP_DELETE:
        memset(s, 0, sizeof *s);
        break;
    case OP_UPDATE_VECTORS:
        for (int v = 0; v < 4; v++)
            s->stamp[v] = p->stamp[v] != 0 ? p->stamp[v] : s->stamp[v];
        break;
    case OP_DELETE_VECTORS:
        for (int v = 0; v < 4; v++)
            s->stamp[v] = op->mask >> v & 1 ? 0 : s->stamp[v];
        break;
    case OP_SET:
        s->n = op->null_n ? 0 : p->n != 0 ? p->n : s->n;
        s->t = p->t != 0 ? p->t : s->t;
        if (p->o != 0) {
            s->o = 1;
            s->ox = p->ox;
            s->oy = p->oy;
        }
        break;
    case OP_SET_KEY:
        s->o = 1;
        s->ox = p->ox != 0 ? p->ox : s->ox;
        break;
    case OP_OVERWRITE:
        s->n = p->n;
        s->t = p->t;
        s->o = p->o;
        s->ox = p->ox;
        s->oy = p->oy;
        break;
    case OP_DELETE_KEYS:
        s->n = op->mask & 1 ? 0 : s->n;
        s->t = op->mask & 2 ? 0 : s->t;
        s->ox = op->mask & 4 ? 0 : s->ox;
        break;
    case OP_CLEAR:
        s->n = s->t = s->o = s->ox = s->oy = 0;
        break;
    case OP_KINDS:
        break;
    }
}

static void model_add(struct world_model *m, const struct world_state *s)
{
    for (uint32_t i = 0; i < m->count; i++) {
        if (memcmp(&m->states[i], s, sizeof *s) == 0)
            return;
    }
    QV_ASSERT(m->count < WORLD_STATES_MAX);
    m->states[m->count++] = *s;
}

static bool needs_life(enum op_kind kind)
{
    return kind != OP_UPSERT && kind != OP_DELETE;
}

bool world_in_range(const struct world_state *s, const struct world_range *range)
{
    return s->alive && s->n != 0 && s->n >= range->lo && s->n < range->hi;
}

/* Do the conditions of an upsert or update leave a point in this state alone? */
static bool passed_over(const struct world_op *op, const struct world_state *s)
{
    if (op->if_match && s->alive && !world_in_range(s, &op->range))
        return true;
    return op->mode == QV_UPDATE_INSERT_ONLY   ? s->alive
           : op->mode == QV_UPDATE_UPDATE_ONLY ? !s->alive
                                               : false;
}

/* Conditions are asked of the state before the op: of an id that stands in it twice the later
 * counts, as it always does. */
static bool comes_again(const struct world_op *op, uint32_t at)
{
    for (uint32_t i = at + 1; op->kind == OP_UPSERT && i < op->count; i++) {
        if (op->ids[i] == op->ids[at])
            return true;
    }
    return false;
}

/* One op on one id: surely, or perhaps. */
static void model_apply(struct world_model *m, const struct world_op *op, uint32_t at, bool surely)
{
    struct world_model before = *m;
    if (comes_again(op, at))
        return;
    m->count = 0;
    for (uint32_t i = 0; i < before.count; i++) {
        struct world_state s = before.states[i];
        if (passed_over(op, &s)) {
            model_add(m, &s);
            continue;
        }
        if (!surely)
            model_add(m, &s);
        if (needs_life(op->kind) && !s.alive)
            continue; /* the store found it alive: it was not this one */
        effect(op, at, &s);
        model_add(m, &s);
    }
}

static void op_apply(struct world *w, uint32_t shard, const struct world_op *op, bool surely)
{
    for (uint32_t i = 0; i < (op->filtered ? WORLD_IDS : op->count); i++) {
        struct world_model *m = &w->model[shard][op->filtered ? i : op->ids[i]];
        if (!op->filtered) {
            model_apply(m, op, i, surely);
            continue;
        }
        if (w->disowned[shard][i])
            continue;
        struct world_model before = *m;
        m->count = 0;
        for (uint32_t k = 0; k < before.count; k++) {
            struct world_state s = before.states[k];
            bool hit = world_in_range(&s, &op->range);
            if (!surely || !hit)
                model_add(m, &s);
            if (hit) {
                effect(op, 0, &s);
                model_add(m, &s);
            }
        }
    }
}

/* QV_TRACE=shard:id tells what happened to it. */
static void trace(const struct world *w, const struct world_write *x, uint32_t op, bool surely)
{
    const char *env = getenv("QV_TRACE");
    unsigned shard;
    unsigned id;
    if (env == NULL || sscanf(env, "%u:%u", &shard, &id) != 2 || shard != x->shard)
        return;
    const struct world_op *o = &x->meant[op];
    for (uint32_t i = 0; i < (o->filtered ? 1 : o->count); i++) {
        if (!o->filtered && o->ids[i] != id)
            continue;
        const struct world_state *p = &o->patch[i];
        printf("life %llu: op %d%s %s (done %d err %d failed at %u): a%u b%u m%u s%u n%d mask %u\n",
               (unsigned long long)w->lives, (int)o->kind, o->filtered ? " filtered" : "",
               surely ? "sure" : "perhaps or not", x->done, x->err, x->head.failed_op, p->stamp[0],
               p->stamp[1], p->stamp[2], p->stamp[3], p->n, o->mask);
    }
}

/* May one of the points that the failed op names be missing? */
static bool could_miss(const struct world *w, const struct world_write *x)
{
    const struct world_op *op = &x->meant[x->head.failed_op];
    for (uint32_t i = 0; i < op->count; i++) {
        const struct world_model *m = &w->model[x->shard][op->ids[i]];
        for (uint32_t k = 0; k < m->count; k++) {
            if (!m->states[k].alive)
                return true;
        }
    }
    return op->filtered;
}

/* Takes a finished (or lost) request into the model. */
static void take_write(struct world *w, struct world_write *x)
{
    bool lost = !x->done;
    bool unknown = x->done && x->err == QV_EUNKNOWN;
    for (uint32_t i = 0; i < x->req.op_count; i++) {
        bool surely = x->done && (x->err == 0 || i < x->head.failed_op);
        trace(w, x, i, surely);
        if (surely || lost || unknown)
            op_apply(w, x->shard, &x->meant[i], surely);
    }
    if (x->done && x->err == QV_ENOTFOUND && !could_miss(w, x))
        snprintf(w->wrong, sizeof w->wrong, "shard %u: %s, but it is there", x->shard,
                 x->head.msg.text);
    w->acked += x->done && x->err == 0;
    w->unknown += lost || unknown;
    w->refused += x->done && x->err != 0 && !unknown;
}

static void free_write(struct world_write *x)
{
    qv_arena_close(&x->arena);
    qv_mem_free(x);
}

static void take_first(struct world *w)
{
    struct world_write *x = w->first;
    w->first = x->next;
    if (w->first == NULL)
        w->last = &w->first;
    take_write(w, x);
    free_write(x);
}

static void write_done(struct qv_write *head, int err)
{
    struct world_write *x = (struct world_write *)head;
    struct world *w = x->world;
    x->done = true;
    x->err = err;
    if (w->on_answer != NULL)
        w->on_answer(w, head, err);
    while (w->first != NULL && w->first->done) /* in order: a wait for the graph ends later */
        take_first(w);
}

/* ---- values ---- */

static float unit_of(uint32_t stamp, uint32_t i)
{
    return (float)(qv_hash_mix(((uint64_t)stamp << 8) + i) % 20001) / 10000.0f - 1.0f;
}

void world_vec_values(int v, uint32_t stamp, float *out)
{
    uint32_t n = v == 0 ? DIM_A : v == 1 ? DIM_B : v == 2 ? DIM_M * ROWS_M : NNZ_S;
    for (uint32_t i = 0; i < n; i++)
        out[i] = unit_of(stamp, i) + (v == 0 ? (float)(stamp % 5) : 0.0f);
    if (v == 1)
        out[0] += 2.0f; /* never zero */
}

struct qv_id world_id_of(uint32_t shard, uint32_t i)
{
    struct qv_id id = qv_id_num(i + 1000 * shard);
    if (i % 4 == 3) {
        id.type = QV_ID_UUID;
        id.hi = 0x1234567800004000ull + i;
        id.lo = 0x8000000000000000ull + i;
    }
    return id;
}

void world_put_payload(struct qv_buf *b, const struct world_state *s, bool null_n)
{
    size_t mark = qv_doc_begin_object(b);
    uint32_t n = 0;
    if (s->n != 0 || null_n) {
        qv_doc_put_key(b, "n", 1);
        if (null_n)
            qv_doc_put_null(b);
        else
            qv_doc_put_int(b, s->n);
        n++;
    }
    if (s->t != 0) {
        char text[16];
        int len = snprintf(text, sizeof text, "t%d", s->t);
        qv_doc_put_key(b, "t", 1);
        qv_doc_put_str(b, text, (size_t)len);
        n++;
    }
    if (s->o != 0) {
        qv_doc_put_key(b, "o", 1);
        size_t inner = qv_doc_begin_object(b);
        if (s->ox != 0) {
            qv_doc_put_key(b, "x", 1);
            qv_doc_put_int(b, s->ox);
        }
        if (s->oy != 0) {
            qv_doc_put_key(b, "y", 1);
            qv_doc_put_int(b, s->oy);
        }
        qv_doc_end_object(b, inner, (uint32_t)(s->ox != 0) + (uint32_t)(s->oy != 0));
        n++;
    }
    qv_doc_end_object(b, mark, n);
}

static struct qv_doc payload_doc(struct qv_arena *arena, const struct world_state *s, bool null_n)
{
    struct qv_buf b;
    qv_buf_init(&b, 0);
    world_put_payload(&b, s, null_n);
    struct qv_doc doc = {qv_arena_dup(arena, b.data, b.len), b.len};
    qv_buf_close(&b);
    return doc;
}

const char *const world_vec_names[4] = {"a", "b", "m", "s"};

static uint32_t put_vectors(struct qv_arena *arena, const struct world_state *s,
                            const struct qv_named_vec **out)
{
    static const uint32_t indices[NNZ_S] = {900, 5, 77};
    struct qv_named_vec *vecs = QV_ARENA_ARRAY(arena, struct qv_named_vec, 4);
    uint32_t n = 0;
    for (int v = 0; v < 4; v++) {
        if (s->stamp[v] == 0)
            continue;
        float *values = QV_ARENA_ARRAY(arena, float, 16);
        world_vec_values(v, s->stamp[v], values);
        vecs[n].name = qv_str_of(world_vec_names[v]);
        vecs[n].vec = (struct qv_vec){.kind = v == 2   ? QV_VEC_MULTI
                                              : v == 3 ? QV_VEC_SPARSE
                                                       : QV_VEC_DENSE,
                                      .dim = v == 0   ? DIM_A
                                             : v == 1 ? DIM_B
                                             : v == 2 ? DIM_M
                                                      : NNZ_S,
                                      .rows = v == 2 ? ROWS_M : 1,
                                      .values = values,
                                      .indices = v == 3 ? indices : NULL};
        n++;
    }
    *out = vecs;
    return n;
}

/* ---- requests ---- */

static uint32_t fresh_stamp(struct world *w)
{
    return ++w->stamp;
}

static void random_payload(struct world *w, struct world_state *s)
{
    struct qv_rng *r = &w->rng;
    s->n = (int32_t)qv_rng_below(r, 40);
    s->t = (int32_t)qv_rng_below(r, 4);
    s->o = (int32_t)qv_rng_below(r, 2);
    s->ox = s->o ? (int32_t)qv_rng_below(r, 5) : 0;
    s->oy = s->o ? (int32_t)qv_rng_below(r, 5) : 0;
}

static void random_vectors(struct world *w, struct world_state *s)
{
    for (int v = 0; v < 4; v++)
        s->stamp[v] = qv_rng_below(&w->rng, 4) < (v == 0 ? 4 : 2) ? fresh_stamp(w) : 0;
}

bool world_all_certain(const struct world *w, uint32_t shard)
{
    for (uint32_t i = 0; i < WORLD_IDS; i++) {
        if (w->model[shard][i].count != 1)
            return false;
    }
    return true;
}

static void random_op(struct world *w, uint32_t shard, struct world_op *op)
{
    static const uint8_t weights[] = {0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 4, 4, 4, 5, 6, 7, 8};
    struct qv_rng *r = &w->rng;
    memset(op, 0, sizeof *op);
    op->kind = (enum op_kind)weights[qv_rng_below(r, sizeof weights)];
    bool certain = world_all_certain(w, shard);
    if (!certain && (op->kind == OP_SET_KEY || op->kind == OP_DELETE_KEYS))
        op->kind = OP_UPSERT; /* computed from a state that a crash may change */
    op->count = 1 + (uint32_t)qv_rng_below(r, op->kind == OP_UPSERT ? IDS_MAX : 3);
    uint32_t from = (uint32_t)qv_rng_below(r, WORLD_IDS);
    for (uint32_t i = 0; i < op->count; i++) {
        bool near = qv_rng_below(r, 3) == 0;      /* repeated ids happen */
        for (int tries = 0; tries < 8; tries++) { /* mostly such that are there */
            op->ids[i] = near ? (from + (uint32_t)qv_rng_below(r, 3)) % WORLD_IDS
                              : (uint32_t)qv_rng_below(r, WORLD_IDS);
            if (!needs_life(op->kind) || w->model[shard][op->ids[i]].states[0].alive)
                break;
        }
        random_payload(w, &op->patch[i]);
        random_vectors(w, &op->patch[i]);
    }
    if (op->kind == OP_SET)
        op->null_n = qv_rng_below(r, 4) == 0;
    if (op->kind == OP_SET_KEY && op->patch[0].ox == 0)
        op->patch[0].ox = 3;
    op->mask = 1 + (unsigned)qv_rng_below(r, 7);
    if ((op->kind == OP_UPSERT || op->kind == OP_UPDATE_VECTORS) && qv_rng_below(r, 3) == 0) {
        op->if_match = qv_rng_below(r, 2) == 0;
        op->range.lo = 1 + (int32_t)qv_rng_below(r, 30);
        op->range.hi = op->range.lo + 1 + (int32_t)qv_rng_below(r, 20);
        if (op->kind == OP_UPSERT)
            op->mode = (enum qv_update_mode)qv_rng_below(r, 3);
    }
    bool filters = op->kind == OP_DELETE || op->kind == OP_SET || op->kind == OP_CLEAR;
    if (certain && filters && w->first == NULL && qv_rng_below(r, 3) == 0) {
        op->filtered = true;
        op->range.lo = 1 + (int32_t)qv_rng_below(r, 38);
        op->range.hi = op->range.lo + 1 + (int32_t)qv_rng_below(r, 2);
    }
}

const struct qv_filter *world_range_filter(struct qv_arena *arena, const struct world_range *range)
{
    struct qv_filter *f = QV_ARENA_NEW(arena, struct qv_filter);
    struct qv_cond *c = QV_ARENA_NEW(arena, struct qv_cond);
    c->type = QV_COND_RANGE;
    c->key = qv_str_of("n");
    int err = qv_path_parse(arena, c->key, &c->path, NULL);
    c->u.range =
        (struct qv_range){.gte = range->lo, .has_gte = true, .lt = range->hi, .has_lt = true};
    f->must = c;
    f->must_count = 1;
    if (err == 0)
        err = qv_filter_seal(f, arena, NULL);
    QV_ASSERT(err == 0);
    return f;
}

static void select_points(struct world_write *x, const struct world_op *op, struct qv_write_op *out)
{
    struct qv_id *ids = QV_ARENA_ARRAY(&x->arena, struct qv_id, op->count);
    for (uint32_t i = 0; i < op->count; i++)
        ids[i] = world_id_of(x->shard, op->ids[i]);
    out->select.ids = ids;
    out->select.id_count = op->count;
    if (op->filtered)
        out->select.filter = world_range_filter(&x->arena, &op->range);
}

static void paths_of(struct world_write *x, const struct world_op *op, struct qv_write_op *out)
{
    static const char *const keys[] = {"n", "t", "o.x"};
    struct qv_path *paths = QV_ARENA_ARRAY(&x->arena, struct qv_path, 3);
    for (int i = 0; i < 3; i++) {
        if (op->mask >> i & 1) {
            int err = qv_path_parse(&x->arena, qv_str_of(keys[i]), &paths[out->key_count++], NULL);
            QV_ASSERT(err == 0);
        }
    }
    out->keys = paths;
}

static void build_points(struct world_write *x, const struct world_op *op, struct qv_write_op *out)
{
    struct qv_point_in *points = QV_ARENA_ARRAY(&x->arena, struct qv_point_in, op->count);
    for (uint32_t i = 0; i < op->count; i++) {
        points[i].id = world_id_of(x->shard, op->ids[i]);
        points[i].vec_count = put_vectors(&x->arena, &op->patch[i], &points[i].vecs);
        points[i].payload = payload_doc(&x->arena, &op->patch[i], false);
    }
    out->points = points;
    out->point_count = op->count;
}

static void build_op(struct world_write *x, const struct world_op *op, struct qv_write_op *out)
{
    static const enum qv_write_type types[OP_KINDS] = {QV_WRITE_UPSERT,
                                                       QV_WRITE_DELETE,
                                                       QV_WRITE_UPDATE_VECTORS,
                                                       QV_WRITE_DELETE_VECTORS,
                                                       QV_WRITE_SET_PAYLOAD,
                                                       QV_WRITE_SET_PAYLOAD,
                                                       QV_WRITE_OVERWRITE_PAYLOAD,
                                                       QV_WRITE_DELETE_PAYLOAD,
                                                       QV_WRITE_CLEAR_PAYLOAD};
    memset(out, 0, sizeof *out);
    out->type = types[op->kind];
    if (op->kind == OP_UPSERT || op->kind == OP_UPDATE_VECTORS) {
        build_points(x, op, out);
        out->update_mode = op->mode;
        out->update_filter = op->if_match ? world_range_filter(&x->arena, &op->range) : NULL;
        return;
    }
    select_points(x, op, out);
    if (op->kind == OP_DELETE_KEYS)
        paths_of(x, op, out);
    if (op->kind == OP_SET || op->kind == OP_OVERWRITE)
        out->payload = payload_doc(&x->arena, &op->patch[0], op->kind == OP_SET && op->null_n);
    if (op->kind == OP_SET_KEY) {
        struct world_state inner = {.n = op->patch[0].ox};
        struct qv_buf b;
        qv_buf_init(&b, 0);
        size_t mark = qv_doc_begin_object(&b);
        qv_doc_put_key(&b, "x", 1);
        qv_doc_put_int(&b, inner.n);
        qv_doc_end_object(&b, mark, 1);
        out->payload = (struct qv_doc){qv_arena_dup(&x->arena, b.data, b.len), b.len};
        qv_buf_close(&b);
        out->has_key = true;
        int err = qv_path_parse(&x->arena, qv_str_of("o"), &out->key, NULL);
        QV_ASSERT(err == 0);
    }
    if (op->kind == OP_DELETE_VECTORS) {
        struct qv_str *names = QV_ARENA_ARRAY(&x->arena, struct qv_str, 4);
        for (int v = 0; v < 4; v++) {
            if (op->mask >> v & 1)
                names[out->name_count++] = qv_str_of(world_vec_names[v]);
        }
        out->names = names;
    }
}

/* How many states an id could come to be in, should everything under way be in doubt. */
static bool too_doubtful(const struct world *w)
{
    size_t n = 0;
    for (const struct world_write *x = w->first; x != NULL; x = x->next)
        n += x->req.op_count;
    if (n >= 4)
        return true;
    for (uint32_t s = 0; s < WORLD_SHARDS; s++) {
        for (uint32_t i = 0; i < WORLD_IDS; i++) {
            if (w->model[s][i].count > 1 + (4 - n) / 3)
                return true;
        }
    }
    return false;
}

bool world_write_some(struct world *w)
{
    if (too_doubtful(w)) {
        qv_sim_run(w->sim, 20);
        return false;
    }
    w->settling = false;
    struct world_write *x = qv_mem_calloc(1, sizeof *x);
    qv_arena_init(&x->arena, (size_t)16 << 20);
    x->world = w;
    x->shard = (uint32_t)qv_rng_below(&w->rng, WORLD_SHARDS);
    x->req.op_count = qv_rng_below(&w->rng, 8) == 0 ? OPS_MAX : 1;
    x->req.wait = qv_rng_below(&w->rng, 3) == 0;
    x->req.ops = x->ops;
    for (uint32_t i = 0; i < x->req.op_count; i++) {
        random_op(w, x->shard, &x->meant[i]);
        if (i > 0 && x->meant[i].filtered) {
            x->meant[i].filtered = false;
        }
        build_op(x, &x->meant[i], &x->ops[i]);
    }
    x->head.req = &x->req;
    x->head.arena = &x->arena;
    x->head.shard = qv_store_shard(w->store, w->specs[x->shard].number);
    x->head.done = write_done;
    int err = qv_write_prepare(&x->head);
    if (err != 0) {
        snprintf(w->wrong, sizeof w->wrong, "prepare: %s: %s", qv_err_name(err), x->head.msg.text);
        free_write(x);
        return false;
    }
    *w->last = x;
    w->last = &x->next;
    qv_write_submit(&x->head);
    return true;
}

/* ---- the world's life ---- */

#define WORLD_INDEXES 3
static const struct qv_payload_index indexes[WORLD_INDEXES] = {
    {.field = {"n", 1}, .number = 4, .type = {"integer", 7}},
    {.field = {"t", 1}, .number = 5, .type = {"keyword", 7}},
    {.field = {"o.x", 3}, .number = 6, .type = {"float", 5}},
};

void world_init(struct world *w, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->seed = seed;
    w->last = &w->first;
    qv_rng_init(&w->rng, seed);
    struct qv_sim_config sc = {.seed = qv_rng_u64(&w->rng)};
    w->sim = qv_sim_create(&sc);
    w->disk = qv_sim_disk_create(qv_rng_u64(&w->rng), 0);
    w->node = qv_sim_node_create(w->sim, w->disk, 0);
    w->kv = qv_sim_kv_create(w->disk);
    struct qv_hnsw_config hnsw = {.m = {true, 6}, .ef_construct = {true, 48}};
    w->vectors[0] = (struct qv_vector_config){.name = qv_str_of("a"),
                                              .number = 0,
                                              .size = DIM_A,
                                              .distance = QV_DISTANCE_EUCLID,
                                              .datatype = QV_DTYPE_F32};
    w->vectors[1] = (struct qv_vector_config){.name = qv_str_of("b"),
                                              .number = 1,
                                              .size = DIM_B,
                                              .distance = QV_DISTANCE_COSINE,
                                              .datatype = QV_DTYPE_F16};
    w->vectors[2] = (struct qv_vector_config){.name = qv_str_of("m"),
                                              .number = 2,
                                              .size = DIM_M,
                                              .distance = QV_DISTANCE_DOT,
                                              .datatype = QV_DTYPE_F32,
                                              .multivector = true};
    w->sparse = (struct qv_sparse_config){.name = qv_str_of("s"), .number = 3};
    w->collection = (struct qv_collection_config){.vector_count = 3,
                                                  .vectors = w->vectors,
                                                  .sparse_count = 1,
                                                  .sparse = &w->sparse,
                                                  .shard_number = 1,
                                                  .hnsw = hnsw,
                                                  .payload_index_count = WORLD_INDEXES,
                                                  .payload_indexes = indexes,
                                                  .next_number = 8};
    w->config = (struct qv_store_config){.env = qv_sim_node_env(w->node),
                                         .kv = w->kv,
                                         .dir = "node",
                                         .writer = 7,
                                         .segment_bytes = 65536,
                                         .checkpoint_bytes = 20000,
                                         .log_bytes_max = 200000,
                                         .checkpoint_ms = 400,
                                         .slots_max = 4096,
                                         .reserve_bytes = 8192,
                                         .scrub_bytes_per_s = 4 << 20,
                                         .scrub_rest_ms = 500};
    for (uint32_t s = 0; s < WORLD_SHARDS; s++) {
        w->specs[s] = (struct qv_shard_spec){.number = s + 1, .generation = 1};
        w->specs[s].uuid[0] = (uint8_t)(s + 1);
        w->specs[s].config = &w->collection;
        for (uint32_t i = 0; i < WORLD_IDS; i++)
            w->model[s][i].count = 1;
    }
}

void world_close(struct world *w)
{
    if (w->store != NULL)
        world_crash(w, false);
    qv_sim_kv_destroy(&w->kv);
    qv_sim_node_destroy(&w->node);
    qv_sim_disk_destroy(&w->disk);
    qv_sim_destroy(&w->sim);
}

int world_open(struct world *w, struct qv_errmsg *msg)
{
    QV_ASSERT(w->store == NULL);
    int err = qv_store_open(&w->config, w->specs, w->created ? WORLD_SHARDS + w->extra : 0,
                            &w->store, msg);
    for (uint32_t s = 0; s < WORLD_SHARDS && err == 0 && !w->created; s++) {
        struct qv_shard *shard;
        err = qv_store_add_shard(w->store, &w->specs[s], &shard, msg);
    }
    if (err == 0)
        w->created = true;
    else if (w->store != NULL)
        world_crash(w, false);
    w->lives += err == 0;
    w->settling = err == 0; /* until something new is written */
    return err;
}

void world_run(struct world *w)
{
    for (uint32_t i = 0; w->first != NULL && i < EVENTS_MAX; i++)
        qv_sim_step(w->sim);
    if (w->first != NULL)
        snprintf(w->wrong, sizeof w->wrong, "a write is never answered");
}

void world_crash(struct world *w, bool power)
{
    qv_sim_node_crash(w->node);
    qv_store_abandon(w->store);
    w->store = NULL;
    while (w->first != NULL)
        take_first(w);
    if (power)
        qv_sim_disk_crash(w->disk);
    else
        qv_sim_disk_kill(w->disk);
}

static void closed(void *arg, int err)
{
    struct world *w = arg;
    w->closed = true;
    w->close_err = err;
}

int world_shut(struct world *w)
{
    w->closed = false;
    qv_store_close(w->store, closed, w);
    for (uint32_t i = 0; !w->closed && i < EVENTS_MAX; i++)
        qv_sim_step(w->sim);
    if (!w->closed) {
        snprintf(w->wrong, sizeof w->wrong, "the store never closes");
        return QV_EINTERNAL;
    }
    w->store = NULL;
    if (w->first != NULL)
        snprintf(w->wrong, sizeof w->wrong, "closed with an unanswered write");
    return w->close_err;
}
