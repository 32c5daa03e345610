#include "app/restore.h"

#include "base/logger.h"
#include "node/snapshots.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

int qv_restore_add(struct qv_restore_list *list, const char *given, bool everything,
                   struct qv_errmsg *msg)
{
    const char *colon = strrchr(given, ':');
    if (list->count == QV_RESTORES_MAX)
        return qv_fail(msg, QV_EINVAL, "--snapshot: at most %d can be given", QV_RESTORES_MAX);
    if (!everything && (colon == NULL || colon == given || colon[1] == '\0'))
        return qv_fail(msg, QV_EINVAL, "--snapshot: '%.200s' is not allowed: FILE:COLLECTION is",
                       given);
    list->files[list->count] = given;
    list->everything[list->count++] = everything;
    return 0;
}

struct waiting {
    struct qv_node *n;
    struct qv_snapshot_recover_req req;
    bool force;
    pthread_mutex_t lock; /* done, err */
    pthread_cond_t cond;
    bool done;
    int err;
    struct qv_errmsg *msg;
};

static void restored(void *arg, int err, const struct qv_snapshot_desc *made,
                     const struct qv_errmsg *msg)
{
    struct waiting *w = arg;
    (void)made;
    pthread_mutex_lock(&w->lock);
    w->done = true;
    w->err = err;
    if (err != 0)
        *w->msg = *msg;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

static void begin(void *arg)
{
    struct waiting *w = arg;
    struct qv_errmsg msg;
    const struct qv_topology *t = qv_node_topology(w->n);
    bool there = w->req.collection.n > 0 && qv_topology_find_own(t, w->req.collection) != NULL;
    qv_topology_unref(t);
    if (there && !w->force) {
        qv_fail(&msg, QV_EEXISTS, "collection %.*s already exists: --force-snapshot replaces it",
                (int)w->req.collection.n, w->req.collection.p);
        restored(w, QV_EEXISTS, NULL, &msg);
        return;
    }
    qv_node_snapshot_recover(w->n, &w->req);
}

static int restore_one(struct qv_uv_env *env, struct qv_node *n, struct waiting *w,
                       struct qv_errmsg *msg)
{
    w->n = n;
    w->msg = msg;
    w->req.fd = -1;
    w->req.force = w->force;
    w->req.done = restored;
    w->req.arg = w;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->cond, NULL);
    qv_uv_env_call(env, begin, w);
    pthread_mutex_lock(&w->lock);
    while (!w->done)
        pthread_cond_wait(&w->cond, &w->lock);
    pthread_mutex_unlock(&w->lock);
    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->lock);
    return w->err;
}

int qv_restore_run(const struct qv_restore_list *list, struct qv_uv_env *env, struct qv_node *n,
                   struct qv_errmsg *msg)
{
    for (unsigned i = 0; i < list->count; i++) {
        char path[4096];
        const char *given = list->files[i];
        const char *colon = list->everything[i] ? given + strlen(given) : strrchr(given, ':');
        struct waiting w = {.force = list->force};
        struct qv_errmsg why = {""};
        int k = snprintf(path, sizeof path, "%.*s", (int)(colon - given), given);
        if (k < 0 || k >= (int)sizeof path)
            return qv_fail(msg, QV_EINVAL, "--snapshot: the path is too long");
        w.req.path = path;
        if (!list->everything[i])
            w.req.collection = qv_str_of(colon + 1);
        QV_INFO("serve", "restoring %s", given);
        int err = restore_one(env, n, &w, &why);
        if (err != 0)
            return qv_fail(msg, err, "%.200s: %.250s", path,
                           why.text[0] != '\0' ? why.text : qv_err_text(err));
    }
    return 0;
}
