/* Text matching by a text index's options once more, as plainly as can be: a text becomes a list of
 * code points, that a list of pieces, that a list of tokens; then lists are compared. Shares no
 * code with src/text or src/core/text_match.c but libstemmer and utf8proc; slow, and meant to be.
 */
#ifndef QV_TEST_NAIVE_TEXT_H
#define QV_TEST_NAIVE_TEXT_H

#include "core/filter.h"
#include "text/analyzer.h"

/* Do the values (all strings that a path reaches) satisfy a condition of the type? */
bool naive_text(const struct qv_text_options *o, enum qv_cond_type type, struct qv_str query,
                const struct qv_str *values, size_t count);

#endif
