#include "wire/multipart.h"

#include "base/mem.h"

#include <string.h>
#include <strings.h>

#define WINDOW_BYTES ((size_t)256 << 10)
#define HEAD_BYTES_MAX 8192u
#define PARTS_MAX 100u
#define DELIM_MAX (4 + QV_MULTIPART_BOUNDARY_MAX)

/* The next ';' that is not inside quotes; NULL: none. */
static const char *next_param(const char *p, const char *end)
{
    bool quoted = false;
    for (; p < end; p++) {
        if (quoted && *p == '\\' && p + 1 < end)
            p++;
        else if (*p == '"')
            quoted = !quoted;
        else if (*p == ';' && !quoted)
            return p;
    }
    return NULL;
}

/* The parameter of a header, quoted or not; false: there is none, it is empty or too long. */
static bool param_of(const char *p, const char *end, const char *name, char *out, size_t room)
{
    size_t k = strlen(name);
    while ((p = next_param(p, end)) != NULL) {
        p++;
        while (p < end && (*p == ' ' || *p == '\t'))
            p++;
        if ((size_t)(end - p) <= k || strncasecmp(p, name, k) != 0 || p[k] != '=')
            continue;
        p += k + 1;
        bool quoted = p < end && *p == '"';
        p += quoted;
        size_t n = 0;
        for (; p < end && (quoted ? *p != '"' : *p != ';' && *p != ' '); p++) {
            if (quoted && *p == '\\' && p + 1 < end)
                p++;
            if (n + 1 >= room)
                return false;
            out[n++] = *p;
        }
        out[n] = '\0';
        return n > 0 && (!quoted || p < end);
    }
    return false;
}

static int delimiter_of(const char *content_type, char delim[DELIM_MAX + 1], struct qv_errmsg *msg)
{
    static const char type[] = "multipart/form-data";
    memcpy(delim, "\r\n--", 4);
    if (content_type == NULL || strncasecmp(content_type, type, sizeof type - 1) != 0)
        return qv_fail(msg, QV_EBADREQ, "Content-Type must be multipart/form-data");
    const char *end = content_type + strlen(content_type);
    if (!param_of(content_type, end, "boundary", delim + 4, QV_MULTIPART_BOUNDARY_MAX + 1))
        return qv_fail(msg, QV_EBADREQ, "the multipart body has no boundary");
    return 0;
}

/* The first place >= from where what stands; src->bytes when it does not. */
static int search(const struct qv_multipart_source *src, uint64_t from, const char *what,
                  uint64_t *at, struct qv_errmsg *msg)
{
    size_t k = strlen(what);
    uint8_t *window = qv_mem_alloc(WINDOW_BYTES);
    int err = 0;
    *at = src->bytes;
    while (err == 0 && from < src->bytes && src->bytes - from >= k) {
        uint64_t left = src->bytes - from;
        size_t n = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
        err = src->read(src->arg, from, window, n, msg);
        const uint8_t *hit = err == 0 ? memmem(window, n, what, k) : NULL;
        if (hit != NULL) {
            *at = from + (uint64_t)(hit - window);
            break;
        }
        from += n - (k - 1); /* it may begin in the last bytes */
    }
    qv_mem_free(window);
    return err;
}

/* Does the head of a part (its lines, without the empty one) name the field? */
static bool names_field(const char *head, size_t n, const char *field)
{
    static const char disposition[] = "content-disposition:";
    const char *end = head + n;
    while (head < end) {
        const char *line_end = memmem(head, (size_t)(end - head), "\r\n", 2);
        if (line_end == NULL)
            line_end = end;
        char name[64];
        if ((size_t)(line_end - head) > sizeof disposition &&
            strncasecmp(head, disposition, sizeof disposition - 1) == 0)
            return param_of(head, line_end, "name", name, sizeof name) && strcmp(name, field) == 0;
        head = line_end == end ? end : line_end + 2;
    }
    return false;
}

struct cursor {
    uint64_t at; /* behind a delimiter's boundary */
    bool last;
};

/* What stands behind a boundary: "--" ends it all; white space and a line end begin a part. */
static int behind_boundary(const struct qv_multipart_source *src, struct cursor *c,
                           struct qv_errmsg *msg)
{
    char two[2] = {0, 0};
    for (int spaces = 0; spaces < 100; spaces++) {
        if (src->bytes - c->at < 2)
            break;
        int err = src->read(src->arg, c->at, two, 2, msg);
        if (err != 0)
            return err;
        c->last = memcmp(two, "--", 2) == 0;
        if (c->last || memcmp(two, "\r\n", 2) == 0) {
            c->at += 2;
            return 0;
        }
        if (two[0] != ' ' && two[0] != '\t')
            break;
        c->at++;
    }
    return qv_fail(msg, QV_EBADREQ, "the multipart body is malformed or cut short");
}

static int read_head(const struct qv_multipart_source *src, uint64_t at, char *head, size_t *n,
                     struct qv_errmsg *msg)
{
    uint64_t left = src->bytes - at;
    size_t room = left < HEAD_BYTES_MAX ? (size_t)left : HEAD_BYTES_MAX;
    int err = src->read(src->arg, at, head, room, msg);
    if (err != 0)
        return err;
    const char *end = memmem(head, room, "\r\n\r\n", 4);
    if (end == NULL)
        return qv_fail(msg, QV_EBADREQ, "the multipart body is malformed or cut short");
    *n = (size_t)(end - head);
    return 0;
}

int qv_multipart_find(const struct qv_multipart_source *src, const char *content_type,
                      const char *field, struct qv_multipart_part *out, struct qv_errmsg *msg)
{
    char delim[DELIM_MAX + 1];
    char head[HEAD_BYTES_MAX];
    struct cursor c = {0};
    uint64_t begin = 0;
    int err = delimiter_of(content_type, delim, msg);
    if (err != 0)
        return err;
    /* the first one needs no line end before it */
    err = search(src, 0, delim + 2, &begin, msg);
    if (err == 0 && begin == src->bytes)
        err = qv_fail(msg, QV_EBADREQ, "the multipart body lacks its boundary");
    c.at = begin + strlen(delim + 2);
    for (unsigned i = 0; err == 0 && i < PARTS_MAX; i++) {
        size_t n = 0;
        uint64_t end = 0;
        err = behind_boundary(src, &c, msg);
        if (err != 0 || c.last)
            break;
        err = read_head(src, c.at, head, &n, msg);
        if (err == 0)
            err = search(src, c.at + n + 2, delim, &end, msg);
        if (err != 0)
            break;
        if (end == src->bytes)
            return qv_fail(msg, QV_EBADREQ, "the multipart body is malformed or cut short");
        /* an empty part: the delimiter's line end is the empty line's */
        out->offset = end < c.at + n + 4 ? end : c.at + n + 4;
        out->bytes = end - out->offset;
        if (names_field(head, n, field))
            return 0;
        c.at = end + strlen(delim);
    }
    return err != 0 ? err : qv_fail(msg, QV_EBADREQ, "the multipart body has no field `%s`", field);
}
