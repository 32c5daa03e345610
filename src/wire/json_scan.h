/* A strict JSON reader (RFC 8259) that pulls: the caller asks for the value it expects.
 *
 * The body lies in memory as a whole; strings without escapes are borrowed from it, others are
 * decoded into the arena. The first error sticks: every later call does nothing and gives zero,
 * false or an empty string, so that a decoder reads a whole object and looks once (qv_json_finish,
 * or j->err).
 *
 *     qv_json_begin_object(j);
 *     while (qv_json_next_key(j, &key)) {
 *         if (qv_str_is(key, "limit"))
 *             limit = qv_json_u64(j);
 *         else
 *             qv_json_skip(j);
 *     }
 *
 * Strictness: no NaN, Infinity, comments, leading zeros, trailing commas, raw control characters;
 * UTF-8 and \u escapes must be well formed; a number that overflows its type is an error; nesting
 * is at most QV_JSON_DEPTH_MAX; nothing but white space may follow the value. A NUL in a key is
 * refused (names end up in places where NUL ends a text), in a string value it is data.
 *
 * Errors: QV_EFORMAT with the text that serde_json users know ("expected `,` or `}` at line 1
 * column 12"; columns count bytes), QV_ETOOBIG when the arena is full. One thread at a time. */
#ifndef QV_WIRE_JSON_SCAN_H
#define QV_WIRE_JSON_SCAN_H

#include "base/arena.h"
#include "base/buf.h"
#include "core/doc.h"

/* Documents nest up to QV_DOC_DEPTH_MAX; requests add a few levels around them. */
#define QV_JSON_DEPTH_MAX 96

enum qv_json_type {
    QV_JSON_NONE, /* no value starts here: reading anything reports it */
    QV_JSON_NULL,
    QV_JSON_BOOL,
    QV_JSON_NUMBER,
    QV_JSON_STRING,
    QV_JSON_ARRAY,
    QV_JSON_OBJECT
};

/* Fields are private to the scanner but `err`, `arena` and `msg`. */
struct qv_json {
    const char *start;
    const char *p;
    const char *end;
    struct qv_arena *arena; /* borrowed */
    struct qv_errmsg *msg;  /* borrowed; may be NULL */
    int err;                /* first error, or 0 */
    uint32_t depth;
    bool fresh;          /* a container was entered and nothing read in it yet */
    float *floats;       /* scratch of qv_json_floats, in the arena */
    uint32_t floats_cap; /* elements */
    struct qv_buf doc;   /* scratch of json_doc.c; owned */
};

/* Borrows body, arena and msg until close. An empty body fails at the first read. */
void qv_json_init(struct qv_json *j, struct qv_bytes body, struct qv_arena *arena,
                  struct qv_errmsg *msg);
/* Nothing may follow; frees what the scanner owns; returns the first error. Call it exactly once,
 * also after errors. */
QV_MUST_USE int qv_json_finish(struct qv_json *j);

/* Sets the first error; a text about a place gets " at line L column C" (of the byte at `at`; NULL:
 * the present place). Later ones are ignored. */
void qv_json_fail_at(struct qv_json *j, const char *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for an error of meaning: no place is added. */
void qv_json_fail(struct qv_json *j, int err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void qv_json_fail_full(struct qv_json *j); /* the arena refused: QV_ETOOBIG */

/* The next value's type, by its first byte; reads only white space. */
enum qv_json_type qv_json_peek(struct qv_json *j);

/* QV_EFORMAT "invalid type: string \"abc\", expected WHAT at line ..": names the next value. */
void qv_json_fail_type(struct qv_json *j, const char *what);

void qv_json_begin_object(struct qv_json *j);
/* true: a key was read and its value is next (and must be read or skipped). false: the object
 * ended, or an error. The same key may come again: the last one counts, so assign. */
bool qv_json_next_key(struct qv_json *j, struct qv_str *key);
/* The same, past the keys of other names: true, the value of `name` is next. For who wants one. */
bool qv_json_find_key(struct qv_json *j, const char *name);
void qv_json_begin_array(struct qv_json *j);
bool qv_json_next_item(struct qv_json *j); /* true: a value is next */

bool qv_json_null(struct qv_json *j); /* reads a null if one is next and says so */
bool qv_json_bool(struct qv_json *j);
uint64_t qv_json_u64(struct qv_json *j); /* no fraction or exponent */
uint32_t qv_json_u32(struct qv_json *j);
double qv_json_f64(struct qv_json *j); /* correctly rounded */
float qv_json_f32(struct qv_json *j);  /* correctly rounded */
struct qv_str qv_json_string(struct qv_json *j);
void qv_json_skip(struct qv_json *j); /* any value, fully checked */

/* A number as it is: an int where it has neither fraction nor exponent and fits, else a double. */
struct qv_json_number {
    bool is_int;  /* i */
    bool is_uint; /* does not fit i but u */
    int64_t i;
    uint64_t u;
    double d; /* always */
};
struct qv_json_number qv_json_number(struct qv_json *j);

/* An array of numbers, up to `max` (more: QV_EFORMAT). The values are in the arena, exactly *count
 * of them; NULL when there are none or on error. */
const float *qv_json_floats(struct qv_json *j, uint32_t max, uint32_t *count);

/* The place, to look ahead and come back: read on, then restore. */
struct qv_json_mark {
    const char *p;
    uint32_t depth;
    bool fresh;
};
static inline struct qv_json_mark qv_json_mark(const struct qv_json *j)
{
    return (struct qv_json_mark){j->p, j->depth, j->fresh};
}
static inline void qv_json_restore(struct qv_json *j, struct qv_json_mark m)
{
    j->p = m.p;
    j->depth = m.depth;
    j->fresh = m.fresh;
}

static inline bool qv_str_is(struct qv_str s, const char *literal)
{
    size_t n = strlen(literal);
    return s.n == n && memcmp(s.p, literal, n) == 0;
}

#endif
