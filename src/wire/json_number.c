/* JSON numbers: grammar, conversion to integers, double and float.
 *
 * double: a mantissa up to 2^53 times an exact power of ten up to 10^22 is one correctly rounded
 * operation (Clinger 1990); everything else goes to strtod.
 *
 * float: the same in double with up to 19 digits and powers up to 10^44. That double is wrong by
 * less than 2 ulp (conversion and at most two operations, half an ulp each, and the cut digits), so
 * rounding it to float is rounding the true value unless a boundary between two floats lies within
 * those 2 ulp; then, and outside of float's normal range, strtof decides. So the result is always
 * the correctly rounded one, and 17-digit decimals (what Python prints) stay on the fast path. */
#include "wire/json_number.h"

#include "base/qv_assert.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#define MANT_DIGITS_MAX 19
#define EXP_MAX 100000000 /* beyond any body's digit count; keeps sums inside int32 */

static const double pow10_exact[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                     1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                     1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static inline bool is_digit(char c)
{
    return (unsigned char)(c - '0') <= 9;
}

/* The digits that eight bytes begin with: how many, and their value (Lemire 2018 for the value).
 * The length comes from a count of bits, not from a branch a digit: lengths of decimals are random,
 * and a misprediction costs more than all of this. */
static inline unsigned leading_digits(const char *p, uint64_t *value)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    v ^= 0x3030303030303030u; /* digits become 0 to 9, all else 10 and more */
    /* A carry out of a byte that is no digit reaches only bytes behind it. */
    const uint64_t others = ((v + 0x7676767676767676u) | v) & 0x8080808080808080u;
    const unsigned n = others == 0 ? 8 : (unsigned)__builtin_ctzll(others) / 8;
    v = n == 8 ? v : v << 8 << (56 - 8 * n); /* zeros in front; nothing of v when n is 0 */
    v = v * 10 + (v >> 8);
    *value = (((v & 0x000000FF000000FFu) * 0x000F424000000064u) +
              (((v >> 16) & 0x000000FF000000FFu) * 0x0000271000000001u)) >>
             32;
    return n;
}

/* Digits from p on; the value wraps when there are more than 19 of them (see scan_long). */
static inline const char *scan_digits(const char *p, const char *end, uint64_t *mant)
{
    static const uint32_t scale[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
    uint64_t m = *mant;
    while (end - p >= 8) {
        uint64_t value;
        const unsigned n = leading_digits(p, &value);
        m = m * scale[n] + value;
        p += n;
        if (n < 8) {
            *mant = m;
            return p;
        }
    }
    while (p < end && is_digit(*p)) {
        m = m * 10 + (uint64_t)(*p - '0');
        p++;
    }
    *mant = m;
    return p;
}

/* exp10 and mant again, digit by digit, of a number with more than 19 digits in [p, digits_end). */
static void scan_long(const char *p, const char *digits_end, struct json_num *out)
{
    uint64_t m = 0;
    int32_t taken = 0;
    int32_t exp10 = 0;
    bool fraction = false;
    for (; p < digits_end; p++) {
        if (*p == '.') {
            fraction = true;
            continue;
        }
        if (taken < MANT_DIGITS_MAX) {
            m = m * 10 + (uint64_t)(*p - '0');
            taken += m != 0;
            exp10 -= fraction;
        } else {
            exp10 += !fraction;
            out->inexact = out->inexact || *p != '0';
        }
    }
    out->mant = m;
    out->exp10 = exp10;
}

static const char *scan_exponent(const char *p, const char *end, int32_t *exp10, bool *ok)
{
    bool neg = false;
    int32_t e = 0;
    p++;
    if (p < end && (*p == '+' || *p == '-')) {
        neg = *p == '-';
        p++;
    }
    *ok = p < end && is_digit(*p);
    while (p < end && is_digit(*p)) {
        if (e < EXP_MAX)
            e = e * 10 + (*p - '0');
        p++;
    }
    e = e > EXP_MAX ? EXP_MAX : e;
    *exp10 += neg ? -e : e;
    return p;
}

static inline bool scan_number(const char *p, const char *end, struct json_num *out)
{
    out->start = p;
    out->mant = 0;
    out->exp10 = 0;
    out->inexact = false;
    out->is_int = true;
    out->neg = *p == '-';
    p += out->neg;
    const char *digits = p;
    ptrdiff_t digit_count;
    bool ok = p < end && is_digit(*p);
    if (ok && *p == '0') {
        p++;
        ok = p >= end || !is_digit(*p);
    } else if (ok) {
        p = scan_digits(p, end, &out->mant);
    }
    digit_count = p - digits;
    if (ok && p < end && *p == '.') {
        const char *fraction = ++p;
        p = scan_digits(p, end, &out->mant);
        ok = p > fraction;
        out->exp10 = (int32_t)(fraction - p);
        out->is_int = false;
        digit_count += p - fraction;
    }
    if (digit_count > MANT_DIGITS_MAX)
        scan_long(digits, p, out);
    if (ok && p < end && (*p == 'e' || *p == 'E')) {
        p = scan_exponent(p, end, &out->exp10, &ok);
        out->is_int = false;
    }
    out->end = p;
    return ok;
}

bool qv_json_scan_number(const char *p, const char *end, struct json_num *out)
{
    QV_ASSERT(p < end);
    return scan_number(p, end, out);
}

/* The token with a NUL behind it, for strtod: in small where it fits, else in the arena. */
static const char *token_text(struct qv_json *j, const struct json_num *n, char small[64])
{
    size_t len = (size_t)(n->end - n->start);
    if (len < 64) {
        memcpy(small, n->start, len);
        small[len] = '\0';
        return small;
    }
    const char *text = qv_arena_strndup(j->arena, n->start, len);
    if (text == NULL)
        qv_json_fail_full(j);
    return text;
}

static double number_to_f64(struct qv_json *j, const struct json_num *n)
{
    double d;
    if (n->mant == 0 && !n->inexact) {
        d = 0.0;
    } else if (!n->inexact && n->mant <= (1ull << 53) && n->exp10 >= -22 && n->exp10 <= 22) {
        d = (double)n->mant;
        d = n->exp10 < 0 ? d / pow10_exact[-n->exp10] : d * pow10_exact[n->exp10];
    } else {
        char small[64];
        const char *text = token_text(j, n, small);
        d = text == NULL ? 0.0 : strtod(text, NULL);
        if (isinf(d)) {
            qv_json_fail_at(j, n->end - 1, "number out of range");
            return 0.0;
        }
        return d;
    }
    return n->neg ? -d : d;
}

/* False: the fast path can't tell. */
static inline bool number_to_f32_fast(const struct json_num *n, float *out)
{
    int32_t e = n->exp10;
    double d = (double)n->mant;
    uint64_t bits;
    uint32_t bits32;
    if (e < -44 || e > 44)
        return false;
    if (e < 0) {
        if (e < -22) {
            d /= 1e22;
            e += 22;
        }
        d /= pow10_exact[-e];
    } else if (e > 0) {
        if (e > 22) {
            d *= 1e22;
            e -= 22;
        }
        d *= pow10_exact[e];
    }
    memcpy(&bits, &d, sizeof bits);
    const float f = (float)d;
    memcpy(&bits32, &f, sizeof bits32);
    bits32 |= (uint32_t)n->neg << 31; /* signs are random: no branch */
    memcpy(out, &bits32, sizeof bits32);
    /* 29 bits go in rounding; half of the last kept place is 1 << 28. */
    if ((bits & 0x1FFFFFFFu) - 0x0FFFFFF8u <= 0x10u || d < FLT_MIN || d > FLT_MAX)
        return n->mant == 0;
    return true;
}

static float number_to_f32_slow(struct qv_json *j, const struct json_num *n)
{
    char small[64];
    const char *text = token_text(j, n, small);
    float f = text == NULL ? 0.0f : strtof(text, NULL);
    if (isinf(f)) {
        qv_json_fail_at(j, n->end - 1, "number out of range");
        return 0.0f;
    }
    return f;
}

/* The next value as a scanned number, or an error; what: see qv_json_fail_type. */
static bool next_number(struct qv_json *j, const char *what, struct json_num *n)
{
    if (qv_json_peek(j) != QV_JSON_NUMBER) {
        qv_json_fail_type(j, what);
        return false;
    }
    if (!scan_number(j->p, j->end, n)) {
        qv_json_fail_at(j, n->end,
                        n->end < j->end ? "invalid number" : "EOF while parsing a value");
        return false;
    }
    return true;
}

/* Magnitude of an integer token; false when it does not fit. */
static bool number_to_u64(const struct json_num *n, uint64_t *out)
{
    uint64_t v = 0;
    const char *p = n->start + n->neg;
    if (n->end - p <= MANT_DIGITS_MAX) {
        *out = n->mant;
        return true;
    }
    for (; p < n->end; p++) {
        if (__builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
            return false;
    }
    *out = v;
    return true;
}

struct qv_json_number qv_json_number(struct qv_json *j)
{
    struct qv_json_number out = {0};
    struct json_num n;
    uint64_t u;
    if (!next_number(j, "a number", &n))
        return out;
    if (n.is_int && number_to_u64(&n, &u)) {
        out.is_int = n.neg ? u != 0 && u <= (uint64_t)INT64_MAX + 1 : u <= INT64_MAX;
        out.is_uint = !n.neg && u > INT64_MAX;
        out.u = u;
        out.i = out.is_int ? (int64_t)(n.neg ? 0 - u : u) : 0;
    }
    out.d = number_to_f64(j, &n);
    j->p = n.end;
    return out;
}

static uint64_t unsigned_number(struct qv_json *j, uint64_t max, const char *what)
{
    struct json_num n;
    uint64_t v;
    if (!next_number(j, what, &n))
        return 0;
    if (!n.is_int) {
        qv_json_fail_type(j, what);
        return 0;
    }
    bool fits = number_to_u64(&n, &v) && v <= max && !(n.neg && v != 0);
    if (!fits) {
        int len = n.end - n.start > 24 ? 24 : (int)(n.end - n.start);
        qv_json_fail_at(j, n.end - 1, "invalid value: integer `%.*s`, expected %s", len, n.start,
                        what);
        return 0;
    }
    j->p = n.end;
    return v;
}

uint64_t qv_json_u64(struct qv_json *j)
{
    return unsigned_number(j, UINT64_MAX, "u64");
}

uint32_t qv_json_u32(struct qv_json *j)
{
    return (uint32_t)unsigned_number(j, UINT32_MAX, "u32");
}

double qv_json_f64(struct qv_json *j)
{
    struct json_num n;
    if (!next_number(j, "f64", &n))
        return 0.0;
    double d = number_to_f64(j, &n);
    j->p = n.end;
    return d;
}

float qv_json_f32(struct qv_json *j)
{
    struct json_num n;
    float f;
    if (!next_number(j, "f32", &n))
        return 0.0f;
    if (!number_to_f32_fast(&n, &f))
        f = number_to_f32_slow(j, &n);
    j->p = n.end;
    return f;
}

/* Room for one more float in the scratch. */
static bool floats_grow(struct qv_json *j, uint32_t count, uint32_t max)
{
    if (count >= max) {
        qv_json_fail_at(j, NULL, "an array of more than %u numbers", max);
        return false;
    }
    if (count < j->floats_cap)
        return true;
    uint64_t cap = j->floats_cap == 0 ? 1024 : (uint64_t)j->floats_cap * 2;
    cap = cap > UINT32_MAX ? UINT32_MAX : cap;
    float *grown = qv_arena_alloc(j->arena, (size_t)cap * sizeof *grown);
    if (grown == NULL) {
        qv_json_fail_full(j);
        return false;
    }
    if (count != 0)
        memcpy(grown, j->floats, count * sizeof *grown);
    j->floats = grown;
    j->floats_cap = (uint32_t)cap;
    return true;
}

static inline const char *skip_space(const char *p, const char *end)
{
    while (p < end && (unsigned char)*p <= ' ' &&
           (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
        p++;
    return p;
}

/* The items of an array of numbers, from behind '['; how many. Leaves j->p behind ']'. */
static uint32_t floats_scan(struct qv_json *j, uint32_t max)
{
    const char *p = j->p;
    const char *end = j->end;
    uint32_t count = 0;
    for (;;) {
        struct json_num n;
        p = skip_space(p, end);
        j->p = p;
        if (p >= end || !scan_number(p, end, &n)) {
            (void)qv_json_f32(j); /* says what is wrong */
            return 0;
        }
        if ((count >= j->floats_cap || count >= max) && !floats_grow(j, count, max))
            return 0;
        if (!number_to_f32_fast(&n, &j->floats[count]))
            j->floats[count] = number_to_f32_slow(j, &n);
        count++;
        p = skip_space(n.end, end);
        if (p < end && *p == ',') {
            p++;
            continue;
        }
        j->p = p;
        if (p < end && *p == ']') {
            j->p++;
            j->depth--;
            return count;
        }
        qv_json_fail_at(j, NULL, p < end ? "expected `,` or `]`" : "EOF while parsing a list");
        return 0;
    }
}

const float *qv_json_floats(struct qv_json *j, uint32_t max, uint32_t *count)
{
    *count = 0;
    qv_json_begin_array(j);
    if (j->err != 0)
        return NULL;
    j->p = skip_space(j->p, j->end);
    if (j->p < j->end && *j->p == ']') {
        (void)qv_json_next_item(j); /* closes it */
        return NULL;
    }
    j->fresh = false;
    uint32_t n = floats_scan(j, max);
    if (j->err != 0)
        return NULL;
    const float *out = qv_arena_dup(j->arena, j->floats, n * sizeof *out);
    if (out == NULL) {
        qv_json_fail_full(j);
        return NULL;
    }
    *count = n;
    return out;
}
