/* The tokens that a text index keeps of stored texts (text_index.h has its options). One thread at
 * a time. */
#ifndef QV_CORE_TEXT_TOKENS_H
#define QV_CORE_TEXT_TOKENS_H

#include "core/doc.h"

struct qv_text_tokens;

/* params: the index's options object (p == NULL: none given), copied. QV_EINVAL with the reason,
 * QV_ENOMEM. */
QV_MUST_USE int qv_text_tokens_open(struct qv_doc params, struct qv_text_tokens **out,
                                    struct qv_errmsg *msg);
void qv_text_tokens_close(struct qv_text_tokens **t); /* *t may be NULL; sets it NULL */

/* Calls f for each token, again where it stands again, until f says false. The token is valid
 * during the call. Every token that a condition asks for (text_match.h) of a text that satisfies
 * it is among them. */
void qv_text_tokens_run(struct qv_text_tokens *t, struct qv_str text,
                        bool (*f)(void *ctx, struct qv_str token), void *ctx);

#endif
