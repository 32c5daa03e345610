/* Texts from anywhere through every tokenizer: u8 options, u8 n, n bytes of what is asked for, a
 * text. Tokens keep their bounds, a text holds what it is asked for by itself, and an index's
 * options from anywhere are read or refused.
 * covers: src/text/analyzer.c src/text/letters.c src/core/text_match.c src/core/text_index.c
 * options: -max_len=4096 */
#include "core/config.h"
#include "core/filter.h"
#include "core/text_index.h"
#include "text/stop_words.h"

#include "base/qv_assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct counted {
    struct qv_text_options *options;
    size_t tokens;
};

static bool count_token(void *ctx, struct qv_token t)
{
    struct counted *c = ctx;
    QV_ASSERT(t.text.n > 0 && t.text.n <= QV_TEXT_TOKEN_BYTES_MAX && t.chars <= t.text.n);
    c->tokens++;
    return c->tokens < 5000;
}

static struct qv_text_options options_of(uint8_t bits)
{
    static const struct qv_str custom[] = {{"fox", 3}, {"\xC3\x89t\xC3\xA9", 5}};
    static const struct qv_stop_list *english;
    english = qv_stop_list_find(qv_str_of("english"));
    struct qv_text_options o = {.tokenizer = (enum qv_tokenizer)(bits & 3),
                                .lowercase = bits >> 2 & 1,
                                .ascii_folding = bits >> 3 & 1,
                                .phrase_matching = true,
                                .max_token_len = bits >> 4 & 1 ? 4 : UINT64_MAX,
                                .min_token_len = bits >> 5 & 1 ? 2 : 0,
                                .stemmer = bits >> 6 & 1 ? "english" : NULL};
    if (bits >> 7) {
        o.stop_lists = &english;
        o.stop_list_count = 1;
        o.stop_words = custom;
        o.stop_word_count = 2;
    }
    return o;
}

/* The options as an index's object. */
static struct qv_doc params_of(uint8_t bits, struct qv_buf *b)
{
    static const char *const tokenizers[] = {"word", "whitespace", "prefix", "multilingual"};
    const size_t mark = qv_doc_begin_object(b);
    uint32_t n = 2;
    qv_doc_put_key(b, "tokenizer", 9);
    qv_doc_put_str(b, tokenizers[bits & 3], strlen(tokenizers[bits & 3]));
    qv_doc_put_key(b, "phrase_matching", 15);
    qv_doc_put_bool(b, true);
    if (bits >> 6 & 1) {
        qv_doc_put_key(b, "stopwords", 9);
        qv_doc_put_str(b, "german", 6);
        n++;
    }
    qv_doc_end_object(b, mark, n);
    return (struct qv_doc){b->data, b->len};
}

static void match(struct qv_doc params, struct qv_str query, struct qv_doc payload)
{
    struct qv_payload_index index = {
        .field = qv_str_of("t"), .type = qv_str_of("text"), .params = params};
    const struct qv_collection_config config = {.payload_indexes = &index,
                                                .payload_index_count = 1};
    struct qv_filter_binding *b = NULL;
    struct qv_arena a;
    struct qv_errmsg msg;
    qv_arena_init(&a, 1 << 20);
    for (int type = QV_COND_MATCH_TEXT; type <= QV_COND_MATCH_PHRASE; type++) {
        struct qv_cond c = {.type = (enum qv_cond_type)type, .key = index.field, .u.text = query};
        struct qv_filter f = {.must = &c, .must_count = 1};
        int err = qv_path_parse(&a, c.key, &c.path, &msg);
        QV_ASSERT(err == 0);
        err = qv_filter_seal(&f, &a, &msg);
        QV_ASSERT(err == 0);
        if (qv_filter_bind(&f, &config, NULL, &b, &msg) == 0) {
            const struct qv_filter_point p = {.id = qv_id_num(1), .payload = payload, .binding = b};
            (void)qv_filter_match(&f, &p);
        }
        qv_filter_unbind(&b);
    }
    qv_arena_close(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qv_errmsg msg;
    struct qv_arena a;
    struct qv_buf params;
    struct qv_buf payload;
    if (size < 2)
        return 0;
    qv_arena_init(&a, 8 << 20);
    struct qv_text_options o = options_of(data[0]);
    const size_t n = data[1] < size - 2 ? data[1] : size - 2;
    const struct qv_str query = {(const char *)data + 2, n};
    const struct qv_str text = {(const char *)data + 2 + n, size - 2 - n};
    struct qv_analyzer *x = qv_analyzer_open(&a, &o);
    QV_ASSERT(x != NULL);
    for (unsigned flags = 0; flags < 4; flags++) {
        struct counted c = {&o, 0};
        (void)qv_analyzer_run(x, text, flags, count_token, &c);
    }
    qv_analyzer_close(x);
    qv_buf_init(&params, 0);
    qv_buf_init(&payload, 0);
    const size_t mark = qv_doc_begin_object(&payload);
    qv_doc_put_key(&payload, "t", 1);
    qv_doc_put_str(&payload, text.p, text.n);
    qv_doc_end_object(&payload, mark, 1);
    const struct qv_doc stored = {payload.data, payload.len};
    match(params_of(data[0], &params), query, stored);
    if (qv_doc_check(text.p, text.n, &msg) == 0) { /* a document: options, then */
        const struct qv_payload_index index = {.type = qv_str_of("text"),
                                               .params = {(const uint8_t *)text.p, text.n}};
        if (qv_payload_index_check(&index, &msg) == 0)
            match(index.params, query, stored);
        else
            QV_ASSERT(msg.text[0] != '\0');
    }
    qv_buf_close(&params);
    qv_buf_close(&payload);
    qv_arena_close(&a);
    return 0;
}
