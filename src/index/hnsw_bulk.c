/* A graph from many rows at once. An insertion spends its time on finding a row's neighbours by a
 * walk, one cache miss after another, and then prunes lists again and again as links back come in.
 * Here all rows are known:
 *
 *   CODE    every row is coded; rows that another one equals are put aside
 *   (rank)  levels are drawn, slots claimed, rows ranked by level
 *   then for each level from the top, over the ranks that have it:
 *   ASSIGN  each row to the groups of its nearest leaders
 *   MEET    all of a group are compared with each other: a row's candidates
 *   PICK    of them the links it makes
 *   MERGE   links and links back, chosen among once: lists, in-counts
 *   then:
 *   ENTER   parents and states; the entry point is rank 0
 *   ATTACH  what no link leads to is attached as after a repair; rows put aside are inserted
 *
 * Groups that overlap, compared within: PiPNN (Rubel et al., "PiPNN: ultra-scalable graph-based
 * nearest neighbor indexing", 2026), from which this departs: one level of leaders, all of a
 * group's pairs as candidates, HNSW's levels above.
 *
 * Work is cut into units; between phases the thread that ended the last unit does what is not
 * parallel, under the lock. What a unit computes depends on ranks and distances only, and what
 * units share is combined by minimum: any number of threads makes the same graph. */
#include "index/hnsw_bulk.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "simd/lvq.h"

#include <stdlib.h>
#include <string.h>

#define M_MAX 64u
#define BYTES_A_ROW 750u /* measured, m 16, ef_construct 100 */
#define CODE_ALIGN ((size_t)16)
#define ASIDE_SHARE                                                                                \
    16u /* more than one in so many rows equal others: insertions handle it better */
#define LENGTH_SLACK 0.02F
#define ASIDE UINT64_MAX /* in the place of a hash */

/* ---- rows ---- */

static int hold_codes(struct qv_hnsw_bulk *b)
{
    const struct qv_hnsw *h = b->h;
    b->metric = h->params.metric == QV_METRIC_L2 ? QV_METRIC_L2 : QV_METRIC_COSINE;
    b->one = h->params.metric == QV_METRIC_DOT ? 1.0F : 0.0F;
    b->codes = h->codes.rows.base;
    b->code_stride = h->codes.rows.stride_bytes;
    if (qv_hnsw_has_codes(h))
        return 0;
    b->code_stride = (qv_lvq_row_bytes(h->params.dim) + CODE_ALIGN - 1) & ~(CODE_ALIGN - 1);
    b->own_codes =
        qv_mem_try_aligned(QV_CACHE_LINE, ((size_t)(b->high - b->low) + 1) * b->code_stride);
    b->codes = b->own_codes;
    return b->own_codes == NULL ? QV_ENOMEM : 0;
}

/* Is the row of length 1, so that the dot product goes as the cosine does? */
static bool is_unit(const struct qv_hnsw *h, qv_slot slot)
{
    const uint8_t *row = qv_rows_at(&h->codes.rows, slot);
    const float squared = -h->codes.dist(row, row, h->codes.dim);
    return squared > 1 - LENGTH_SLACK && squared < 1 + LENGTH_SLACK;
}

static void code_rows(struct qv_hnsw_bulk *b, uint32_t unit)
{
    struct qv_hnsw *h = b->h;
    const uint32_t first = unit * QV_HNSW_BULK_UNIT;
    const uint32_t end =
        b->given - first < QV_HNSW_BULK_UNIT ? b->given : first + QV_HNSW_BULK_UNIT;
    for (uint32_t i = first; i < end; i++) {
        const qv_slot slot = b->rows[i].slot;
        qv_hnsw_code_make(h, slot);
        if (b->own_codes != NULL)
            qv_lvq_encode(h->params.dtype, qv_rows_at(&h->rows.rows, slot), h->params.dim,
                          b->own_codes + (size_t)(slot - b->low) * b->code_stride);
        const uint64_t hash =
            qv_hash_64(b->codes + (size_t)qv_hnsw_bulk_place(b, i) * b->code_stride,
                       qv_lvq_row_bytes(h->params.dim));
        const bool odd = h->params.metric == QV_METRIC_DOT && !is_unit(h, slot);
        b->rows[i].hash = odd ? ASIDE : hash >> 1;
    }
}

static int by_hash(const void *a, const void *b)
{
    const struct qv_hnsw_bulk_row *x = a;
    const struct qv_hnsw_bulk_row *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return (x->slot > y->slot) - (x->slot < y->slot);
}

/* Rows whose code another one has, and those of other lengths, go behind the others: b->n. */
static int put_aside(struct qv_hnsw_bulk *b)
{
    const size_t bytes = qv_lvq_row_bytes(b->h->params.dim);
    struct qv_hnsw_bulk_row *aside =
        qv_mem_try_alloc((size_t)(b->given / ASIDE_SHARE + 1) * sizeof *aside);
    if (aside == NULL)
        return QV_ENOMEM;
    qsort(b->rows, b->given, sizeof *b->rows, by_hash);
    uint32_t count = 0;
    b->n = 0;
    for (uint32_t i = 0; i < b->given && count <= b->given / ASIDE_SHARE; i++) {
        const bool equal =
            b->n > 0 && b->rows[b->n - 1].hash == b->rows[i].hash &&
            memcmp(b->codes + (size_t)qv_hnsw_bulk_place(b, b->n - 1) * b->code_stride,
                   b->codes + (size_t)qv_hnsw_bulk_place(b, i) * b->code_stride, bytes) == 0;
        if (equal || b->rows[i].hash == ASIDE)
            aside[count++] = b->rows[i];
        else
            b->rows[b->n++] = b->rows[i];
    }
    const bool few = b->n > 0 && count <= b->given / ASIDE_SHARE;
    if (few)
        memcpy(b->rows + b->n, aside, count * sizeof *aside);
    qv_mem_free(aside);
    return few ? 0 : QV_ENOTIMPL;
}

static int rank_rows(struct qv_hnsw_bulk *b)
{
    struct qv_hnsw *h = b->h;
    int err = put_aside(b);
    for (uint32_t i = 0; i < b->n && err == 0; i++) {
        struct qv_hnsw_bulk_row *row = &b->rows[i];
        uint32_t level = qv_hnsw_node_draw_level(&h->params, row->slot, row->generation);
        err = qv_hnsw_node_claim_slot(h, row->slot, row->generation, &level);
        if (err != 0)
            break;
        b->claimed++;
        for (uint32_t l = 0; l <= level; l++)
            b->members_at[l]++;
        b->level = level > b->level ? level : b->level;
        row->hash = (uint64_t)(QV_HNSW_LEVEL_MAX - level) << 60 |
                    qv_hash_mix(row->slot ^ qv_hash_mix(h->params.seed + 1)) >> 4;
    }
    if (err == 0)
        qsort(b->rows, b->n, sizeof *b->rows, by_hash);
    return err;
}

/* ---- levels ---- */

static int begin_level(struct qv_hnsw_bulk *b)
{
    b->members = b->members_at[b->level];
    b->phase = QV_HNSW_BULK_ASSIGN;
    int err = qv_hnsw_bulk_lead(b);
    b->units = b->leaders > 1 ? (b->members + QV_HNSW_BULK_BLOCK - 1) / QV_HNSW_BULK_BLOCK : 0;
    return err;
}

static int begin_picking(struct qv_hnsw_bulk *b)
{
    qv_mem_free(b->grouped);
    qv_mem_free(b->groups);
    b->grouped = NULL;
    b->groups = NULL;
    b->links.per = b->picks;
    b->links.keys = qv_mem_try_alloc((size_t)b->members * b->picks * sizeof *b->links.keys);
    b->links.n = qv_mem_try_calloc(b->members, sizeof *b->links.n);
    return b->links.keys == NULL || b->links.n == NULL ? QV_ENOMEM : 0;
}

static void pool_free(struct qv_hnsw_bulk_pool *p)
{
    qv_mem_free(p->keys);
    qv_mem_free(p->n);
    *p = (struct qv_hnsw_bulk_pool){0};
}

static void free_level(struct qv_hnsw_bulk *b)
{
    qv_lvq_panel_close(&b->leader_panel);
    qv_mem_free(b->assigned);
    qv_mem_free(b->grouped);
    qv_mem_free(b->groups);
    pool_free(&b->pool);
    pool_free(&b->links);
    qv_mem_free(b->back);
    qv_mem_free(b->back_at);
    b->assigned = NULL;
    b->grouped = NULL;
    b->groups = NULL;
    b->back = NULL;
    b->back_at = NULL;
}

static int begin_entering(struct qv_hnsw_bulk *b)
{
    uint32_t left = 0;
    b->phase = QV_HNSW_BULK_ENTER;
    b->units = (b->n + QV_HNSW_BULK_UNIT - 1) / QV_HNSW_BULK_UNIT;
    return qv_hnsw_bulk_root(b, &left);
}

static void enter_rows(struct qv_hnsw_bulk *b, uint32_t unit)
{
    struct qv_hnsw *h = b->h;
    const uint32_t first = unit * QV_HNSW_BULK_UNIT;
    const uint32_t end = b->n - first < QV_HNSW_BULK_UNIT ? b->n : first + QV_HNSW_BULK_UNIT;
    for (uint32_t rank = first; rank < end; rank++) {
        const qv_slot slot = b->rows[rank].slot;
        const uint64_t parent = atomic_load_explicit(&b->parents[rank], memory_order_relaxed);
        if (parent != UINT64_MAX)
            qv_hnsw_parent_set(h, slot, b->rows[qv_hnsw_cand_slot(parent)].slot);
        qv_hnsw_node_enter(h, slot);
    }
}

static int attach_rest(struct qv_hnsw_bulk *b, struct qv_hnsw_ctx *ctx)
{
    struct qv_hnsw *h = b->h;
    int err = qv_hnsw_walk_begin(h, ctx);
    for (uint32_t rank = 1; rank < b->n && err == 0; rank++)
        if (atomic_load_explicit(&b->parents[rank], memory_order_relaxed) == UINT64_MAX)
            err = qv_hnsw_link_attach(h, ctx, b->rows[rank].slot);
    for (uint32_t i = b->n; i < b->given && err == 0; i++)
        err = qv_hnsw_insert(h, ctx, b->rows[i].slot, b->rows[i].generation);
    return err;
}

/* ---- phases ---- */

static uint32_t units_of_members(const struct qv_hnsw_bulk *b)
{
    return (b->members + QV_HNSW_BULK_UNIT - 1) / QV_HNSW_BULK_UNIT;
}

/* The phase is over: what lies between it and the next. Sets units; under the lock. */
static int end_phase(struct qv_hnsw_bulk *b)
{
    int err = 0;
    switch (b->phase) {
    case QV_HNSW_BULK_CODE:
        err = rank_rows(b);
        return err == 0 ? begin_level(b) : err;
    case QV_HNSW_BULK_ASSIGN:
        b->phase = QV_HNSW_BULK_MEET;
        err = qv_hnsw_bulk_gather(b);
        b->units = b->group_count;
        return err;
    case QV_HNSW_BULK_MEET:
        b->phase = QV_HNSW_BULK_PICK;
        b->units = units_of_members(b);
        return begin_picking(b);
    case QV_HNSW_BULK_PICK:
        b->phase = QV_HNSW_BULK_MERGE;
        pool_free(&b->pool);
        return qv_hnsw_bulk_turn(b);
    case QV_HNSW_BULK_MERGE:
        free_level(b);
        if (b->level == 0)
            return begin_entering(b);
        b->level--;
        return begin_level(b);
    case QV_HNSW_BULK_ENTER:
        atomic_store_explicit(
            &b->h->entry,
            qv_hnsw_entry_pack(b->rows[0].slot, qv_hnsw_node_level(b->h, b->rows[0].slot)),
            memory_order_release);
        b->phase = QV_HNSW_BULK_ATTACH;
        b->units = 1;
        return 0;
    case QV_HNSW_BULK_ATTACH:
    case QV_HNSW_BULK_OVER:
        b->phase = QV_HNSW_BULK_OVER;
        b->units = 1;
        return 0;
    }
    QV_UNREACHABLE();
}

static int run_unit(struct qv_hnsw_bulk *b, struct qv_hnsw_bulk_scratch *s, struct qv_hnsw_ctx *ctx,
                    uint32_t unit)
{
    switch (b->phase) { /* stays while a unit is out */
    case QV_HNSW_BULK_CODE:
        code_rows(b, unit);
        return 0;
    case QV_HNSW_BULK_ASSIGN:
        return qv_hnsw_bulk_assign(b, s, unit);
    case QV_HNSW_BULK_MEET:
        return qv_hnsw_bulk_meet(b, s, unit);
    case QV_HNSW_BULK_PICK:
        return qv_hnsw_bulk_pick(b, s, unit);
    case QV_HNSW_BULK_MERGE:
        return qv_hnsw_bulk_merge(b, s, unit);
    case QV_HNSW_BULK_ENTER:
        enter_rows(b, unit);
        return 0;
    case QV_HNSW_BULK_ATTACH:
        return attach_rest(b, ctx);
    case QV_HNSW_BULK_OVER:
        break;
    }
    QV_UNREACHABLE();
}

int qv_hnsw_bulk_step(struct qv_hnsw_bulk *b, struct qv_hnsw_ctx *ctx, enum qv_hnsw_step *step)
{
    *step = QV_HNSW_STEP_MORE;
    pthread_mutex_lock(&b->lock);
    int err = b->err;
    if (err != 0 || b->phase == QV_HNSW_BULK_OVER || b->given_out == b->units) {
        *step = b->phase == QV_HNSW_BULK_OVER ? QV_HNSW_STEP_DONE : QV_HNSW_STEP_WAIT;
        pthread_mutex_unlock(&b->lock);
        return err;
    }
    const uint32_t unit = b->given_out++;
    struct qv_hnsw_bulk_scratch *s = b->scratch;
    if (s != NULL)
        b->scratch = s->next;
    pthread_mutex_unlock(&b->lock);

    if (s == NULL)
        s = qv_mem_calloc(1, sizeof *s);
    err = run_unit(b, s, ctx, unit);

    pthread_mutex_lock(&b->lock);
    s->next = b->scratch;
    b->scratch = s;
    b->err = b->err != 0 ? b->err : err;
    b->done++;
    while (b->err == 0 && b->done == b->units && b->phase != QV_HNSW_BULK_OVER) {
        b->given_out = 0;
        b->done = 0;
        b->err = end_phase(b);
    }
    err = b->err;
    if (b->phase == QV_HNSW_BULK_OVER)
        *step = QV_HNSW_STEP_DONE;
    pthread_mutex_unlock(&b->lock);
    return err;
}

/* What comes before a phase of level 0, of all the time; the levels above are a few percent. */
static const float phase_from[] = {
    [QV_HNSW_BULK_CODE] = 0,       [QV_HNSW_BULK_ASSIGN] = 0.05F, [QV_HNSW_BULK_MEET] = 0.35F,
    [QV_HNSW_BULK_PICK] = 0.65F,   [QV_HNSW_BULK_MERGE] = 0.82F,  [QV_HNSW_BULK_ENTER] = 0.96F,
    [QV_HNSW_BULK_ATTACH] = 0.98F, [QV_HNSW_BULK_OVER] = 1};

uint32_t qv_hnsw_bulk_done(struct qv_hnsw_bulk *b)
{
    pthread_mutex_lock(&b->lock);
    float share = phase_from[b->phase];
    if (b->phase < QV_HNSW_BULK_OVER && b->units > 0)
        share += (phase_from[b->phase + 1] - share) * (float)b->done / (float)b->units;
    if (b->phase != QV_HNSW_BULK_CODE && b->level > 0)
        share = phase_from[QV_HNSW_BULK_ASSIGN];
    pthread_mutex_unlock(&b->lock);
    return (uint32_t)(share * (float)b->given);
}

/* ---- life ---- */

static int check_items(const struct qv_hnsw *h, const struct qv_hnsw_item *items, uint32_t n)
{
    const struct qv_hnsw_params *p = &h->params;
    const struct qv_hnsw_stats stats = qv_hnsw_stats(h);
    QV_ASSERT(n > 0);
    if (p->metric == QV_METRIC_L1 || p->m > M_MAX)
        return QV_ENOTIMPL;
    if (stats.live != 0 || stats.dead != 0 ||
        atomic_load_explicit(&h->entry, memory_order_acquire) != QV_HNSW_ENTRY_NONE)
        return QV_EEXISTS;
    for (uint32_t i = 0; i < n; i++)
        if (items[i].slot >= p->max_slots)
            return QV_ELIMIT;
    return (uint64_t)n * p->m < UINT32_MAX ? 0 : QV_ENOTIMPL;
}

uint64_t qv_hnsw_bulk_bytes(const struct qv_hnsw *h, uint32_t n)
{
    const uint64_t codes = qv_hnsw_has_codes(h) ? 0 : qv_lvq_row_bytes(h->params.dim) + CODE_ALIGN;
    return n * (BYTES_A_ROW + codes);
}

int qv_hnsw_bulk_create(struct qv_hnsw *h, const struct qv_hnsw_item *items, uint32_t n,
                        struct qv_hnsw_bulk **out)
{
    *out = NULL;
    int err = qv_hnsw_has_rows(h) ? check_items(h, items, n) : QV_EINVAL;
    if (err != 0)
        return err;
    struct qv_hnsw_bulk *b = qv_mem_calloc(1, sizeof *b);
    pthread_mutex_init(&b->lock, NULL);
    b->h = h;
    b->given = n;
    b->picks = h->params.m;
    /* ef_construct says how hard to look, as in an insertion. */
    b->near = h->params.ef_construct / 3 * 2;
    b->near = b->near < 2 * b->picks ? 2 * b->picks : b->near < 512 ? b->near : 512;
    b->low = items[0].slot;
    b->high = items[0].slot;
    b->rows = qv_mem_try_alloc((size_t)n * sizeof *b->rows);
    b->parents = qv_mem_try_alloc((size_t)n * sizeof *b->parents);
    if (b->rows == NULL || b->parents == NULL)
        err = QV_ENOMEM;
    for (uint32_t i = 0; i < n && err == 0; i++) {
        b->rows[i] =
            (struct qv_hnsw_bulk_row){.slot = items[i].slot, .generation = items[i].generation};
        atomic_init(&b->parents[i], UINT64_MAX);
        b->low = items[i].slot < b->low ? items[i].slot : b->low;
        b->high = items[i].slot > b->high ? items[i].slot : b->high;
    }
    if (err == 0)
        err = qv_hnsw_graph_grow(h, b->high);
    if (err == 0)
        err = hold_codes(b);
    b->phase = QV_HNSW_BULK_CODE;
    b->units = (n + QV_HNSW_BULK_UNIT - 1) / QV_HNSW_BULK_UNIT;
    if (err != 0)
        qv_hnsw_bulk_destroy(&b);
    *out = b;
    return err;
}

/* The graph as it was: empty. */
static void undo(struct qv_hnsw_bulk *b)
{
    struct qv_hnsw *h = b->h;
    atomic_store_explicit(&h->entry, QV_HNSW_ENTRY_NONE, memory_order_release);
    for (uint32_t i = 0; i < b->given; i++) {
        const qv_slot slot = b->rows[i].slot;
        if (i >= b->claimed &&
            (b->phase != QV_HNSW_BULK_ATTACH || qv_hnsw_node_state(h, slot) == QV_HNSW_NODE_FREE))
            continue;
        if (qv_hnsw_live_clear(h, slot))
            atomic_fetch_sub_explicit(&h->live_count, 1, memory_order_relaxed);
        qv_hnsw_node_free_slot(h, slot);
    }
}

void qv_hnsw_bulk_destroy(struct qv_hnsw_bulk **bp)
{
    struct qv_hnsw_bulk *b = *bp;
    if (b == NULL)
        return;
    QV_ASSERT(b->err != 0 || b->given_out == b->done || b->phase == QV_HNSW_BULK_OVER);
    if (b->phase != QV_HNSW_BULK_OVER && b->rows != NULL)
        undo(b);
    free_level(b);
    while (b->scratch != NULL) {
        struct qv_hnsw_bulk_scratch *s = b->scratch;
        b->scratch = s->next;
        qv_hnsw_bulk_scratch_close(s);
        qv_mem_free(s);
    }
    pthread_mutex_destroy(&b->lock);
    qv_mem_free(b->own_codes);
    qv_mem_free(b->rows);
    qv_mem_free((void *)b->parents);
    qv_mem_free(b);
    *bp = NULL;
}
