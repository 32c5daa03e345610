#include "net/grpc.h"

#include "base/qv_assert.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

void qv_grpc_put_prefix(uint8_t out[QV_GRPC_PREFIX_BYTES], size_t message_bytes, bool packed)
{
    QV_ASSERT(message_bytes <= UINT32_MAX);
    out[0] = packed;
    out[1] = (uint8_t)(message_bytes >> 24);
    out[2] = (uint8_t)(message_bytes >> 16);
    out[3] = (uint8_t)(message_bytes >> 8);
    out[4] = (uint8_t)message_bytes;
}

int qv_grpc_unframe(struct qv_bytes body, size_t limit, struct qv_bytes *out)
{
    *out = (struct qv_bytes){0};
    if (body.n < QV_GRPC_PREFIX_BYTES)
        return QV_EPROTO;
    const uint8_t *p = body.p;
    size_t n = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | (size_t)p[4];
    if (p[0] == 1)
        return QV_ENOTIMPL;
    if (p[0] != 0)
        return QV_EPROTO;
    if (n > limit)
        return QV_ETOOBIG;
    if (n != body.n - QV_GRPC_PREFIX_BYTES)
        return QV_EPROTO;
    *out = (struct qv_bytes){p + QV_GRPC_PREFIX_BYTES, n};
    return 0;
}

static const struct {
    char unit;
    uint64_t ns;
} grpc_units[] = {{'n', 1},          {'u', 1000},        {'m', 1000000},
                  {'S', 1000000000}, {'M', 60000000000}, {'H', 3600000000000}};

#define GRPC_N_UNITS (sizeof grpc_units / sizeof grpc_units[0])

int qv_grpc_parse_timeout(const char *text, uint64_t *out_ns)
{
    uint64_t v = 0;
    size_t i = 0;
    for (; text[i] >= '0' && text[i] <= '9' && i < 8; i++)
        v = v * 10 + (uint64_t)(text[i] - '0');
    if (i == 0 || text[i] == '\0' || text[i + 1] != '\0')
        return QV_EBADREQ;
    for (size_t u = 0; u < GRPC_N_UNITS; u++) {
        if (grpc_units[u].unit == text[i]) {
            *out_ns = v * grpc_units[u].ns; /* at most 10^8 hours: 3.6e20 does not fit */
            if (v > UINT64_MAX / grpc_units[u].ns)
                *out_ns = UINT64_MAX;
            return 0;
        }
    }
    return QV_EBADREQ;
}

void qv_grpc_format_timeout(uint64_t ns, char out[16])
{
    for (size_t u = 0; u < GRPC_N_UNITS; u++) {
        uint64_t v = ns / grpc_units[u].ns + (ns % grpc_units[u].ns != 0);
        if (v <= 99999999) {
            snprintf(out, 16, "%u%c", (unsigned)v, grpc_units[u].unit);
            return;
        }
    }
    QV_UNREACHABLE(); /* 2^64 ns are 5.1 million hours */
}

void qv_grpc_encode_message(struct qv_buf *b, const char *text, size_t n)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        bool edge = i == 0 || i == n - 1; /* no header value may begin or end with a space */
        if (c >= 0x20 && c <= 0x7E && c != '%' && !(edge && c == ' ')) {
            qv_buf_u8(b, c);
        } else {
            char esc[3] = {'%', hex[c >> 4], hex[c & 15]};
            qv_buf_append(b, esc, sizeof esc);
        }
    }
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

void qv_grpc_decode_message(const char *in, size_t n, char *out)
{
    size_t o = 0;
    for (size_t i = 0; i < n; i++) {
        char c = in[i];
        if (c == '%' && n - i > 2) {
            int hi = hex_digit(in[i + 1]);
            int lo = hex_digit(in[i + 2]);
            if (hi >= 0 && lo >= 0) {
                c = (char)(hi * 16 + lo);
                i += 2;
            }
        }
        out[o++] = c;
    }
    out[o] = '\0';
}

bool qv_grpc_is_content_type(const char *value)
{
    static const char base[] = "application/grpc";
    if (strncasecmp(value, base, sizeof base - 1) != 0)
        return false;
    const char *rest = value + sizeof base - 1;
    if (strncasecmp(rest, "+proto", 6) == 0)
        rest += 6;
    return *rest == '\0' || *rest == ';' || *rest == ' ';
}

enum qv_grpc_status qv_grpc_from_http(int http_status)
{
    switch (http_status) {
    case 400:
        return QV_GRPC_INTERNAL;
    case 401:
        return QV_GRPC_UNAUTHENTICATED;
    case 403:
        return QV_GRPC_PERMISSION_DENIED;
    case 404:
        return QV_GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return QV_GRPC_UNAVAILABLE;
    default:
        return QV_GRPC_UNKNOWN;
    }
}

const char *qv_grpc_status_name(int status)
{
    static const char *const names[] = {"OK",
                                        "CANCELLED",
                                        "UNKNOWN",
                                        "INVALID_ARGUMENT",
                                        "DEADLINE_EXCEEDED",
                                        "NOT_FOUND",
                                        "ALREADY_EXISTS",
                                        "PERMISSION_DENIED",
                                        "RESOURCE_EXHAUSTED",
                                        "FAILED_PRECONDITION",
                                        "ABORTED",
                                        "OUT_OF_RANGE",
                                        "UNIMPLEMENTED",
                                        "INTERNAL",
                                        "UNAVAILABLE",
                                        "DATA_LOSS",
                                        "UNAUTHENTICATED"};
    if (status < 0 || (size_t)status >= sizeof names / sizeof names[0])
        return "UNKNOWN";
    return names[status];
}
