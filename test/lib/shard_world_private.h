/* What the two halves of the world share: writing (shard_world.c) and checking
 * (shard_world_check.c). */
#ifndef QV_TEST_SHARD_WORLD_PRIVATE_H
#define QV_TEST_SHARD_WORLD_PRIVATE_H

#include "shard_world.h"

#define DIM_A 8
#define DIM_B 4
#define DIM_M 3
#define ROWS_M 2
#define NNZ_S 3

extern const char *const world_vec_names[4];
/* The elements of vector v that a stamp stands for; room for 16. */
void world_vec_values(int v, uint32_t stamp, float *out);
struct qv_id world_id_of(uint32_t shard, uint32_t i);
void world_put_payload(struct qv_buf *b, const struct world_state *s, bool null_n);

struct world_range { /* n in [lo, hi) */
    int32_t lo, hi;
};
bool world_in_range(const struct world_state *s, const struct world_range *range);
const struct qv_filter *world_range_filter(struct qv_arena *arena, const struct world_range *range);
/* Is every id in one state only? */
bool world_all_certain(const struct world *w, uint32_t shard);

#endif
