/* Text conditions by the tokens of a text index: filter.c asks while it walks a point, a payload
 * index asks for the tokens. One thread at a time. */
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

/* What is asked for: of MATCH_TEXT all tokens, of MATCH_TEXT_ANY one, of MATCH_PHRASE all, in a
 * row. None: nothing satisfies it. Valid as long as the binding. */
struct qv_text_asked {
    uint32_t index;              /* number of the text index whose tokens they are */
    bool prefix;                 /* words that begin with a token are meant */
    const struct qv_str *tokens; /* distinct */
    uint32_t count;
};
/* false: the condition's field has no text index (it is matched without); b may be NULL. */
bool qv_text_asked(const struct qv_filter_binding *b, const struct qv_cond *c,
                   struct qv_text_asked *out);

#endif
