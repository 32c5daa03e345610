/* core/env.h simulated: one seeded queue of events in simulated time, for any number of nodes in
 * one thread. A job is one event; its done is another. The same seed gives the same run.
 *
 * A crash of a node drops its queued tasks, timers and jobs; what its disk keeps is
 * qv_sim_disk_crash's business. */
#ifndef QV_IO_SIM_ENV_H
#define QV_IO_SIM_ENV_H

#include "base/rng.h"
#include "core/env.h"

struct qv_sim;      /* the world: time and the queue */
struct qv_sim_node; /* one env in it */

struct qv_sim_config {
    uint64_t seed;
    uint64_t job_ns_min, job_ns_max; /* how long a job takes; 0, 0: 20 us .. 2 ms */
};

struct qv_sim *qv_sim_create(const struct qv_sim_config *config); /* gives */
void qv_sim_destroy(struct qv_sim **s);                           /* every node must be gone */

/* skew_ns: this node's wall clock against the world's. disk is borrowed. Gives. */
struct qv_sim_node *qv_sim_node_create(struct qv_sim *s, struct qv_disk *disk, int64_t skew_ns);
struct qv_env *qv_sim_node_env(struct qv_sim_node *n);
/* Forgets everything queued on the node; nothing of it runs any more. The env stays usable: a
 * restart goes on with it. */
void qv_sim_node_crash(struct qv_sim_node *n);
void qv_sim_node_destroy(struct qv_sim_node **n);

/* Runs one event; false when there is none. */
bool qv_sim_step(struct qv_sim *s);
/* Steps until nothing is queued or `steps` are done; returns how many ran. */
uint64_t qv_sim_run(struct qv_sim *s, uint64_t steps);
/* Steps while events are due at or before now + ns, then moves the time there. */
void qv_sim_run_for(struct qv_sim *s, uint64_t ns);
uint64_t qv_sim_now_ns(const struct qv_sim *s);
struct qv_rng *qv_sim_rng(struct qv_sim *s); /* the world's own stream, for tests */

#endif
