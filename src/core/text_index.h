/* The options of text indexes (and, in the .c file, the check of any index's: config.h). Any
 * thread. */
#ifndef QV_CORE_TEXT_INDEX_H
#define QV_CORE_TEXT_INDEX_H

#include "core/config.h"
#include "text/analyzer.h"

/* A text index's options object (p == NULL: none given) with defaults filled in. Lists live in the
 * arena, words borrow params. QV_EINVAL with the reason, QV_ENOMEM. */
QV_MUST_USE int qv_text_index_options(struct qv_doc params, struct qv_arena *a,
                                      struct qv_text_options *out, struct qv_errmsg *msg);

#endif
