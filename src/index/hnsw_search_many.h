/* Private to src/index: what a context keeps for searches in turns. */
#ifndef QV_INDEX_HNSW_SEARCH_MANY_H
#define QV_INDEX_HNSW_SEARCH_MANY_H

#include "index/hnsw_walk.h"

void qv_hnsw_lanes_destroy(struct qv_hnsw_lane **lanes); /* NULL is fine; sets NULL */

#endif
