/* A growable byte buffer with a bound, and bounds-checked little-endian reading. */
#ifndef QV_BASE_BUF_H
#define QV_BASE_BUF_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* A borrowed run of bytes. */
struct qv_bytes {
    const uint8_t *p;
    size_t n;
};

/* Growable; owns data. Once an append fails (bound or memory), `failed` stays set, later appends do
 * nothing, and the content must not be used: so a writer checks once, at the end. */
struct qv_buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t limit; /* most bytes it may hold; 0 = no bound but memory */
    bool failed;
};

void qv_buf_init(struct qv_buf *b, size_t limit);
void qv_buf_close(struct qv_buf *b); /* frees; the struct is empty and usable again */
static inline void qv_buf_clear(struct qv_buf *b)
{
    b->len = 0;
    b->failed = false;
}

/* Room for n more bytes at data + len; NULL when failed. Does not move len. */
uint8_t *qv_buf_reserve(struct qv_buf *b, size_t n);
void qv_buf_append(struct qv_buf *b, const void *p, size_t n);
void qv_buf_printf(struct qv_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static inline void qv_buf_u8(struct qv_buf *b, uint8_t v)
{
    qv_buf_append(b, &v, 1);
}
static inline void qv_buf_str(struct qv_buf *b, const char *s)
{
    qv_buf_append(b, s, strlen(s));
}
/* Little-endian (the only byte order supported; asserted at build). */
static inline void qv_buf_u16(struct qv_buf *b, uint16_t v)
{
    qv_buf_append(b, &v, sizeof v);
}
static inline void qv_buf_u32(struct qv_buf *b, uint32_t v)
{
    qv_buf_append(b, &v, sizeof v);
}
static inline void qv_buf_u64(struct qv_buf *b, uint64_t v)
{
    qv_buf_append(b, &v, sizeof v);
}
void qv_buf_varint(struct qv_buf *b, uint64_t v); /* LEB128, <= 10 bytes */

/* A cursor over bytes from the world. A read past the end sets failed and gives zeros, so a decoder
 * checks once after a group of reads. */
struct qv_rd {
    const uint8_t *p;
    const uint8_t *end;
    bool failed;
};

static inline void qv_rd_init(struct qv_rd *r, const void *p, size_t n)
{
    r->p = (const uint8_t *)p;
    r->end = n > 0 ? r->p + n : r->p; /* NULL + 0 is undefined in C */
    r->failed = false;
}
static inline size_t qv_rd_left(const struct qv_rd *r)
{
    return (size_t)(r->end - r->p);
}
/* n bytes, borrowed from the input; NULL (and failed) when there are fewer. */
const uint8_t *qv_rd_take(struct qv_rd *r, size_t n);
uint8_t qv_rd_u8(struct qv_rd *r);
uint16_t qv_rd_u16(struct qv_rd *r);
uint32_t qv_rd_u32(struct qv_rd *r);
uint64_t qv_rd_u64(struct qv_rd *r);
uint64_t qv_rd_varint(struct qv_rd *r); /* refuses overlong (more than 10 bytes) and overflow */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "formats are little-endian in place");

#endif
