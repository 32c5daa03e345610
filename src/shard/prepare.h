/* Private to src/shard: from requests to groups of changes. */
#ifndef QV_SHARD_PREPARE_H
#define QV_SHARD_PREPARE_H

#include "shard/shard_private.h"

/* Are vectors of this kind stored at unit length? */
bool qv_prepare_normalises(const struct qv_vector_config *vc);

/* Encodes changes into groups of w->prepared[op]: distinct ids (the last of equal ones counts), at
 * most QV_CHANGE_IDS_MAX a group. Any thread. QV_ENOMEM, QV_ETOOBIG. */
QV_MUST_USE int qv_prepare_groups(struct qv_write *w, uint32_t op, struct qv_change *changes,
                                  uint32_t n);

/* A conditional op at its turn, nothing of the shard under way: fills its groups from the present
 * state. Owner. QV_ENOTFOUND names the missing point. */
QV_MUST_USE int qv_prepare_resolve(struct qv_shard *s, struct qv_write *w, uint32_t op);

/* shard_condition.c. Marks (type 0) the changes of p whose points exist and do not match req. On a
 * worker, at the op's turn. */
QV_MUST_USE int qv_condition_check(struct qv_shard *s, unsigned reader,
                                   const struct qv_count_req *req, struct qv_prepared *p,
                                   struct qv_errmsg *msg);
/* Leaves of p's changes those that are not marked and that the op's update_mode allows. Owner. */
void qv_condition_keep(struct qv_shard *s, const struct qv_write_op *op, struct qv_prepared *p);

#endif
