/* Columns that grow in place. */
#include "suite.h"

#include "base/rng.h"
#include "base/vmem.h"

#include <stdlib.h>

#include <string.h>
#include <sys/mman.h>

static void growing_never_moves_and_reads_zero(void **state)
{
    struct qv_vmem vm;
    struct qv_rng rng;
    (void)state;
    qv_rng_init(&rng, 3);
    assert_int_equal(qv_vmem_reserve(&vm, (size_t)1 << 40, true), 0); /* more than there is */
    uint8_t *base = vm.base;
    size_t bytes = 0;
    while (bytes < (size_t)300 << 20) {
        bytes += 1 + qv_rng_below(&rng, (size_t)20 << 20);
        assert_int_equal(qv_vmem_grow(&vm, bytes), 0);
        assert_ptr_equal(vm.base, base);
        assert_true(vm.usable_bytes >= bytes && vm.usable_bytes <= vm.reserved_bytes);
        assert_true(vm.usable_bytes - bytes <= ((size_t)128 << 20));
        assert_int_equal(base[bytes - 1], 0);
        base[bytes - 1] = 1;
        assert_int_equal(qv_vmem_grow(&vm, bytes / 2), 0); /* nothing to do */
    }
    qv_vmem_close(&vm);
    assert_null(vm.base);
    qv_vmem_close(&vm);
}

static void the_reservation_is_the_limit(void **state)
{
    struct qv_vmem vm;
    (void)state;
    assert_int_equal(qv_vmem_reserve(&vm, 100000, false), 0);
    assert_int_equal(vm.reserved_bytes % 4096, 0);
    assert_int_equal(qv_vmem_grow(&vm, vm.reserved_bytes + 1), QV_ELIMIT);
    assert_int_equal(qv_vmem_grow(&vm, 1), 0);
    assert_int_equal(qv_vmem_grow(&vm, vm.reserved_bytes), 0);
    memset(vm.base, 7, vm.reserved_bytes);
    qv_vmem_close(&vm);
    assert_int_equal(qv_vmem_reserve(&vm, SIZE_MAX / 4, false), QV_ENOMEM);
    assert_int_equal(qv_vmem_reserve(&vm, SIZE_MAX, false), QV_ENOMEM);
}

/* What was not grown has no pages, and what was not touched no memory. */
static void only_what_is_touched_is_resident(void **state)
{
    struct qv_vmem vm;
    unsigned char resident[256];
    (void)state;
    assert_int_equal(qv_vmem_reserve(&vm, (size_t)256 * 4096, false), 0);
    assert_int_equal(qv_vmem_grow(&vm, (size_t)128 * 4096), 0);
    vm.base[5 * 4096] = 1;
    vm.base[77 * 4096] = 1;
    assert_int_equal(mincore(vm.base, vm.reserved_bytes, resident), 0);
    unsigned pages = 0;
    for (size_t i = 0; i < 256; i++)
        pages += resident[i] & 1u;
    assert_int_equal(pages, 2);
    qv_vmem_close(&vm);
}

/* However much is asked for, address space is left for everybody else. */
static void test_total_is_bounded(void **state)
{
    const size_t bytes = (size_t)1 << 40;
    static struct qv_vmem vm[128];
    size_t n = 0;
    (void)state;
    while (n < 128 && qv_vmem_reserve(&vm[n], bytes, false) == 0)
        n++;
    assert_true(n > 0 && n * bytes <= QV_VMEM_TOTAL_MAX);
    void *p = malloc((size_t)1 << 30);
    assert_non_null(p);
    free(p);
    qv_vmem_close(&vm[0]);
    assert_int_equal(qv_vmem_reserve(&vm[0], bytes, false), 0);
    while (n > 0)
        qv_vmem_close(&vm[--n]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(growing_never_moves_and_reads_zero),
        cmocka_unit_test(test_total_is_bounded),
        cmocka_unit_test(the_reservation_is_the_limit),
        cmocka_unit_test(only_what_is_touched_is_resident),
    };
    return RUN_SUITE(tests);
}
