/* Text conditions by the tokens of a text index. Private to core: filter.c asks it while it walks a
 * point. One thread at a time. */
#ifndef QV_CORE_TEXT_MATCH_H
#define QV_CORE_TEXT_MATCH_H

#include "core/filter.h"

/* The condition by number, if its field has a text index; NULL: it is matched without. */
struct qv_text_cond;
struct qv_text_cond *qv_text_cond_of(struct qv_filter_binding *b, const struct qv_cond *c);

/* Begins with a point (or an object, inside NESTED); then every string that the path reaches.
 * true: it is satisfied, no more need be asked. */
void qv_text_cond_begin(struct qv_text_cond *t);
bool qv_text_cond_add(struct qv_text_cond *t, struct qv_str s);

#endif
