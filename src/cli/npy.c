#include "cli/npy.h"

#include <stdbool.h>

struct text {
    const char *path;
    struct qv_bytes file;
    const char *p;
    const char *end;
    struct qv_errmsg *msg;
    int err;
};

static void fail(struct text *t, const char *allowed)
{
    if (t->err == 0)
        t->err = qv_fail(t->msg, QV_EINVAL, "%s: offset %zu of the header: %s expected", t->path,
                         (size_t)((const uint8_t *)t->p - t->file.p), allowed);
}

static void skip_space(struct text *t)
{
    while (t->p < t->end && (*t->p == ' ' || *t->p == '\n' || *t->p == '\t'))
        t->p++;
}

static bool take(struct text *t, char c)
{
    skip_space(t);
    if (t->err != 0 || t->p == t->end || *t->p != c)
        return false;
    t->p++;
    return true;
}

static void want(struct text *t, char c)
{
    const char allowed[] = {'\'', c, '\'', '\0'};
    if (!take(t, c))
        fail(t, allowed);
}

/* A text in quotes without escapes, cut into out. */
static void read_quoted(struct text *t, char *out, size_t n)
{
    size_t len = 0;
    skip_space(t);
    char quote = t->p < t->end ? *t->p : '\0';
    if (quote != '\'' && quote != '"') {
        fail(t, "a quoted text");
        return;
    }
    for (t->p++; t->p < t->end && *t->p != quote && len < n - 1; t->p++)
        out[len++] = *t->p;
    out[len] = '\0';
    if (t->p == t->end || *t->p != quote)
        fail(t, "a short quoted text");
    else
        t->p++;
}

static uint64_t read_number(struct text *t)
{
    uint64_t v = 0;
    skip_space(t);
    if (t->p == t->end || *t->p < '0' || *t->p > '9')
        fail(t, "a number");
    for (; t->p < t->end && *t->p >= '0' && *t->p <= '9'; t->p++) {
        if (v > UINT64_MAX / 100)
            fail(t, "a smaller number");
        v = v * 10 + (uint64_t)(*t->p - '0');
    }
    return v;
}

static void read_shape(struct text *t, struct qv_npy *out)
{
    out->axes = 0;
    want(t, '(');
    while (t->err == 0 && !take(t, ')')) {
        if (out->axes == QV_NPY_AXES_MAX) {
            fail(t, "a shape of up to 8 axes");
            return;
        }
        out->shape[out->axes++] = read_number(t);
        if (!take(t, ',')) {
            want(t, ')');
            return;
        }
    }
}

static void read_false(struct text *t)
{
    skip_space(t);
    if (t->end - t->p < 5 || memcmp(t->p, "False", 5) != 0)
        fail(t, "'fortran_order': False (save with order='C')");
    else
        t->p += 5;
}

static void read_dict(struct text *t, struct qv_npy *out)
{
    unsigned seen = 0;
    char key[16];
    want(t, '{');
    while (t->err == 0 && !take(t, '}')) {
        read_quoted(t, key, sizeof key);
        want(t, ':');
        unsigned bit = strcmp(key, "descr") == 0           ? 1u
                       : strcmp(key, "fortran_order") == 0 ? 2u
                       : strcmp(key, "shape") == 0         ? 4u
                                                           : 0u;
        if (bit == 0 || (seen & bit) != 0)
            fail(t, "one each of descr (not a record type), fortran_order, shape");
        else if (bit == 1)
            read_quoted(t, out->descr, sizeof out->descr);
        else if (bit == 2)
            read_false(t);
        else
            read_shape(t, out);
        seen |= bit;
        if (!take(t, ',')) {
            want(t, '}');
            break;
        }
    }
    skip_space(t);
    if (t->err == 0 && (seen != 7u || t->p != t->end))
        fail(t, "descr, fortran_order and shape, and nothing else");
}

int qv_npy_read_header(const char *path, struct qv_bytes file, struct qv_npy *out,
                       struct qv_errmsg *msg)
{
    struct qv_rd r;
    memset(out, 0, sizeof *out);
    qv_rd_init(&r, file.p, file.n);
    const uint8_t *magic = qv_rd_take(&r, 6);
    if (magic == NULL || memcmp(magic, "\x93NUMPY", 6) != 0)
        return qv_fail(msg, QV_EINVAL, "%s: does not begin with NumPy's magic bytes", path);
    unsigned major = qv_rd_u8(&r);
    unsigned minor = qv_rd_u8(&r);
    if (r.failed || major < 1 || major > 3)
        return qv_fail(msg, QV_EINVAL, "%s: format version %u.%u; allowed: 1 to 3", path, major,
                       minor);
    size_t n = major == 1 ? qv_rd_u16(&r) : qv_rd_u32(&r);
    const uint8_t *p = qv_rd_take(&r, n);
    if (r.failed)
        return qv_fail(msg, QV_EINVAL, "%s: offset 8: a header of %zu bytes; the file holds %zu",
                       path, n, file.n);
    struct text t = {
        .path = path, .file = file, .p = (const char *)p, .end = (const char *)p + n, .msg = msg};
    read_dict(&t, out);
    out->header_bytes = (size_t)(r.p - file.p);
    return t.err;
}
