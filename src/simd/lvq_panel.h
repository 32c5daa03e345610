/* Distances of many LVQ code rows to many others at once (simd/lvq.h): what a bulk build of a graph
 * compares. All against all in a cache's worth of rows costs a third to a tenth of single calls,
 * for a row is loaded once for 32 others, and nothing is summed across lanes.
 *
 * ns a distance, pairs of 1,000 rows, AVX-512 with VNNI: 128 dimensions 0.8 (single calls 5), 784
 * dimensions 4 (12). Elsewhere a pair costs what qv_lvq_dist costs.
 *
 * A panel is a copy of rows in the order the kernel wants. Results are near those of qv_lvq_dist
 * (the sums are ordered otherwise), and depend on the two rows only, not on their places.
 * One thread a panel; panels that nobody changes may be read by many. */
#ifndef QV_SIMD_LVQ_PANEL_H
#define QV_SIMD_LVQ_PANEL_H

#include "base/err.h"
#include "simd/lvq.h"

#define QV_LVQ_PANEL_GROUP 32u /* rows of the second panel that are computed together */

struct qv_lvq_panel {
    size_t dim;
    enum qv_metric metric;
    uint32_t n;   /* rows in it */
    uint32_t cap; /* room for so many: a multiple of QV_LVQ_PANEL_GROUP */
    size_t row_bytes;
    uint8_t *rows;   /* n rows: bytes less 128 (VNNI), or the codes with their tails */
    uint8_t *packed; /* by 16 rows: 4 bytes of each, then the next 4 (VNNI) */
    float *terms;    /* 4 columns of cap: norm, offset, scale * sum, scale */
    uint32_t *sums;  /* 128 * the sum of a row's codes, modulo 2^32 */
    qv_dist_f dist;  /* NULL: VNNI */
};

/* L2 or COSINE. QV_ENOMEM. */
int qv_lvq_panel_init(struct qv_lvq_panel *p, enum qv_metric metric, size_t dim,
                      uint32_t cap) QV_MUST_USE;
void qv_lvq_panel_close(struct qv_lvq_panel *p); /* may be called twice */

/* Empties it, and takes n <= cap code rows: base + slots[i] * stride. */
void qv_lvq_panel_fill(struct qv_lvq_panel *p, const uint8_t *base, size_t stride,
                       const uint32_t *slots, uint32_t n);

/* out[i * out_stride + j] = the distance of row a_first + i of a to row b_first + j of b, for i <
 * a_n and j < b_n rounded up to whole groups: out has that much room (what is beyond b's rows is
 * meaningless). b_first: a multiple of QV_LVQ_PANEL_GROUP. a may be b. */
struct qv_lvq_tile {
    uint32_t a_first, a_n, b_first, b_n;
    float *out;
    size_t out_stride;
};
void qv_lvq_panel_distances(const struct qv_lvq_panel *a, const struct qv_lvq_panel *b,
                            const struct qv_lvq_tile *tile);

/* The places of what is below `bound` among n distances, ascending, into out, which has room for n
 * and QV_LVQ_PANEL_GROUP more; returns how many. d is readable up to whole groups. */
uint32_t qv_lvq_panel_below(const float *d, uint32_t n, float bound, uint32_t *out);

#endif
