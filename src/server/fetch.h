/* Fetching a file over HTTP or HTTPS into the file system: snapshots that lie elsewhere. On a
 * thread of its own, so that a slow peer keeps no worker. */
#ifndef QV_SERVER_FETCH_H
#define QV_SERVER_FETCH_H

#include "base/err.h"

#include <stdatomic.h>
#include <stdint.h>

#define QV_FETCHES_MAX 4

struct qv_fetch {
    const char *url;     /* http:// or https://; borrowed until done, as all here */
    const char *api_key; /* sent as the header api-key; NULL: none */
    const char *path;    /* written to; must not exist; removed on an error */
    uint64_t bytes_max;
    uint32_t timeout_s;    /* of the whole; a peer that gives nothing for 30 s is given up before */
    atomic_int *under_way; /* how many are: the caller's counter */
    const atomic_bool *stop; /* true: ends within a second, with QV_ECANCELED */
    /* Once, on the fetching thread. QV_EBADREQ (refused, not found, not reachable), QV_ETOOBIG,
     * QV_ETIMEOUT, QV_ENOSPC, QV_EIO, with a reason in msg. */
    void (*done)(struct qv_fetch *f, int err);
    void *arg;
    struct qv_errmsg msg;
    /* fetch's */
    int fd;
    uint64_t bytes;
    int err;
};

/* QV_EBUSY: QV_FETCHES_MAX are under way; then done is not called. */
QV_MUST_USE int qv_fetch_start(struct qv_fetch *f);

#endif
