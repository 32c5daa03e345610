/* Characters as words are made of them: what a Unicode code point is to a tokenizer, and its forms
 * without case and without accents. Categories, lower case and decompositions are utf8proc's
 * (Unicode 15). Pure; any thread. */
#ifndef QV_TEXT_LETTERS_H
#define QV_TEXT_LETTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum qv_letter {
    QV_LETTER_NONE, /* ends a word */
    QV_LETTER_WORD, /* letters and digits of any script */
    QV_LETTER_MARK, /* belongs to what stands before it */
    QV_LETTER_IDEO  /* of a script written without spaces: Han, Kana, Thai, Lao, Khmer, Burmese */
};

/* The code point at p (p < end) and its bytes; 0 bytes: p is no UTF-8. */
size_t qv_letter_read(const uint8_t *p, const uint8_t *end, int32_t *out);
/* 1 to 4 bytes of UTF-8. */
size_t qv_letter_write(int32_t c, uint8_t out[4]);

enum qv_letter qv_letter_kind(int32_t c);
bool qv_letter_is_space(int32_t c); /* Unicode's White_Space */
int32_t qv_letter_lower(int32_t c); /* one code point for one */

#define QV_LETTER_FOLD_MAX 18
/* The ASCII that c stands for without its accents ("é" e, "ß" ss, "ﬁ" fi, "Ａ" A; a lone accent:
 * nothing): how many bytes, -1 where there is none. */
int qv_letter_fold(int32_t c, uint8_t out[QV_LETTER_FOLD_MAX]);

#endif
