/* Private to src/shard: the payload indexes of a shard.
 *
 * The owner describes a slot before it is published and before a change of its payload is, so that
 * an acknowledged point is in every index; a job describes what was there when an index was
 * declared or the shard opened. A slot that is described is left alone by the job, so whichever
 * comes second can't bring back what is old. Slots not described yet are answered by reading.
 *
 * lock: exclusive: describing, and the list of indexes; shared: answering. It is never taken
 * together with the shard's lock held exclusively. */
#ifndef QV_SHARD_SHARD_FIELDS_H
#define QV_SHARD_SHARD_FIELDS_H

#include "core/env.h"
#include "index/field_index.h"

#include <pthread.h>

struct qv_shard;

struct qv_shard_fields {
    pthread_rwlock_t lock;
    struct qv_field_index **list; /* under the lock; the owner alone changes it */
    uint32_t count;
    /* owner, and the job while it runs */
    struct qv_job job;
    bool running, wanted;
    qv_slot at; /* slots below it are described; set to 0 for a new index */
    qv_slot from, to;
};

void qv_shard_fields_init(struct qv_shard *s);
void qv_shard_fields_close(struct qv_shard *s);
/* The indexes that the configuration names; new ones are filled in the background. Owner. */
void qv_shard_fields_config(struct qv_shard *s);
/* Describes the point's slot by its record; before it is published. Owner. */
void qv_shard_fields_apply(struct qv_shard *s, qv_slot slot, struct qv_bytes record);
/* The index of that number, or NULL. Under the lock. */
const struct qv_field_index *qv_shard_fields_find(const struct qv_shard_fields *f, uint32_t number);
uint64_t qv_shard_fields_bytes(struct qv_shard *s); /* any thread */
void qv_shard_fields_step(struct qv_shard *s);      /* starts the job when there is work; owner */

#endif
