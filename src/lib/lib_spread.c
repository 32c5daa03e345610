/* Collections of several shards: reads and writes over all of them, and a caller that waits.
 *
 * A read is driven by the owner and searched on the compute workers, so it must not be waited for
 * on one of those. A collection is looked up by its uuid at each call: one that was dropped, and
 * one of the same name made since, is not this one. */
#include "lib/lib_private.h"

#include "node/node_read.h"
#include "node/node_write.h"

#include <string.h>

/* Nobody gives these calls a time limit: a day is none. */
#define DEADLINE_NS (UINT64_C(86400) * QV_NS_PER_S)

int qv_lib_find(const struct quiver_collection *c, const struct qv_topology **topology,
                const struct qv_collection **out, struct qv_errmsg *msg)
{
    *topology = qv_node_topology(c->db->node);
    *out = qv_topology_by_uuid(*topology, c->uuid);
    if (*out != NULL)
        return 0;
    qv_topology_unref(*topology);
    *topology = NULL;
    return qv_fail(msg, QV_ENOTFOUND, "the collection was dropped");
}

/* ---- reads ---- */

static int go_on(void *ctx, struct qv_errmsg *msg)
{
    (void)ctx;
    (void)msg;
    return 0;
}

static void read_done(struct qv_node_read *r, int err, bool on_owner)
{
    (void)on_owner; /* what is left to do is done by the caller's thread in either case */
    qv_lib_wait_end(r->arg, err);
}

int qv_lib_spread_read(const struct quiver_collection *c, const struct qv_read_what *what,
                       struct qv_lib_read *x, struct qv_errmsg *msg)
{
    struct qv_lib_wait wait;
    memset(x, 0, sizeof *x);
    int err = qv_lib_find(c, &x->topology, &x->read.collection, msg);
    if (err != 0)
        return err;
    x->read.node = c->db->node;
    x->read.what = *what;
    x->read.stop.ask = go_on;
    x->read.deadline_ns = qv_env_mono_ns(qv_uv_env_env(c->db->env)) + DEADLINE_NS;
    x->read.done = read_done;
    x->read.arg = &wait;
    qv_lib_wait_init(&wait);
    qv_node_read_start(&x->read);
    err = qv_lib_wait_for(&wait);
    if (err != 0) {
        *msg = x->read.read.msg;
        qv_lib_read_close(x);
    }
    return err;
}

void qv_lib_read_close(struct qv_lib_read *x)
{
    qv_node_read_close(&x->read);
    qv_topology_unref(x->topology);
}

/* ---- writes ---- */

static void write_done(struct qv_node_write *w, int err)
{
    qv_lib_wait_end(w->arg, err);
}

int qv_lib_spread_write(const struct quiver_collection *c, struct qv_arena *arena,
                        const struct qv_write_req *req, struct qv_errmsg *msg)
{
    struct qv_lib_wait wait;
    struct qv_node_write w = {.node = c->db->node,
                              .req = req,
                              .arena = arena,
                              .deadline_ns = UINT64_MAX,
                              .done = write_done,
                              .arg = &wait};
    const struct qv_topology *topology;
    int err = qv_lib_find(c, &topology, &w.collection, msg);
    if (err != 0)
        return err;
    err = qv_node_write_prepare(&w);
    if (err == 0) {
        qv_lib_wait_init(&wait);
        qv_node_write_submit(&w);
        err = qv_lib_wait_for(&wait);
    }
    if (err != 0)
        *msg = w.msg;
    qv_topology_unref(topology);
    return err;
}
