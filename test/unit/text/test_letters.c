/* Characters: kinds, lower case, folding; every code point there is. */
#include "suite.h"

#include "text/letters.h"

#include <stdio.h>
#include <string.h>

static void test_every_code_point(void **state)
{
    (void)state;
    unsigned words = 0;
    unsigned folded = 0;
    for (int32_t c = 0; c <= 0x10FFFF; c++) {
        uint8_t utf8[4];
        uint8_t ascii[QV_LETTER_FOLD_MAX];
        int32_t back = -1;
        if (c >= 0xD800 && c <= 0xDFFF)
            continue;
        const size_t n = qv_letter_write(c, utf8);
        assert_true(n >= 1 && n <= 4);
        assert_int_equal(qv_letter_read(utf8, utf8 + n, &back), n);
        assert_int_equal(back, c);
        const enum qv_letter kind = qv_letter_kind(c);
        assert_true(!qv_letter_is_space(c) || kind == QV_LETTER_NONE);
        words += kind == QV_LETTER_WORD;
        /* lower case is lower case already */
        assert_int_equal(qv_letter_lower(qv_letter_lower(c)), qv_letter_lower(c));
        const int bytes = qv_letter_fold(c, ascii);
        assert_true(bytes >= -1 && bytes <= QV_LETTER_FOLD_MAX);
        for (int i = 0; i < bytes; i++)
            assert_true(ascii[i] < 0x80);
        assert_true(c >= 0x80 || (bytes == 1 && ascii[0] == c));
        folded += c >= 0x80 && bytes > 0;
    }
    printf("%u letters and digits, %u fold to ASCII\n", words, folded);
    assert_true(words > 30000 && folded > 1500);
}

static void test_kinds(void **state)
{
    (void)state;
    static const struct {
        int32_t c;
        enum qv_letter kind;
    } rows[] = {
        {'a', QV_LETTER_WORD},
        {'Z', QV_LETTER_WORD},
        {'7', QV_LETTER_WORD},
        {'_', QV_LETTER_NONE},
        {'-', QV_LETTER_NONE},
        {0, QV_LETTER_NONE},
        {0xE9, QV_LETTER_WORD},
        {0x416, QV_LETTER_WORD},
        {0x5D0, QV_LETTER_WORD},
        {0xAC00, QV_LETTER_WORD},
        /* Hangul has spaces */ {0x301, QV_LETTER_MARK},
        {0x94D, QV_LETTER_MARK},
        {0x6771, QV_LETTER_IDEO},
        {0x3042, QV_LETTER_IDEO},
        {0x30AB, QV_LETTER_IDEO},
        {0xE17, QV_LETTER_IDEO},
        {0xE34, QV_LETTER_MARK},
        {0x3002, QV_LETTER_NONE},
        {0x1F600, QV_LETTER_NONE},
        {0x20000, QV_LETTER_IDEO},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (qv_letter_kind(rows[i].c) != rows[i].kind)
            fail_msg("U+%04X is %d", (unsigned)rows[i].c, (int)qv_letter_kind(rows[i].c));
    }
}

static void test_folds(void **state)
{
    (void)state;
    static const struct {
        int32_t c;
        const char *ascii; /* NULL: none */
    } rows[] = {
        {0xE9, "e"},    {0xDF, "ss"},  {0xF8, "o"},    {0x141, "L"},    {0xC6, "AE"},
        {0xFB01, "fi"}, {0xFF21, "A"}, {0x1EA5, "a"},  {0x301, ""},     {0x416, NULL},
        {0x6771, NULL}, {0x3B1, NULL}, {0x2122, "TM"}, {0x1F600, NULL}, {0x2026, "..."},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t out[QV_LETTER_FOLD_MAX];
        const int n = qv_letter_fold(rows[i].c, out);
        const bool same = rows[i].ascii == NULL ? n == -1
                                                : n == (int)strlen(rows[i].ascii) &&
                                                      memcmp(out, rows[i].ascii, (size_t)n) == 0;
        if (!same)
            fail_msg("U+%04X gives %d bytes", (unsigned)rows[i].c, n);
    }
}

static void test_not_utf8(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "\x80", "\xC3", "\xC0\xAF", "\xED\xA0\x80", "\xF5\x80\x80\x80", "\xFF"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int32_t c;
        const uint8_t *p = (const uint8_t *)rows[i];
        assert_int_equal(qv_letter_read(p, p + strlen(rows[i]), &c), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_point),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_folds),
        cmocka_unit_test(test_not_utf8),
    };
    return RUN_SUITE(tests);
}
