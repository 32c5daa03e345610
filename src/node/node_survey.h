/* What the nodes of a cluster say of themselves and of the shards that lie on them, gathered
 * (QV_PEER_INFO; wire/peer_info.h). A node that does not answer within SURVEY_NS_MAX, or by the
 * deadline, is told as such: the survey ends all the same. */
#ifndef QV_NODE_NODE_SURVEY_H
#define QV_NODE_NODE_SURVEY_H

#include "node/node_cluster.h"
#include "wire/peer_info.h"

struct qv_survey_node {
    const struct qv_member *member; /* of the survey's topology */
    bool self;
    bool asked; /* and with err 0 it answered: tell */
    int err;
    const char *why; /* of err, or (not asked) of its connection; "": nothing */
    bool connected;  /* messages go there; true of this node */
    struct qv_node_tell tell;
};

struct qv_node_survey;
/* Once; on a compute worker, or on the owner when the workers' queue is full. */
typedef void (*qv_node_survey_done_f)(struct qv_node_survey *s, bool on_owner);

/* Zero but for the first seven, until done; what it says is valid until it is closed. */
struct qv_node_survey {
    struct qv_node *node;                   /* in a cluster */
    const struct qv_topology *topology;     /* held by the caller until closed */
    const struct qv_collection *collection; /* whose holders are asked; NULL: everybody is */
    bool fields;                            /* see qv_tell_ask; of a collection only */
    bool quiet;                             /* nobody is asked: what this node knows */
    qv_node_survey_done_f done;
    void *arg;
    uint64_t deadline_ns; /* mono */
    /* result: a node a member of the topology, in its order */
    struct qv_survey_node *nodes;
    uint32_t count;
    struct qv_membership_status status;
    /* the survey's */
    struct qv_survey_call *calls;
    struct qv_buf ask;
    uint32_t open;
    struct qv_arena arena;     /* the owner's, until done */
    struct qv_arena own_arena; /* of what this node says: the job's */
    struct qv_task task;
    struct qv_job job;
};
/* Any thread. */
void qv_node_survey_start(struct qv_node_survey *s);
void qv_node_survey_close(struct qv_node_survey *s); /* any thread */

/* What the node that answers reads of it says of the i-th shard of a collection; NULL: it gave no
 * answer, *from (not NULL) says who and why; or it does not have the shard. */
const struct qv_shard_tell *qv_node_survey_shard(const struct qv_node_survey *s,
                                                 const struct qv_collection *c, uint32_t i,
                                                 const struct qv_survey_node **from);
/* Sums over the shards of the survey's collection, and the worst of their states: what
 * qv_node_shard_info gives of a node alone. */
void qv_node_survey_sum(const struct qv_node_survey *s, struct qv_shard_info *out);
/* As qv_node_collection_info. */
QV_MUST_USE int qv_node_survey_collection(const struct qv_node_survey *s, struct qv_arena *arena,
                                          struct qv_collection_info *out, struct qv_errmsg *msg);

#endif
