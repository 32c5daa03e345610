/* The bytes a connection still has to send: a queue of segments. Small writes are gathered in a
 * tail segment; a large body becomes a segment of its own, without a copy.
 *
 * Invariants: `bytes` is the sum over segments of what is not sent yet; bytes that were given out
 * by qv_outq_iov keep their address until qv_outq_sent has passed them, provided that the queue was
 * sealed after that (a sealed segment is never appended to, so never moved).
 * One thread. */
#ifndef QV_NET_OUTQ_H
#define QV_NET_OUTQ_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

#define QV_OUTQ_COPY_BYTES ((size_t)16 * 1024) /* up to here a body is copied, not linked */

struct qv_out_seg {
    struct qv_buf buf;
    size_t sent_bytes;
    bool sealed;
};

struct qv_outq {
    struct qv_out_seg *segs; /* live: [first, first + n) */
    size_t first, n, cap;
    size_t bytes;
    bool failed; /* memory ran out: the connection can't go on */
};

struct qv_out_iov {
    uint8_t *p;
    size_t n;
};

void qv_outq_init(struct qv_outq *q);
void qv_outq_close(struct qv_outq *q);

void qv_outq_append(struct qv_outq *q, const void *p, size_t n);
static inline void qv_outq_str(struct qv_outq *q, const char *s)
{
    qv_outq_append(q, s, strlen(s));
}
/* Takes b's bytes and leaves it empty where they are many, copies them where they are few. */
void qv_outq_take(struct qv_outq *q, struct qv_buf *b);

/* Up to max runs from the front, in order; gives how many. */
size_t qv_outq_iov(const struct qv_outq *q, struct qv_out_iov *iov, size_t max);
void qv_outq_seal(struct qv_outq *q);
void qv_outq_sent(struct qv_outq *q, size_t n); /* n <= bytes */

#endif
