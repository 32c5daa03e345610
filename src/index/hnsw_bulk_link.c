/* Links: of a row's candidates those that lead into different directions, then the links back, and
 * a choice among all of them where they are more than a list holds.
 *
 * The rule is the paper's algorithm 4, relaxed: a candidate is left out when it is nearer to one
 * already chosen by the factor SLACK than to the row. Candidates are the nearest of all rows here,
 * where those of an insertion are the nearest of the rows before it and so farther apart; without
 * the slack the rule leaves too few. Figures: README.md. */
#include "index/hnsw_bulk.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <string.h>

#define SLACK 1.1F /* of squared distances, and of cosine's, which go as squares */

static int scratch_for_cands(struct qv_hnsw_bulk_scratch *s, uint32_t n)
{
    if (n <= s->cands_cap)
        return 0;
    const size_t cap = n < 256 ? 256 : (size_t)n * 2;
    s->cands_cap = 0;
    qv_mem_free(s->cands);
    qv_mem_free(s->sorted);
    qv_mem_free(s->ids);
    qv_mem_free(s->at);
    qv_mem_free(s->covered);
    qv_mem_free(s->pairs);
    s->cands = qv_mem_try_alloc(cap * sizeof *s->cands);
    s->sorted = qv_mem_try_alloc(cap * sizeof *s->sorted);
    s->ids = qv_mem_try_alloc(cap * sizeof *s->ids);
    s->at = qv_mem_try_alloc(cap * sizeof *s->at);
    s->covered = qv_mem_try_alloc(cap * sizeof *s->covered);
    s->pairs = qv_mem_try_alloc(cap * sizeof *s->pairs);
    if (s->cands == NULL || s->sorted == NULL || s->ids == NULL || s->at == NULL ||
        s->covered == NULL || s->pairs == NULL)
        return QV_ENOMEM;
    s->cands_cap = (uint32_t)cap;
    return 0;
}

/* s->pairs[i] = the distance of row `rank` to the row of slot s->ids[i], as the graph compares. */
static void compare(const struct qv_hnsw_bulk *b, struct qv_hnsw_bulk_scratch *s, uint32_t rank,
                    uint32_t n)
{
    const struct qv_hnsw_codes *c = &b->h->codes;
    c->dist_batch(qv_rows_at(&c->rows, b->rows[rank].slot), c->rows.base, c->rows.stride_bytes,
                  s->ids, n, c->dim, s->pairs);
}

/* Up to max of n ascending candidates into out, ascending. Each that is chosen looks at all that
 * are left at once: as many distances as one by one, but for those behind the last, in batches. */
static uint32_t choose(const struct qv_hnsw_bulk *b, struct qv_hnsw_bulk_scratch *s,
                       const qv_hnsw_cand *cands, uint32_t n, uint32_t max, qv_hnsw_cand *out)
{
    uint32_t kept = 0;
    memset(s->covered, 0, n);
    for (uint32_t i = 0; i < n; i++) {
        if (s->covered[i] != 0)
            continue;
        out[kept++] = cands[i];
        if (kept == max)
            break;
        uint32_t left = 0;
        for (uint32_t j = i + 1; j < n; j++) {
            s->at[left] = j;
            s->ids[left] = b->rows[qv_hnsw_cand_slot(cands[j])].slot;
            left += s->covered[j] == 0 ? 1u : 0u;
        }
        compare(b, s, qv_hnsw_cand_slot(cands[i]), left);
        for (uint32_t j = 0; j < left; j++)
            s->covered[s->at[j]] =
                SLACK * (s->pairs[j] + b->one) < qv_hnsw_cand_dist(cands[s->at[j]]) ? 1 : 0;
    }
    return kept;
}

static void sort_keys(qv_hnsw_cand *keys, uint32_t n, qv_hnsw_cand *spare)
{
    /* Merge sort from runs of 8: links back come in no order and may be thousands. */
    for (uint32_t at = 0; at < n; at += 8) {
        const uint32_t end = at + 8 < n ? at + 8 : n;
        for (uint32_t i = at + 1; i < end; i++) {
            const qv_hnsw_cand x = keys[i];
            uint32_t j = i;
            for (; j > at && keys[j - 1] > x; j--)
                keys[j] = keys[j - 1];
            keys[j] = x;
        }
    }
    for (size_t run = 8; run < n; run *= 2) {
        for (size_t at = 0; at < n; at += 2 * run) {
            const size_t mid = at + run < n ? at + run : n;
            const size_t end = mid + run < n ? mid + run : n;
            size_t i = at;
            size_t j = mid;
            for (size_t k = at; k < end; k++)
                spare[k] = j >= end || (i < mid && keys[i] <= keys[j]) ? keys[i++] : keys[j++];
        }
        memcpy(keys, spare, n * sizeof *keys);
    }
}

/* Candidates at the distances that the graph compares by, where the panels had others. */
static const qv_hnsw_cand *rank_anew(const struct qv_hnsw_bulk *b, struct qv_hnsw_bulk_scratch *s,
                                     uint32_t rank, const qv_hnsw_cand *cands, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        s->ids[i] = b->rows[qv_hnsw_cand_slot(cands[i])].slot;
    compare(b, s, rank, n);
    for (uint32_t i = 0; i < n; i++)
        s->cands[i] = qv_hnsw_cand_make(s->pairs[i] + b->one, qv_hnsw_cand_slot(cands[i]));
    sort_keys(s->cands, n, s->sorted);
    return s->cands;
}

int qv_hnsw_bulk_pick(struct qv_hnsw_bulk *b, struct qv_hnsw_bulk_scratch *s, uint32_t unit)
{
    const uint32_t first = unit * QV_HNSW_BULK_UNIT;
    const uint32_t end =
        b->members - first < QV_HNSW_BULK_UNIT ? b->members : first + QV_HNSW_BULK_UNIT;
    int err = scratch_for_cands(s, b->pool.per);
    if (err != 0)
        return err;
    for (uint32_t rank = first; rank < end; rank++) {
        const qv_hnsw_cand *cands = b->pool.keys + (size_t)rank * b->pool.per;
        const uint32_t n = b->pool.n[rank];
        if (b->own_codes != NULL || b->h->params.metric == QV_METRIC_DOT)
            cands = rank_anew(b, s, rank, cands, n);
        b->links.n[rank] =
            (uint16_t)choose(b, s, cands, n, b->picks, b->links.keys + (size_t)rank * b->links.per);
    }
    return 0;
}

int qv_hnsw_bulk_turn(struct qv_hnsw_bulk *b)
{
    size_t total = 0;
    for (uint32_t rank = 0; rank < b->members; rank++)
        total += b->links.n[rank];
    b->back = qv_mem_try_alloc((total + 1) * sizeof *b->back);
    b->back_at = qv_mem_try_calloc((size_t)b->members + 2, sizeof *b->back_at);
    if (b->back == NULL || b->back_at == NULL)
        return QV_ENOMEM;
    QV_ASSERT(total < UINT32_MAX); /* picks x slots, which is below 2^32 (qv_hnsw_bulk_create) */
    for (uint32_t rank = 0; rank < b->members; rank++)
        for (uint32_t i = 0; i < b->links.n[rank]; i++)
            b->back_at[qv_hnsw_cand_slot(b->links.keys[(size_t)rank * b->links.per + i]) + 2]++;
    for (uint32_t rank = 0; rank < b->members; rank++)
        b->back_at[rank + 2] += b->back_at[rank + 1];
    for (uint32_t rank = 0; rank < b->members; rank++) {
        for (uint32_t i = 0; i < b->links.n[rank]; i++) {
            const qv_hnsw_cand key = b->links.keys[(size_t)rank * b->links.per + i];
            const uint32_t place = b->back_at[qv_hnsw_cand_slot(key) + 1]++;
            b->back[place] = qv_hnsw_cand_make(qv_hnsw_cand_dist(key), rank);
        }
    }
    return 0;
}

/* Own links and links back of a row, each once, ascending, into s->cands. The two directions of one
 * pair may differ in the last bit. */
static uint32_t join_links(struct qv_hnsw_bulk *b, struct qv_hnsw_bulk_scratch *s, uint32_t rank)
{
    const qv_hnsw_cand *own = b->links.keys + (size_t)rank * b->links.per;
    const uint32_t own_n = b->links.n[rank];
    uint32_t n = own_n;
    memcpy(s->cands, own, own_n * sizeof *own);
    for (uint32_t i = b->back_at[rank]; i < b->back_at[rank + 1]; i++) {
        bool have = false;
        for (uint32_t j = 0; j < own_n && !have; j++)
            have = qv_hnsw_cand_slot(own[j]) == qv_hnsw_cand_slot(b->back[i]);
        if (!have)
            s->cands[n++] = b->back[i];
    }
    sort_keys(s->cands, n, s->sorted);
    return n;
}

/* The nearest that links to a row from a lower rank is its parent: no ring can come of that. */
static void offer_parent(struct qv_hnsw_bulk *b, uint32_t to, qv_hnsw_cand from)
{
    uint64_t was = atomic_load_explicit(&b->parents[to], memory_order_relaxed);
    while (from < was &&
           !atomic_compare_exchange_weak_explicit(&b->parents[to], &was, from, memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
}

int qv_hnsw_bulk_merge(struct qv_hnsw_bulk *b, struct qv_hnsw_bulk_scratch *s, uint32_t unit)
{
    struct qv_hnsw *h = b->h;
    const uint32_t first = unit * QV_HNSW_BULK_UNIT;
    const uint32_t end =
        b->members - first < QV_HNSW_BULK_UNIT ? b->members : first + QV_HNSW_BULK_UNIT;
    const uint32_t cap = qv_hnsw_list_cap(h, b->level);
    qv_hnsw_cand chosen[QV_HNSW_M0_MAX];
    for (uint32_t rank = first; rank < end; rank++) {
        int err = scratch_for_cands(s, b->links.n[rank] + b->back_at[rank + 1] - b->back_at[rank]);
        if (err != 0)
            return err;
        const qv_hnsw_cand *list = s->cands;
        uint32_t n = join_links(b, s, rank);
        if (n > cap) {
            n = choose(b, s, s->cands, n, cap, chosen);
            list = chosen;
        }
        _Atomic uint32_t *cells = qv_hnsw_list(h, b->rows[rank].slot, b->level);
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t to = qv_hnsw_cand_slot(list[i]);
            qv_hnsw_list_put(cells, i, b->rows[to].slot);
            atomic_fetch_add_explicit(qv_hnsw_in_count(h, b->rows[to].slot, b->level), 1,
                                      memory_order_relaxed);
            if (b->level == 0 && rank < to)
                offer_parent(b, to, qv_hnsw_cand_make(qv_hnsw_cand_dist(list[i]), rank));
        }
    }
    return 0;
}

/* ---- parents ---- */

struct rooting {
    struct qv_hnsw_bulk *b;
    uint32_t *rank_of; /* of a slot less low */
    uint32_t *queue;   /* ranks that have a way from rank 0 */
    uint8_t *rooted;
    uint32_t n;
};

static void root(struct rooting *r, uint32_t rank)
{
    r->rooted[rank] = 1;
    r->queue[r->n++] = rank;
}

/* The links of a rank that has a way: its children have one too; with `adopt`, all it links to. */
static void look_on(struct rooting *r, uint32_t rank, bool adopt)
{
    const struct qv_hnsw *h = r->b->h;
    const _Atomic uint32_t *list = qv_hnsw_list(h, r->b->rows[rank].slot, 0);
    for (uint32_t i = 0; i < h->params.m0; i++) {
        const qv_slot slot = qv_hnsw_list_get(list, i);
        if (slot == QV_SLOT_NONE)
            break;
        const uint32_t to = r->rank_of[slot - r->b->low];
        if (r->rooted[to] != 0)
            continue;
        const uint64_t parent = atomic_load_explicit(&r->b->parents[to], memory_order_relaxed);
        const bool child = parent != UINT64_MAX && qv_hnsw_cand_slot(parent) == rank;
        if (!child && !adopt)
            continue;
        if (!child)
            atomic_store_explicit(&r->b->parents[to], qv_hnsw_cand_make(0, rank),
                                  memory_order_relaxed);
        root(r, to);
    }
}

int qv_hnsw_bulk_root(struct qv_hnsw_bulk *b, uint32_t *left)
{
    const uint32_t span = b->high - b->low + 1;
    struct rooting r = {.b = b};
    r.rank_of = qv_mem_try_alloc((size_t)span * sizeof *r.rank_of);
    r.queue = qv_mem_try_alloc((size_t)b->n * sizeof *r.queue);
    r.rooted = qv_mem_try_calloc(b->n, 1);
    int err = r.rank_of == NULL || r.queue == NULL || r.rooted == NULL ? QV_ENOMEM : 0;
    if (err == 0) {
        for (uint32_t rank = 0; rank < b->n; rank++)
            r.rank_of[b->rows[rank].slot - b->low] = rank;
        atomic_store_explicit(&b->parents[0], UINT64_MAX, memory_order_relaxed);
        root(&r, 0);
        /* Whole trees first: only their roots need another parent. */
        for (uint32_t trees = 0, others = 0; others < r.n && r.n < b->n;) {
            if (trees < r.n)
                look_on(&r, r.queue[trees++], false);
            else
                look_on(&r, r.queue[others++], true);
        }
        for (uint32_t rank = 1; rank < b->n; rank++)
            if (r.rooted[rank] == 0)
                atomic_store_explicit(&b->parents[rank], UINT64_MAX, memory_order_relaxed);
        *left = b->n - r.n;
    }
    qv_mem_free(r.rank_of);
    qv_mem_free(r.queue);
    qv_mem_free(r.rooted);
    return err;
}
