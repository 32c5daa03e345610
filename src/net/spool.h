/* A request's body on its way into a file, and an answer's body on its way out of one.
 *
 * Everything here belongs to the loop's thread but what a job does: reading, writing and closing
 * files happens on the pool behind qv_net_core's offload. One job at a time for each spool and each
 * file answer. Either outlives its call where a job is under way: the call lets go of it
 * (qv_spool_release, qv_filebody_release), the job's end closes the file and frees it.
 *
 * Invariants: what a spool holds in memory is at most what the sender was allowed to send ahead
 * (HTTP/1: QV_SPOOL_AHEAD_BYTES and one read; HTTP/2: its windows); a file answer holds one chunk.
 */
#ifndef QV_NET_SPOOL_H
#define QV_NET_SPOOL_H

#include "net/conn.h"

#define QV_SPOOL_AHEAD_BYTES ((size_t)256 * 1024)
#define QV_FILEBODY_CHUNK_BYTES ((size_t)128 * 1024)

/* ---- in: a body goes to an unlinked file ---------------------------------------------------- */

struct qv_spool {
    struct qv_net_job job;
    struct qv_net_core *core;
    struct qv_call_priv *call; /* NULL: it let go */
    int fd;
    uint64_t bytes;     /* taken in */
    uint64_t bytes_max; /* beyond it QV_ETOOBIG */
    uint64_t written;
    struct qv_buf filling, writing; /* filling becomes writing when no job is under way */
    bool busy;
    int job_err; /* the job's: err when it is done */
    int err;     /* of a write; the first one stays */
};

/* QV_ENOMEM, or what opening the file gave. */
int qv_spool_create(struct qv_call_priv *call, const char *dir, uint64_t bytes_max,
                    struct qv_spool **out) QV_MUST_USE;
/* The call goes; *spool becomes NULL. */
void qv_spool_release(struct qv_spool **spool);
/* QV_ETOOBIG, QV_ENOMEM, or the error of an earlier write. */
int qv_spool_add(struct qv_spool *spool, const void *p, size_t n) QV_MUST_USE;
/* Something is still to be written. */
bool qv_spool_is_behind(const struct qv_spool *spool);
/* So much that reading should pause. */
bool qv_spool_is_full(const struct qv_spool *spool);

/* ---- out: an answer's body comes from a file ------------------------------------------------ */

struct qv_filebody {
    struct qv_net_job job;
    struct qv_net_core *core;  /* NULL before the answer is applied */
    struct qv_call_priv *call; /* NULL: it let go */
    int fd;
    uint64_t offset; /* of the next read */
    uint64_t unread;
    uint64_t unsent;     /* not yet given to the connection: unread and the chunk's rest */
    struct qv_buf chunk; /* read; sent_bytes of it are gone */
    size_t sent_bytes;
    bool busy;
    bool deferred; /* HTTP/2: nghttp2 waits to be told that there is more */
    int job_err;   /* the job's: err when it is done */
    int err;       /* QV_EEOF: the file is shorter than was said */
};

/* Takes file->fd. NULL without memory (it is closed). Any thread. */
struct qv_filebody *qv_filebody_create(const struct qv_net_file *file);
/* Reads ahead, when there is room and more to read. */
void qv_filebody_pull(struct qv_filebody *body, struct qv_call_priv *call);
/* The rest of the chunk; n = 0: none is there now. */
struct qv_bytes qv_filebody_ready(const struct qv_filebody *body);
/* n bytes of it were given to the connection; reads on. */
void qv_filebody_took(struct qv_filebody *body, size_t n);
/* The call goes; *body becomes NULL. */
void qv_filebody_release(struct qv_filebody **body, struct qv_net_core *core);

#endif
