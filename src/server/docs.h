/* The reference pages that come from the tables the code runs on: docs/api.md, docs/metrics.md. */
#ifndef QV_SERVER_DOCS_H
#define QV_SERVER_DOCS_H

#include "base/buf.h"

void qv_docs_write_api(struct qv_buf *b);     /* Markdown: what is served, what is not yet */
void qv_docs_write_metrics(struct qv_buf *b); /* Markdown: every metric */

#endif
