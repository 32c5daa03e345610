/* core/env.h made real: a libuv loop, worker pools and files. The log's pool (two threads) is
 * always the env's own.
 *
 * Either the env starts a thread that owns a loop (the usual way: one such thread orders and logs
 * the changes of its shards), or it attaches to a loop that the caller runs. */
#ifndef QV_IO_UV_ENV_H
#define QV_IO_UV_ENV_H

#include "core/env.h"
#include "io/worker_pool.h"

struct uv_loop_s;
struct qv_uv_env;

struct qv_uv_env_config {
    struct uv_loop_s *loop; /* NULL: a thread of its own; otherwise attach to it (borrowed) */
    /* Pools may be shared by several envs: borrowed, must outlive them; made by
     * qv_uv_env_pool_create. NULL: the env makes its own. */
    struct qv_worker_pool *compute;
    struct qv_worker_pool *io;
    unsigned compute_threads; /* of its own pool; 0: 1 */
    unsigned io_threads;      /* of its own pool; 0: 2 */
    unsigned queue_max;       /* of its own compute pool; 0: 65536 */
    struct qv_disk *disk;     /* borrowed; NULL: a posix disk of its own */
    uint64_t seed;            /* of the random stream; 0: from the kernel */
    int pin_cpu;              /* of its own thread; -1: not pinned */
};

/* For pools shared by several envs. */
QV_MUST_USE int qv_uv_env_pool_create(unsigned threads, unsigned queue_max, const int *pin_cpus,
                                      unsigned pin_count, struct qv_worker_pool **out,
                                      struct qv_errmsg *msg);

QV_MUST_USE int qv_uv_env_create(const struct qv_uv_env_config *config, struct qv_uv_env **out,
                                 struct qv_errmsg *msg);
struct qv_env *qv_uv_env_env(struct qv_uv_env *u);     /* borrowed, valid until destroy */
struct uv_loop_s *qv_uv_env_loop(struct qv_uv_env *u); /* use on its thread only */

/* Runs fn(arg) on the owner and returns when it has returned; not from the owner. */
void qv_uv_env_call(struct qv_uv_env *u, void (*fn)(void *arg), void *arg);

/* Waits for running jobs, runs what was posted, stops timers, ends the thread. With an attached
 * loop: call on its thread; it runs the loop until the env's handles are closed. */
void qv_uv_env_destroy(struct qv_uv_env **u);

#endif
