/* JSON values <-> documents (core/doc.h). */
#ifndef QV_WIRE_JSON_DOC_H
#define QV_WIRE_JSON_DOC_H

#include "core/doc.h"
#include "wire/json_scan.h"

/* Reads the next value. Integers within i64 become ints, all other numbers doubles; of equal keys
 * the last counts. The document lives in j->arena; p == NULL on error. Deeper than QV_DOC_DEPTH_MAX
 * or larger than QV_PAYLOAD_BYTES_MAX: an error. */
struct qv_doc qv_json_doc(struct qv_json *j);
/* The same, but the value must be an object. */
struct qv_doc qv_json_doc_object(struct qv_json *j, const char *what);

/* A whole text as one document. QV_EFORMAT, QV_ETOOBIG. */
QV_MUST_USE int qv_json_read_doc(struct qv_bytes text, struct qv_arena *a, struct qv_doc *out,
                                 struct qv_errmsg *msg);

/* Appends d (checked) as JSON without white space; doubles shortest, so that reading them gives the
 * same bits; a double always has a fraction or an exponent, so it comes back as a double. */
void qv_json_write_doc(struct qv_buf *b, struct qv_doc d);

#endif
