/* A node's links, divided into those that a bitmap lets pass and those it does not, as a walk under
 * a filter wants them: what passes, if it was not seen; what fails, seen or not, since most of that
 * is never looked at and a mark is a cache miss.
 *
 * A filtered walk looks at many lists for each row it compares. Glove, ef 64, half of the rows
 * pass, far from the query: 1.24 times the searches with sixteen links at a time.
 *
 * Others may change the list meanwhile. A cell is read once; a link may be met twice then, so what
 * comes back may hold a slot twice. Every ISA returns the same, in the order of the list. Any
 * thread. */
#ifndef QV_SIMD_LINKS_H
#define QV_SIMD_LINKS_H

#include "base/isa.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes behind `seen`, and places behind what `passing` and `failing` hold when a list is done,
 * that are read or written and mean nothing. */
#define QV_LINKS_SLACK 16u

struct qv_links_filter {
    const uint64_t *bits; /* bit s set: slot s passes; ceil(bound / 64) words */
    const uint8_t *seen;  /* seen[s] == epoch: not wanted if it passes; bound + SLACK bytes */
    uint32_t bound;       /* slots from here on are not wanted */
    uint8_t epoch;
};

/* Room for the links of the list and SLACK more behind the counts, which grow. */
struct qv_links_parts {
    uint32_t *passing, *failing;
    uint32_t passing_count, failing_count;
};

/* Adds the links of a list of cap cells, which ends before the first UINT32_MAX. Returns how many
 * links it has. All borrowed for the call. */
typedef uint32_t (*qv_links_split_f)(const _Atomic uint32_t *list, uint32_t cap,
                                     const struct qv_links_filter *filter,
                                     struct qv_links_parts *parts);

/* The fastest of the ISA in force; never NULL. Look it up once, not per list. */
qv_links_split_f qv_simd_links_split(void);
/* The same for a named ISA (tests and benchmarks); NULL when this machine can't run it. */
qv_links_split_f qv_simd_links_split_isa(enum qv_isa isa);

/* The kernels by name. */
uint32_t qv_links_split_serial(const _Atomic uint32_t *list, uint32_t cap,
                               const struct qv_links_filter *filter, struct qv_links_parts *parts);
#ifdef __x86_64__
uint32_t qv_links_split_avx512(const _Atomic uint32_t *list, uint32_t cap,
                               const struct qv_links_filter *filter, struct qv_links_parts *parts);
#endif

#endif
