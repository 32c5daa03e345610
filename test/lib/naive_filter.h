/* The filter rules of docs/filters.md once more, as plainly as they can be put: values reached are
 * collected in a list, then looked at one by one. Shares no code with src/core/filter.c or
 * src/core/doc_path.c; slow, and meant to be. */
#ifndef QV_TEST_NAIVE_FILTER_H
#define QV_TEST_NAIVE_FILTER_H

#include "core/filter.h"

bool naive_filter(const struct qv_filter *f, const struct qv_filter_point *point);

#endif
