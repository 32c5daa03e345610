/* `quiver serve --snapshot FILE:NAME --storage-snapshot FILE --force-snapshot`: what is restored
 * before a node answers. */
#ifndef QV_APP_RESTORE_H
#define QV_APP_RESTORE_H

#include "io/uv_env.h"
#include "node/node.h"

#define QV_RESTORES_MAX 100

struct qv_restore_list {
    const char *files[QV_RESTORES_MAX]; /* FILE:NAME as given, or FILE: of everything */
    bool everything[QV_RESTORES_MAX];
    unsigned count;
    bool force; /* collections that exist are replaced */
};

/* QV_EINVAL: more than are taken, or FILE:NAME without a name. */
QV_MUST_USE int qv_restore_add(struct qv_restore_list *list, const char *given, bool everything,
                               struct qv_errmsg *msg);
/* One after the other; waits. The first error, naming the file. Not on the env's own thread. */
QV_MUST_USE int qv_restore_run(const struct qv_restore_list *list, struct qv_uv_env *env,
                               struct qv_node *n, struct qv_errmsg *msg);

#endif
