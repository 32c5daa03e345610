#include "base/vmem.h"

#include "base/qv_assert.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#define VMEM_PAGE_BYTES ((size_t)4096)
#define VMEM_HUGE_BYTES ((size_t)2 << 20)
#define VMEM_STEP_MIN ((size_t)64 << 10)
#define VMEM_STEP_MAX ((size_t)64 << 20)

static atomic_size_t reserved_total;

static size_t round_up(size_t bytes, size_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

int qv_vmem_reserve(struct qv_vmem *vm, size_t bytes, bool huge)
{
    QV_ASSERT(bytes > 0);
    memset(vm, 0, sizeof *vm);
    if (bytes > SIZE_MAX / 2)
        return QV_ENOMEM;
    size_t n = round_up(bytes, VMEM_PAGE_BYTES);
    if (atomic_fetch_add(&reserved_total, n) + n > QV_VMEM_TOTAL_MAX) {
        atomic_fetch_sub(&reserved_total, n);
        return QV_ENOMEM;
    }
    void *p = mmap(NULL, n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        atomic_fetch_sub(&reserved_total, n);
        return QV_ENOMEM;
    }
    vm->base = p;
    vm->reserved_bytes = n;
    vm->huge = huge;
    return 0;
}

int qv_vmem_grow(struct qv_vmem *vm, size_t bytes)
{
    QV_ASSERT(vm->base != NULL);
    if (bytes <= vm->usable_bytes)
        return 0;
    if (bytes > vm->reserved_bytes)
        return QV_ELIMIT;
    size_t step = vm->usable_bytes;
    if (step < VMEM_STEP_MIN)
        step = VMEM_STEP_MIN;
    if (step > VMEM_STEP_MAX)
        step = VMEM_STEP_MAX;
    size_t want = vm->usable_bytes + step;
    if (want < bytes)
        want = round_up(bytes, step >= VMEM_HUGE_BYTES ? VMEM_HUGE_BYTES : VMEM_STEP_MIN);
    if (want > vm->reserved_bytes)
        want = vm->reserved_bytes;
    size_t grown = want - vm->usable_bytes;
    if (mprotect(vm->base + vm->usable_bytes, grown, PROT_READ | PROT_WRITE) != 0)
        return QV_ENOMEM;
    /* A hint: where the kernel has no huge pages the column works the same, only slower. */
    if (vm->huge && grown >= VMEM_HUGE_BYTES)
        (void)madvise(vm->base + vm->usable_bytes, grown, MADV_HUGEPAGE);
    vm->usable_bytes = want;
    return 0;
}

void qv_vmem_close(struct qv_vmem *vm)
{
    if (vm->base != NULL) {
        int rc = munmap(vm->base, vm->reserved_bytes);
        QV_ASSERT(rc == 0);
        atomic_fetch_sub(&reserved_total, vm->reserved_bytes);
    }
    memset(vm, 0, sizeof *vm);
}
