/* Private to src/index: the axes along which rows differ most, and rows projected on them.
 *
 * The leading directions of the covariance of a sample (of the second moments, where the metric is
 * dot, which no shift leaves alone), found by subspace iteration, each rounded to 8 bits an
 * element. Rows and queries go through the same rounded axes, so that they agree; what the rounding
 * takes from the axes' being at right angles is within the error of the projection. */
#ifndef QV_INDEX_PACK_AXES_H
#define QV_INDEX_PACK_AXES_H

#include "base/err.h"
#include "index/rows_view.h"
#include "simd/codes.h"

#define QV_PACK_AXES_MAX 2048u

struct qv_pack_axes {
    uint32_t dim, axes;
    float centre;   /* taken from the query first, so that bytes fit a plane */
    uint8_t *rows;  /* an axis: codes of 8 bits */
    size_t stride;  /* of an axis */
    float *per_sum; /* by axis: its offset */
    float *per_product;
    float *mean;   /* by axis: the mean's place on it */
    float *middle; /* dim: the mean itself */
    double mean_squares;
    uint32_t *all; /* 0 .. axes - 1 */
    size_t bytes;  /* that it takes */
};

struct qv_pack_sample {
    const float *rows; /* n rows of dim */
    uint32_t n, dim;
    bool l2;
    bool bytes; /* whole numbers of 0 .. 255 */
};

/* QV_ENOMEM. Equal samples give equal axes on one ISA. *share: of the sample's squared length that
 * the axes keep. Gives. */
int qv_pack_axes_find(const struct qv_pack_sample *sample, uint32_t axes, struct qv_pack_axes **out,
                      double *share) QV_MUST_USE;
void qv_pack_axes_destroy(struct qv_pack_axes **a); /* NULL is fine; sets NULL */

/* The inner product of dim elements and the mean. */
double qv_pack_axes_mean_product(const struct qv_pack_axes *a, const float *elements);

/* out: a->axes floats. elements: a->dim finite floats. planes: room for two of dim
 * elements of 8 bits. */
void qv_pack_axes_project(const struct qv_pack_axes *a, const float *elements, int8_t *planes,
                          float *out);

#endif
