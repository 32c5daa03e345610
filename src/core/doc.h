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
 * What is written by a builder or accepted by qv_doc_check is valid; every reader below relies on it
 * (they assert, they don't re-check). Bytes from disk or network pass qv_doc_check first. */
#ifndef QV_CORE_DOC_H
#define QV_CORE_DOC_H

#include "base/arena.h"
#include "base/buf.h"

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

/* Text that is not NUL-terminated; borrowed. */
struct qv_str {
    const char *p;
    size_t n;
};
static inline struct qv_str qv_str_of(const char *s)
{
    return (struct qv_str){s, strlen(s)};
}
static inline bool qv_str_equal(struct qv_str a, struct qv_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
int qv_str_compare(struct qv_str a, struct qv_str b); /* bytes, then length */

/* One value; borrows its bytes. p == NULL means "no value" (missing). */
struct qv_doc {
    const uint8_t *p;
    size_t n;
};

/* Exactly one valid value of at most depth QV_DOC_DEPTH_MAX in p[0..n)? Otherwise QV_ECORRUPT with
 * the reason in msg. */
QV_MUST_USE int qv_doc_check(const void *p, size_t n, struct qv_errmsg *msg);

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
bool qv_doc_next(struct qv_doc_iter *it, struct qv_str *key /* NULL for arrays */, struct qv_doc *out);
bool qv_doc_find(struct qv_doc object, struct qv_str key, struct qv_doc *out);

bool qv_doc_equal(struct qv_doc a, struct qv_doc b); /* same value; object order does not matter;
                                                        int 1 and double 1.0 differ */

/* Builders: append to a qv_buf; begin/end patch the sizes. Keys of one object must be distinct
 * (the JSON and protobuf decoders keep the last of equal keys before they build). */
void qv_doc_put_null(struct qv_buf *b);
void qv_doc_put_bool(struct qv_buf *b, bool v);
void qv_doc_put_int(struct qv_buf *b, int64_t v);
void qv_doc_put_double(struct qv_buf *b, double v);
void qv_doc_put_str(struct qv_buf *b, const char *p, size_t n);
void qv_doc_put_doc(struct qv_buf *b, struct qv_doc v);
size_t qv_doc_begin_array(struct qv_buf *b); /* gives a mark for end */
void qv_doc_end_array(struct qv_buf *b, size_t mark, uint32_t count);
size_t qv_doc_begin_object(struct qv_buf *b);
void qv_doc_put_key(struct qv_buf *b, const char *p, size_t n); /* then one value */
void qv_doc_end_object(struct qv_buf *b, size_t mark, uint32_t count);
#define QV_DOC_EMPTY_OBJECT_BYTES 9

/* ---- paths: "a", "a.b", "a[]", "a[].b", "a[0].b", "\"quoted.key\".b" ---- */

struct qv_path_step {
    struct qv_str key;   /* when kind is KEY */
    uint32_t index;      /* when kind is INDEX */
    enum { QV_STEP_KEY, QV_STEP_ALL, QV_STEP_INDEX } kind;
};
struct qv_path {
    const struct qv_path_step *steps;
    uint32_t count; /* >= 1, <= QV_DOC_DEPTH_MAX */
};
/* Steps live in the arena, keys borrow text. QV_EINVAL with a reason on a malformed path. */
QV_MUST_USE int qv_path_parse(struct qv_arena *a, struct qv_str text, struct qv_path *out,
                              struct qv_errmsg *msg);

/* Calls visit for every value the path reaches in root (arrays met where a key is wanted are NOT
 * entered implicitly; "[]" enters them). Returns how many were visited; visit may stop it by false. */
typedef bool (*qv_path_visit_f)(void *ctx, struct qv_doc value);
size_t qv_path_walk(struct qv_doc root, const struct qv_path *path, qv_path_visit_f visit, void *ctx);

/* root with the value(s) at path set to (merged: object keys of `value` put into the object at path,
 * as that API's set_payload with `key` does) / removed; appends the new root to out.
 * A missing object on the way is created by set. */
QV_MUST_USE int qv_path_set(struct qv_doc root, const struct qv_path *path, struct qv_doc value,
                            struct qv_buf *out);
QV_MUST_USE int qv_path_remove(struct qv_doc root, const struct qv_path *path, struct qv_buf *out);

#endif
