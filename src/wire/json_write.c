/* Strings, keys and literals. Numbers are json_float.c. */
#include "wire/json_write.h"

/* 0: as it is; 'u': \u00XX; else the letter behind the backslash. */
static inline char escape_of(unsigned char c)
{
    if (c >= 0x20)
        return c == '"' || c == '\\' ? (char)c : 0;
    switch (c) {
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 'u';
    }
}

void qv_json_write_str(struct qv_buf *b, struct qv_str s)
{
    static const char hex[] = "0123456789abcdef";
    size_t from = 0;
    qv_buf_append(b, "\"", 1);
    for (size_t i = 0; i < s.n; i++) {
        char e = escape_of((unsigned char)s.p[i]);
        if (e == 0)
            continue;
        qv_buf_append(b, s.p + from, i - from);
        from = i + 1;
        if (e == 'u') {
            char six[6] = {'\\', 'u', '0', '0', hex[(unsigned char)s.p[i] >> 4], hex[s.p[i] & 15]};
            qv_buf_append(b, six, sizeof six);
        } else {
            char two[2] = {'\\', e};
            qv_buf_append(b, two, sizeof two);
        }
    }
    if (s.n > from)
        qv_buf_append(b, s.p + from, s.n - from);
    qv_buf_append(b, "\"", 1);
}

void qv_json_write_text(struct qv_buf *b, const char *s)
{
    qv_json_write_str(b, qv_str_of(s));
}

void qv_json_write_key(struct qv_buf *b, bool *first, const char *key)
{
    if (!*first)
        qv_buf_append(b, ",", 1);
    *first = false;
    qv_json_write_text(b, key);
    qv_buf_append(b, ":", 1);
}

void qv_json_write_bool(struct qv_buf *b, bool v)
{
    qv_buf_str(b, v ? "true" : "false");
}
