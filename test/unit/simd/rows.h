/* What the simd suites share: rows of every dtype against a guard page, random content of several
 * kinds, and the double reference. */
#ifndef QV_TEST_SIMD_ROWS_H
#define QV_TEST_SIMD_ROWS_H

#include "base/half.h"
#include "base/metric.h"
#include "base/rng.h"
#include "simd/convert.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *const metric_names[] = {"l2", "dot", "cosine", "l1"};
static const char *const dtype_names[] = {"f32", "f16", "u8"};

/* Five pages of room between two pages that fault on any access; holds a row of 4,096 and a few
 * more. */
#define ROOM_BYTES ((size_t)20480)
#define PAGE_BYTES ((size_t)4096)

struct guarded {
    uint8_t *room; /* ROOM_BYTES, a faulting page on either side */
};

static inline void guarded_init(struct guarded *g)
{
    uint8_t *map = (uint8_t *)mmap(NULL, ROOM_BYTES + 2 * PAGE_BYTES, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || mprotect(map, PAGE_BYTES, PROT_NONE) != 0 ||
        mprotect(map + PAGE_BYTES + ROOM_BYTES, PAGE_BYTES, PROT_NONE) != 0) {
        perror("guard pages");
        _exit(2);
    }
    g->room = map + PAGE_BYTES;
}

static inline void guarded_close(struct guarded *g)
{
    munmap(g->room - PAGE_BYTES, ROOM_BYTES + 2 * PAGE_BYTES);
}

/* The place of a row of so many bytes that ends at the guard, or starts at the other one. */
static inline uint8_t *guarded_at_end(const struct guarded *g, size_t bytes)
{
    return g->room + ROOM_BYTES - bytes;
}

enum content { CONTENT_GAUSS, CONTENT_SPARSE, CONTENT_WIDE, CONTENT_DENORMAL, CONTENT_COUNT };

static inline float random_f32(struct qv_rng *rng, enum content content)
{
    switch (content) {
    case CONTENT_GAUSS:
        return qv_rng_gauss(rng);
    case CONTENT_SPARSE:
        return qv_rng_below(rng, 4) == 0 ? qv_rng_gauss(rng) : 0.0f;
    case CONTENT_WIDE: /* 2^-10 .. 2^10 */
        return ldexpf(qv_rng_gauss(rng), (int)qv_rng_below(rng, 21) - 10);
    case CONTENT_DENORMAL:
    case CONTENT_COUNT:
        break;
    }
    return ldexpf((float)(int32_t)(qv_rng_below(rng, 2001)) - 1000.0f, -149);
}

/* A row at an address of any alignment. */
static inline void fill_row(struct qv_rng *rng, enum qv_dtype dtype, enum content content,
                            uint8_t *row, size_t dim)
{
    for (size_t i = 0; i < dim; ++i) {
        if (dtype == QV_DTYPE_F32) {
            const float v = random_f32(rng, content);
            memcpy(row + 4 * i, &v, sizeof v);
        } else if (dtype == QV_DTYPE_F16) {
            uint16_t h = content == CONTENT_DENORMAL
                             ? (uint16_t)(qv_rng_below(rng, 1024) | qv_rng_below(rng, 2) << 15)
                             : qv_half_from_f32(random_f32(rng, content));
            memcpy(row + 2 * i, &h, sizeof h);
        } else {
            row[i] = content == CONTENT_SPARSE && qv_rng_below(rng, 4) != 0
                         ? 0
                         : (uint8_t)qv_rng_below(rng, 256);
            if (content == CONTENT_WIDE)
                row[i] = row[i] < 128 ? 0 : 255;
        }
    }
}

static inline double element(enum qv_dtype dtype, const uint8_t *row, size_t i)
{
    float v;
    uint16_t h;
    if (dtype == QV_DTYPE_U8)
        return row[i];
    if (dtype == QV_DTYPE_F16) {
        memcpy(&h, row + 2 * i, sizeof h);
        return qv_half_to_f32(h);
    }
    memcpy(&v, row + 4 * i, sizeof v);
    return v;
}

/* The distance in double, and the sum of the absolute values of what was added: the scale of the
 * rounding error that a sum in float may have. */
struct reference {
    double distance;
    double scale;
};

static inline struct reference reference_dist(enum qv_metric metric, enum qv_dtype dtype,
                                              const uint8_t *a, const uint8_t *b, size_t dim)
{
    double sum = 0;
    double scale = 0;
    double aa = 0;
    double bb = 0;
    for (size_t i = 0; i < dim; ++i) {
        const double x = element(dtype, a, i);
        const double y = element(dtype, b, i);
        const double term = metric == QV_METRIC_L2   ? (x - y) * (x - y)
                            : metric == QV_METRIC_L1 ? fabs(x - y)
                                                     : x * y;
        sum += term;
        scale += fabs(term);
        aa += x * x;
        bb += y * y;
    }
    if (metric == QV_METRIC_DOT)
        return (struct reference){-sum, scale};
    if (metric != QV_METRIC_COSINE)
        return (struct reference){sum, scale};
    if (aa == 0 || bb == 0)
        return (struct reference){1, 0};
    return (struct reference){1 - sum / sqrt(aa * bb), 3 + scale / sqrt(aa * bb)};
}

/* Every dim to 130, then primes and the neighbours of powers of two. */
static inline size_t next_dim(size_t dim)
{
    static const size_t large[] = {131,  191,  192,  193,  255,  256,  257,  331,  383,
                                   384,  385,  509,  511,  512,  513,  767,  768,  784,
                                   1009, 1023, 1024, 1025, 1535, 1536, 1543, 2047, 2048,
                                   2049, 3067, 3071, 3072, 4093, 4095, 4096};
    if (dim < 130)
        return dim + 1;
    for (size_t i = 0; i < sizeof large / sizeof large[0]; ++i)
        if (large[i] > dim)
            return large[i];
    return 0;
}

#define FOR_EACH_DIM(dim) for (size_t dim = 1; dim != 0; dim = next_dim(dim))

static inline uint32_t bits_of(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

#endif
