#include "naive_text.h"

#include "text/stop_words.h"

#include <libstemmer.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define CODES_MAX 1024
#define TOKENS_MAX 256
#define TOKEN_BYTES 160

struct codes {
    int32_t c[CODES_MAX];
    size_t n;
};

struct tokens {
    char text[TOKENS_MAX][TOKEN_BYTES];
    size_t n;
};

static void decode(struct qv_str s, struct codes *out)
{
    out->n = 0;
    for (size_t i = 0; i < s.n;) {
        const utf8proc_ssize_t n = utf8proc_iterate((const uint8_t *)s.p + i,
                                                    (utf8proc_ssize_t)(s.n - i), &out->c[out->n]);
        if (n <= 0 || out->n + 1 == CODES_MAX)
            abort();
        i += (size_t)n;
        out->n++;
    }
}

static bool is_mark(int32_t c)
{
    return utf8proc_category_string(c)[0] == 'M';
}

static bool is_word(int32_t c)
{
    return utf8proc_category_string(c)[0] == 'L' || utf8proc_category_string(c)[0] == 'N';
}

static bool is_space(int32_t c)
{
    static const int32_t spaces[] = {' ', '\t', '\n', 0xA0, 0x3000, 0x2003};
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
        if (spaces[i] == c)
            return true;
    }
    return false;
}

/* Han, Kana and Thai: what the texts of tests hold of them. */
static bool is_ideo(int32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3040 && c <= 0x30FF) ||
           (c >= 0x0E00 && c <= 0x0E7F);
}

static void put(char *out, int32_t c)
{
    uint8_t b[4];
    const size_t n = (size_t)utf8proc_encode_char(c, b);
    const size_t at = strlen(out);
    memcpy(out + at, b, n);
    out[at + n] = '\0';
}

static void put_folded(char *out, int32_t c)
{
    static const struct {
        int32_t c;
        const char *ascii;
    } special[] = {{0xDF, "ss"}, {0xF8, "o"},  {0xD8, "O"},
                   {0x142, "l"}, {0x141, "L"}, {0xE6, "ae"}};
    char one[8] = "";
    uint8_t *mapped = NULL;
    for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
        if (special[i].c == c) {
            strcat(out, special[i].ascii);
            return;
        }
    }
    if (c >= 0x300 && c <= 0x36F)
        return;
    put(one, c);
    utf8proc_map((const uint8_t *)one, 0, &mapped,
                 UTF8PROC_NULLTERM | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_STRIPMARK |
                     UTF8PROC_STABLE);
    bool ascii = mapped != NULL && mapped[0] != '\0';
    for (const uint8_t *p = mapped; ascii && *p != '\0'; p++)
        ascii = *p < 0x80;
    strcat(out, ascii ? (const char *)mapped : one);
    free(mapped);
}

static void finish(const struct qv_text_options *o, const int32_t *c, size_t n, char *out)
{
    const bool many = o->tokenizer == QV_TOKENIZER_MULTILINGUAL;
    out[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        int32_t x = o->lowercase || many ? utf8proc_tolower(c[i]) : c[i];
        if ((o->lowercase || many) && c[i] == 0x3A3 && i + 1 == n && n > 1)
            x = 0x3C2;
        if (o->ascii_folding || many)
            put_folded(out, x);
        else
            put(out, x);
    }
}

static size_t chars(const char *s)
{
    struct codes c;
    decode(qv_str_of(s), &c);
    return c.n;
}

static bool is_stop(const struct qv_text_options *o, const char *word)
{
    char stop[TOKEN_BYTES];
    struct codes c;
    for (uint32_t i = 0; i < o->stop_list_count; i++) {
        for (size_t k = 0; k < o->stop_lists[i]->count; k++) {
            decode(qv_str_of(o->stop_lists[i]->words[k]), &c);
            finish(o, c.c, c.n, stop);
            if (strcmp(stop, word) == 0)
                return true;
        }
    }
    for (uint32_t i = 0; i < o->stop_word_count; i++) {
        decode(o->stop_words[i], &c);
        finish(o, c.c, c.n, stop);
        if (strcmp(stop, word) == 0)
            return true;
    }
    return false;
}

static void stem(const char *algorithm, char *word)
{
    struct sb_stemmer *s = sb_stemmer_new(algorithm, NULL);
    const sb_symbol *p = sb_stemmer_stem(s, (const sb_symbol *)word, (int)strlen(word));
    const size_t n = (size_t)sb_stemmer_length(s);
    memmove(word, p, n);
    word[n] = '\0';
    sb_stemmer_delete(s);
}

static void add(const struct qv_text_options *o, bool query, const int32_t *c, size_t n, bool ideo,
                struct tokens *out)
{
    char *t = out->text[out->n];
    const bool prefix = o->tokenizer == QV_TOKENIZER_PREFIX;
    struct codes cut;
    if (out->n + 1 == TOKENS_MAX || n * 4 >= TOKEN_BYTES)
        abort();
    finish(o, c, n, t);
    if (t[0] == '\0' || (is_stop(o, t) && !(prefix && query)))
        return;
    if (o->stemmer != NULL)
        stem(o->stemmer, t);
    if (prefix && query && chars(t) > o->max_token_len) {
        decode(qv_str_of(t), &cut);
        t[0] = '\0';
        for (size_t i = 0; i < o->max_token_len; i++)
            put(t, cut.c[i]);
    }
    if (!ideo && !(prefix && !query) &&
        (chars(t) < o->min_token_len || chars(t) > o->max_token_len))
        return;
    if (t[0] != '\0')
        out->n++;
}

/* Characters of c from i on that belong to one letter: itself and its marks. */
static size_t cluster(const struct codes *c, size_t i)
{
    size_t n = 1;
    while (i + n < c->n && is_mark(c->c[i + n]))
        n++;
    return n;
}

static size_t add_ideo_run(const struct qv_text_options *o, bool query, bool order,
                           const struct codes *c, size_t i, struct tokens *out)
{
    size_t starts[CODES_MAX + 1];
    size_t n = 0;
    size_t at = i;
    while (at < c->n && is_ideo(c->c[at]) && !is_mark(c->c[at])) {
        starts[n++] = at;
        at += cluster(c, at);
    }
    starts[n] = at;
    for (size_t k = 0; k < n; k++) {
        if (order || !query || n == 1)
            add(o, query, c->c + starts[k], starts[k + 1] - starts[k], true, out);
        if (!order && k + 1 < n)
            add(o, query, c->c + starts[k], starts[k + 2] - starts[k], true, out);
    }
    return at;
}

static void tokenize(const struct qv_text_options *o, struct qv_str s, bool query, bool order,
                     struct tokens *out)
{
    static struct codes c;
    decode(s, &c);
    out->n = 0;
    const bool space = o->tokenizer == QV_TOKENIZER_WHITESPACE;
    for (size_t i = 0; i < c.n;) {
        size_t n = 0;
        if (o->tokenizer == QV_TOKENIZER_MULTILINGUAL && is_ideo(c.c[i]) && is_word(c.c[i])) {
            i = add_ideo_run(o, query, order, &c, i, out);
            continue;
        }
        while (i + n < c.n &&
               (space ? !is_space(c.c[i + n])
                      : (is_word(c.c[i + n]) &&
                         !(o->tokenizer == QV_TOKENIZER_MULTILINGUAL && is_ideo(c.c[i + n]))) ||
                            (n > 0 && is_mark(c.c[i + n]))))
            n++;
        if (n > 0)
            add(o, query, c.c + i, n, false, out);
        i += n > 0 ? n : 1;
    }
}

static bool token_matches(const struct qv_text_options *o, const char *stored, const char *asked)
{
    if (o->tokenizer == QV_TOKENIZER_PREFIX)
        return strncmp(stored, asked, strlen(asked)) == 0;
    return strcmp(stored, asked) == 0;
}

static bool in_some(const struct qv_text_options *o, const struct tokens *stored, size_t count,
                    const char *asked)
{
    for (size_t v = 0; v < count; v++) {
        for (size_t i = 0; i < stored[v].n; i++) {
            if (token_matches(o, stored[v].text[i], asked))
                return true;
        }
    }
    return false;
}

static bool has_phrase(const struct qv_text_options *o, const struct tokens *stored,
                       const struct tokens *asked)
{
    for (size_t at = 0; at + asked->n <= stored->n; at++) {
        size_t i = 0;
        while (i < asked->n && token_matches(o, stored->text[at + i], asked->text[i]))
            i++;
        if (i == asked->n)
            return true;
    }
    return false;
}

bool naive_text(const struct qv_text_options *o, enum qv_cond_type type, struct qv_str query,
                const struct qv_str *values, size_t count)
{
    const bool order = type == QV_COND_MATCH_PHRASE;
    struct tokens *asked = calloc(1, sizeof *asked);
    struct tokens *stored = calloc(count + 1, sizeof *stored);
    bool any = false;
    bool all = true;
    bool phrase = false;
    if (asked == NULL || stored == NULL)
        abort();
    tokenize(o, query, true, order, asked);
    for (size_t v = 0; v < count; v++) {
        tokenize(o, values[v], false, order, &stored[v]);
        phrase = phrase || has_phrase(o, &stored[v], asked);
    }
    for (size_t i = 0; i < asked->n; i++) {
        const bool found = in_some(o, stored, count, asked->text[i]);
        any = any || found;
        all = all && found;
    }
    const bool empty = asked->n == 0;
    free(asked);
    free(stored);
    if (empty)
        return false;
    if (order)
        return o->phrase_matching && phrase;
    return type == QV_COND_MATCH_TEXT ? all : any;
}
