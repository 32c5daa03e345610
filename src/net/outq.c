#include "net/outq.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#define OUTQ_SEG_BYTES_MIN ((size_t)4 * 1024)
#define OUTQ_SEG_BYTES_MAX ((size_t)64 * 1024)

void qv_outq_init(struct qv_outq *q)
{
    memset(q, 0, sizeof *q);
}

void qv_outq_close(struct qv_outq *q)
{
    for (size_t i = 0; i < q->n; i++)
        qv_buf_close(&q->segs[q->first + i].buf);
    qv_mem_free(q->segs);
    qv_outq_init(q);
}

/* A fresh segment at the end; NULL without memory. */
static struct qv_out_seg *outq_push(struct qv_outq *q)
{
    if (q->segs != NULL && q->first + q->n == q->cap && q->first > 0) {
        memmove(q->segs, q->segs + q->first, q->n * sizeof *q->segs);
        q->first = 0;
    }
    if (q->n == q->cap) {
        size_t cap = q->cap == 0 ? 4 : q->cap * 2;
        struct qv_out_seg *segs = qv_mem_try_realloc(q->segs, cap * sizeof *segs);
        if (segs == NULL) {
            q->failed = true;
            return NULL;
        }
        q->segs = segs;
        q->cap = cap;
    }
    QV_ASSERT(q->segs != NULL && q->first + q->n < q->cap);
    struct qv_out_seg *seg = &q->segs[q->first + q->n++];
    memset(seg, 0, sizeof *seg);
    return seg;
}

void qv_outq_append(struct qv_outq *q, const void *p, size_t n)
{
    if (n == 0 || q->failed)
        return;
    struct qv_out_seg *seg = q->n > 0 ? &q->segs[q->first + q->n - 1] : NULL;
    if (seg == NULL || seg->sealed || seg->buf.len + n > OUTQ_SEG_BYTES_MAX) {
        seg = outq_push(q);
        if (seg == NULL)
            return;
        qv_buf_init(&seg->buf, 0);
        qv_buf_reserve(&seg->buf, OUTQ_SEG_BYTES_MIN);
    }
    qv_buf_append(&seg->buf, p, n);
    if (seg->buf.failed) {
        q->failed = true;
        return;
    }
    q->bytes += n;
}

void qv_outq_take(struct qv_outq *q, struct qv_buf *b)
{
    if (b->len <= QV_OUTQ_COPY_BYTES) {
        qv_outq_append(q, b->data, b->len);
        qv_buf_clear(b);
        return;
    }
    struct qv_out_seg *seg = q->failed ? NULL : outq_push(q);
    if (seg == NULL) {
        qv_buf_close(b);
        return;
    }
    seg->buf = *b;
    seg->sealed = true;
    qv_buf_init(b, b->limit);
    q->bytes += seg->buf.len;
}

size_t qv_outq_iov(const struct qv_outq *q, struct qv_out_iov *iov, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < q->n && n < max; i++) {
        struct qv_out_seg *seg = &q->segs[q->first + i];
        if (seg->sent_bytes == seg->buf.len)
            continue;
        iov[n].p = seg->buf.data + seg->sent_bytes;
        iov[n++].n = seg->buf.len - seg->sent_bytes;
    }
    return n;
}

void qv_outq_seal(struct qv_outq *q)
{
    if (q->n > 0)
        q->segs[q->first + q->n - 1].sealed = true;
}

void qv_outq_sent(struct qv_outq *q, size_t n)
{
    QV_ASSERT(n <= q->bytes);
    q->bytes -= n;
    while (q->n > 0) {
        struct qv_out_seg *seg = &q->segs[q->first];
        size_t left = seg->buf.len - seg->sent_bytes;
        if (n < left) {
            seg->sent_bytes += n;
            return;
        }
        n -= left;
        /* The last small segment stays, empty, for what comes next. */
        if (q->n == 1 && !seg->sealed && seg->buf.cap <= OUTQ_SEG_BYTES_MAX) {
            qv_buf_clear(&seg->buf);
            seg->sent_bytes = 0;
            break;
        }
        qv_buf_close(&seg->buf);
        q->first++;
        q->n--;
    }
    if (q->n == 0)
        q->first = 0;
    QV_ASSERT(n == 0);
}
