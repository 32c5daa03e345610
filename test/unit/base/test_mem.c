/* What is left of memory. */
#include "suite.h"

#include "base/mem.h"

#include <unistd.h>

static void no_more_is_available_than_there_is(void **state)
{
    (void)state;
    const uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    const uint64_t available = qv_mem_available();
    assert_true(available > 0 && available <= all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_more_is_available_than_there_is)};
    return RUN_SUITE(tests);
}
