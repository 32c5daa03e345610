/* Private to src/index: what choosing a breadth and learning it share. */
#ifndef QV_INDEX_EFFORT_PRIVATE_H
#define QV_INDEX_EFFORT_PRIVATE_H

#include "index/effort.h"

/* What a stage shows of its query; the first is 1. All finite. */
void qv_effort_features(const struct qv_hnsw_stage *stage, float out[QV_EFFORT_FEATURES]);
float qv_effort_score(const float weights[QV_EFFORT_FEATURES],
                      const float features[QV_EFFORT_FEATURES]);

#endif
