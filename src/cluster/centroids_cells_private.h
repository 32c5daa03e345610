/* Private to the centroids: k-means and balancing weights over rows of the mapped space. One
 * thread; deterministic: canonical distances, sums in the order of the rows, in double. */
#ifndef QV_CLUSTER_CENTROIDS_CELLS_PRIVATE_H
#define QV_CLUSTER_CENTROIDS_CELLS_PRIVATE_H

#include "base/rng.h"
#include "simd/score.h"

struct qv_cells {
    const float *rows; /* n x width, borrowed */
    uint32_t n, width;
    uint32_t k;
    struct qv_scorer scorer;
    float *centres; /* k x width */
    float *weights; /* k, >= 0, the least 0 */
    float *d;       /* n x k squared distances */
    uint32_t *own;  /* n: the cell of a row; QV_CELL_NONE: none yet */
    uint32_t *size; /* k */
    double *sums;   /* k x width */
    uint32_t *all;  /* 0 .. max(n, k) - 1 */
};

#define QV_CELL_NONE UINT32_MAX

/* QV_ENOMEM; close in any case. */
QV_MUST_USE int qv_cells_init(struct qv_cells *c, const float *rows, uint32_t n, uint32_t width,
                              uint32_t k);
void qv_cells_close(struct qv_cells *c);
/* Centres by k-means++; weights 0. */
void qv_cells_seed(struct qv_cells *c, struct qv_rng *rng);
/* Centres are the means of own; one of an empty cell is a row far from its own centre. */
void qv_cells_centre(struct qv_cells *c);
/* The centre of an empty cell by own and size: the row farthest from its own centre. That row's
 * cell is then this one, so that the next empty one takes another. */
void qv_cells_reseed(struct qv_cells *c, uint32_t cell);
/* Fills d. */
void qv_cells_measure(struct qv_cells *c);
/* own and size by d and weights; gives the largest over the mean. */
double qv_cells_assign(struct qv_cells *c);
/* Lloyd's iterations until nothing changes; ends with measure and assign. Gives how many. */
uint32_t qv_cells_iterate(struct qv_cells *c, uint32_t iterations);
/* Changes the weights until the largest cell holds at most `balance` of the mean, or to the best
 * found. */
void qv_cells_balance(struct qv_cells *c, double balance);

#endif
