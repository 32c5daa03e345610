#include "core/id.h"

#include "base/hash.h"
#include "base/qv_assert.h"

#include <string.h>

int qv_id_compare(const struct qv_id *a, const struct qv_id *b)
{
    if (a->type != b->type)
        return a->type < b->type ? -1 : 1;
    if (a->hi != b->hi)
        return a->hi < b->hi ? -1 : 1;
    return a->lo < b->lo ? -1 : a->lo > b->lo;
}

static void put_be64(uint8_t *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, sizeof v);
}

static uint64_t get_be64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap64(v);
}

size_t qv_id_encode(const struct qv_id *id, uint8_t out[QV_ID_BYTES_MAX])
{
    QV_ASSERT(id->type == QV_ID_NUM || id->type == QV_ID_UUID);
    out[0] = id->type;
    if (id->type == QV_ID_NUM) {
        QV_ASSERT(id->hi == 0);
        put_be64(out + 1, id->lo);
        return 9;
    }
    put_be64(out + 1, id->hi);
    put_be64(out + 9, id->lo);
    return 17;
}

int qv_id_decode(const uint8_t *p, size_t n, struct qv_id *out, size_t *used)
{
    if (n >= 9 && p[0] == QV_ID_NUM) {
        *out = qv_id_num(get_be64(p + 1));
        *used = 9;
        return 0;
    }
    if (n >= 17 && p[0] == QV_ID_UUID) {
        *out = (struct qv_id){.hi = get_be64(p + 1), .lo = get_be64(p + 9), .type = QV_ID_UUID};
        *used = 17;
        return 0;
    }
    return QV_ECORRUPT;
}

uint64_t qv_id_key_hash(const struct qv_id *id)
{
    uint8_t bytes[QV_ID_BYTES_MAX];
    return qv_hash_64(bytes, qv_id_encode(id, bytes));
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

/* Where a dash stands in the 36-character form: before these hex digits. */
static bool dash_before(unsigned digit)
{
    return digit == 8 || digit == 12 || digit == 16 || digit == 20;
}

int qv_id_parse_uuid(const char *text, size_t n, struct qv_id *out)
{
    if (n == 38 && text[0] == '{' && text[37] == '}') {
        text += 1;
        n = 36;
    } else if (n == 45 && memcmp(text, "urn:uuid:", 9) == 0) {
        text += 9;
        n = 36;
    }
    if (n != 32 && n != 36)
        return QV_EINVAL;
    uint64_t half[2] = {0, 0};
    const char *p = text;
    for (unsigned digit = 0; digit < 32; digit++) {
        if (n == 36 && dash_before(digit) && *p++ != '-')
            return QV_EINVAL;
        int v = hex_digit(*p++);
        if (v < 0)
            return QV_EINVAL;
        half[digit / 16] = half[digit / 16] << 4 | (uint64_t)v;
    }
    QV_ASSERT(p == text + n);
    *out = (struct qv_id){.hi = half[0], .lo = half[1], .type = QV_ID_UUID};
    return 0;
}

static size_t format_number(uint64_t v, char out[QV_ID_TEXT_MAX])
{
    char digits[20];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    for (size_t i = 0; i < n; i++)
        out[i] = digits[n - 1 - i];
    out[n] = '\0';
    return n;
}

size_t qv_id_format(const struct qv_id *id, char out[QV_ID_TEXT_MAX])
{
    if (id->type == QV_ID_NUM)
        return format_number(id->lo, out);
    QV_ASSERT(id->type == QV_ID_UUID);
    size_t n = 0;
    for (unsigned digit = 0; digit < 32; digit++) {
        uint64_t half = digit < 16 ? id->hi : id->lo;
        if (dash_before(digit))
            out[n++] = '-';
        out[n++] = "0123456789abcdef"[half >> (60 - 4 * (digit % 16)) & 15];
    }
    out[n] = '\0';
    return n;
}
