/* core/meta.h on etcd's v3 API, 3.4 or newer, over our own gRPC client.
 *
 * One connection at a time, to one of several endpoints. Before anything is asked of an endpoint it
 * must answer a linearizable read, with the cluster id that is known and a revision that is not
 * below what is known: so neither a member without its quorum nor a backup put back is ever used.
 * An endpoint that is lost, slow or makes no sense is left for the next one, with a wait that grows
 * and is never the same twice. Reads go on elsewhere within their deadline; a transaction is sent
 * once, and is repeated only when for sure it never arrived. Watches go on from where they stood.
 * etcd is never asked to compact. */
#ifndef QV_META_META_ETCD_H
#define QV_META_META_ETCD_H

#include "core/meta.h"

#define QV_META_ETCD_ENDPOINTS_MAX 16u
#define QV_META_ETCD_ROOT_BYTES_MAX 256u

struct qv_meta_etcd_config {
    const char *const *endpoints; /* http[s]://host:port */
    uint32_t endpoint_count;
    const char *root;            /* stands before every key: one cluster's, "/quiver/NAME/" */
    const char *user;            /* NULL or "": none */
    const char *password;        /* with a user */
    const char *ca, *cert, *key; /* PEM files for https, as of net/client.h; NULL: none */
    uint32_t timeout_ms;         /* of one attempt at connecting or reading; 0: 1000 */
    /* What was known of this store: see struct qv_meta. 0: nothing yet. */
    uint64_t known_cluster_id, known_revision;
};

/* Doesn't wait for etcd. All of config is copied. QV_EINVAL says what is wrong with it. Gives. */
QV_MUST_USE int qv_meta_etcd_open(struct qv_env *env, const struct qv_meta_etcd_config *config,
                                  struct qv_meta **out, struct qv_errmsg *msg);

#endif
