/* Private to src/simd: the kernel of simd/lvq_panel.h. */
#ifndef QV_SIMD_LVQ_PANEL_LIST_H
#define QV_SIMD_LVQ_PANEL_LIST_H

#include "simd/lvq_panel.h"

#ifdef __x86_64__
void qv_lvq_panel_distances_vnni(const struct qv_lvq_panel *a, const struct qv_lvq_panel *b,
                                 const struct qv_lvq_tile *tile);
uint32_t qv_lvq_panel_below_avx512(const float *d, uint32_t n, float bound, uint32_t *out);
#endif

#endif
