/* What the node says of its own state, and what it does not accept because of it: issues, the work
 * that is queued behind a collection, quotas.
 *
 * Issues are facts looked up when they are asked for (a shard that takes no writes), and counts
 * kept in a bounded table (fields that filters ask for again and again though nobody declared an
 * index). Any thread. */
#ifndef QV_SERVER_UPKEEP_H
#define QV_SERVER_UPKEEP_H

#include "server/op.h"

struct qv_upkeep;

struct qv_upkeep *qv_upkeep_create(void); /* gives */
void qv_upkeep_destroy(struct qv_upkeep **u);

/* A read is about to use these filters: counts keys without an index. */
void qv_upkeep_note_filters(struct qv_op *op);

/* May the op write? 0, or QV_ENOSPC: the node is over a quota. What frees space may always. */
QV_MUST_USE int qv_upkeep_check_quota(struct qv_op *op);

void qv_upkeep_write_issues(struct qv_op *op, struct qv_buf *b);
void qv_upkeep_clear_issues(struct qv_op *op);
void qv_upkeep_write_quotas(struct qv_op *op, struct qv_buf *b);
/* The collection is op's; info is of its shard. */
void qv_upkeep_write_optimizations(struct qv_op *op, struct qv_buf *b);

#endif
