/* Tokens: what each tokenizer makes of texts, as lists; bounds; names of languages. What they match
 * is tested against a naive tokenizer in core/test_text_match.c. */
#include "suite.h"

#include "base/buf.h"
#include "text/analyzer.h"
#include "text/stop_words.h"

#include <stdio.h>
#include <stdlib.h>

static struct qv_arena arena;

static int set_up(void **state)
{
    (void)state;
    qv_arena_init(&arena, (size_t)4 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    qv_arena_close(&arena);
    return 0;
}

static bool append(void *ctx, struct qv_token t)
{
    struct qv_buf *b = ctx;
    qv_buf_append(b, b->len > 0 ? "|" : "", b->len > 0 ? 1 : 0);
    qv_buf_append(b, t.text.p, t.text.n);
    return true;
}

/* The tokens between bars. */
static void gives(const struct qv_text_options *o, unsigned flags, const char *text,
                  const char *want)
{
    struct qv_buf b;
    struct qv_analyzer *x = qv_analyzer_open(&arena, o);
    assert_non_null(x);
    qv_buf_init(&b, 0);
    assert_true(qv_analyzer_run(x, qv_str_of(text), flags, append, &b));
    qv_buf_u8(&b, 0);
    if (strcmp((const char *)b.data, want) != 0)
        fail_msg("'%s' gives '%s', want '%s'", text, (const char *)b.data, want);
    qv_buf_close(&b);
    qv_analyzer_close(x);
}

static void test_tokenizers(void **state)
{
    (void)state;
    struct qv_text_options o = {.lowercase = true, .max_token_len = UINT64_MAX};
    gives(&o, 0, "Hello, world! Привет, МИР-2024", "hello|world|привет|мир|2024");
    gives(&o, 0, "don't e\xCC\x81t\xC3\xA9 ΟΔΟΣ Σ", "don|t|e\xCC\x81t\xC3\xA9|οδος|σ");
    gives(&o, 0, " .,\xCC\x81; ", "");
    gives(&o, 0,
          "a\xFF"
          "b \xC3",
          "a|b");
    o.lowercase = false;
    gives(&o, 0, "Hello World", "Hello|World");
    o.ascii_folding = true;
    gives(&o, 0, "Éte\xCC\x81 Straße Łódź ﬁsh", "Ete|Strasse|Lodz|fish");
    o = (struct qv_text_options){.tokenizer = QV_TOKENIZER_WHITESPACE, .max_token_len = UINT64_MAX};
    gives(&o, 0, "  C++,\tc#\xE3\x80\x80x\xC2\xA0y\n", "C++,|c#|x|y");
    o = (struct qv_text_options){
        .tokenizer = QV_TOKENIZER_PREFIX, .min_token_len = 2, .max_token_len = 4};
    gives(&o, 0, "a tremendous day", "a|tremendous|day");
    gives(&o, QV_TEXT_QUERY, "a tremendous day", "trem|day");
    o = (struct qv_text_options){.tokenizer = QV_TOKENIZER_MULTILINGUAL,
                                 .max_token_len = UINT64_MAX};
    gives(&o, 0, "東京都 Tokyo", "東|京|東京|都|京都|tokyo");
    gives(&o, QV_TEXT_QUERY, "東京都 Tokyo 京", "東京|京都|tokyo|京");
    gives(&o, QV_TEXT_ORDER, "東京都Tokyo", "東|京|都|tokyo");
    gives(&o, QV_TEXT_QUERY, "น้ำ", "น้ำ"); /* two letters, the first with its mark: a pair */
}

static void test_stop_words_and_stems(void **state)
{
    (void)state;
    const struct qv_stop_list *lists[] = {qv_stop_list_find(qv_str_of("EN"))};
    const struct qv_str custom[] = {{"Fox", 3}};
    struct qv_text_options o = {.lowercase = true,
                                .max_token_len = UINT64_MAX,
                                .stop_lists = lists,
                                .stop_list_count = 1,
                                .stop_words = custom,
                                .stop_word_count = 1,
                                .stemmer = qv_text_stemmer(qv_str_of("English"))};
    gives(&o, 0, "The fox was jumping over THESE theories", "jump|theori");
    o.tokenizer = QV_TOKENIZER_PREFIX;
    o.stemmer = NULL;
    gives(&o, 0, "the theory", "theory");
    gives(&o, QV_TEXT_QUERY, "the theory", "the|theory");
    o.tokenizer = QV_TOKENIZER_WORD;
    o.min_token_len = 3;
    o.max_token_len = 4;
    gives(&o, 0, "ab abc \xC3\xA9\xC3\xA9\xC3\xA9 abcd abcde", "abc|\xC3\xA9\xC3\xA9\xC3\xA9|abcd");
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(qv_text_stemmer(qv_str_of("GERMAN")), "german");
    assert_string_equal(qv_text_stemmer(qv_str_of("ta")), "tamil");
    assert_null(qv_text_stemmer(qv_str_of("porter")));
    assert_null(qv_text_stemmer(qv_str_of("")));
    assert_null(qv_text_stemmer(qv_str_of("germ")));
    assert_null(qv_stop_list_find(qv_str_of("arabic")));
    assert_int_equal(qv_stop_list_count, 15);
    for (size_t i = 0; i < qv_stop_list_count; i++) {
        const struct qv_stop_list *l = &qv_stop_lists[i];
        assert_true(l->count > 50);
        assert_ptr_equal(qv_stop_list_find(qv_str_of(l->language)), l);
        assert_ptr_equal(qv_stop_list_find(qv_str_of(l->code)), l);
    }
}

struct longest {
    size_t bytes;
    unsigned tokens;
};

static bool measure(void *ctx, struct qv_token t)
{
    struct longest *l = ctx;
    l->bytes = t.text.n > l->bytes ? t.text.n : l->bytes;
    return ++l->tokens < 3;
}

/* A word of a megabyte is cut, at a character; the one who listens may stop. */
static void test_bounds(void **state)
{
    (void)state;
    struct qv_text_options o = {
        .lowercase = true, .ascii_folding = true, .max_token_len = UINT64_MAX};
    struct qv_analyzer *x = qv_analyzer_open(&arena, &o);
    struct longest l = {0, 0};
    char *text = malloc(1 << 20);
    assert_non_null(text);
    for (size_t i = 0; i + 3 <= 1 << 20; i += 3)
        memcpy(text + i, "\xE6\x9D\xB1", 3);
    assert_true(qv_analyzer_run(x, (struct qv_str){text, (1 << 20) - 1}, 0, measure, &l));
    assert_true(l.bytes <= QV_TEXT_TOKEN_BYTES_MAX && l.bytes % 3 == 0 && l.bytes > 1000);
    l = (struct longest){0, 0};
    assert_false(qv_analyzer_run(x, qv_str_of("a b c d e"), 0, measure, &l));
    assert_int_equal(l.tokens, 3);
    qv_analyzer_close(x);
    qv_analyzer_close(NULL);
    free(text);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_tokenizers),
        TEST(test_stop_words_and_stems),
        TEST(test_names),
        TEST(test_bounds),
    };
    return RUN_SUITE(tests);
}
