/* Candidates: every row meets the rows of the FANOUT groups whose leaders are nearest to it, and
 * keeps the nearest of them. Leaders are a sample of the rows, one for GROUP / FANOUT of them.
 *
 * Two rows that are near each other share a group unless all of the one's leaders are farther from
 * the other than FANOUT leaders are: that is rare, and links need not be complete. The distances
 * are computed all against all (simd/lvq_panel.h), which makes 10,000 of them as cheap as 300 of a
 * walk. */
#include "index/hnsw_bulk.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <string.h>

#define FANOUT 12u
#define GROUP 400u      /* rows that a group has on average */
#define GROUP_MAX 2048u /* where more rows chose a leader, each meets a share of them */
#define ALONE_MAX 1000u /* a level of so many is one group */
#define CHUNK 512u      /* leaders compared at a time: their distances stay in the nearest cache */
#define TILE 6u         /* rows of a group compared at a time */

/* ---- groups ---- */

int qv_hnsw_bulk_lead(struct qv_hnsw_bulk *b)
{
    const uint32_t n = b->members;
    b->leaders = n <= ALONE_MAX ? 1 : (uint32_t)((uint64_t)n * FANOUT / GROUP);
    const size_t places = b->leaders == 1 ? n : (size_t)n * FANOUT;
    b->grouped = qv_mem_try_alloc(places * sizeof *b->grouped);
    b->pool.per = b->near;
    b->pool.keys = qv_mem_try_alloc((size_t)n * b->near * sizeof *b->pool.keys);
    b->pool.n = qv_mem_try_calloc(n, sizeof *b->pool.n);
    if (b->grouped == NULL || b->pool.keys == NULL || b->pool.n == NULL)
        return QV_ENOMEM;
    if (b->leaders == 1)
        return 0;
    b->assigned = qv_mem_try_alloc(places * sizeof *b->assigned);
    uint32_t *slots = qv_mem_try_alloc((size_t)b->leaders * sizeof *slots);
    int err = b->assigned == NULL || slots == NULL ? QV_ENOMEM : 0;
    if (err == 0)
        err = qv_lvq_panel_init(&b->leader_panel, b->metric, b->h->params.dim, b->leaders);
    if (err == 0) {
        for (uint32_t i = 0; i < b->leaders; i++)
            slots[i] = qv_hnsw_bulk_place(b, i);
        qv_lvq_panel_fill(&b->leader_panel, b->codes, b->code_stride, slots, b->leaders);
    }
    qv_mem_free(slots);
    return err;
}

struct nearest {
    qv_hnsw_cand keys[FANOUT]; /* ascending */
    uint32_t n;
};

static void nearest_offer(struct nearest *t, qv_hnsw_cand key)
{
    if (t->n == FANOUT && key >= t->keys[FANOUT - 1])
        return;
    uint32_t at = t->n < FANOUT ? t->n++ : FANOUT - 1;
    for (; at > 0 && t->keys[at - 1] > key; at--)
        t->keys[at] = t->keys[at - 1];
    t->keys[at] = key;
}

int qv_hnsw_bulk_assign(struct qv_hnsw_bulk *b, struct qv_hnsw_bulk_scratch *s, uint32_t unit)
{
    const uint32_t first = unit * QV_HNSW_BULK_BLOCK;
    const uint32_t n =
        b->members - first < QV_HNSW_BULK_BLOCK ? b->members - first : QV_HNSW_BULK_BLOCK;
    float d[QV_HNSW_BULK_BLOCK * CHUNK];
    uint32_t below[CHUNK + QV_LVQ_PANEL_GROUP];
    uint32_t slots[QV_HNSW_BULK_BLOCK];
    struct nearest tops[QV_HNSW_BULK_BLOCK];
    if (s->block.cap == 0) {
        int err = qv_lvq_panel_init(&s->block, b->metric, b->h->params.dim, QV_HNSW_BULK_BLOCK);
        if (err != 0)
            return err;
    }
    for (uint32_t i = 0; i < n; i++) {
        slots[i] = qv_hnsw_bulk_place(b, first + i);
        tops[i].n = 0;
    }
    qv_lvq_panel_fill(&s->block, b->codes, b->code_stride, slots, n);
    for (uint32_t c = 0; c < b->leaders; c += CHUNK) {
        const uint32_t count = b->leaders - c < CHUNK ? b->leaders - c : CHUNK;
        const struct qv_lvq_tile tile = {
            .a_n = n, .b_first = c, .b_n = count, .out = d, .out_stride = CHUNK};
        qv_lvq_panel_distances(&s->block, &b->leader_panel, &tile);
        for (uint32_t i = 0; i < n; i++) {
            struct nearest *top = &tops[i];
            const float *row = d + (size_t)i * CHUNK;
            float bound = top->n < FANOUT ? INFINITY : qv_hnsw_cand_dist(top->keys[FANOUT - 1]);
            uint32_t found = qv_lvq_panel_below(row, count, bound, below);
            for (uint32_t j = 0; j < found; j++)
                nearest_offer(top, qv_hnsw_cand_make(row[below[j]], c + below[j]));
        }
    }
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < FANOUT; j++)
            b->assigned[(size_t)(first + i) * FANOUT + j] =
                j < tops[i].n ? qv_hnsw_cand_slot(tops[i].keys[j]) : QV_SLOT_NONE;
    return 0;
}

/* b->grouped by leader; at[l] .. at[l + 1] are leader l's. */
static void sort_by_leader(struct qv_hnsw_bulk *b, uint32_t *at)
{
    const size_t places = (size_t)b->members * FANOUT;
    for (size_t i = 0; i < places; i++)
        if (b->assigned[i] != QV_SLOT_NONE)
            at[b->assigned[i] + 2]++;
    for (uint32_t l = 0; l < b->leaders; l++)
        at[l + 2] += at[l + 1];
    for (size_t i = 0; i < places; i++)
        if (b->assigned[i] != QV_SLOT_NONE)
            b->grouped[at[b->assigned[i] + 1]++] = (uint32_t)(i / FANOUT);
}

int qv_hnsw_bulk_gather(struct qv_hnsw_bulk *b)
{
    uint32_t *at = qv_mem_try_calloc((size_t)b->leaders + 2, sizeof *at);
    const size_t groups = b->leaders + (size_t)b->members * FANOUT / GROUP_MAX + 1;
    b->groups = qv_mem_try_alloc(groups * sizeof *b->groups);
    b->group_count = 0;
    if (at == NULL || b->groups == NULL) {
        qv_mem_free(at);
        return QV_ENOMEM;
    }
    if (b->leaders == 1) {
        at[1] = b->members;
        for (uint32_t i = 0; i < b->members; i++)
            b->grouped[i] = i;
    } else {
        sort_by_leader(b, at);
    }
    for (uint32_t l = 0; l < b->leaders; l++) {
        const uint32_t n = at[l + 1] - at[l];
        const uint32_t parts = (n + GROUP_MAX - 1) / GROUP_MAX;
        for (uint32_t p = 0; p < parts; p++)
            b->groups[b->group_count++] = (struct qv_hnsw_bulk_group){
                .first = at[l] + p, .step = parts, .n = (n - p + parts - 1) / parts};
    }
    qv_mem_free(at);
    qv_mem_free(b->assigned);
    b->assigned = NULL;
    qv_lvq_panel_close(&b->leader_panel);
    return 0;
}

/* ---- meeting ---- */

/* Keeps the nearest, each once. */
static void pool_offer(struct qv_hnsw_bulk_pool *p, uint32_t rank, qv_hnsw_cand key)
{
    qv_hnsw_cand *keys = p->keys + (size_t)rank * p->per;
    uint32_t n = p->n[rank];
    if (n == p->per && key >= keys[n - 1])
        return;
    /* The first place not below key, without a branch that can't be foreseen. */
    const qv_hnsw_cand *base = keys;
    for (uint32_t left = n; left > 1;) {
        const uint32_t half = left / 2;
        base += half & (0u - (uint32_t)(base[half - 1] < key));
        left -= half;
    }
    const uint32_t at = (uint32_t)(base - keys) + (n > 0 && *base < key ? 1u : 0u);
    if (at < n && keys[at] == key)
        return;
    n -= n == p->per ? 1u : 0u;
    memmove(keys + at + 1, keys + at, (n - at) * sizeof *keys);
    keys[at] = key;
    p->n[rank] = (uint16_t)(n + 1);
}

/* Row `rank` meets the n members at distances d. The bound falls as the pool fills. */
static void pool_meet(struct qv_hnsw_bulk_pool *p, uint32_t rank, const float *d,
                      const uint32_t *members, uint32_t n, uint32_t *below)
{
    for (uint32_t at = 0; at < n;) {
        const bool full = p->n[rank] == p->per;
        const float bound =
            full ? qv_hnsw_cand_dist(p->keys[(size_t)rank * p->per + p->per - 1]) : INFINITY;
        uint32_t count = full ? 256 : 32;
        count = count < n - at ? count : n - at;
        const uint32_t found = qv_lvq_panel_below(d + at, count, bound, below);
        for (uint32_t i = 0; i < found; i++)
            if (members[at + below[i]] != rank)
                pool_offer(p, rank, qv_hnsw_cand_make(d[at + below[i]], members[at + below[i]]));
        at += count;
    }
}

static int scratch_for_group(struct qv_hnsw_bulk *b, struct qv_hnsw_bulk_scratch *s, uint32_t n)
{
    if (n <= s->group.cap)
        return 0;
    qv_lvq_panel_close(&s->group);
    qv_mem_free(s->members);
    qv_mem_free(s->places);
    qv_mem_free(s->below);
    qv_mem_free(s->dists);
    int err = qv_lvq_panel_init(&s->group, b->metric, b->h->params.dim, n);
    const size_t cap = err == 0 ? s->group.cap : 0;
    s->members = qv_mem_try_alloc(cap * sizeof *s->members);
    s->places = qv_mem_try_alloc(cap * sizeof *s->places);
    s->below = qv_mem_try_alloc((cap + QV_LVQ_PANEL_GROUP) * sizeof *s->below);
    s->dists = qv_mem_try_aligned(QV_CACHE_LINE, cap * TILE * sizeof *s->dists);
    if (err == 0 &&
        (s->members == NULL || s->places == NULL || s->below == NULL || s->dists == NULL)) {
        qv_lvq_panel_close(&s->group); /* its size says how large the others are */
        err = QV_ENOMEM;
    }
    return err;
}

int qv_hnsw_bulk_meet(struct qv_hnsw_bulk *b, struct qv_hnsw_bulk_scratch *s, uint32_t group)
{
    const struct qv_hnsw_bulk_group *g = &b->groups[group];
    if (g->n < 2)
        return 0;
    int err = scratch_for_group(b, s, g->n);
    if (err != 0)
        return err;
    for (uint32_t i = 0; i < g->n; i++) {
        s->members[i] = b->grouped[g->first + (size_t)i * g->step];
        s->places[i] = qv_hnsw_bulk_place(b, s->members[i]);
    }
    qv_lvq_panel_fill(&s->group, b->codes, b->code_stride, s->places, g->n);
    const size_t stride = s->group.cap;
    for (uint32_t i = 0; i < g->n; i += TILE) {
        const uint32_t rows = g->n - i < TILE ? g->n - i : TILE;
        const struct qv_lvq_tile tile = {
            .a_first = i, .a_n = rows, .b_n = g->n, .out = s->dists, .out_stride = stride};
        for (uint32_t r = 0; r < rows; r++)
            __builtin_prefetch(b->pool.keys + (size_t)s->members[i + r] * b->pool.per, 1);
        qv_lvq_panel_distances(&s->group, &s->group, &tile);
        for (uint32_t r = 0; r < rows; r++) {
            const uint32_t rank = s->members[i + r];
            qv_hnsw_node_lock(b->h, b->rows[rank].slot); /* its other groups may be at it */
            pool_meet(&b->pool, rank, s->dists + r * stride, s->members, g->n, s->below);
            qv_hnsw_node_unlock(b->h, b->rows[rank].slot);
        }
    }
    return 0;
}

void qv_hnsw_bulk_scratch_close(struct qv_hnsw_bulk_scratch *s)
{
    qv_lvq_panel_close(&s->group);
    qv_lvq_panel_close(&s->block);
    qv_mem_free(s->members);
    qv_mem_free(s->places);
    qv_mem_free(s->below);
    qv_mem_free(s->dists);
    qv_mem_free(s->cands);
    qv_mem_free(s->sorted);
    qv_mem_free(s->ids);
    qv_mem_free(s->at);
    qv_mem_free(s->covered);
    qv_mem_free(s->pairs);
    *s = (struct qv_hnsw_bulk_scratch){0};
}
