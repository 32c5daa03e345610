/* `quiver serve` as a node of a cluster: from settings to what qv_node_open needs beside a node
 * alone's, and back.
 *
 *   qv_cluster_start_found   who this node is; the metadata; which cluster
 *   qv_cluster_start_listen  for the other nodes; just before qv_node_open
 *   qv_cluster_start_close   after the node is closed: it needs its peers until then
 *
 * One thread, not the env's own. */
#ifndef QV_APP_CLUSTER_START_H
#define QV_APP_CLUSTER_START_H

#include "app/settings.h"
#include "io/uv_env.h"
#include "net/peer_tcp.h"
#include "node/node.h"

struct qv_cluster_start {
    const struct qv_settings *settings; /* borrowed, as env */
    struct qv_uv_env *env;
    struct qv_node_config *node;
    struct qv_meta *meta; /* until an open node has taken it */
    struct qv_peer_tcp *peers;
    struct qv_node_identity identity;
    struct qv_node_cluster_config config;
};

bool qv_cluster_start_is_proxy(const struct qv_settings *s);
/* What can be told from the settings alone. QV_EINVAL names key, value and what is allowed. */
QV_MUST_USE int qv_cluster_start_check(const struct qv_settings *s, struct qv_errmsg *msg);

/* Waits for the metadata where the directory does not say yet which cluster it belongs to; the log
 * says so. node: of the settings; borrowed, changed by qv_cluster_start_listen. QV_EINVAL: the
 * settings, or the directory is a node alone's or of another cluster. QV_ECANCELED: a signal that
 * is blocked came. */
QV_MUST_USE int qv_cluster_start_found(struct qv_cluster_start *x, struct qv_errmsg *msg);
/* On the env's owner, where qv_node_open follows at once: what arrives waits for it. */
QV_MUST_USE int qv_cluster_start_listen(struct qv_cluster_start *x, struct qv_errmsg *msg);
/* The node is open: the metadata is its own. */
void qv_cluster_start_opened(struct qv_cluster_start *x);
/* Certificates are read again. */
void qv_cluster_start_reload(struct qv_cluster_start *x);
/* Of any stage. */
void qv_cluster_start_close(struct qv_cluster_start *x);

#endif
