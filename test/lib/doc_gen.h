/* Documents for tests: from JSON text (by jansson, which shares nothing with the code under test),
 * and random ones. */
#ifndef QV_TEST_DOC_GEN_H
#define QV_TEST_DOC_GEN_H

#include "base/buf.h"
#include "base/rng.h"
#include "core/doc.h"

/* Appends the document that json says (ends the process on bad JSON). */
void doc_gen_json(struct qv_buf *b, const char *json);
/* A buffer that holds it alone; close it with qv_buf_close. */
struct qv_buf doc_gen_new(const char *json);
struct qv_doc doc_gen_view(const struct qv_buf *b);

/* Appends a random value: at most `depth` containers deep, keys from a small alphabet. */
void doc_gen_random(struct qv_buf *b, struct qv_rng *rng, unsigned depth);
/* The same, always an object. */
void doc_gen_random_object(struct qv_buf *b, struct qv_rng *rng, unsigned depth);

#endif
