#include "base/buf.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>

void qv_buf_init(struct qv_buf *b, size_t limit)
{
    memset(b, 0, sizeof *b);
    b->limit = limit;
}

void qv_buf_close(struct qv_buf *b)
{
    size_t limit = b->limit;
    qv_mem_free(b->data);
    qv_buf_init(b, limit);
}

uint8_t *qv_buf_reserve(struct qv_buf *b, size_t n)
{
    size_t need;
    if (b->failed || __builtin_add_overflow(b->len, n, &need) || (b->limit && need > b->limit)) {
        b->failed = true;
        return NULL;
    }
    if (need > b->cap || b->data == NULL) {
        size_t cap = b->cap < 64 ? 64 : b->cap;
        while (cap < need)
            cap += cap / 2;
        if (b->limit && cap > b->limit)
            cap = b->limit;
        uint8_t *data = qv_mem_try_realloc(b->data, cap);
        if (data == NULL) {
            b->failed = true;
            return NULL;
        }
        b->data = data;
        b->cap = cap;
    }
    return b->data + b->len;
}

void qv_buf_append(struct qv_buf *b, const void *p, size_t n)
{
    uint8_t *to = qv_buf_reserve(b, n);
    if (to == NULL || n == 0)
        return;
    memcpy(to, p, n);
    b->len += n;
}

void qv_buf_printf(struct qv_buf *b, const char *fmt, ...)
{
    char small[256];
    va_list ap;
    va_list again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    if (n < 0) {
        b->failed = true;
    } else if ((size_t)n < sizeof small) {
        qv_buf_append(b, small, (size_t)n);
    } else {
        uint8_t *to = qv_buf_reserve(b, (size_t)n + 1);
        if (to != NULL) {
            (void)vsnprintf((char *)to, (size_t)n + 1, fmt, again);
            b->len += (size_t)n;
        }
    }
    va_end(again);
}

void qv_buf_varint(struct qv_buf *b, uint64_t v)
{
    uint8_t tmp[10];
    size_t n = 0;
    do {
        tmp[n] = (uint8_t)((v & 0x7F) | (v > 0x7F ? 0x80 : 0));
        v >>= 7;
        n++;
    } while (v != 0);
    qv_buf_append(b, tmp, n);
}

const uint8_t *qv_rd_take(struct qv_rd *r, size_t n)
{
    if (r->failed || qv_rd_left(r) < n) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *p = r->p;
    r->p += n;
    return p;
}

#define RD_FIXED(type, name)                                                                       \
    type name(struct qv_rd *r)                                                                     \
    {                                                                                              \
        type v = 0;                                                                                \
        const uint8_t *p = qv_rd_take(r, sizeof v);                                                \
        if (p != NULL)                                                                             \
            memcpy(&v, p, sizeof v);                                                               \
        return v;                                                                                  \
    }

RD_FIXED(uint8_t, qv_rd_u8)
RD_FIXED(uint16_t, qv_rd_u16)
RD_FIXED(uint32_t, qv_rd_u32)
RD_FIXED(uint64_t, qv_rd_u64)

uint64_t qv_rd_varint(struct qv_rd *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t byte = qv_rd_u8(r);
        if (r->failed)
            return 0;
        if (shift == 63 && byte > 1)
            break;
        v |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80))
            return v;
    }
    r->failed = true;
    return 0;
}
