/* Growing columns that never move: address space is reserved once (no memory behind it), and made
 * usable from the front as the column grows. Resident memory is what was touched.
 *
 * Fresh bytes read as zero. A touch beyond what was grown faults, at once and by design.
 * Threads: grow calls of one column must not overlap (the owner's lock); touching what an earlier
 * grow made usable needs no lock, since base never changes. */
#ifndef QV_BASE_VMEM_H
#define QV_BASE_VMEM_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct qv_vmem {
    uint8_t *base;         /* NULL when nothing is reserved */
    size_t reserved_bytes; /* whole pages */
    size_t usable_bytes;   /* whole pages, <= reserved_bytes */
    bool huge;             /* asks for transparent huge pages where grown by 2 MB or more */
};

/* Of all columns together. The rest of the 128 TiB that a process has is for everybody else: where
 * columns could take all of it, the next allocation of anybody would end the process. */
#define QV_VMEM_TOTAL_MAX ((size_t)96 << 40)

/* QV_ENOMEM when QV_VMEM_TOTAL_MAX, the address space or the machine's commit limit is used up.
 * bytes >= 1. */
int qv_vmem_reserve(struct qv_vmem *vm, size_t bytes, bool huge) QV_MUST_USE;

/* Makes at least the first `bytes` usable, in steps that double up to 64 MB so that system calls
 * stay rare. QV_ELIMIT beyond the reservation, QV_ENOMEM. */
int qv_vmem_grow(struct qv_vmem *vm, size_t bytes) QV_MUST_USE;

void qv_vmem_close(struct qv_vmem *vm); /* gives the range back; may be called twice */

#endif
