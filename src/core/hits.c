/* A k-way merge with a heap of cursors, behind a pass that finds each id's newest hit. */
#include "core/hits.h"

#include "base/hash.h"
#include "base/qv_assert.h"

struct cursor {
    const struct qv_hits *list;
    uint32_t list_number;
    uint32_t at;
};

struct place {
    const struct qv_hit *newest; /* of its id; NULL: free */
};

struct merge {
    const struct qv_ranking *ranking;
    struct place *places; /* open addressing by id */
    uint32_t mask;
    struct cursor *heap;
    uint32_t heap_count;
};

static const struct qv_hit *current(const struct cursor *c)
{
    return &c->list->hits[c->at];
}

/* ---- the newest hit of each id ---- */

static struct place *place_of(const struct merge *m, const struct qv_id *id)
{
    uint32_t at = (uint32_t)qv_hash_mix(id->lo ^ qv_hash_mix(id->hi + id->type)) & m->mask;
    while (m->places[at].newest != NULL && !qv_id_equal(&m->places[at].newest->id, id))
        at = (at + 1) & m->mask;
    return &m->places[at];
}

static void note_newest(struct merge *m, const struct qv_hits *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const struct qv_hit *hit = &list->hits[i];
        struct place *place = place_of(m, &hit->id);
        const struct qv_hit *known = place->newest;
        int c = known == NULL ? 1 : qv_version_compare(hit->version, known->version);
        if (c > 0 || (c == 0 && qv_rank_compare_scores(m->ranking, hit->score, known->score) < 0))
            place->newest = hit;
    }
}

/* ---- the heap: the best cursor on top ---- */

static bool before(const struct merge *m, const struct cursor *a, const struct cursor *b)
{
    return qv_rank_compare(m->ranking, current(a), current(b)) < 0;
}

static void sift_down(struct merge *m, uint32_t i)
{
    const struct cursor moved = m->heap[i];
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= m->heap_count)
            break;
        if (child + 1 < m->heap_count && before(m, &m->heap[child + 1], &m->heap[child]))
            child++;
        if (!before(m, &m->heap[child], &moved))
            break;
        m->heap[i] = m->heap[child];
        i = child;
    }
    m->heap[i] = moved;
}

/* Moves the best cursor on. */
static int advance(struct merge *m)
{
    struct cursor *top = &m->heap[0];
    const struct qv_hit *last = current(top);
    if (++top->at == top->list->count)
        *top = m->heap[--m->heap_count];
    else if (qv_rank_compare(m->ranking, last, current(top)) > 0)
        return QV_EPROTO;
    if (m->heap_count > 0)
        sift_down(m, 0);
    return 0;
}

/* ---- the merge ---- */

static int merge_init(struct merge *m, struct qv_arena *arena, const struct qv_hits *lists,
                      uint32_t list_count, uint32_t *total)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < list_count; i++)
        n += lists[i].count;
    if (n > QV_HITS_MAX)
        return QV_ELIMIT;
    uint32_t size = 16;
    while (size < 2 * n)
        size *= 2;
    m->mask = size - 1;
    m->places = qv_arena_calloc(arena, size, sizeof *m->places);
    m->heap = qv_arena_calloc(arena, list_count, sizeof *m->heap);
    if (m->places == NULL || m->heap == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < list_count; i++) {
        note_newest(m, &lists[i]);
        if (lists[i].count > 0)
            m->heap[m->heap_count++] = (struct cursor){.list = &lists[i], .list_number = i};
    }
    for (uint32_t i = m->heap_count / 2; i > 0; i--)
        sift_down(m, i - 1);
    *total = (uint32_t)n;
    return 0;
}

int qv_hits_merge(struct qv_arena *arena, const struct qv_ranking *ranking,
                  const struct qv_hits *lists, uint32_t list_count, uint32_t k, struct qv_hits *out)
{
    struct merge m = {.ranking = ranking};
    uint32_t total = 0;

    *out = (struct qv_hits){NULL, 0};
    int err = merge_init(&m, arena, lists, list_count, &total);
    if (err != 0)
        return err;
    const uint32_t most = k < total ? k : total;
    struct qv_hit *hits = qv_arena_calloc(arena, most, sizeof *hits);
    if (hits == NULL)
        return QV_ENOMEM;
    uint32_t n = 0;
    while (err == 0 && n < most && m.heap_count > 0) {
        const struct cursor *top = &m.heap[0];
        const struct qv_hit *newest = place_of(&m, &current(top)->id)->newest;
        QV_ASSERT(newest != NULL);
        if (newest == current(top)) {
            hits[n] = *current(top);
            hits[n].list = top->list_number;
            hits[n].at = top->at;
            n++;
        }
        err = advance(&m);
    }
    if (err == 0)
        *out = (struct qv_hits){hits, n};
    return err;
}
