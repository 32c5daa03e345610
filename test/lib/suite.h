/* What every cmocka suite includes: cmocka with its prerequisites, and a main that ends with the
 * closing line 'N passed, N failed'. */
#ifndef QV_TEST_SUITE_H
#define QV_TEST_SUITE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* How often a seeded run on one thread is repeated: a sanitizer that makes it ten times slower sees
 * the same code in fewer. */
#if defined(__SANITIZE_THREAD__)
#define SANITIZED_LESS(n) ((n) / 15)
#elif defined(__SANITIZE_ADDRESS__)
#define SANITIZED_LESS(n) ((n) / 5)
#else
#define SANITIZED_LESS(n) (n)
#endif

/* Runs the array of CMUnitTest and returns the exit code; prints the closing line. */
#define RUN_SUITE(tests)                                                                           \
    suite_close((int)(sizeof(tests) / sizeof((tests)[0])),                                         \
                cmocka_run_group_tests((tests), NULL, NULL))

static inline int suite_close(int total, int failed)
{
    if (failed < 0)
        failed = total;
    printf("%d passed, %d failed\n", total - failed, failed);
    (void)fflush(stdout); /* a sanitizer that speaks at exit does not flush */
    return failed == 0 ? 0 : 1;
}

#endif
