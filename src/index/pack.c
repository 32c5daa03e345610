/* Making a packed graph: what to code and how, then one run of memory, then lists and codes. */
#include "index/pack.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "index/pack_graph.h"
#include "simd/convert.h"

#include <math.h>

#define RANK_MIN 20u
#define SAMPLE_MAX 4096u
#define PROJECT_DIM_MIN 256u  /* below it a row is a few cache lines anyway */
#define PROJECT_DIM_MAX 2048u /* above it the axes take minutes to find */
#define PROJECT_AXES 128u
#define LARGEST 0x1p60f /* squares stay finite */
#define LARGEST_BITS 0x5D800000u

void qv_pack_row_floats(const struct qv_pack *p, const void *row, float *out)
{
    qv_simd_to_f32(p->dtype, row, out, p->dim);
    uint32_t odd = 0; /* rare: looked for by bits, without a branch */
    for (uint32_t i = 0; i < p->dim; i++) {
        uint32_t bits;
        memcpy(&bits, &out[i], sizeof bits);
        odd |= (bits & 0x7FFFFFFFu) > LARGEST_BITS ? 1u : 0u;
    }
    for (uint32_t i = 0; i < p->dim && odd != 0; i++)
        out[i] = !isfinite(out[i]) ? 0.0f : fmaxf(fminf(out[i], LARGEST), -LARGEST);
    if (p->metric == QV_METRIC_COSINE)
        qv_simd_normalise_f32(out, p->dim);
}

/* ---- what to code ---- */

struct content {
    bool whole; /* all rows: whole numbers from low to low + 255 */
    float low;
    bool bytes; /* whole numbers of 0 .. 255 */
};

static const uint8_t *row_of(const struct qv_hnsw *h, qv_slot slot)
{
    return qv_rows_at(&h->rows.rows, slot);
}

static int look_at_rows(const struct qv_hnsw *h, const struct qv_pack *p, struct content *out)
{
    const uint32_t bound = qv_hnsw_stats(h).slot_bound;
    if (!qv_hnsw_has_rows(h))
        return QV_EINVAL;
    float *x = qv_mem_try_alloc(p->dim * sizeof *x);
    float low = INFINITY;
    float high = -INFINITY;
    bool whole = p->metric != QV_METRIC_COSINE;
    if (x == NULL)
        return QV_ENOMEM;
    for (qv_slot s = 0; s < bound && whole; s++) {
        if (qv_hnsw_slot_state(h, s, NULL) != QV_HNSW_LIVE)
            continue;
        qv_pack_row_floats(p, row_of(h, s), x);
        for (uint32_t i = 0; i < p->dim; i++) {
            low = fminf(low, x[i]);
            high = fmaxf(high, x[i]);
            whole = whole && x[i] == truncf(x[i]);
        }
        whole = whole && high - low <= 255.0f && fabsf(low) <= 0x1p20f;
    }
    qv_mem_free(x);
    if (low >= 0 && high <= 255.0f)
        low = 0; /* bytes keep their own origin */
    *out = (struct content){whole, low, whole && low == 0};
    return 0;
}

struct qv_pack_params qv_pack_choose(const struct qv_hnsw *h, enum qv_pack_goal goal)
{
    const uint32_t dim = h->params.dim;
    const struct qv_pack like = {.metric = h->params.metric, .dtype = h->params.dtype, .dim = dim};
    struct qv_pack_params p = {.walk = QV_PACK_BITS_8, .wide = goal == QV_PACK_SPEED};
    struct content content;
    if (dim >= PROJECT_DIM_MIN && dim <= PROJECT_DIM_MAX) {
        p.axes = PROJECT_AXES;
        p.rank = QV_PACK_BITS_8;
        if (goal == QV_PACK_COMPACT)
            p.rank_axes = (dim * 2 / 3 + 63) / 64 * 64 - PROJECT_AXES;
    } else if (goal == QV_PACK_SPEED && look_at_rows(h, &like, &content) == 0 && !content.whole) {
        p.walk = QV_PACK_BITS_4;
        p.rank = QV_PACK_BITS_8;
    }
    return p;
}

static enum qv_codes_width width_of(enum qv_pack_bits bits)
{
    return bits == QV_PACK_BITS_4 ? QV_CODES_4 : QV_CODES_8;
}

static int find_axes(const struct qv_hnsw *h, struct qv_pack *p, const struct content *content,
                     const uint32_t *slots)
{
    const uint32_t n = p->n < SAMPLE_MAX ? p->n : SAMPLE_MAX;
    float *rows = qv_mem_try_alloc((size_t)n * p->dim * sizeof *rows);
    double share;
    if (rows == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < n; i++)
        qv_pack_row_floats(p, row_of(h, slots[(uint64_t)i * p->n / n]), rows + (size_t)i * p->dim);
    const struct qv_pack_sample sample = {.rows = rows,
                                          .n = n,
                                          .dim = p->dim,
                                          .l2 = p->metric == QV_METRIC_L2,
                                          .bytes = content->bytes};
    int err = qv_pack_axes_find(&sample, p->params.axes + p->params.rank_axes, &p->axes, &share);
    qv_mem_free(rows);
    return err;
}

/* Rows that touch no line more than they must: one, or multiples of 16 bytes. */
static size_t wide_stride(size_t stride)
{
    return stride <= QV_CACHE_LINE ? QV_CACHE_LINE : (stride + 15) & ~(size_t)15;
}

static int choose_spaces(const struct qv_hnsw *h, struct qv_pack *p, const uint32_t *slots)
{
    struct content content;
    const bool l2 = p->metric == QV_METRIC_L2;
    int err = look_at_rows(h, p, &content);
    if (err != 0)
        return err;
    const bool project = p->params.axes != 0;
    const bool whole = content.whole && !project && p->params.walk == QV_PACK_BITS_8;
    if (whole) /* nothing to rank: it is exact */
        p->params.rank = QV_PACK_BITS_NONE;
    p->walk = qv_pack_space_make(width_of(p->params.walk), l2, project ? p->params.axes : p->dim,
                                 whole, content.low);
    if (p->params.wide)
        p->walk.stride = wide_stride(p->walk.stride);
    if (p->params.rank_axes != 0)
        p->rank = qv_pack_space_make(width_of(p->params.rank), l2, p->params.rank_axes, false, 0);
    else if (p->params.rank != QV_PACK_BITS_NONE)
        p->rank =
            qv_pack_space_make(width_of(p->params.rank), l2, p->dim,
                               content.whole && p->params.rank == QV_PACK_BITS_8, content.low);
    return project ? find_axes(h, p, &content, slots) : 0;
}

/* ---- memory ---- */

/* `bytes` more of the run, from a cache line on. */
static size_t take(size_t *used, size_t bytes)
{
    const size_t at = (*used + QV_CACHE_LINE - 1) & ~(QV_CACHE_LINE - 1);
    *used = at + bytes;
    return at;
}

static uint32_t groups_of(uint32_t n)
{
    return (n + QV_PACK_GROUP - 1) / QV_PACK_GROUP;
}

struct layout {
    size_t walk, walk_biases, rank, rank_biases, slots;
    size_t degrees[QV_HNSW_LEVEL_MAX + 1], first[QV_HNSW_LEVEL_MAX + 1], ids[QV_HNSW_LEVEL_MAX + 1];
};

/* places: by slot, QV_SLOT_NONE for who is not there. */
static uint32_t list_of(const struct qv_hnsw *h, const uint32_t *places, qv_slot slot,
                        uint32_t level, uint32_t *out)
{
    qv_slot list[QV_HNSW_M0_MAX];
    const uint32_t n = qv_hnsw_list_copy(h, slot, level, list);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n && kept < QV_PACK_DEGREE_MAX; i++)
        if (places[list[i]] != QV_SLOT_NONE)
            out[kept++] = places[list[i]];
    return kept;
}

static int reserve_run(const struct qv_hnsw *h, struct qv_pack *p, const uint32_t *slots,
                       const uint32_t *places)
{
    struct layout at = {0};
    size_t used = 0;
    uint32_t list[QV_PACK_DEGREE_MAX];
    const size_t links_from = used;
    for (uint32_t l = 0; l <= p->level_max; l++) {
        const uint32_t n = p->levels[l].n;
        uint64_t links = 0;
        for (uint32_t i = 0; i < n; i++)
            links += list_of(h, places, slots[i], l, list);
        if (links > UINT32_MAX)
            return QV_ELIMIT;
        at.degrees[l] = take(&used, (size_t)groups_of(n) * QV_PACK_GROUP);
        at.first[l] = take(&used, (size_t)groups_of(n) * 4);
        at.ids[l] = take(&used, links * p->link_bytes + 4);
        p->links += links;
    }
    at.slots = take(&used, (size_t)p->n * p->link_bytes + 4);
    p->link_total_bytes = used - links_from;
    at.walk = take(&used, p->n * p->walk.stride + QV_CODES_BEHIND);
    at.walk_biases = take(&used, p->n * qv_pack_space_bias_bytes(&p->walk));
    at.rank = take(&used, p->rank.stride == 0 ? 0 : p->n * p->rank.stride + QV_CODES_BEHIND);
    at.rank_biases = take(&used, p->n * qv_pack_space_bias_bytes(&p->rank));
    int err = qv_vmem_reserve(&p->mem, used, true);
    if (err == 0)
        err = qv_vmem_grow(&p->mem, used);
    if (err != 0)
        return err;
    for (uint32_t l = 0; l <= p->level_max; l++) {
        p->levels[l].degrees = p->mem.base + at.degrees[l];
        p->levels[l].first = (uint32_t *)(void *)(p->mem.base + at.first[l]);
        p->levels[l].ids = p->mem.base + at.ids[l];
    }
    p->slots = p->mem.base + at.slots;
    p->walk.base = p->mem.base + at.walk;
    p->rank.base = p->rank.stride == 0 ? NULL : p->mem.base + at.rank;
    if (qv_pack_space_bias_bytes(&p->walk) != 0)
        p->walk.biases = (float *)(void *)(p->mem.base + at.walk_biases);
    if (qv_pack_space_bias_bytes(&p->rank) != 0)
        p->rank.biases = (float *)(void *)(p->mem.base + at.rank_biases);
    return 0;
}

/* ---- content ---- */

static void put_id(uint8_t *ids, uint32_t bytes, size_t at, uint32_t id)
{
    for (uint32_t i = 0; i < bytes; i++)
        ids[at * bytes + i] = (uint8_t)(id >> (8 * i));
}

static void write_lists(const struct qv_hnsw *h, struct qv_pack *p, const uint32_t *slots,
                        const uint32_t *places)
{
    uint32_t list[QV_PACK_DEGREE_MAX];
    for (uint32_t l = 0; l <= p->level_max; l++) {
        struct qv_pack_lists *to = &p->levels[l];
        uint32_t at = 0;
        for (uint32_t i = 0; i < to->n; i++) {
            const uint32_t n = list_of(h, places, slots[i], l, list);
            if (i % QV_PACK_GROUP == 0)
                to->first[i / QV_PACK_GROUP] = at;
            to->degrees[i] = (uint8_t)n;
            for (uint32_t j = 0; j < n; j++)
                put_id(to->ids, p->link_bytes, at + j, list[j]);
            at += n;
        }
    }
    for (uint32_t i = 0; i < p->n; i++)
        put_id(p->slots, p->link_bytes, i, slots[i]);
}

static double squares_of(const float *x, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

/* Codes node i: the row by the rank space, and itself or its projection by the walk's. */
static void encode_node(struct qv_pack *p, uint32_t i, const float *x, float *y, uint8_t *codes)
{
    const struct qv_pack_row row = {.elements = x, .codes = codes};
    if (p->rank.base != NULL && p->params.rank_axes == 0)
        qv_pack_space_encode(&p->rank, i, &row);
    if (p->axes == NULL) {
        qv_pack_space_encode(&p->walk, i, &row);
        return;
    }
    qv_pack_axes_project(p->axes, x, (int8_t *)(codes + p->dim), y);
    const double all =
        p->axes->mean_squares + squares_of(x, p->dim) - 2 * qv_pack_axes_mean_product(p->axes, x);
    const struct qv_pack_row near = {
        .elements = y, .rest = all - squares_of(y, p->params.axes), .codes = codes};
    qv_pack_space_encode(&p->walk, i, &near);
    if (p->params.rank_axes == 0)
        return;
    /* What the walk took for lying off all axes is told apart here. */
    const float *z = y + p->params.axes;
    const struct qv_pack_row far = {
        .elements = z, .rest = -squares_of(z, p->params.rank_axes), .codes = codes};
    qv_pack_space_encode(&p->rank, i, &far);
}

static int write_codes(const struct qv_hnsw *h, struct qv_pack *p, const uint32_t *slots)
{
    float *x = qv_mem_try_alloc(2 * (size_t)p->dim * sizeof *x);
    uint8_t *codes = qv_mem_try_alloc(3 * (size_t)p->dim + 256);
    int err = x == NULL || codes == NULL ? QV_ENOMEM : 0;
    for (uint32_t i = 0; i < p->n && err == 0; i++) {
        qv_pack_row_floats(p, row_of(h, slots[i]), x);
        encode_node(p, i, x, x + p->dim, codes);
    }
    qv_mem_free(x);
    qv_mem_free(codes);
    return err;
}

static int pack_nodes(const struct qv_hnsw *h, struct qv_pack *p, uint32_t *slots, uint32_t *places,
                      uint32_t bound)
{
    int err = qv_pack_order_find(h, p, slots);
    if (err != 0)
        return err;
    p->link_bytes = p->params.wide || bound > 1u << 24 ? 4 : bound > 1u << 16 ? 3 : 2;
    for (uint32_t i = 0; i < bound; i++)
        places[i] = QV_SLOT_NONE;
    for (uint32_t i = 0; i < p->n; i++)
        places[slots[i]] = i;
    err = choose_spaces(h, p, slots);
    if (err == 0)
        err = reserve_run(h, p, slots, places);
    if (err != 0)
        return err;
    write_lists(h, p, slots, places);
    return write_codes(h, p, slots);
}

static int check_params(const struct qv_hnsw *h, const struct qv_pack_params *params,
                        struct qv_errmsg *msg)
{
    if (h->params.metric == QV_METRIC_L1)
        return qv_fail(msg, QV_EINVAL, "manhattan distances have no packed form");
    const uint64_t axes = (uint64_t)params->axes + params->rank_axes;
    if (params->walk == QV_PACK_BITS_NONE || axes > h->params.dim || axes > QV_PACK_AXES_MAX ||
        params->rank_min > QV_HNSW_EF_MAX)
        return qv_fail(msg, QV_EINVAL, "walk is %d bits, axes %u and %u of %u, rank_min %u",
                       (int)params->walk * 4, params->axes, params->rank_axes, h->params.dim,
                       params->rank_min);
    if (params->rank_axes != 0 && (params->axes == 0 || params->rank == QV_PACK_BITS_NONE))
        return qv_fail(msg, QV_EINVAL, "rank_axes is %u without axes or rank", params->rank_axes);
    return 0;
}

int qv_pack_make(const struct qv_hnsw *h, const struct qv_pack_params *params, struct qv_pack **out,
                 struct qv_errmsg *msg)
{
    *out = NULL;
    int err = check_params(h, params, msg);
    if (err != 0)
        return err;
    const struct qv_hnsw_stats stats = qv_hnsw_stats(h);
    if (stats.live == 0)
        return qv_fail(msg, QV_ENOTFOUND, "the graph has no live node");
    if (!qv_hnsw_has_rows(h))
        return qv_fail(msg, QV_EINVAL, "the graph's rows were dropped: nothing to code");
    struct qv_pack *p = qv_mem_calloc(1, sizeof *p);
    p->params = *params;
    if (p->params.rank_min == 0)
        p->params.rank_min = RANK_MIN;
    p->metric = h->params.metric;
    p->dtype = h->params.dtype;
    p->dim = h->params.dim;
    p->n = stats.live;
    uint32_t *slots = qv_mem_try_alloc((size_t)p->n * sizeof *slots);
    uint32_t *places = qv_mem_try_alloc((size_t)stats.slot_bound * sizeof *places);
    err = slots == NULL || places == NULL ? QV_ENOMEM : 0;
    if (err == 0)
        err = pack_nodes(h, p, slots, places, stats.slot_bound);
    qv_mem_free(slots);
    qv_mem_free(places);
    if (err != 0) {
        qv_pack_destroy(&p);
        return qv_fail(msg, err, "no memory to pack %u nodes", stats.live);
    }
    *out = p;
    return 0;
}

void qv_pack_destroy(struct qv_pack **p)
{
    if (*p == NULL)
        return;
    qv_pack_axes_destroy(&(*p)->axes);
    qv_vmem_close(&(*p)->mem);
    qv_mem_free(*p);
    *p = NULL;
}

struct qv_pack_info qv_pack_info(const struct qv_pack *p)
{
    return (struct qv_pack_info){
        .params = p->params,
        .nodes = p->n,
        .links = p->links,
        .exact = p->rank.base != NULL ? p->rank.whole : p->walk.whole,
        .walk_bytes = p->n * (p->walk.stride + qv_pack_space_bias_bytes(&p->walk)),
        .rank_bytes = p->n * (p->rank.stride + qv_pack_space_bias_bytes(&p->rank)),
        .link_bytes = p->link_total_bytes,
        .all_bytes = p->mem.reserved_bytes + (p->axes == NULL ? 0 : p->axes->bytes)};
}
