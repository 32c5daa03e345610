/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. NUL is a
 * character like any other. Any thread. */
#ifndef QV_BASE_UTF8_H
#define QV_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Is p[0..n) well formed? ASCII runs go eight bytes a step. */
bool qv_utf8_valid(const void *p, size_t n);

#endif
