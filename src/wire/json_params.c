/* Query strings and path segments of the REST API. */
#include "wire/json_request.h"

#include "wire/json_scan.h"

#include <stdlib.h>

#define PARAM_BYTES_MAX 64 /* of a value that means something; longer ones are wrong anyway */
#define TIMEOUT_S_MAX 1000000u

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decodes text[0..n) to out, a NUL behind it. False: malformed, too long, or a NUL. */
static bool decode(const char *text, size_t n, char out[PARAM_BYTES_MAX])
{
    size_t to = 0;
    for (size_t i = 0; i < n; i++) {
        char c = text[i] == '+' ? ' ' : text[i];
        if (c == '%') {
            if (n - i < 3 || hex_digit(text[i + 1]) < 0 || hex_digit(text[i + 2]) < 0)
                return false;
            c = (char)(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
            i += 2;
        }
        if (to + 1 >= PARAM_BYTES_MAX || c == '\0')
            return false;
        out[to++] = c;
    }
    out[to] = '\0';
    return true;
}

/* Digits only, at most max. */
static bool parse_number(const char *text, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*text - '0'), &v))
            return false;
    }
    *out = v;
    return v <= max;
}

static int bad_param(struct qv_errmsg *msg, const char *name, const char *why)
{
    return qv_fail(msg, QV_EBADREQ, "Format error in query parameters: %s: %s", name, why);
}

static int set_timeout(const char *value, struct qv_json_params *out, struct qv_errmsg *msg)
{
    uint64_t seconds;
    if (!parse_number(value, TIMEOUT_S_MAX, &seconds))
        return bad_param(msg, "timeout", "expected a number of seconds");
    if (seconds == 0)
        return qv_fail(msg, QV_EVALIDATION, "timeout: value 0 invalid, must be 1 or larger");
    out->timeout_ms = seconds * 1000;
    out->read.timeout_ms = out->timeout_ms;
    return 0;
}

static int set_consistency(const char *value, struct qv_json_params *out, struct qv_errmsg *msg)
{
    uint64_t factor;
    if (strcmp(value, "majority") == 0)
        out->read.consistency_factor = QV_CONSISTENCY_MAJORITY;
    else if (strcmp(value, "quorum") == 0)
        out->read.consistency_factor = QV_CONSISTENCY_QUORUM;
    else if (strcmp(value, "all") == 0)
        out->read.consistency_factor = QV_CONSISTENCY_ALL;
    else if (parse_number(value, 1000, &factor) && factor > 0)
        out->read.consistency_factor = (uint32_t)factor;
    else
        return bad_param(msg, "consistency", "expected a number, majority, quorum or all");
    return 0;
}

static bool list_has(const char *list, const char *word)
{
    const size_t n = strlen(word);
    for (;;) {
        const char *comma = strchr(list, ',');
        const size_t len = comma == NULL ? strlen(list) : (size_t)(comma - list);
        if (len == n && strncmp(list, word, n) == 0)
            return true;
        if (comma == NULL)
            return false;
        list = comma + 1;
    }
}

static int set_param(const char *name, const char *value, struct qv_json_params *out,
                     struct qv_errmsg *msg)
{
    if (strcmp(name, "wait") == 0) {
        out->wait = strcmp(value, "true") == 0;
        return out->wait || strcmp(value, "false") == 0
                   ? 0
                   : bad_param(msg, name, "expected true or false");
    }
    if (strcmp(name, "with") == 0) {
        out->with_queued = list_has(value, "queued");
        out->with_completed = list_has(value, "completed");
        out->with_idle = list_has(value, "idle_segments");
        return 0;
    }
    if (strcmp(name, "details_level") == 0)
        return parse_number(value, UINT32_MAX, &out->details_level)
                   ? 0
                   : bad_param(msg, name, "expected a number");
    if (strcmp(name, "ordering") == 0) {
        if (strcmp(value, "weak") == 0)
            out->ordering = QV_ORDERING_WEAK;
        else if (strcmp(value, "medium") == 0)
            out->ordering = QV_ORDERING_MEDIUM;
        else if (strcmp(value, "strong") == 0)
            out->ordering = QV_ORDERING_STRONG;
        else
            return bad_param(msg, name, "expected weak, medium or strong");
        return 0;
    }
    if (strcmp(name, "timeout") == 0)
        return set_timeout(value, out, msg);
    return strcmp(name, "consistency") == 0 ? set_consistency(value, out, msg) : 0;
}

static bool is_known(const char *name)
{
    return strcmp(name, "wait") == 0 || strcmp(name, "ordering") == 0 ||
           strcmp(name, "timeout") == 0 || strcmp(name, "consistency") == 0 ||
           strcmp(name, "details_level") == 0 || strcmp(name, "with") == 0;
}

int qv_json_read_params(const char *query, size_t n, struct qv_json_params *out,
                        struct qv_errmsg *msg)
{
    *out = (struct qv_json_params){.ordering = QV_ORDERING_WEAK};
    for (size_t at = 0; at < n;) {
        char name[PARAM_BYTES_MAX];
        char value[PARAM_BYTES_MAX];
        const char *amp = memchr(query + at, '&', n - at);
        const size_t len = amp == NULL ? n - at : (size_t)(amp - (query + at));
        const char *eq = memchr(query + at, '=', len);
        const size_t name_n = eq == NULL ? len : (size_t)(eq - (query + at));
        if (decode(query + at, name_n, name) && is_known(name)) {
            const size_t skip = name_n + (eq != NULL);
            if (!decode(query + at + skip, len - skip, value))
                return bad_param(msg, name, "the value is malformed");
            int err = set_param(name, value, out, msg);
            if (err != 0)
                return err;
        }
        at += len + 1;
    }
    return 0;
}

int qv_json_read_path_id(const char *text, size_t n, struct qv_id *out, struct qv_errmsg *msg)
{
    char digits[24];
    uint64_t v;
    if (n > 0 && n < sizeof digits && memchr(text, '\0', n) == NULL) {
        memcpy(digits, text, n);
        digits[n] = '\0';
        if (parse_number(digits, UINT64_MAX, &v)) {
            *out = qv_id_num(v);
            return 0;
        }
    }
    if (qv_id_parse_uuid(text, n, out) == 0)
        return 0;
    return qv_fail(msg, QV_EINVAL, "Can not recognize \"%.*s\" as point id", n > 64 ? 64 : (int)n,
                   text);
}
