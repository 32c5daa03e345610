/* An object's keys in byte order: finding in a large object without walking it each time, and
 * telling whether keys are distinct in n log n whatever the keys are. */
#ifndef QV_CORE_DOC_INDEX_H
#define QV_CORE_DOC_INDEX_H

#include "core/doc.h"

struct qv_doc_entry {
    struct qv_str key;
    struct qv_doc value;
};

/* Owns entries; borrows the object. */
struct qv_doc_index {
    struct qv_doc_entry *entries; /* sorted by key */
    uint32_t count;
};

/* The keys of a valid object (p == NULL: an empty one). QV_ENOMEM. */
QV_MUST_USE int qv_doc_index_init(struct qv_doc_index *x, struct qv_doc object);
void qv_doc_index_close(struct qv_doc_index *x);
bool qv_doc_index_find(const struct qv_doc_index *x, struct qv_str key, struct qv_doc *out);

/* Sorts keys[0..n) and says whether two are equal. */
bool qv_doc_keys_distinct(struct qv_str *keys, size_t n);

#endif
