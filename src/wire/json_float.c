/* Shortest decimals of doubles and floats: Raffaello Giulietti, "The Schubfach way to render
 * doubles" (2021): of all decimals that read back as v, one of the fewest digits, and of those the
 * closest. One multiplication by a power of ten of 126 (double) or 64 (float) bits for each of v's
 * and its neighbours' midpoints, no loop over digits. Names follow the paper: v = c 2^q, the answer
 * is digits 10^k. No departures; the float half takes the upper half of the same table, rounded up.
 */
#include "wire/json_pow10.h"
#include "wire/json_write.h"

#include "base/qv_assert.h"

#include <math.h>

struct decimal {
    uint64_t digits;
    int32_t exp10;
};

static inline int32_t floor_log2_pow10(int32_t e)
{
    return (e * 1741647) >> 19;
}

/* floor(log10(2^e)), or of 3/4 2^e where the interval below v is the shorter one. */
static inline int32_t floor_log10_pow2(int32_t e, bool three_quarters)
{
    return (e * 1262611 - (three_quarters ? 524031 : 0)) >> 22;
}

static inline uint64_t round_to_odd_64(const uint64_t g[2], uint64_t cp)
{
    __uint128_t x = (__uint128_t)g[1] * cp;
    __uint128_t y = (__uint128_t)g[0] * cp + (uint64_t)(x >> 64);
    return (uint64_t)(y >> 64) | ((uint64_t)y > 1);
}

static inline uint64_t round_to_odd_32(uint64_t g, uint32_t cp)
{
    __uint128_t p = (__uint128_t)g * cp;
    return (uint64_t)(p >> 64) | ((uint32_t)(p >> 32) > 1);
}

/* The last step, equal for both widths: vb and the bounds are 4 times v 10^-k. */
static inline struct decimal choose(uint64_t vbl, uint64_t vb, uint64_t vbr, bool even, int32_t k)
{
    const uint64_t lower = vbl + !even;
    const uint64_t upper = vbr - !even;
    const uint64_t s = vb / 4;
    if (s >= 10) {
        const uint64_t sp = s / 10;
        const bool up_inside = lower <= 40 * sp;
        const bool wp_inside = 40 * sp + 40 <= upper;
        if (up_inside != wp_inside)
            return (struct decimal){sp + wp_inside, k + 1};
    }
    const bool u_inside = lower <= 4 * s;
    const bool w_inside = 4 * s + 4 <= upper;
    if (u_inside != w_inside)
        return (struct decimal){s + w_inside, k};
    const uint64_t mid = 4 * s + 2;
    const bool round_up = vb > mid || (vb == mid && (s & 1) != 0);
    return (struct decimal){s + round_up, k};
}

static struct decimal shortest_f64(uint64_t fraction, uint32_t exponent)
{
    uint64_t c = exponent != 0 ? fraction | 1ull << 52 : fraction;
    int32_t q = exponent != 0 ? (int32_t)exponent - 1075 : -1074;
    if (q <= 0 && q > -53 && (c & ((1ull << -q) - 1)) == 0)
        return (struct decimal){c >> -q, 0}; /* a whole number below 2^53 */
    const bool closer = fraction == 0 && exponent > 1;
    const int32_t k = floor_log10_pow2(q, closer);
    const int32_t h = q + floor_log2_pow10(-k) + 1;
    QV_ASSERT(-k >= JSON_POW10_MIN && -k <= JSON_POW10_MAX);
    const uint64_t *g = json_pow10[-k - JSON_POW10_MIN];
    const uint64_t cb = 4 * c;
    return choose(round_to_odd_64(g, (cb - 2 + closer) << h), round_to_odd_64(g, cb << h),
                  round_to_odd_64(g, (cb + 2) << h), (c & 1) == 0, k);
}

static struct decimal shortest_f32(uint32_t fraction, uint32_t exponent)
{
    uint32_t c = exponent != 0 ? fraction | 1u << 23 : fraction;
    int32_t q = exponent != 0 ? (int32_t)exponent - 150 : -149;
    if (q <= 0 && q > -24 && (c & ((1u << -q) - 1)) == 0)
        return (struct decimal){c >> -q, 0};
    const bool closer = fraction == 0 && exponent > 1;
    const int32_t k = floor_log10_pow2(q, closer);
    const int32_t h = q + floor_log2_pow10(-k) + 1;
    QV_ASSERT(-k >= JSON_POW10_MIN && -k <= JSON_POW10_MAX);
    const uint64_t *row = json_pow10[-k - JSON_POW10_MIN];
    const uint64_t g = row[0] + (row[1] != 0);
    const uint32_t cb = 4 * c;
    return choose(round_to_odd_32(g, (cb - 2 + closer) << h), round_to_odd_32(g, cb << h),
                  round_to_odd_32(g, (cb + 2) << h), (c & 1) == 0, k);
}

static const char two_digits[] = "0001020304050607080910111213141516171819"
                                 "2021222324252627282930313233343536373839"
                                 "4041424344454647484950515253545556575859"
                                 "6061626364656667686970717273747576777879"
                                 "8081828384858687888990919293949596979899";

/* v's digits so that they end before `end`; the first one's place. */
static char *digits_before(char *end, uint64_t v)
{
    while (v >= 100) {
        end -= 2;
        memcpy(end, two_digits + 2 * (v % 100), 2);
        v /= 100;
    }
    if (v >= 10) {
        end -= 2;
        memcpy(end, two_digits + 2 * v, 2);
    } else {
        *--end = (char)('0' + v);
    }
    return end;
}

/* d.ddde-7; n digits in text, `point` = where the point would be behind the first of them. */
static size_t format_scientific(char *out, const char *text, int32_t n, int32_t point)
{
    char *p = out;
    int32_t e = point - 1;
    *p++ = text[0];
    if (n > 1) {
        *p++ = '.';
        memcpy(p, text + 1, (size_t)n - 1);
        p += n - 1;
    }
    *p++ = 'e';
    if (e < 0) {
        *p++ = '-';
        e = -e;
    }
    char exponent[8];
    char *first = digits_before(exponent + sizeof exponent, (uint64_t)e);
    size_t len = (size_t)(exponent + sizeof exponent - first);
    memcpy(p, first, len);
    return (size_t)(p - out) + len;
}

/* As the API's servers print: plain from 1e-5 up to 1e16, with ".0" where there is no fraction. */
static size_t format_decimal(char *out, struct decimal d)
{
    char digits[24];
    char *text = digits_before(digits + sizeof digits, d.digits);
    int32_t n = (int32_t)(digits + sizeof digits - text);
    const int32_t point = n + d.exp10;
    while (n > 1 && text[n - 1] == '0')
        n--; /* only where d.exp10 was 0: whole numbers */
    char *p = out;
    if (point < -4 || point > 16)
        return format_scientific(out, text, n, point);
    if (point <= 0) {
        memcpy(p, "0.0000", 6);
        p += 2 - point;
        memcpy(p, text, (size_t)n);
        return (size_t)(p - out) + (size_t)n;
    }
    if (point >= n) {
        memcpy(p, text, (size_t)n);
        memset(p + n, '0', (size_t)(point - n));
        memcpy(p + point, ".0", 2);
        return (size_t)point + 2;
    }
    memcpy(p, text, (size_t)point);
    p[point] = '.';
    memcpy(p + point + 1, text + point, (size_t)(n - point));
    return (size_t)n + 1;
}

size_t qv_json_format_f64(double v, char out[QV_JSON_NUMBER_MAX])
{
    uint64_t bits;
    QV_ASSERT(isfinite(v));
    memcpy(&bits, &v, sizeof bits);
    const size_t sign = (size_t)(bits >> 63);
    out[0] = '-';
    if (bits << 1 == 0) {
        memcpy(out + sign, "0.0", 3);
        return sign + 3;
    }
    return sign + format_decimal(out + sign, shortest_f64(bits & ((1ull << 52) - 1),
                                                          (uint32_t)(bits >> 52) & 0x7FF));
}

size_t qv_json_format_f32(float v, char out[QV_JSON_NUMBER_MAX])
{
    uint32_t bits;
    QV_ASSERT(isfinite(v));
    memcpy(&bits, &v, sizeof bits);
    const size_t sign = (size_t)(bits >> 31);
    out[0] = '-';
    if (bits << 1 == 0) {
        memcpy(out + sign, "0.0", 3);
        return sign + 3;
    }
    return sign +
           format_decimal(out + sign, shortest_f32(bits & ((1u << 23) - 1), (bits >> 23) & 0xFF));
}

static void write_unsigned(struct qv_buf *b, uint64_t v, bool neg)
{
    char text[24];
    char *p = digits_before(text + sizeof text, v);
    if (neg)
        *--p = '-';
    qv_buf_append(b, p, (size_t)(text + sizeof text - p));
}

void qv_json_write_u64(struct qv_buf *b, uint64_t v)
{
    write_unsigned(b, v, false);
}

void qv_json_write_i64(struct qv_buf *b, int64_t v)
{
    write_unsigned(b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, v < 0);
}

void qv_json_write_f64(struct qv_buf *b, double v)
{
    char *out = isfinite(v) ? (char *)qv_buf_reserve(b, QV_JSON_NUMBER_MAX) : NULL;
    if (out != NULL)
        b->len += qv_json_format_f64(v, out);
    else
        qv_buf_append(b, "null", 4);
}

void qv_json_write_f32(struct qv_buf *b, float v)
{
    char *out = isfinite(v) ? (char *)qv_buf_reserve(b, QV_JSON_NUMBER_MAX) : NULL;
    if (out != NULL)
        b->len += qv_json_format_f32(v, out);
    else
        qv_buf_append(b, "null", 4);
}

void qv_json_write_floats(struct qv_buf *b, const float *v, size_t n)
{
    qv_buf_append(b, "[", 1);
    for (size_t i = 0; i < n; i++) {
        char *out = (char *)qv_buf_reserve(b, QV_JSON_NUMBER_MAX + 1);
        if (out == NULL)
            return;
        size_t len = 0;
        if (i != 0)
            out[len++] = ',';
        if (isfinite(v[i])) {
            len += qv_json_format_f32(v[i], out + len);
        } else {
            memcpy(out + len, "null", 4);
            len += 4;
        }
        b->len += len;
    }
    qv_buf_append(b, "]", 1);
}
