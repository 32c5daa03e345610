/* Equal intervals of the key hash: shard i of n owns the hashes with hash * n >> 64 = i.
 *
 * Not hash mod n: the shard's keys are one interval, so its cover is one. From n to n + 1 half of
 * the keys move (mod n: n / (n + 1) of them); from n to 2 n it is mod n that would move less (half
 * against nearly all), were shards not numbered in order. Who grows often takes the ring. */
#include "cluster/placement_private.h"

#include "base/qv_assert.h"

uint32_t qv_placement_hash_owner(uint32_t shard_count, uint64_t hash)
{
    const uint64_t low = (hash & UINT32_MAX) * shard_count;
    return (uint32_t)(((hash >> 32) * shard_count + (low >> 32)) >> 32);
}

/* ceil(i * 2^64 / n), 0 < i < n. */
static uint64_t first_of(uint32_t i, uint32_t n)
{
    const uint64_t high = ((uint64_t)i << 32) / n;
    const uint64_t rest = ((uint64_t)i << 32) % n;
    return (high << 32) + (rest << 32) / n + ((rest << 32) % n != 0);
}

int qv_placement_hash_segments(struct qv_arena *arena, uint32_t shard_count,
                               struct qv_segments *out)
{
    uint64_t *lasts = QV_ARENA_ARRAY(arena, uint64_t, shard_count);
    uint32_t *owners = QV_ARENA_ARRAY(arena, uint32_t, shard_count);
    if (lasts == NULL || owners == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < shard_count; i++) {
        lasts[i] = i + 1 < shard_count ? first_of(i + 1, shard_count) - 1 : UINT64_MAX;
        owners[i] = i;
        QV_ASSERT(qv_placement_hash_owner(shard_count, lasts[i]) == i);
    }
    *out = (struct qv_segments){.count = shard_count, .lasts = lasts, .owners = owners};
    return 0;
}
