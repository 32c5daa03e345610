/* JSON output over qv_buf. Nothing here fails by itself: a full buffer sets b->failed, to be looked
 * at once at the end. Commas and nesting are the caller's business. */
#ifndef QV_WIRE_JSON_WRITE_H
#define QV_WIRE_JSON_WRITE_H

#include "base/buf.h"
#include "core/doc.h"

/* A string in quotes, escaped as RFC 8259 demands (and no more). s is valid UTF-8. */
void qv_json_write_str(struct qv_buf *b, struct qv_str s);
void qv_json_write_text(struct qv_buf *b, const char *s); /* NUL-terminated */
/* {"key": with the comma before it unless *first; sets *first to false. */
void qv_json_write_key(struct qv_buf *b, bool *first, const char *key);

void qv_json_write_u64(struct qv_buf *b, uint64_t v);
void qv_json_write_i64(struct qv_buf *b, int64_t v);
void qv_json_write_bool(struct qv_buf *b, bool v);

/* Shortest digits that read back as the same value (Giulietti 2021, "The Schubfach way to render
 * doubles"); with a fraction or an exponent always ("1.0", "1e21"). Not finite: null. */
void qv_json_write_f64(struct qv_buf *b, double v);
void qv_json_write_f32(struct qv_buf *b, float v);
/* [v,v,...] */
void qv_json_write_floats(struct qv_buf *b, const float *v, size_t n);

/* The digits behind these: writes at most QV_JSON_NUMBER_MAX bytes, returns how many. Finite only.
 */
#define QV_JSON_NUMBER_MAX 32
size_t qv_json_format_f64(double v, char out[QV_JSON_NUMBER_MAX]);
size_t qv_json_format_f32(float v, char out[QV_JSON_NUMBER_MAX]);

#endif
