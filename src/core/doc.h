/* Documents: payload values in one flat, checked binary form (JSON's data model).
 *
 *   value  := tag u8, then
 *     0 null | 1 false | 2 true
 *     3 int      i64
 *     4 double   f64 (finite)
 *     5 string   u32 n, n bytes of valid UTF-8 without NUL restrictions
 *     6 array    u32 bytes (of what follows this field), u32 count, count values
 *     7 object   u32 bytes (likewise), u32 count, count x { u32 n, n key bytes, value };
 *                keys distinct; insertion order is kept
 *   all little-endian, unaligned.
 *
 * What is written by a builder or accepted by qv_doc_check is valid; every reader below relies on
 * it (they assert, they don't re-check). Bytes from disk or network pass qv_doc_check first. Any
 * thread. */
#ifndef QV_CORE_DOC_H
#define QV_CORE_DOC_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>

enum qv_doc_type {
    QV_DOC_NULL,
    QV_DOC_FALSE,
    QV_DOC_TRUE,
    QV_DOC_INT,
    QV_DOC_DOUBLE,
    QV_DOC_STRING,
    QV_DOC_ARRAY,
    QV_DOC_OBJECT
};

#define QV_DOC_DEPTH_MAX 64

int qv_str_compare(struct qv_str a, struct qv_str b); /* bytes, then length */

/* One value; borrows its bytes. p == NULL means "no value" (missing). */
struct qv_doc {
    const uint8_t *p;
    size_t n;
};

/* Exactly one valid value in p[0..n), with at most QV_DOC_DEPTH_MAX containers around any scalar?
 * Otherwise QV_ECORRUPT with the reason in msg (QV_ENOMEM: an object of more than 16 unsorted keys
 * and no memory to compare them). Reports to nobody: whose bytes they are the caller knows, and
 * tells by QV_CORRUPT where they were ours. */
QV_MUST_USE int qv_doc_check(const void *p, size_t n, struct qv_errmsg *msg);
/* The same for a value that will stand inside an object: one level less may nest in it. */
QV_MUST_USE int qv_doc_check_member(const void *p, size_t n, struct qv_errmsg *msg);

enum qv_doc_type qv_doc_type(struct qv_doc d);
bool qv_doc_bool(struct qv_doc d);
int64_t qv_doc_int(struct qv_doc d);
double qv_doc_double(struct qv_doc d); /* of an int or a double */
struct qv_str qv_doc_str(struct qv_doc d);
uint32_t qv_doc_count(struct qv_doc d); /* of an array or object */

struct qv_doc_iter {
    const uint8_t *p;
    uint32_t left;
    bool is_object;
};
void qv_doc_iter_init(struct qv_doc_iter *it, struct qv_doc container);
bool qv_doc_next(struct qv_doc_iter *it, struct qv_str *key /* NULL for arrays */,
                 struct qv_doc *out);
bool qv_doc_find(struct qv_doc object, struct qv_str key, struct qv_doc *out);

/* Same value; object order does not matter; int 1 and double 1.0 differ. */
bool qv_doc_equal(struct qv_doc a, struct qv_doc b);

/* Builders: append to a qv_buf; begin/end patch the sizes. Keys of one object must be distinct
 * (the JSON and protobuf decoders keep the last of equal keys before they build), text must be
 * UTF-8. More than 4 GiB in one text or container fails the buffer. */
void qv_doc_put_null(struct qv_buf *b);
void qv_doc_put_bool(struct qv_buf *b, bool v);
void qv_doc_put_int(struct qv_buf *b, int64_t v);
void qv_doc_put_double(struct qv_buf *b, double v); /* Inf and NaN become null */
void qv_doc_put_str(struct qv_buf *b, const char *p, size_t n);
void qv_doc_put_doc(struct qv_buf *b, struct qv_doc v);
size_t qv_doc_begin_array(struct qv_buf *b); /* gives a mark for end */
void qv_doc_end_array(struct qv_buf *b, size_t mark, uint32_t count);
size_t qv_doc_begin_object(struct qv_buf *b);
void qv_doc_put_key(struct qv_buf *b, const char *p, size_t n); /* then one value */
void qv_doc_end_object(struct qv_buf *b, size_t mark, uint32_t count);
#define QV_DOC_EMPTY_OBJECT_BYTES 9

/* ---- paths ----
 *
 *   path := key step*      step := '.' key | '[' digits ']' | "[]"
 *   key  := letters, digits, '_', '-' (beyond ASCII: anything) | '"' anything but '"' and '\\' '"'
 *
 * A key step reaches into objects only, an element step into arrays only: nothing is entered
 * implicitly ("a.b" reaches nothing where a is an array; "a[].b" does). */

struct qv_path_step {
    struct qv_str key; /* KEY */
    uint32_t index;    /* INDEX */
    enum { QV_STEP_KEY, QV_STEP_ALL, QV_STEP_INDEX } kind;
};
struct qv_path {
    const struct qv_path_step *steps;
    uint32_t count; /* >= 1, <= QV_DOC_DEPTH_MAX; the first is a KEY */
};
/* Steps live in the arena, keys borrow text. QV_EINVAL with a reason on a malformed path (text that
 * is not UTF-8, too), QV_ENOMEM. */
QV_MUST_USE int qv_path_parse(struct qv_arena *a, struct qv_str text, struct qv_path *out,
                              struct qv_errmsg *msg);

/* Calls visit for every value the path reaches in root (p == NULL reaches none), in document order.
 * Returns how many were visited; visit may stop it by false. No allocation. */
typedef bool (*qv_path_visit_f)(void *ctx, struct qv_doc value);
size_t qv_path_walk(struct qv_doc root, const struct qv_path *path, qv_path_visit_f visit,
                    void *ctx);

/* Appends to out the object root (p == NULL: an empty one) with the keys of the object `value` put
 * into every object that path reaches, null removing a key: that API's set_payload with `key`.
 * Objects missing on the way are made; a value of the wrong type in the way gives place to an
 * object (where a key is wanted) or to an empty array (where an element is); an index past the end
 * does nothing. Keys keep their places, new ones come last. out must not hold root or value.
 * QV_EINVAL: the result nests deeper than QV_DOC_DEPTH_MAX. QV_ENOMEM. out is as it was then. */
QV_MUST_USE int qv_path_set(struct qv_doc root, const struct qv_path *path, struct qv_doc value,
                            struct qv_buf *out);
/* Appends root without what path reaches. A path that ends in "[]" leaves an empty array; one that
 * ends in an index removes nothing (it would not be idempotent). QV_ENOMEM. */
QV_MUST_USE int qv_path_remove(struct qv_doc root, const struct qv_path *path, struct qv_buf *out);
/* What of root the paths reach: an object with just those branches; appends it to out. */
QV_MUST_USE int qv_path_project(struct qv_doc root, const struct qv_path *paths, uint32_t count,
                                struct qv_buf *out);

#endif
