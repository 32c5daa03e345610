#include "node/node_write.h"

#include "base/qv_assert.h"

#include <string.h>

/* A part takes from an arena of its own where there are several: their jobs run at once. */
#define PART_ARENA_BYTES ((size_t)64 << 20)

struct qv_write_part {
    struct qv_write write;
    struct qv_write_req req;
    struct qv_arena own;
    uint32_t *ops; /* its operations' places in the request; NULL: all of them */
    struct qv_node_write *whole;
};

static void close_parts(struct qv_node_write *w)
{
    for (uint32_t i = 0; i < w->part_count; i++) {
        qv_arena_close(&w->parts[i].own);
        if (w->parts[i].write.shard != NULL)
            qv_shard_unref(w->parts[i].write.shard);
    }
}

/* ---- who owns what ---- */

struct split {
    struct qv_node_write *w;
    const struct qv_write_op *op;
    uint32_t *owner;  /* of each point or id of the op */
    uint32_t *counts; /* of the op, by shard */
};

static bool by_points(const struct qv_write_op *op)
{
    return op->type == QV_WRITE_UPSERT || op->type == QV_WRITE_UPDATE_VECTORS;
}

static const struct qv_id *nth_id(const struct qv_write_op *op, uint32_t i)
{
    return by_points(op) ? &op->points[i].id : &op->select.ids[i];
}

static uint32_t id_count(const struct qv_write_op *op)
{
    return by_points(op) ? op->point_count : op->select.id_count;
}

/* The op's points of one shard, in their order. */
static int share_of(const struct split *x, uint32_t shard, struct qv_write_op *out)
{
    struct qv_arena *arena = x->w->arena;
    uint32_t n = 0;
    *out = *x->op;
    if (by_points(x->op)) {
        struct qv_point_in *points = qv_arena_alloc(arena, x->counts[shard] * sizeof *points);
        if (points == NULL)
            return QV_ETOOBIG;
        for (uint32_t i = 0; i < x->op->point_count; i++) {
            if (x->owner[i] == shard)
                points[n++] = x->op->points[i];
        }
        out->points = points;
        out->point_count = n;
        return 0;
    }
    struct qv_id *ids = qv_arena_alloc(arena, x->counts[shard] * sizeof *ids);
    if (ids == NULL)
        return QV_ETOOBIG;
    for (uint32_t i = 0; i < x->op->select.id_count; i++) {
        if (x->owner[i] == shard)
            ids[n++] = x->op->select.ids[i];
    }
    out->select.ids = ids;
    out->select.id_count = n;
    return 0;
}

static void add_op(struct qv_write_part *part, const struct qv_write_op *op, uint32_t place)
{
    struct qv_write_op *ops = (struct qv_write_op *)(uintptr_t)part->req.ops;
    part->ops[part->req.op_count] = place;
    ops[part->req.op_count++] = *op;
}

/* Adds one operation to the parts that it concerns. */
static int split_op(struct qv_node_write *w, uint32_t place)
{
    const struct qv_write_op *op = &w->req->ops[place];
    const uint32_t n = id_count(op);
    struct split x = {.w = w,
                      .op = op,
                      .owner = qv_arena_alloc(w->arena, (n + 1) * sizeof *x.owner),
                      .counts = QV_ARENA_ARRAY(w->arena, uint32_t, w->part_count)};
    if (x.owner == NULL || x.counts == NULL)
        return QV_ETOOBIG;
    if (!by_points(op) && op->select.filter != NULL) {
        for (uint32_t i = 0; i < w->part_count; i++)
            add_op(&w->parts[i], op, place);
        return 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        x.owner[i] = qv_collection_owner(w->collection, nth_id(op, i));
        x.counts[x.owner[i]]++;
    }
    if (n == 0) { /* what it lacks is for a shard to say */
        add_op(&w->parts[0], op, place);
        return 0;
    }
    for (uint32_t i = 0; i < w->part_count; i++) {
        struct qv_write_op share;
        if (x.counts[i] == 0)
            continue;
        int err = share_of(&x, i, &share);
        if (err != 0)
            return err;
        add_op(&w->parts[i], &share, place);
    }
    return 0;
}

/* ---- parts ---- */

static uint32_t place_of(const struct qv_write_part *part, uint32_t op)
{
    return part->ops != NULL ? part->ops[op] : op;
}

static void part_done(struct qv_write *write, int err)
{
    struct qv_write_part *part = write->arg;
    struct qv_node_write *w = part->whole;
    if (err != 0) {
        const uint32_t op = place_of(part, write->failed_op);
        if (w->err == 0 || op < w->failed_op) {
            w->err = err;
            w->failed_op = op;
            w->msg = write->msg;
        }
    }
    for (uint32_t i = 0; i < part->req.op_count && err == 0; i++) {
        struct qv_write_result *all = &w->results[place_of(part, i)];
        if (write->results[i].operation_id > all->operation_id)
            all->operation_id = write->results[i].operation_id;
        all->completed = all->completed && write->results[i].completed;
    }
    if (--w->open != 0)
        return;
    close_parts(w);
    w->done(w, w->err);
}

static int begin_parts(struct qv_node_write *w)
{
    const uint32_t n = w->collection->shard_count;
    w->parts = QV_ARENA_ARRAY(w->arena, struct qv_write_part, n);
    w->results = QV_ARENA_ARRAY(w->arena, struct qv_write_result, w->req->op_count);
    if (w->parts == NULL || w->results == NULL)
        return QV_ETOOBIG;
    w->part_count = n;
    for (uint32_t i = 0; i < w->req->op_count; i++)
        w->results[i].completed = true;
    for (uint32_t i = 0; i < n; i++) {
        struct qv_write_part *part = &w->parts[i];
        part->whole = w;
        part->req = *w->req;
        qv_arena_init(&part->own, PART_ARENA_BYTES);
        if (n == 1)
            return 0; /* it gets the request as it is */
        part->req.op_count = 0;
        part->req.ops = QV_ARENA_ARRAY(w->arena, struct qv_write_op, w->req->op_count);
        part->ops = QV_ARENA_ARRAY(w->arena, uint32_t, w->req->op_count);
        if (part->req.ops == NULL || part->ops == NULL)
            return QV_ETOOBIG;
    }
    return 0;
}

static int prepare_part(struct qv_node_write *w, uint32_t i)
{
    struct qv_write_part *part = &w->parts[i];
    struct qv_write *write = &part->write;
    int err = qv_node_shard_at(w->node, w->collection, i, &write->shard, &w->msg);
    if (err != 0)
        return err;
    write->req = &part->req;
    write->arena = w->part_count == 1 ? w->arena : &part->own;
    write->done = part_done;
    write->arg = part;
    err = qv_write_prepare(write);
    if (err != 0) {
        w->msg = write->msg;
        w->failed_op = place_of(part, write->failed_op);
    }
    return err;
}

int qv_node_write_prepare(struct qv_node_write *w)
{
    QV_ASSERT(w->collection->shard_count > 0 && w->req->op_count > 0);
    int err = begin_parts(w);
    for (uint32_t i = 0; i < w->req->op_count && err == 0 && w->part_count > 1; i++)
        err = split_op(w, i);
    for (uint32_t i = 0; i < w->part_count && err == 0; i++) {
        if (w->parts[i].req.op_count > 0)
            err = prepare_part(w, i);
    }
    if (err != 0)
        close_parts(w);
    return err;
}

void qv_node_write_submit(struct qv_node_write *w)
{
    /* Counted before the first is on its way: its end may come at once, on the owner. */
    uint32_t open = 0;
    for (uint32_t i = 0; i < w->part_count; i++)
        open += w->parts[i].req.op_count > 0;
    QV_ASSERT(open > 0);
    w->open = open;
    for (uint32_t i = 0; open > 0; i++) {
        if (w->parts[i].req.op_count > 0) {
            open--; /* the end of the last one may take w away */
            qv_write_submit(&w->parts[i].write);
        }
    }
}
