#include "index/hnsw_graph.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "simd/lvq.h"

#include <sched.h>
#include <string.h>

#define SPINS_BEFORE_YIELD 200
#define CODE_ALIGN ((size_t)16)
#define GROW_SLOTS_MIN 1024u
#define GROW_SLOTS_MAX (1u << 19)

/* ---- locks and states ---- */

static void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

void qv_hnsw_node_lock(struct qv_hnsw *h, qv_slot slot)
{
    _Atomic uint32_t *word = &h->nodes[slot].word;
    for (unsigned spins = 0;; spins++) {
        uint32_t w = atomic_load_explicit(word, memory_order_relaxed);
        if ((w & QV_HNSW_NODE_LOCK) == 0 &&
            atomic_compare_exchange_weak_explicit(word, &w, w | QV_HNSW_NODE_LOCK,
                                                  memory_order_acquire, memory_order_relaxed))
            return;
        if (spins < SPINS_BEFORE_YIELD)
            pause_cpu();
        else
            sched_yield(); /* the holder may be off its processor */
    }
}

void qv_hnsw_node_unlock(struct qv_hnsw *h, qv_slot slot)
{
    uint32_t w = atomic_load_explicit(&h->nodes[slot].word, memory_order_relaxed);
    QV_ASSERT((w & QV_HNSW_NODE_LOCK) != 0);
    atomic_store_explicit(&h->nodes[slot].word, w & ~QV_HNSW_NODE_LOCK, memory_order_release);
}

void qv_hnsw_node_set_state(struct qv_hnsw *h, qv_slot slot, enum qv_hnsw_node_state to)
{
    uint32_t w = atomic_load_explicit(&h->nodes[slot].word, memory_order_relaxed);
    QV_ASSERT((w & QV_HNSW_NODE_LOCK) != 0);
    w = (w & ~QV_HNSW_NODE_STATE_MASK) | (uint32_t)to << QV_HNSW_NODE_STATE_SHIFT;
    atomic_store_explicit(&h->nodes[slot].word, w, memory_order_release);
}

void qv_hnsw_live_set(struct qv_hnsw *h, qv_slot slot)
{
    atomic_fetch_or_explicit(&h->live[slot >> 6], UINT64_C(1) << (slot & 63), memory_order_release);
}

bool qv_hnsw_live_clear(struct qv_hnsw *h, qv_slot slot)
{
    uint64_t bit = UINT64_C(1) << (slot & 63);
    return (atomic_fetch_and_explicit(&h->live[slot >> 6], ~bit, memory_order_acq_rel) & bit) != 0;
}

/* ---- levels and level blocks ---- */

uint32_t qv_hnsw_node_draw_level(const struct qv_hnsw_params *params, qv_slot slot,
                                 uint32_t generation)
{
    uint64_t x = qv_hash_mix((uint64_t)generation << 32 | slot);
    x = qv_hash_mix(x ^ qv_hash_mix(params->seed + UINT64_C(0x9E3779B97F4A7C15)));
    uint64_t below = UINT64_MAX / params->m; /* P(x < below) = 1/m, and so on */
    uint32_t level = 0;
    while (level < QV_HNSW_LEVEL_MAX && x < below) {
        below /= params->m;
        level++;
    }
    return level;
}

static void links_clear(_Atomic uint32_t *list, uint32_t cap)
{
    for (uint32_t i = 0; i < cap; i++)
        atomic_store_explicit(&list[i], QV_SLOT_NONE, memory_order_relaxed);
}

/* A run of `level` blocks under grow_lock; QV_SLOT_NONE when there is none. */
static uint32_t upper_take(struct qv_hnsw *h, uint32_t level)
{
    const size_t stride = h->params.m + 1;
    uint32_t run = h->upper_free[level];
    if (run != QV_SLOT_NONE) {
        h->upper_free[level] =
            atomic_load_explicit(&h->upper[(size_t)run * stride], memory_order_relaxed);
        return run;
    }
    if (h->upper_blocks_max - h->upper_used < level)
        return QV_SLOT_NONE;
    if (qv_vmem_grow(&h->upper_mem, ((size_t)h->upper_used + level) * stride * 4) != 0)
        return QV_SLOT_NONE;
    run = h->upper_used;
    h->upper_used += level;
    return run;
}

int qv_hnsw_graph_grow(struct qv_hnsw *h, qv_slot slot)
{
    if (slot >= h->params.max_slots)
        return QV_ELIMIT;
    if (slot < atomic_load_explicit(&h->usable_slots, memory_order_acquire))
        return 0;
    int err = 0;
    pthread_mutex_lock(&h->grow_lock);
    uint32_t have = atomic_load_explicit(&h->usable_slots, memory_order_relaxed);
    if (slot >= have) {
        uint32_t step = have < GROW_SLOTS_MIN ? GROW_SLOTS_MIN : have;
        uint64_t want = (uint64_t)have + (step < GROW_SLOTS_MAX ? step : GROW_SLOTS_MAX);
        if (want <= slot)
            want = ((uint64_t)slot + GROW_SLOTS_MIN) / GROW_SLOTS_MIN * GROW_SLOTS_MIN;
        if (want > h->params.max_slots)
            want = h->params.max_slots;
        err = qv_vmem_grow(&h->links0_mem, want * h->params.m0 * 4);
        if (err == 0)
            err = qv_vmem_grow(&h->nodes_mem, want * sizeof(struct qv_hnsw_node));
        if (err == 0)
            err = qv_vmem_grow(&h->live_mem, (want + 63) / 64 * 8);
        if (err == 0 && h->codes_mem.base != NULL)
            err = qv_vmem_grow(&h->codes_mem, want * h->codes.rows.stride_bytes);
        if (err == 0 && h->fine_mem.base != NULL)
            err = qv_vmem_grow(&h->fine_mem, want * qv_lvq_fine_bytes(h->codes.dim));
        if (err == 0)
            atomic_store_explicit(&h->usable_slots, (uint32_t)want, memory_order_release);
    }
    pthread_mutex_unlock(&h->grow_lock);
    return err;
}

int qv_hnsw_node_claim_slot(struct qv_hnsw *h, qv_slot slot, uint32_t generation, uint32_t *level)
{
    int err = qv_hnsw_graph_grow(h, slot);
    if (err != 0)
        return err;
    struct qv_hnsw_node *node = &h->nodes[slot];
    qv_hnsw_node_lock(h, slot);
    if (qv_hnsw_node_state(h, slot) != QV_HNSW_NODE_FREE) {
        qv_hnsw_node_unlock(h, slot);
        return QV_EEXISTS;
    }
    uint32_t run = QV_SLOT_NONE;
    if (*level > 0) {
        pthread_mutex_lock(&h->grow_lock);
        run = upper_take(h, *level);
        pthread_mutex_unlock(&h->grow_lock);
        if (run == QV_SLOT_NONE)
            *level = 0;
    }
    atomic_store_explicit(&node->generation, generation, memory_order_relaxed);
    atomic_store_explicit(&node->upper, run, memory_order_relaxed);
    qv_hnsw_parent_set(h, slot, QV_SLOT_NONE);
    for (uint32_t l = 0; l <= *level; l++) {
        atomic_store_explicit(qv_hnsw_in_count(h, slot, l), 0, memory_order_relaxed);
        links_clear(qv_hnsw_list(h, slot, l), qv_hnsw_list_cap(h, l));
    }
    uint32_t word = QV_HNSW_NODE_LOCK | (uint32_t)QV_HNSW_NODE_LINKING << QV_HNSW_NODE_STATE_SHIFT |
                    *level << QV_HNSW_NODE_LEVEL_SHIFT;
    atomic_store_explicit(&node->word, word, memory_order_release);
    uint32_t bound = atomic_load_explicit(&h->slot_bound, memory_order_relaxed);
    while (bound <= slot &&
           !atomic_compare_exchange_weak_explicit(&h->slot_bound, &bound, slot + 1,
                                                  memory_order_release, memory_order_relaxed)) {
    }
    qv_hnsw_node_unlock(h, slot);
    return 0;
}

void qv_hnsw_node_enter(struct qv_hnsw *h, qv_slot slot)
{
    qv_hnsw_live_set(h, slot); /* first: LINKED without the mark is dead */
    atomic_fetch_add_explicit(&h->live_count, 1, memory_order_relaxed);
    qv_hnsw_node_lock(h, slot);
    qv_hnsw_node_set_state(h, slot, QV_HNSW_NODE_LINKED);
    qv_hnsw_node_unlock(h, slot);
}

void qv_hnsw_node_free_slot(struct qv_hnsw *h, qv_slot slot)
{
    struct qv_hnsw_node *node = &h->nodes[slot];
    qv_hnsw_node_lock(h, slot);
    uint32_t level = qv_hnsw_node_level(h, slot);
    for (uint32_t l = 0; l <= level; l++)
        links_clear(qv_hnsw_list(h, slot, l), qv_hnsw_list_cap(h, l));
    if (level > 0) {
        const size_t stride = h->params.m + 1;
        uint32_t run = atomic_load_explicit(&node->upper, memory_order_relaxed);
        pthread_mutex_lock(&h->grow_lock);
        atomic_store_explicit(&h->upper[(size_t)run * stride], h->upper_free[level],
                              memory_order_relaxed);
        h->upper_free[level] = run;
        pthread_mutex_unlock(&h->grow_lock);
    }
    atomic_store_explicit(&node->upper, QV_SLOT_NONE, memory_order_relaxed);
    atomic_store_explicit(&node->word, QV_HNSW_NODE_LOCK, memory_order_release); /* FREE, level 0 */
    qv_hnsw_node_unlock(h, slot);
}

/* ---- lists ---- */

uint32_t qv_hnsw_list_copy(const struct qv_hnsw *h, qv_slot slot, uint32_t level, qv_slot *out)
{
    const _Atomic uint32_t *list = qv_hnsw_list(h, slot, level);
    uint32_t cap = qv_hnsw_list_cap(h, level);
    uint32_t n = 0;
    for (; n < cap; n++) {
        qv_slot to = qv_hnsw_list_get(list, n);
        if (to == QV_SLOT_NONE)
            break;
        out[n] = to;
    }
    return n;
}

uint32_t qv_hnsw_list_find(const struct qv_hnsw *h, qv_slot from, uint32_t level, qv_slot to)
{
    const _Atomic uint32_t *list = qv_hnsw_list(h, from, level);
    uint32_t cap = qv_hnsw_list_cap(h, level);
    for (uint32_t i = 0; i < cap; i++) {
        qv_slot at = qv_hnsw_list_get(list, i);
        if (at == to)
            return i;
        if (at == QV_SLOT_NONE)
            break;
    }
    return cap;
}

void qv_hnsw_list_cut(_Atomic uint32_t *list, uint32_t at, uint32_t n)
{
    QV_ASSERT(at < n);
    /* First the copy, then the end: a reader may meet the last link twice, never miss it for good.
     */
    qv_hnsw_list_put(list, at, qv_hnsw_list_get(list, n - 1));
    qv_hnsw_list_put(list, n - 1, QV_SLOT_NONE);
}

bool qv_hnsw_in_claim(struct qv_hnsw *h, qv_slot slot, uint32_t level)
{
    qv_hnsw_node_lock(h, slot);
    uint32_t word = qv_hnsw_node_word(h, slot);
    bool ok = qv_hnsw_word_state(word) == QV_HNSW_NODE_LINKED && qv_hnsw_word_level(word) >= level;
    if (ok)
        atomic_fetch_add_explicit(qv_hnsw_in_count(h, slot, level), 1, memory_order_relaxed);
    qv_hnsw_node_unlock(h, slot);
    return ok;
}

uint32_t qv_hnsw_in_drop(struct qv_hnsw *h, qv_slot slot, uint32_t level)
{
    uint32_t was =
        atomic_fetch_sub_explicit(qv_hnsw_in_count(h, slot, level), 1, memory_order_acq_rel);
    QV_ASSERT(was > 0);
    return was - 1;
}

/* ---- creation ---- */

struct qv_hnsw_params qv_hnsw_params_default(enum qv_metric metric, enum qv_dtype dtype,
                                             uint32_t dim)
{
    return (struct qv_hnsw_params){.metric = metric,
                                   .dtype = dtype,
                                   .dim = dim,
                                   .m = 16,
                                   .m0 = 0,
                                   .ef_construct = 100,
                                   .max_slots = 1u << 26,
                                   .seed = 0};
}

static int check_range(struct qv_errmsg *msg, const char *name, uint32_t value, uint32_t min,
                       uint32_t max)
{
    if (value >= min && value <= max)
        return 0;
    return qv_fail(msg, QV_EINVAL, "%s is %u; allowed: %u to %u", name, value, min, max);
}

static int check_params(const struct qv_hnsw_params *p, const struct qv_rows *rows,
                        struct qv_errmsg *msg)
{
    if ((unsigned)p->metric >= QV_METRIC_COUNT || (unsigned)p->dtype >= QV_DTYPE_COUNT)
        return qv_fail(msg, QV_EINVAL, "metric %d, dtype %d: unknown", (int)p->metric,
                       (int)p->dtype);
    int err = check_range(msg, "dim", p->dim, 1, QV_SIMD_DIM_MAX);
    if (err == 0)
        err = check_range(msg, "m", p->m, QV_HNSW_M_MIN, QV_HNSW_M_MAX);
    if (err == 0)
        err = check_range(msg, "m0", p->m0, p->m, QV_HNSW_M0_MAX);
    if (err == 0)
        err = check_range(msg, "ef_construct", p->ef_construct, 1, QV_HNSW_EF_MAX);
    if (err == 0)
        err = check_range(msg, "max_slots", p->max_slots, 1, QV_SLOTS_MAX);
    if (err == 0 && rows->stride_bytes < p->dim * qv_dtype_bytes(p->dtype))
        return qv_fail(msg, QV_EINVAL, "row stride is %zu bytes; a row of %u elements takes %zu",
                       rows->stride_bytes, p->dim, p->dim * qv_dtype_bytes(p->dtype));
    return err;
}

static int reserve_columns(struct qv_hnsw *h)
{
    const struct qv_hnsw_params *p = &h->params;
    /* Levels above 0 take 1/(m - 1) blocks a slot on average; twice that and some for small ones.
     */
    uint64_t blocks = 2 * ((uint64_t)p->max_slots / (p->m - 1)) + 4096;
    h->upper_blocks_max = blocks < UINT32_MAX ? (uint32_t)blocks : UINT32_MAX - 1;
    int err = qv_vmem_reserve(&h->links0_mem, (size_t)p->max_slots * p->m0 * 4, true);
    if (err == 0)
        err = qv_vmem_reserve(&h->nodes_mem, p->max_slots * sizeof(struct qv_hnsw_node), true);
    if (err == 0)
        err = qv_vmem_reserve(&h->live_mem, ((size_t)p->max_slots + 63) / 64 * 8, false);
    if (err == 0)
        err = qv_vmem_reserve(&h->upper_mem, (size_t)h->upper_blocks_max * (p->m + 1) * 4, false);
    if (err != 0)
        return err;
    h->links0 = (_Atomic uint32_t *)(void *)h->links0_mem.base;
    h->nodes = (struct qv_hnsw_node *)(void *)h->nodes_mem.base;
    h->live = (_Atomic uint64_t *)(void *)h->live_mem.base;
    h->upper = (_Atomic uint32_t *)(void *)h->upper_mem.base;
    return 0;
}

bool qv_hnsw_has_codes(const struct qv_hnsw *h)
{
    return h->codes_mem.base != NULL;
}

int qv_hnsw_drop_rows(struct qv_hnsw *h)
{
    if (!qv_hnsw_has_codes(h))
        return QV_EINVAL;
    h->rows.rows.base = NULL;
    return 0;
}

#define EXACT_BLOCK ((size_t)64)

bool qv_hnsw_code_is_exact(const struct qv_hnsw *h, const void *row)
{
    if (h->params.dtype != QV_DTYPE_F32)
        return false;
    const float *x = row;
    uint32_t other = 0;
    for (size_t i = 0; i < h->codes.dim && other == 0;) {
        const size_t end = h->codes.dim - i < EXACT_BLOCK ? h->codes.dim : i + EXACT_BLOCK;
        for (; i < end; i++) { /* no branch: vectors */
            float c = x[i] > 0.0F ? x[i] : 0.0F;
            c = c < 255.0F ? c : 255.0F;
            other += (float)(int32_t)c != x[i] ? 1u : 0u;
        }
    }
    return other == 0;
}

void qv_hnsw_code_make(struct qv_hnsw *h, qv_slot slot)
{
    if (!qv_hnsw_has_codes(h))
        return;
    const void *row = qv_rows_at(&h->rows.rows, slot);
    const size_t dim = h->codes.dim;
    uint8_t *code = h->codes_mem.base + (size_t)slot * h->codes.rows.stride_bytes;
    qv_lvq_encode(h->params.dtype, row, dim, code);
    if (h->fine_mem.base != NULL)
        qv_lvq_encode_fine(h->params.dtype, row, dim, code,
                           h->fine_mem.base + (size_t)slot * qv_lvq_fine_bytes(dim));
    if (!atomic_load_explicit(&h->rounded, memory_order_relaxed) && !qv_hnsw_code_is_exact(h, row))
        atomic_store_explicit(&h->rounded, true, memory_order_release);
}

/* Codes, where they are asked for and there is such a form; QV_ENOMEM. */
static int reserve_codes(struct qv_hnsw *h)
{
    const struct qv_hnsw_params *p = &h->params;
    h->codes = h->rows;
    if (p->coding == QV_HNSW_CODING_ROWS || p->dtype == QV_DTYPE_U8 ||
        qv_lvq_dist(p->metric) == NULL)
        return 0;
    const size_t row_bytes = qv_lvq_row_bytes(p->dim);
    const size_t stride = (row_bytes + CODE_ALIGN - 1) & ~(CODE_ALIGN - 1);
    int err = qv_vmem_reserve(&h->codes_mem, (size_t)p->max_slots * stride, true);
    if (err == 0 && p->coding == QV_HNSW_CODING_LVQ10)
        err = qv_vmem_reserve(&h->fine_mem, (size_t)p->max_slots * qv_lvq_fine_bytes(p->dim), true);
    if (err != 0)
        return err;
    h->codes = (struct qv_hnsw_codes){.rows = {.base = h->codes_mem.base, .stride_bytes = stride},
                                      .dim = p->dim,
                                      .row_bytes = row_bytes,
                                      .dist = qv_lvq_dist(p->metric),
                                      .dist_batch = qv_lvq_dist_batch(p->metric)};
    return 0;
}

int qv_hnsw_create(const struct qv_hnsw_params *params, const struct qv_rows *rows,
                   struct qv_hnsw **out, struct qv_errmsg *msg)
{
    *out = NULL;
    struct qv_hnsw_params p = *params;
    if (p.m0 == 0)
        p.m0 = p.m <= QV_HNSW_M0_MAX / 2 ? 2 * p.m : QV_HNSW_M0_MAX;
    int err = check_params(&p, rows, msg);
    if (err != 0)
        return err;
    struct qv_hnsw *h = qv_mem_calloc(1, sizeof *h);
    h->params = p;
    h->rows = (struct qv_hnsw_codes){.rows = *rows,
                                     .dim = p.dim,
                                     .row_bytes = p.dim * qv_dtype_bytes(p.dtype),
                                     .dist = qv_simd_dist(p.metric, p.dtype),
                                     .dist_batch = qv_simd_dist_batch(p.metric, p.dtype)};
    atomic_init(&h->entry, QV_HNSW_ENTRY_NONE);
    for (uint32_t l = 0; l <= QV_HNSW_LEVEL_MAX; l++)
        h->upper_free[l] = QV_SLOT_NONE;
    pthread_mutex_init(&h->top_lock, NULL);
    pthread_mutex_init(&h->grow_lock, NULL);
    err = reserve_columns(h);
    if (err == 0)
        err = reserve_codes(h);
    if (err != 0) {
        qv_hnsw_destroy(&h);
        return qv_fail(msg, err, "no address space for a graph of %u slots", p.max_slots);
    }
    *out = h;
    return 0;
}

void qv_hnsw_destroy(struct qv_hnsw **h)
{
    if (*h == NULL)
        return;
    qv_vmem_close(&(*h)->links0_mem);
    qv_vmem_close(&(*h)->nodes_mem);
    qv_vmem_close(&(*h)->live_mem);
    qv_vmem_close(&(*h)->upper_mem);
    qv_vmem_close(&(*h)->codes_mem);
    qv_vmem_close(&(*h)->fine_mem);
    pthread_mutex_destroy(&(*h)->top_lock);
    pthread_mutex_destroy(&(*h)->grow_lock);
    qv_mem_free(*h);
    *h = NULL;
}

/* ---- looking ---- */

enum qv_hnsw_state qv_hnsw_slot_state(const struct qv_hnsw *h, qv_slot slot, uint32_t *generation)
{
    if (slot >= atomic_load_explicit(&h->usable_slots, memory_order_acquire))
        return QV_HNSW_FREE;
    enum qv_hnsw_node_state state = qv_hnsw_node_state(h, slot);
    if (generation != NULL)
        *generation = atomic_load_explicit(&h->nodes[slot].generation, memory_order_relaxed);
    switch (state) {
    case QV_HNSW_NODE_FREE:
        return QV_HNSW_FREE;
    case QV_HNSW_NODE_LINKING:
        return QV_HNSW_LINKING;
    case QV_HNSW_NODE_LINKED:
        return qv_hnsw_live_get(h, slot) ? QV_HNSW_LIVE : QV_HNSW_DEAD;
    case QV_HNSW_NODE_UNLINKING:
        return QV_HNSW_DEAD;
    case QV_HNSW_NODE_UNLINKED:
        return QV_HNSW_UNLINKED;
    }
    QV_UNREACHABLE();
}

const struct qv_hnsw_params *qv_hnsw_get_params(const struct qv_hnsw *h)
{
    return &h->params;
}

struct qv_hnsw_stats qv_hnsw_stats(const struct qv_hnsw *h)
{
    struct qv_hnsw_stats s = {0};
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_acquire);
    s.live = atomic_load_explicit(&h->live_count, memory_order_relaxed);
    s.dead = atomic_load_explicit(&h->dead_count, memory_order_relaxed);
    s.slot_bound = atomic_load_explicit(&h->slot_bound, memory_order_acquire);
    s.level_max = entry == QV_HNSW_ENTRY_NONE ? 0 : qv_hnsw_entry_level(entry);
    s.reserved_bytes = h->links0_mem.reserved_bytes + h->nodes_mem.reserved_bytes +
                       h->live_mem.reserved_bytes + h->upper_mem.reserved_bytes +
                       h->codes_mem.reserved_bytes + h->fine_mem.reserved_bytes;
    pthread_mutex_t *lock = (pthread_mutex_t *)&h->grow_lock; /* const to the caller, not to us */
    pthread_mutex_lock(lock);
    s.used_bytes = h->links0_mem.usable_bytes + h->nodes_mem.usable_bytes +
                   h->live_mem.usable_bytes + h->upper_mem.usable_bytes;
    pthread_mutex_unlock(lock);
    return s;
}
