#include "net/url.h"

#include <string.h>
#include <strings.h>

static int wrong_port(const char *p, const char *end, struct qv_errmsg *msg)
{
    return qv_fail(msg, QV_EINVAL, "'%.*s' behind the host is no port; allowed: :1 to :65535",
                   (int)(end - p < 64 ? end - p : 64), p);
}

/* Cuts the port, if any, from [p, end); *end_host is where the host ends. */
static int parse_port(const char *p, const char *end, struct qv_url *out, struct qv_errmsg *msg)
{
    if (p == end) {
        out->port = out->tls ? 443 : 80;
        return 0;
    }
    unsigned long port = 0;
    size_t digits = 0;
    for (const char *c = p + 1; c < end; c++, digits++) {
        if (*c < '0' || *c > '9' || digits >= 5)
            return wrong_port(p, end, msg);
        port = port * 10 + (unsigned long)(*c - '0');
    }
    if (*p != ':' || digits == 0 || port == 0 || port > 65535)
        return wrong_port(p, end, msg);
    out->port = (uint16_t)port;
    return 0;
}

static int parse_authority(const char *p, const char *end, struct qv_url *out,
                           struct qv_errmsg *msg)
{
    if (memchr(p, '@', (size_t)(end - p)) != NULL)
        return qv_fail(msg, QV_EINVAL, "user and password in a URL are not supported");
    const char *host = p;
    const char *host_end;
    const char *rest;
    if (p < end && *p == '[') {
        host = p + 1;
        host_end = memchr(host, ']', (size_t)(end - host));
        if (host_end == NULL)
            return qv_fail(msg, QV_EINVAL, "']' is missing in the URL");
        rest = host_end + 1;
    } else {
        host_end = memchr(p, ':', (size_t)(end - p));
        if (host_end == NULL)
            host_end = end;
        rest = host_end;
    }
    size_t n = (size_t)(host_end - host);
    if (n == 0 || n >= sizeof out->host)
        return qv_fail(msg, QV_EINVAL, "the host in the URL is missing or too long");
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)host[i] <= ' ' || (unsigned char)host[i] >= 0x7F)
            return qv_fail(msg, QV_EINVAL, "the host in the URL has a character not allowed there");
    }
    memcpy(out->host, host, n);
    out->host[n] = '\0';
    return parse_port(rest, end, out, msg);
}

int qv_url_parse(const char *text, struct qv_url *out, struct qv_errmsg *msg)
{
    memset(out, 0, sizeof *out);
    out->tls = strncasecmp(text, "https://", 8) == 0;
    if (!out->tls && strncasecmp(text, "http://", 7) != 0)
        return qv_fail(msg, QV_EINVAL, "a URL begins with http:// or https://");
    const char *p = text + (out->tls ? 8 : 7);
    const char *end = p + strcspn(p, "/?#");
    int err = parse_authority(p, end, out, msg);
    if (err != 0)
        return err;
    size_t n = strcspn(end, "#");
    size_t slash = n == 0 || *end != '/' ? 1 : 0;
    if (n + slash >= sizeof out->path)
        return qv_fail(msg, QV_EINVAL, "the path in the URL is too long");
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)end[i] <= ' ' || (unsigned char)end[i] >= 0x7F)
            return qv_fail(msg, QV_EINVAL, "the path in the URL has a character to be escaped");
    }
    out->path[0] = '/';
    memcpy(out->path + slash, end, n);
    out->path[n + slash] = '\0';
    return 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int qv_url_decode(const char *in, size_t n, bool plus, char *out, size_t *out_len)
{
    size_t o = 0;
    for (size_t i = 0; i < n; i++) {
        char c = in[i];
        if (c == '%') {
            int hi = n - i > 2 ? hex_digit(in[i + 1]) : -1;
            int lo = n - i > 2 ? hex_digit(in[i + 2]) : -1;
            if (hi < 0 || lo < 0 || hi * 16 + lo == 0)
                return QV_EBADREQ;
            c = (char)(hi * 16 + lo);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        out[o++] = c;
    }
    out[o] = '\0';
    *out_len = o;
    return 0;
}

void qv_url_encode(struct qv_buf *b, const char *s, size_t n)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '.' || c == '_' || c == '~';
        if (plain) {
            qv_buf_u8(b, c);
        } else {
            char esc[3] = {'%', hex[c >> 4], hex[c & 15]};
            qv_buf_append(b, esc, sizeof esc);
        }
    }
}
