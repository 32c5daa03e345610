#include "core/text_index.h"

#include "text/stop_words.h"

#define CHECK_ARENA_BYTES ((size_t)8 << 20)

struct reader {
    struct qv_doc params;
    struct qv_arena *a;
    struct qv_errmsg *msg;
    int err;
};

/* An option that is given and not null, and is of the type (any of the two). */
static bool find(struct reader *r, const char *name, enum qv_doc_type t1, enum qv_doc_type t2,
                 struct qv_doc *out)
{
    if (r->err != 0 || r->params.p == NULL || !qv_doc_find(r->params, qv_str_of(name), out) ||
        qv_doc_type(*out) == QV_DOC_NULL)
        return false;
    const enum qv_doc_type t = qv_doc_type(*out);
    if (t != t1 && t != t2)
        r->err = qv_fail(r->msg, QV_EINVAL, "field_schema.%s: wrong type", name);
    return r->err == 0;
}

static void read_bool(struct reader *r, const char *name, bool *out)
{
    struct qv_doc v;
    if (find(r, name, QV_DOC_TRUE, QV_DOC_FALSE, &v))
        *out = qv_doc_bool(v);
}

static void read_length(struct reader *r, const char *name, uint64_t *out)
{
    struct qv_doc v;
    if (!find(r, name, QV_DOC_INT, QV_DOC_INT, &v))
        return;
    if (qv_doc_int(v) < 0)
        r->err = qv_fail(r->msg, QV_EINVAL, "field_schema.%s: less than 0", name);
    else
        *out = (uint64_t)qv_doc_int(v);
}

static int shown(struct qv_str s)
{
    return s.n > 64 ? 0 : (int)s.n;
}

static void read_tokenizer(struct reader *r, struct qv_text_options *out)
{
    static const char *const names[] = {[QV_TOKENIZER_WORD] = "word",
                                        [QV_TOKENIZER_WHITESPACE] = "whitespace",
                                        [QV_TOKENIZER_PREFIX] = "prefix",
                                        [QV_TOKENIZER_MULTILINGUAL] = "multilingual"};
    struct qv_doc v;
    if (!find(r, "tokenizer", QV_DOC_STRING, QV_DOC_STRING, &v))
        return;
    const struct qv_str s = qv_doc_str(v);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (qv_str_equal(s, qv_str_of(names[i]))) {
            out->tokenizer = (enum qv_tokenizer)i;
            return;
        }
    }
    r->err = qv_fail(r->msg, QV_EINVAL,
                     "field_schema.tokenizer: unknown tokenizer '%.*s', expected one of prefix, "
                     "whitespace, word, multilingual",
                     shown(s), s.p);
}

/* ---- stop words ---- */

static void no_list(struct reader *r, struct qv_str name)
{
    char known[400];
    size_t n = 0;
    known[0] = '\0';
    for (size_t i = 0; i < qv_stop_list_count; i++) {
        const char *language = qv_stop_lists[i].language;
        const size_t bytes = strlen(language);
        if (n + bytes + 3 > sizeof known)
            break;
        memcpy(known + n, i > 0 ? ", " : "", i > 0 ? 2 : 0);
        n += i > 0 ? 2 : 0;
        memcpy(known + n, language, bytes + 1);
        n += bytes;
    }
    r->err = qv_fail(r->msg, QV_EINVAL,
                     "field_schema.stopwords: no list for language '%.*s'; there are %s",
                     shown(name), name.p, known);
}

static void add_list(struct reader *r, struct qv_str name, const struct qv_stop_list **lists,
                     struct qv_text_options *out)
{
    const struct qv_stop_list *list = qv_stop_list_find(name);
    if (list == NULL)
        no_list(r, name);
    else
        lists[out->stop_list_count++] = list;
}

/* An array of texts: its items, at most QV_TEXT_STOP_WORDS_MAX. */
static uint32_t read_texts(struct reader *r, struct qv_doc set, const char *name,
                           struct qv_str **out)
{
    struct reader in = {.params = set, .a = r->a, .msg = r->msg, .err = r->err};
    struct qv_doc_iter it;
    struct qv_doc v;
    struct qv_doc array;
    uint32_t n = 0;
    *out = NULL;
    if (find(&in, name, QV_DOC_ARRAY, QV_DOC_ARRAY, &array)) {
        const uint32_t count = qv_doc_count(array);
        *out = count > QV_TEXT_STOP_WORDS_MAX ? NULL : QV_ARENA_ARRAY(r->a, struct qv_str, count);
        if (count > QV_TEXT_STOP_WORDS_MAX)
            in.err = qv_fail(r->msg, QV_EINVAL, "field_schema.stopwords.%s: more than %u", name,
                             QV_TEXT_STOP_WORDS_MAX);
        else if (*out == NULL)
            in.err = QV_ENOMEM;
        qv_doc_iter_init(&it, array);
        while (in.err == 0 && qv_doc_next(&it, NULL, &v)) {
            if (qv_doc_type(v) == QV_DOC_STRING)
                (*out)[n++] = qv_doc_str(v);
            else
                in.err = qv_fail(r->msg, QV_EINVAL, "field_schema.stopwords.%s: not a text", name);
        }
    }
    r->err = in.err;
    return n;
}

static void read_stop_words(struct reader *r, struct qv_text_options *out)
{
    struct qv_doc v;
    struct qv_str *names = NULL;
    struct qv_str *words = NULL;
    struct qv_str one;
    uint32_t n = 1;
    if (!find(r, "stopwords", QV_DOC_STRING, QV_DOC_OBJECT, &v))
        return;
    if (qv_doc_type(v) == QV_DOC_STRING) {
        one = qv_doc_str(v);
        names = &one;
    } else {
        n = read_texts(r, v, "languages", &names);
        out->stop_word_count = read_texts(r, v, "custom", &words);
        out->stop_words = words;
    }
    const struct qv_stop_list **lists = QV_ARENA_ARRAY(r->a, const struct qv_stop_list *, n);
    if (r->err == 0 && lists == NULL)
        r->err = QV_ENOMEM;
    for (uint32_t i = 0; i < n && r->err == 0; i++)
        add_list(r, names[i], lists, out);
    out->stop_lists = lists;
}

/* ---- stemmer ---- */

static void read_stemmer(struct reader *r, struct qv_text_options *out)
{
    struct qv_doc object;
    struct qv_doc v;
    if (!find(r, "stemmer", QV_DOC_OBJECT, QV_DOC_OBJECT, &object))
        return;
    struct reader in = {.params = object, .a = r->a, .msg = r->msg};
    const bool typed = find(&in, "type", QV_DOC_STRING, QV_DOC_STRING, &v);
    if (typed && qv_str_equal(qv_doc_str(v), qv_str_of("none"))) {
        out->stemmer = NULL;
    } else if (typed && !qv_str_equal(qv_doc_str(v), qv_str_of("snowball"))) {
        in.err = qv_fail(r->msg, QV_EINVAL, "field_schema.stemmer.type: unknown stemmer '%.*s'",
                         shown(qv_doc_str(v)), qv_doc_str(v).p);
    } else if (find(&in, "language", QV_DOC_STRING, QV_DOC_STRING, &v)) {
        out->stemmer = qv_text_stemmer(qv_doc_str(v));
        if (out->stemmer == NULL)
            in.err = qv_fail(r->msg, QV_EINVAL,
                             "field_schema.stemmer.language: no stemmer for language '%.*s'",
                             shown(qv_doc_str(v)), qv_doc_str(v).p);
    } else if (in.err == 0) {
        in.err = qv_fail(r->msg, QV_EINVAL, "field_schema.stemmer: %s must be given",
                         typed ? "language" : "type and language");
    }
    r->err = in.err;
}

int qv_text_index_options(struct qv_doc params, struct qv_arena *a, struct qv_text_options *out,
                          struct qv_errmsg *msg)
{
    struct reader r = {.params = params, .a = a, .msg = msg};
    *out = (struct qv_text_options){
        .tokenizer = QV_TOKENIZER_WORD, .lowercase = true, .max_token_len = UINT64_MAX};
    if (params.p != NULL && qv_doc_type(params) != QV_DOC_OBJECT)
        return qv_fail(msg, QV_EINVAL, "field_schema: not an object");
    read_tokenizer(&r, out);
    read_bool(&r, "lowercase", &out->lowercase);
    read_bool(&r, "ascii_folding", &out->ascii_folding);
    read_bool(&r, "phrase_matching", &out->phrase_matching);
    read_length(&r, "min_token_len", &out->min_token_len);
    read_length(&r, "max_token_len", &out->max_token_len);
    read_stop_words(&r, out);
    read_stemmer(&r, out);
    if (r.err == 0 && out->min_token_len > out->max_token_len)
        return qv_fail(msg, QV_EINVAL,
                       "field_schema.max_token_len: less than min_token_len: no token would pass");
    return r.err;
}

/* ---- any index ---- */

int qv_payload_index_check(const struct qv_payload_index *x, struct qv_errmsg *msg)
{
    struct qv_text_options options;
    struct qv_arena a;
    struct reader r = {.params = x->params, .msg = msg};
    bool lookup = true;
    bool range = true;
    bool ignored = false;
    if (qv_str_equal(x->type, qv_str_of("text"))) {
        qv_arena_init(&a, CHECK_ARENA_BYTES);
        int err = qv_text_index_options(x->params, &a, &options, msg);
        qv_arena_close(&a);
        return err;
    }
    read_bool(&r, "on_disk", &ignored);
    read_bool(&r, "is_tenant", &ignored);
    read_bool(&r, "is_principal", &ignored);
    read_bool(&r, "lookup", &lookup);
    read_bool(&r, "range", &range);
    if (r.err == 0 && !lookup && !range && qv_str_equal(x->type, qv_str_of("integer")))
        return qv_fail(msg, QV_EVALIDATION,
                       "field_schema.lookup: the 'lookup' and 'range' capabilities can't be both "
                       "disabled");
    return r.err;
}
