/* Private to src/index: what choosing a breadth, sampling and learning share. */
#ifndef QV_INDEX_EFFORT_PRIVATE_H
#define QV_INDEX_EFFORT_PRIVATE_H

#include "base/rng.h"
#include "index/effort.h"

/* What a stage shows of its query; the first is 1. All finite. */
void qv_effort_features(const struct qv_hnsw_stage *stage, float out[QV_EFFORT_FEATURES]);
float qv_effort_score(const float weights[QV_EFFORT_FEATURES],
                      const float features[QV_EFFORT_FEATURES]);

/* A row that was asked. */
struct qv_effort_sample {
    uint8_t hits[QV_EFFORT_RUNGS];  /* of QV_EFFORT_K, by the walk of each rung */
    uint32_t cost[QV_EFFORT_RUNGS]; /* distances */
    float features[QV_EFFORT_RUNGS][QV_EFFORT_FEATURES];
};

struct qv_effort_trace {
    struct qv_rng rng;
    uint32_t wanted, count, tries;
    uint32_t rows; /* of the graph, at the last step */
    struct qv_effort_sample *samples;
};

#endif
