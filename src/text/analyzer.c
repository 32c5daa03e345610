#include "text/analyzer.h"

#include "base/qv_assert.h"
#include "text/letters.h"
#include "text/stop_words.h"

#include <libstemmer.h>
#include <stdlib.h>

#define SIGMA 0x3A3
#define FINAL_SIGMA 0x3C2

struct qv_analyzer {
    enum qv_tokenizer tokenizer;
    bool lowercase, folding;
    uint64_t min, max; /* characters of a token */
    struct sb_stemmer *stemmer;
    struct qv_str *stops; /* sorted */
    uint32_t stop_count;
    uint8_t word[QV_TEXT_TOKEN_BYTES_MAX];
};

/* ---- names ---- */

static bool same_name(struct qv_str a, const char *b)
{
    size_t i = 0;
    for (; i < a.n && b[i] != '\0'; i++) {
        if (qv_letter_lower((uint8_t)a.p[i]) != b[i])
            return false;
    }
    return i == a.n && b[i] == '\0';
}

const struct qv_stop_list *qv_stop_list_find(struct qv_str name)
{
    for (size_t i = 0; i < qv_stop_list_count; i++) {
        if (same_name(name, qv_stop_lists[i].language) || same_name(name, qv_stop_lists[i].code))
            return &qv_stop_lists[i];
    }
    return NULL;
}

const char *qv_text_stemmer(struct qv_str language)
{
    static const char *const names[][2] = {
        {"arabic", "ar"},     {"armenian", "hy"},  {"danish", "da"},  {"dutch", "nl"},
        {"english", "en"},    {"finnish", "fi"},   {"french", "fr"},  {"german", "de"},
        {"greek", "el"},      {"hungarian", "hu"}, {"italian", "it"}, {"norwegian", "no"},
        {"portuguese", "pt"}, {"romanian", "ro"},  {"russian", "ru"}, {"spanish", "es"},
        {"swedish", "sv"},    {"tamil", "ta"},     {"turkish", "tr"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (same_name(language, names[i][0]) || same_name(language, names[i][1]))
            return names[i][0];
    }
    return NULL;
}

/* ---- one word ---- */

/* Appends a code point in its final form; false: there is no room for it. */
static bool put_letter(struct qv_analyzer *x, int32_t c, size_t *n)
{
    uint8_t out[QV_LETTER_FOLD_MAX];
    int bytes = -1;
    if (x->lowercase)
        c = qv_letter_lower(c);
    if (x->folding && c >= 0x80)
        bytes = qv_letter_fold(c, out);
    if (bytes < 0)
        bytes = (int)qv_letter_write(c, out);
    if (*n + (size_t)bytes > sizeof x->word)
        return false;
    for (int i = 0; i < bytes; i++) /* "™" folds to TM: lower case once more */
        x->word[(*n)++] =
            x->lowercase && c >= 0x80 && out[i] < 0x80 ? (uint8_t)qv_letter_lower(out[i]) : out[i];
    return true;
}

/* raw in its final form, in x->word. */
static struct qv_str normalize(struct qv_analyzer *x, struct qv_str raw)
{
    const uint8_t *p = (const uint8_t *)raw.p;
    const uint8_t *end = p + raw.n;
    const uint8_t *start = p;
    int32_t c = 0;
    size_t n = 0;
    while (p < end) {
        const size_t bytes = qv_letter_read(p, end, &c);
        const bool last = p + bytes == end && p > start;
        if (bytes == 0)
            break;
        if (x->lowercase && c == SIGMA && last) /* at a word's end it is written otherwise */
            c = FINAL_SIGMA;
        if (!put_letter(x, c, &n))
            break;
        p += bytes;
    }
    return (struct qv_str){(const char *)x->word, n};
}

static uint64_t count_chars(struct qv_str s)
{
    uint64_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((uint8_t)s.p[i] & 0xC0) != 0x80;
    return n;
}

static int compare_text(const void *pa, const void *pb)
{
    const struct qv_str *a = pa;
    const struct qv_str *b = pb;
    const size_t n = a->n < b->n ? a->n : b->n;
    const int order = n == 0 ? 0 : memcmp(a->p, b->p, n);
    return order != 0 ? order : (a->n > b->n) - (a->n < b->n);
}

static bool is_stop_word(const struct qv_analyzer *x, struct qv_str word)
{
    return x->stop_count > 0 &&
           bsearch(&word, x->stops, x->stop_count, sizeof word, compare_text) != NULL;
}

static struct qv_str stem(struct qv_analyzer *x, struct qv_str word)
{
    const sb_symbol *p = sb_stemmer_stem(x->stemmer, (const sb_symbol *)word.p, (int)word.n);
    if (p == NULL) /* no memory: as it is, which the same word on the other side may not be */
        return word;
    return (struct qv_str){(const char *)p, (size_t)sb_stemmer_length(x->stemmer)};
}

static struct qv_token cut(struct qv_token t, uint64_t chars)
{
    size_t n = 0;
    if (t.chars <= chars)
        return t;
    for (uint64_t seen = 0; n < t.text.n; n++) {
        seen += ((uint8_t)t.text.p[n] & 0xC0) != 0x80;
        if (seen > chars)
            break;
    }
    return (struct qv_token){{t.text.p, n}, chars};
}

/* ---- a text ---- */

struct run {
    struct qv_analyzer *x;
    unsigned flags;
    qv_token_f f;
    void *ctx;
    const uint8_t
        *before; /* where the character before this one began, in a run of such; or NULL */
};

/* A word, or characters that count as one (bound: min and max apply). */
static bool give(struct run *r, const uint8_t *from, const uint8_t *to, bool bound)
{
    struct qv_analyzer *x = r->x;
    const bool prefix = x->tokenizer == QV_TOKENIZER_PREFIX;
    const bool query = (r->flags & QV_TEXT_QUERY) != 0;
    struct qv_token t = {.text = {(const char *)from, (size_t)(to - from)}};
    t.text = normalize(x, t.text);
    if (t.text.n == 0 || (!(prefix && query) && is_stop_word(x, t.text)))
        return true;
    if (x->stemmer != NULL)
        t.text = stem(x, t.text);
    t.chars = count_chars(t.text);
    if (prefix && query)
        t = cut(t, x->max);
    if (bound && !(prefix && !query) && (t.chars < x->min || t.chars > x->max))
        return true;
    return t.text.n == 0 || r->f(r->ctx, t);
}

/* A character of a script without spaces; `more`: another one follows. */
static bool give_ideo(struct run *r, const uint8_t *from, const uint8_t *to, bool more)
{
    const uint8_t *before = r->before;
    const bool order = (r->flags & QV_TEXT_ORDER) != 0;
    const bool query = (r->flags & QV_TEXT_QUERY) != 0;
    const bool alone = order || !query || (before == NULL && !more);
    r->before = more ? from : NULL;
    if (alone && !give(r, from, to, false))
        return false;
    return order || before == NULL || give(r, before, to, false);
}

static enum qv_letter kind_of(const struct qv_analyzer *x, int32_t c)
{
    if (x->tokenizer == QV_TOKENIZER_WHITESPACE)
        return qv_letter_is_space(c) ? QV_LETTER_NONE : QV_LETTER_WORD;
    const enum qv_letter kind = qv_letter_kind(c);
    return kind == QV_LETTER_IDEO && x->tokenizer != QV_TOKENIZER_MULTILINGUAL ? QV_LETTER_WORD
                                                                               : kind;
}

/* What was read from `from` to `to` ends there, unless it is a word that goes on. */
static bool end_piece(struct run *r, const uint8_t *from, const uint8_t *to, enum qv_letter now,
                      enum qv_letter next)
{
    if (now == QV_LETTER_IDEO)
        return give_ideo(r, from, to, next == QV_LETTER_IDEO);
    return now != QV_LETTER_WORD || next == QV_LETTER_WORD || give(r, from, to, true);
}

bool qv_analyzer_run(struct qv_analyzer *x, struct qv_str text, unsigned flags, qv_token_f f,
                     void *ctx)
{
    struct run r = {.x = x, .flags = flags, .f = f, .ctx = ctx};
    const uint8_t *p = (const uint8_t *)text.p;
    const uint8_t *end = p + text.n;
    const uint8_t *from = p;
    enum qv_letter now = QV_LETTER_NONE; /* what is being read since `from` */
    while (p < end) {
        int32_t c = 0;
        const size_t bytes = qv_letter_read(p, end, &c);
        enum qv_letter kind = bytes == 0 ? QV_LETTER_NONE : kind_of(x, c);
        const uint8_t *next = p + (bytes == 0 ? 1 : bytes);
        if (kind == QV_LETTER_MARK) {
            kind = now; /* also: nothing, where it stands alone */
        } else {
            if (!end_piece(&r, from, p, now, kind))
                return false;
            if (now != QV_LETTER_WORD || kind != QV_LETTER_WORD)
                from = p;
        }
        now = kind;
        p = next;
    }
    return end_piece(&r, from, end, now, QV_LETTER_NONE);
}

/* ---- open ---- */

static bool add_stop_word(struct qv_analyzer *x, struct qv_arena *a, struct qv_str word)
{
    const struct qv_str w = normalize(x, word);
    const char *kept = qv_arena_strndup(a, w.p, w.n);
    if (kept != NULL)
        x->stops[x->stop_count++] = (struct qv_str){kept, w.n};
    return kept != NULL;
}

static bool add_stop_words(struct qv_analyzer *x, struct qv_arena *a,
                           const struct qv_text_options *o)
{
    size_t n = o->stop_word_count;
    bool ok = true;
    for (uint32_t i = 0; i < o->stop_list_count; i++)
        n += o->stop_lists[i]->count;
    if (n == 0)
        return true;
    x->stops = QV_ARENA_ARRAY(a, struct qv_str, n);
    if (x->stops == NULL)
        return false;
    for (uint32_t i = 0; i < o->stop_list_count; i++) {
        for (size_t k = 0; k < o->stop_lists[i]->count && ok; k++)
            ok = add_stop_word(x, a, qv_str_of(o->stop_lists[i]->words[k]));
    }
    for (uint32_t i = 0; i < o->stop_word_count && ok; i++)
        ok = add_stop_word(x, a, o->stop_words[i]);
    qsort(x->stops, x->stop_count, sizeof *x->stops, compare_text);
    return ok;
}

struct qv_analyzer *qv_analyzer_open(struct qv_arena *a, const struct qv_text_options *o)
{
    struct qv_analyzer *x = QV_ARENA_NEW(a, struct qv_analyzer);
    const bool many = o->tokenizer == QV_TOKENIZER_MULTILINGUAL;
    if (x == NULL)
        return NULL;
    x->tokenizer = o->tokenizer;
    x->lowercase = o->lowercase || many;
    x->folding = o->ascii_folding || many;
    x->min = o->min_token_len;
    x->max = o->max_token_len;
    if (!add_stop_words(x, a, o))
        return NULL;
    if (o->stemmer != NULL) {
        x->stemmer = sb_stemmer_new(o->stemmer, NULL);
        if (x->stemmer == NULL)
            return NULL;
    }
    return x;
}

void qv_analyzer_close(struct qv_analyzer *x)
{
    if (x != NULL)
        sb_stemmer_delete(x->stemmer);
    if (x != NULL)
        x->stemmer = NULL;
}
