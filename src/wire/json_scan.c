/* The scanner: structure, strings, literals, places in messages. Numbers are json_number.c. */
#include "wire/json_scan.h"

#include "base/qv_assert.h"
#include "base/utf8.h"
#include "core/limits.h"
#include "wire/json_number.h"

#include <stdio.h>

void qv_json_init(struct qv_json *j, struct qv_bytes body, struct qv_arena *arena,
                  struct qv_errmsg *msg)
{
    memset(j, 0, sizeof *j);
    j->start = body.n == 0 ? "" : (const char *)body.p;
    j->p = j->start;
    j->end = j->start + body.n;
    j->arena = arena;
    j->msg = msg;
    if (msg != NULL)
        msg->text[0] = '\0';
    qv_buf_init(&j->doc, QV_PAYLOAD_BYTES_MAX);
}

/* ---- errors ---- */

void qv_json_fail(struct qv_json *j, int err, const char *fmt, ...)
{
    char text[sizeof j->msg->text];
    va_list ap;
    QV_ASSERT(err < 0);
    if (j->err != 0)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    j->err = qv_fail(j->msg, err, "%s", text);
}

void qv_json_fail_at(struct qv_json *j, const char *at, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    if (j->err != 0)
        return;
    at = at == NULL ? j->p : at;
    QV_ASSERT(at >= j->start && at <= j->end);
    size_t line = 1;
    const char *line_start = j->start;
    const char *stop = at < j->end ? at : j->end;
    for (const char *p = j->start; p < stop && (p = memchr(p, '\n', (size_t)(stop - p))); p++) {
        line++;
        line_start = p + 1;
    }
    size_t column = (size_t)(at - line_start) + (at < j->end);
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    j->err = qv_fail(j->msg, QV_EFORMAT, "%s at line %zu column %zu", text, line, column);
}

void qv_json_fail_full(struct qv_json *j)
{
    qv_json_fail(j, QV_ETOOBIG, "the request needs more memory than one request may have");
}

void qv_json_fail_type(struct qv_json *j, const char *what)
{
    struct qv_json_mark m = qv_json_mark(j);
    char found[64];
    enum qv_json_type type = qv_json_peek(j);
    if (j->err != 0)
        return;
    switch (type) {
    case QV_JSON_NONE:
        qv_json_skip(j); /* says what is wrong */
        return;
    case QV_JSON_NULL:
        (void)snprintf(found, sizeof found, "null");
        break;
    case QV_JSON_BOOL:
        (void)snprintf(found, sizeof found, "boolean `%s`", *j->p == 't' ? "true" : "false");
        break;
    case QV_JSON_ARRAY:
        (void)snprintf(found, sizeof found, "sequence");
        break;
    case QV_JSON_OBJECT:
        (void)snprintf(found, sizeof found, "map");
        break;
    case QV_JSON_NUMBER: {
        struct json_num n;
        bool whole = qv_json_scan_number(j->p, j->end, &n) && n.is_int;
        int len = n.end - n.start > 24 ? 24 : (int)(n.end - n.start);
        (void)snprintf(found, sizeof found, whole ? "integer `%.*s`" : "floating point `%.*s`", len,
                       n.start);
        break;
    }
    case QV_JSON_STRING: {
        struct qv_str s = qv_json_string(j);
        size_t n = s.n > 32 ? 32 : s.n;
        while (n > 0 && n < s.n && ((unsigned char)s.p[n] & 0xC0) == 0x80)
            n--; /* not in the middle of a character */
        (void)snprintf(found, sizeof found, "string \"%.*s\"", (int)n, s.p);
        qv_json_restore(j, m);
        break;
    }
    }
    if (type == QV_JSON_ARRAY || type == QV_JSON_OBJECT) {
        qv_json_fail_at(j, NULL, "invalid type: %s, expected %s", found, what);
        return;
    }
    qv_json_skip(j); /* the place is the value's last byte */
    qv_json_fail_at(j, j->p - 1, "invalid type: %s, expected %s", found, what);
}

int qv_json_finish(struct qv_json *j)
{
    if (j->err == 0) {
        (void)qv_json_peek(j);
        if (j->p < j->end)
            qv_json_fail_at(j, NULL, "trailing characters");
        QV_ASSERT(j->err != 0 || j->depth == 0);
    }
    qv_buf_close(&j->doc);
    return j->err;
}

/* ---- structure ---- */

static inline void skip_space(struct qv_json *j)
{
    const char *p = j->p;
    while (p < j->end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
        p++;
    j->p = p;
}

enum qv_json_type qv_json_peek(struct qv_json *j)
{
    if (j->err != 0)
        return QV_JSON_NONE;
    skip_space(j);
    if (j->p >= j->end)
        return QV_JSON_NONE;
    switch (*j->p) {
    case '{':
        return QV_JSON_OBJECT;
    case '[':
        return QV_JSON_ARRAY;
    case '"':
        return QV_JSON_STRING;
    case 'n':
        return QV_JSON_NULL;
    case 't':
    case 'f':
        return QV_JSON_BOOL;
    default:
        return *j->p == '-' || (unsigned char)(*j->p - '0') <= 9 ? QV_JSON_NUMBER : QV_JSON_NONE;
    }
}

static void begin(struct qv_json *j, enum qv_json_type type, const char *what)
{
    if (qv_json_peek(j) != type) {
        qv_json_fail_type(j, what);
        return;
    }
    if (j->depth >= QV_JSON_DEPTH_MAX) {
        qv_json_fail_at(j, NULL, "recursion limit exceeded");
        return;
    }
    j->p++;
    j->depth++;
    j->fresh = true;
}

void qv_json_begin_object(struct qv_json *j)
{
    begin(j, QV_JSON_OBJECT, "a map");
}

void qv_json_begin_array(struct qv_json *j)
{
    begin(j, QV_JSON_ARRAY, "a sequence");
}

/* To the next entry of a container that closes with `close`. */
static bool next_entry(struct qv_json *j, char close)
{
    const bool is_list = close == ']';
    const char *eof = is_list ? "EOF while parsing a list" : "EOF while parsing an object";
    if (j->err != 0)
        return false;
    QV_ASSERT(j->depth > 0);
    skip_space(j);
    if (j->p >= j->end) {
        qv_json_fail_at(j, NULL, "%s", eof);
        return false;
    }
    if (*j->p == close) {
        j->p++;
        j->depth--;
        j->fresh = false;
        return false;
    }
    if (j->fresh) {
        j->fresh = false;
        return true;
    }
    if (*j->p != ',') {
        qv_json_fail_at(j, NULL, is_list ? "expected `,` or `]`" : "expected `,` or `}`");
        return false;
    }
    j->p++;
    skip_space(j);
    if (j->p >= j->end) {
        qv_json_fail_at(j, NULL, is_list ? "EOF while parsing a value" : "%s", eof);
        return false;
    }
    if (*j->p == close) {
        qv_json_fail_at(j, NULL, "trailing comma");
        return false;
    }
    return true;
}

bool qv_json_next_item(struct qv_json *j)
{
    return next_entry(j, ']');
}

/* ---- strings ---- */

/* First byte in [p, end) that is a quote, a backslash or a control character; *high collects
 * whether any byte before it was above 127. */
static inline const char *plain_end(const char *p, const char *end, bool *high)
{
    const uint64_t ones = 0x0101010101010101u;
    const uint64_t tops = 0x8080808080808080u;
    uint64_t seen = 0;
    while (end - p >= 8) {
        uint64_t v;
        memcpy(&v, p, sizeof v);
        uint64_t quote = v ^ (ones * '"');
        uint64_t slash = v ^ (ones * '\\');
        uint64_t stop =
            ((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((v - ones * 0x20) & ~v);
        if ((stop & tops) != 0)
            break;
        seen |= v;
        p += 8;
    }
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20) {
        seen |= (uint64_t)(unsigned char)*p;
        p++;
    }
    *high = *high || (seen & tops) != 0;
    return p;
}

static bool hex4(const char *p, const char *end, uint32_t *out)
{
    uint32_t v = 0;
    if (end - p < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        uint32_t d;
        if (c >= '0' && c <= '9')
            d = (uint32_t)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            d = (uint32_t)((c | 0x20) - 'a') + 10;
        else
            return false;
        v = v << 4 | d;
    }
    *out = v;
    return true;
}

static size_t put_utf8(char *out, uint32_t cp)
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xC0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3F));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xE0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3F));
        out[2] = (char)(0x80 | (cp & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3F));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3F));
    out[3] = (char)(0x80 | (cp & 0x3F));
    return 4;
}

/* \uXXXX, and its second half where it is a surrogate; p is behind the 'u'. NULL after an error. */
static const char *read_unicode(struct qv_json *j, const char *p, uint32_t *cp)
{
    uint32_t low;
    if (!hex4(p, j->end, cp)) {
        qv_json_fail_at(j, j->end - p < 4 ? j->end : p, "%s",
                        j->end - p < 4 ? "EOF while parsing a string" : "invalid escape");
        return NULL;
    }
    p += 4;
    if (*cp < 0xD800 || *cp > 0xDFFF)
        return p;
    if (*cp >= 0xDC00) {
        qv_json_fail_at(j, p - 1, "lone leading surrogate in hex escape");
        return NULL;
    }
    if (j->end - p < 2 || p[0] != '\\' || p[1] != 'u') {
        qv_json_fail_at(j, p, "unexpected end of hex escape");
        return NULL;
    }
    if (!hex4(p + 2, j->end, &low) || low < 0xDC00 || low > 0xDFFF) {
        qv_json_fail_at(j, p, "lone leading surrogate in hex escape");
        return NULL;
    }
    *cp = 0x10000 + ((*cp - 0xD800) << 10) + (low - 0xDC00);
    return p + 6;
}

/* One escape; p is at the backslash. Writes at most 4 bytes (never more than the escape has). */
static const char *read_escape(struct qv_json *j, const char *p, char *out, size_t *n)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    uint32_t cp;
    if (j->end - p < 2) {
        qv_json_fail_at(j, j->end, "EOF while parsing a string");
        return NULL;
    }
    if (p[1] == 'u') {
        p = read_unicode(j, p + 2, &cp);
        if (p != NULL)
            *n = put_utf8(out, cp);
        return p;
    }
    const char *hit = p[1] == '\0' ? NULL : strchr(from, p[1]);
    if (hit == NULL) {
        qv_json_fail_at(j, p + 1, "invalid escape");
        return NULL;
    }
    out[0] = to[hit - from];
    *n = 1;
    return p + 2;
}

/* The rest of a string that has escapes: from its first byte s, p at the first backslash. out has
 * room for the raw text, or is NULL: then it is checked and not kept. */
static const char *read_escaped(struct qv_json *j, const char *s, const char *p, char *out,
                                size_t *out_n, bool *high)
{
    char four[4];
    size_t n = (size_t)(p - s);
    if (out != NULL)
        memcpy(out, s, n);
    while (p < j->end && *p == '\\') {
        size_t step = 0;
        p = read_escape(j, p, four, &step);
        if (p == NULL)
            return NULL;
        if (out != NULL)
            memcpy(out + n, four, step);
        n += step;
        const char *plain = p;
        p = plain_end(p, j->end, high);
        if (out != NULL)
            memcpy(out + n, plain, (size_t)(p - plain));
        n += (size_t)(p - plain);
    }
    *out_n = n;
    return p;
}

/* Raw length of the string at s up to its closing quote, or to the end of the input. */
static size_t raw_length(const char *s, const char *end)
{
    const char *p = s;
    while (p < end && *p != '"')
        p += *p == '\\' && end - p >= 2 ? 2 : 1;
    return (size_t)(p - s);
}

/* The string whose opening quote is at j->p. keep: the result is wanted. */
static struct qv_str read_string(struct qv_json *j, bool keep)
{
    const struct qv_str none = {"", 0};
    const char *s = j->p + 1;
    bool high = false;
    const char *p = plain_end(s, j->end, &high);
    struct qv_str out = {s, (size_t)(p - s)};
    if (p < j->end && *p == '\\') {
        char *copy = NULL;
        if (keep) {
            copy = qv_arena_alloc(j->arena, raw_length(s, j->end));
            if (copy == NULL) {
                qv_json_fail_full(j);
                return none;
            }
        }
        out.p = copy == NULL ? "" : copy;
        p = read_escaped(j, s, p, copy, &out.n, &high);
        if (p == NULL)
            return none;
        out.n = copy == NULL ? 0 : out.n;
    }
    if (p >= j->end) {
        qv_json_fail_at(j, j->end, "EOF while parsing a string");
        return none;
    }
    if (*p != '"') {
        qv_json_fail_at(j, p, "control character (\\u0000-\\u001F) found while parsing a string");
        return none;
    }
    if (high && !qv_utf8_valid(s, (size_t)(p - s))) {
        qv_json_fail_at(j, p, "invalid unicode code point");
        return none;
    }
    j->p = p + 1;
    return out;
}

struct qv_str qv_json_string(struct qv_json *j)
{
    if (qv_json_peek(j) != QV_JSON_STRING) {
        qv_json_fail_type(j, "a string");
        return (struct qv_str){"", 0};
    }
    return read_string(j, true);
}

bool qv_json_next_key(struct qv_json *j, struct qv_str *key)
{
    *key = (struct qv_str){"", 0};
    if (!next_entry(j, '}'))
        return false;
    if (*j->p != '"') {
        qv_json_fail_at(j, NULL, "key must be a string");
        return false;
    }
    const char *at = j->p;
    *key = read_string(j, true);
    if (j->err == 0 && key->n != 0 && memchr(key->p, '\0', key->n) != NULL)
        qv_json_fail_at(j, at, "a key must not hold NUL");
    skip_space(j);
    if (j->err == 0 && j->p >= j->end)
        qv_json_fail_at(j, NULL, "EOF while parsing an object");
    else if (j->err == 0 && *j->p != ':')
        qv_json_fail_at(j, NULL, "expected `:`");
    if (j->err != 0)
        return false;
    j->p++;
    return true;
}

bool qv_json_find_key(struct qv_json *j, const char *name)
{
    struct qv_str key;
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, name))
            return true;
        qv_json_skip(j);
    }
    return false;
}

/* ---- literals and whole values ---- */

static bool literal(struct qv_json *j, const char *text)
{
    size_t n = strlen(text);
    size_t left = (size_t)(j->end - j->p);
    for (size_t i = 0; i < n; i++) {
        if (i >= left || j->p[i] != text[i]) {
            qv_json_fail_at(j, i >= left ? j->end : j->p + i, "%s",
                            i >= left ? "EOF while parsing a value" : "expected ident");
            return false;
        }
    }
    j->p += n;
    return true;
}

bool qv_json_null(struct qv_json *j)
{
    return qv_json_peek(j) == QV_JSON_NULL && literal(j, "null");
}

bool qv_json_bool(struct qv_json *j)
{
    if (qv_json_peek(j) != QV_JSON_BOOL) {
        qv_json_fail_type(j, "a boolean");
        return false;
    }
    bool v = *j->p == 't';
    return literal(j, v ? "true" : "false") && v;
}

void qv_json_skip(struct qv_json *j)
{
    struct json_num n;
    struct qv_str key;
    switch (qv_json_peek(j)) {
    case QV_JSON_NONE:
        qv_json_fail_at(j, NULL, j->p < j->end ? "expected value" : "EOF while parsing a value");
        break;
    case QV_JSON_NULL:
        (void)literal(j, "null");
        break;
    case QV_JSON_BOOL:
        (void)qv_json_bool(j);
        break;
    case QV_JSON_NUMBER:
        if (qv_json_scan_number(j->p, j->end, &n))
            j->p = n.end;
        else
            qv_json_fail_at(j, n.end,
                            n.end < j->end ? "invalid number" : "EOF while parsing a value");
        break;
    case QV_JSON_STRING:
        (void)read_string(j, false);
        break;
    case QV_JSON_ARRAY:
        qv_json_begin_array(j);
        while (qv_json_next_item(j))
            qv_json_skip(j);
        break;
    case QV_JSON_OBJECT:
        qv_json_begin_object(j);
        while (qv_json_next_key(j, &key))
            qv_json_skip(j);
        break;
    }
}
