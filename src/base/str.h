/* Text by length. */
#ifndef QV_BASE_STR_H
#define QV_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Text that is not NUL-terminated; borrowed. */
struct qv_str {
    const char *p;
    size_t n;
};
static inline struct qv_str qv_str_of(const char *s)
{
    return (struct qv_str){s, strlen(s)};
}
static inline bool qv_str_equal(struct qv_str a, struct qv_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

#endif
