#include "text/letters.h"

#include <string.h>
#include <utf8proc.h>

size_t qv_letter_read(const uint8_t *p, const uint8_t *end, int32_t *out)
{
    if (*p < 0x80) {
        *out = *p;
        return 1;
    }
    const utf8proc_ssize_t n = utf8proc_iterate(p, end - p, out);
    return n > 0 ? (size_t)n : 0;
}

size_t qv_letter_write(int32_t c, uint8_t out[4])
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    return (size_t)utf8proc_encode_char(c, out);
}

struct span {
    int32_t first, last;
};

static bool within(int32_t c, const struct span *spans, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (c >= spans[i].first && c <= spans[i].last)
            return true;
    }
    return false;
}

static bool is_ideo(int32_t c)
{
    static const struct span spans[] = {
        {0x3005, 0x3007}, {0x3040, 0x30FF}, {0x31F0, 0x31FF}, {0x3400, 0x4DBF}, /* Kana, Han */
        {0x4E00, 0x9FFF}, {0xF900, 0xFAFF}, {0xFF66, 0xFF9F}, {0x20000, 0x323AF},
        {0x0E00, 0x0EFF},                                                       /* Thai, Lao */
        {0x1000, 0x109F}, {0x1780, 0x17FF}, {0xA9E0, 0xA9FF}, {0xAA60, 0xAA7F}, /* Burmese, Khmer */
    };
    return c >= 0x0E00 && within(c, spans, sizeof spans / sizeof spans[0]);
}

static enum qv_letter by_category(int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return is_ideo(c) ? QV_LETTER_IDEO : QV_LETTER_WORD;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
        return QV_LETTER_MARK;
    default:
        return QV_LETTER_NONE;
    }
}

enum qv_letter qv_letter_kind(int32_t c)
{
    if (c >= 0x80)
        return by_category(c);
    const int32_t low = c | 0x20;
    return (c >= '0' && c <= '9') || (low >= 'a' && low <= 'z') ? QV_LETTER_WORD : QV_LETTER_NONE;
}

bool qv_letter_is_space(int32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= '\t' && c <= '\r');
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

int32_t qv_letter_lower(int32_t c)
{
    if (c < 0x80)
        return c >= 'A' && c <= 'Z' ? c + 32 : c;
    return utf8proc_tolower(c);
}

/* Latin letters that are no letter with an accent, or whose accent is none to Unicode. */
static const struct {
    int32_t c;
    const char *ascii;
} folds[] = {
    {0xC6, "AE"}, {0xD0, "D"},   {0xD8, "O"},   {0xDE, "TH"}, {0xDF, "ss"}, {0xE6, "ae"},
    {0xF0, "d"},  {0xF8, "o"},   {0xFE, "th"},  {0x110, "D"}, {0x111, "d"}, {0x126, "H"},
    {0x127, "h"}, {0x131, "i"},  {0x138, "q"},  {0x141, "L"}, {0x142, "l"}, {0x14A, "N"},
    {0x14B, "n"}, {0x152, "OE"}, {0x153, "oe"}, {0x166, "T"}, {0x167, "t"}, {0x180, "b"},
    {0x189, "D"}, {0x18F, "E"},  {0x192, "f"},  {0x19A, "l"}, {0x1B5, "Z"}, {0x1B6, "z"},
    {0x1DD, "e"}, {0x23D, "L"},  {0x243, "B"},  {0x248, "J"}, {0x249, "j"}, {0x253, "b"},
    {0x256, "d"}, {0x259, "e"},  {0x268, "i"},  {0x26B, "l"}, {0x289, "u"}, {0x1E9E, "SS"}};

int qv_letter_fold(int32_t c, uint8_t out[QV_LETTER_FOLD_MAX])
{
    utf8proc_int32_t parts[32];
    int boundary = 0;
    int n = 0;
    for (size_t i = 0; i < sizeof folds / sizeof folds[0] && c >= folds[0].c; i++) {
        if (folds[i].c == c) {
            n = (int)strlen(folds[i].ascii);
            memcpy(out, folds[i].ascii, (size_t)n);
            return n;
        }
    }
    const utf8proc_ssize_t count = utf8proc_decompose_char(
        c, parts, 32, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_STABLE, &boundary);
    if (count <= 0 || count > QV_LETTER_FOLD_MAX)
        return -1;
    for (utf8proc_ssize_t i = 0; i < count; i++) {
        if (parts[i] < 0x80)
            out[n++] = (uint8_t)parts[i];
        else if (parts[i] < 0x300 || parts[i] > 0x36F) /* no accent of Latin letters */
            return -1;
    }
    return n;
}
