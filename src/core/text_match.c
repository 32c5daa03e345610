/* What is asked for is tokenised once, when a filter is bound; a stored text is tokenised each time
 * and each token looked up among those: by bisection, or, where stored words are matched by their
 * beginnings, one by one. A phrase is found by shift-and (Baeza-Yates & Gonnet 1992): bit i of the
 * state says that the last i + 1 tokens are the phrase's first. */
#include "core/text_match.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "core/api.h"
#include "core/text_index.h"

#include <stdlib.h>

#define BIND_ARENA_BYTES ((size_t)64 << 20)
#define WORD_BITS 64u

#define ASK_EVERY 4096u /* tokens */

struct field {
    struct qv_filter_binding *binding;
    const struct qv_payload_index *index;
    struct qv_path path;
    struct qv_text_options options;
    struct qv_analyzer *analyzer; /* NULL until a condition asks for it */
};

struct qv_text_cond {
    enum qv_cond_type type;
    struct field *field;   /* NULL: no text index */
    bool never;            /* nothing satisfies it */
    struct qv_str *tokens; /* distinct, sorted */
    uint32_t count;
    uint64_t *seen;  /* TEXT: a bit a token */
    uint32_t left;   /* TEXT: tokens not seen yet */
    uint32_t length; /* PHRASE: tokens in it */
    uint32_t words;  /* of a state */
    uint64_t *masks; /* PHRASE: places of each distinct token */
    uint64_t *state, *next;
    bool hit;
};

struct qv_filter_binding {
    struct qv_arena arena;
    struct field *fields;
    uint32_t field_count;
    struct qv_text_cond *conds;
    uint32_t cond_count;
    struct qv_errmsg *msg;
    const struct qv_stop *stop;
    uint32_t until_asked; /* tokens */
    int err;              /* what stop said */
};

/* ---- tokens asked for ---- */

struct asked {
    struct qv_filter_binding *b;
    struct qv_str *tokens; /* in order, QV_TEXT_QUERY_TOKENS_MAX */
    uint32_t count;
    int err;
};

static bool take_token(void *ctx, struct qv_token token)
{
    struct asked *x = ctx;
    if (x->count == QV_TEXT_QUERY_TOKENS_MAX) {
        x->err = qv_fail(x->b->msg, QV_EINVAL, "a text to match has at most %u tokens",
                         QV_TEXT_QUERY_TOKENS_MAX);
        return false;
    }
    const char *kept = qv_arena_strndup(&x->b->arena, token.text.p, token.text.n);
    if (kept == NULL)
        x->err = QV_ENOMEM;
    else
        x->tokens[x->count++] = (struct qv_str){kept, token.text.n};
    return x->err == 0;
}

static int compare_tokens(const void *a, const void *b)
{
    const struct qv_str *x = a;
    const struct qv_str *y = b;
    return qv_str_compare(*x, *y);
}

static int set_tokens(struct qv_filter_binding *b, struct qv_text_cond *t, const struct asked *x)
{
    t->words = (x->count + WORD_BITS - 1) / WORD_BITS;
    t->length = x->count;
    t->never = x->count == 0;
    if (t->never)
        return 0;
    t->tokens = qv_arena_dup(&b->arena, x->tokens, x->count * sizeof *x->tokens);
    t->seen = QV_ARENA_ARRAY(&b->arena, uint64_t, t->words);
    if (t->tokens == NULL || t->seen == NULL)
        return QV_ENOMEM;
    if (x->count > 1)
        qsort(t->tokens, x->count, sizeof *t->tokens, compare_tokens);
    for (uint32_t i = 0; i < x->count; i++) {
        if (i == 0 || !qv_str_equal(t->tokens[i], t->tokens[t->count - 1]))
            t->tokens[t->count++] = t->tokens[i];
    }
    return 0;
}

static int set_phrase(struct qv_filter_binding *b, struct qv_text_cond *t, const struct asked *x)
{
    t->masks = QV_ARENA_ARRAY(&b->arena, uint64_t, (size_t)t->count * t->words);
    t->state = QV_ARENA_ARRAY(&b->arena, uint64_t, t->words);
    t->next = QV_ARENA_ARRAY(&b->arena, uint64_t, t->words);
    if (t->masks == NULL || t->state == NULL || t->next == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < x->count; i++) {
        const struct qv_str *found =
            bsearch(&x->tokens[i], t->tokens, t->count, sizeof *t->tokens, compare_tokens);
        QV_ASSERT(found != NULL);
        t->masks[(size_t)(found - t->tokens) * t->words + i / WORD_BITS] |= 1ull << i % WORD_BITS;
    }
    return 0;
}

static int open_field(struct qv_filter_binding *b, struct field *f)
{
    if (f->analyzer != NULL)
        return 0;
    int err = qv_text_index_options(f->index->params, &b->arena, &f->options, b->msg);
    if (err != 0)
        return err;
    f->analyzer = qv_analyzer_open(&b->arena, &f->options);
    return f->analyzer == NULL ? QV_ENOMEM : 0;
}

static int bind_text(struct qv_filter_binding *b, const struct qv_cond *c, struct field *f)
{
    struct qv_text_cond *t = &b->conds[c->text_number];
    struct asked x = {.b = b};
    const bool phrase = c->type == QV_COND_MATCH_PHRASE;
    int err = open_field(b, f);
    if (err != 0)
        return err;
    x.tokens = qv_mem_try_calloc(QV_TEXT_QUERY_TOKENS_MAX, sizeof *x.tokens);
    if (x.tokens == NULL)
        return QV_ENOMEM;
    t->type = c->type;
    t->field = f;
    (void)qv_analyzer_run(f->analyzer, c->u.text, QV_TEXT_QUERY | (phrase ? QV_TEXT_ORDER : 0),
                          take_token, &x);
    err = x.err != 0 ? x.err : set_tokens(b, t, &x);
    if (err == 0 && phrase && !t->never)
        err = set_phrase(b, t, &x);
    if (phrase && !f->options.phrase_matching) /* as the API has it: the index has no positions */
        t->never = true;
    qv_mem_free(x.tokens);
    return err;
}

/* ---- which index is a condition's ---- */

static bool same_steps(const struct qv_path_step *a, const struct qv_path_step *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (a[i].kind != b[i].kind || a[i].index != b[i].index || !qv_str_equal(a[i].key, b[i].key))
            return false;
    }
    return true;
}

/* The text index at prefix, then path. */
static struct field *find_field(struct qv_filter_binding *b, const struct qv_path *prefix,
                                const struct qv_path *path)
{
    for (uint32_t i = 0; i < b->field_count; i++) {
        const struct qv_path *p = &b->fields[i].path;
        if (p->count == prefix->count + path->count &&
            same_steps(p->steps, prefix->steps, prefix->count) &&
            same_steps(p->steps + prefix->count, path->steps, path->count))
            return &b->fields[i];
    }
    return NULL;
}

static int bind_filter(struct qv_filter_binding *b, const struct qv_filter *f,
                       const struct qv_path *prefix);

/* Below NESTED, keys are relative to the elements of its array. */
static int bind_nested(struct qv_filter_binding *b, const struct qv_cond *c,
                       const struct qv_path *prefix)
{
    const bool all = c->path.steps[c->path.count - 1].kind == QV_STEP_ALL;
    const uint32_t n = prefix->count + c->path.count;
    struct qv_path_step *steps = QV_ARENA_ARRAY(&b->arena, struct qv_path_step, n + 1);
    if (steps == NULL)
        return QV_ENOMEM;
    if (prefix->count > 0)
        memcpy(steps, prefix->steps, prefix->count * sizeof *steps);
    memcpy(steps + prefix->count, c->path.steps, c->path.count * sizeof *steps);
    steps[n] = (struct qv_path_step){.kind = QV_STEP_ALL};
    const struct qv_path below = {steps, n + (all ? 0 : 1)};
    return bind_filter(b, c->u.filter, &below);
}

static int bind_conds(struct qv_filter_binding *b, const struct qv_cond *conds, uint32_t count,
                      const struct qv_path *prefix)
{
    int err = 0;
    for (uint32_t i = 0; i < count && err == 0; i++) {
        const struct qv_cond *c = &conds[i];
        if (qv_cond_is_text(c->type)) {
            struct field *f = find_field(b, prefix, &c->path);
            QV_ASSERT(c->text_number < b->cond_count);
            err = f == NULL ? 0 : bind_text(b, c, f);
        } else if (c->type == QV_COND_NESTED) {
            err = bind_nested(b, c, prefix);
        } else if (c->type == QV_COND_FILTER) {
            err = bind_filter(b, c->u.filter, prefix);
        }
    }
    return err;
}

static int bind_filter(struct qv_filter_binding *b, const struct qv_filter *f,
                       const struct qv_path *prefix)
{
    int err = bind_conds(b, f->must, f->must_count, prefix);
    if (err == 0)
        err = bind_conds(b, f->should, f->should_count, prefix);
    if (err == 0)
        err = bind_conds(b, f->must_not, f->must_not_count, prefix);
    return err != 0 ? err : bind_conds(b, f->min_should, f->min_should_count, prefix);
}

static int list_fields(struct qv_filter_binding *b, const struct qv_collection_config *config)
{
    int err = 0;
    b->fields = QV_ARENA_ARRAY(&b->arena, struct field, config->payload_index_count);
    if (b->fields == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < config->payload_index_count && err == 0; i++) {
        const struct qv_payload_index *x = &config->payload_indexes[i];
        struct field *f = &b->fields[b->field_count];
        if (!qv_str_equal(x->type, qv_str_of("text")))
            continue;
        f->binding = b;
        f->index = x;
        err = qv_path_parse(&b->arena, x->field, &f->path, b->msg);
        b->field_count++;
    }
    return err;
}

int qv_filter_bind(const struct qv_filter *f, const struct qv_collection_config *config,
                   const struct qv_stop *stop, struct qv_filter_binding **out,
                   struct qv_errmsg *msg)
{
    const struct qv_path root = {NULL, 0};
    *out = NULL;
    if (f == NULL || f->text_conds == 0 || config->payload_index_count == 0)
        return 0;
    struct qv_filter_binding *b = qv_mem_calloc(1, sizeof *b);
    qv_arena_init(&b->arena, BIND_ARENA_BYTES);
    b->msg = msg;
    b->stop = stop;
    b->cond_count = f->text_conds;
    b->conds = QV_ARENA_ARRAY(&b->arena, struct qv_text_cond, b->cond_count);
    int err = b->conds == NULL ? QV_ENOMEM : list_fields(b, config);
    if (err == 0 && b->field_count > 0)
        err = bind_filter(b, f, &root);
    *out = b;
    if (err != 0 && b->arena.failed)
        err = qv_fail(msg, QV_ETOOBIG, "a filter's texts to match are too many");
    if (err != 0 || b->field_count == 0)
        qv_filter_unbind(out);
    return err;
}

void qv_filter_unbind(struct qv_filter_binding **b)
{
    if (*b == NULL)
        return;
    for (uint32_t i = 0; i < (*b)->field_count; i++)
        qv_analyzer_close((*b)->fields[i].analyzer);
    qv_arena_close(&(*b)->arena);
    qv_mem_free(*b);
    *b = NULL;
}

/* ---- matching ---- */

struct qv_text_cond *qv_text_cond_of(struct qv_filter_binding *b, const struct qv_cond *c)
{
    if (b == NULL)
        return NULL;
    QV_ASSERT(c->text_number < b->cond_count);
    struct qv_text_cond *t = &b->conds[c->text_number];
    return t->field != NULL ? t : NULL;
}

bool qv_text_asked(const struct qv_filter_binding *b, const struct qv_cond *c,
                   struct qv_text_asked *out)
{
    if (b == NULL)
        return false;
    QV_ASSERT(c->text_number < b->cond_count);
    const struct qv_text_cond *t = &b->conds[c->text_number];
    if (t->field == NULL)
        return false;
    *out = (struct qv_text_asked){.index = t->field->index->number,
                                  .prefix = t->field->options.tokenizer == QV_TOKENIZER_PREFIX,
                                  .tokens = t->tokens,
                                  .count = t->never ? 0 : t->count};
    return true;
}

void qv_text_cond_begin(struct qv_text_cond *t)
{
    t->hit = false;
    t->left = t->count;
    if (!t->never)
        memset(t->seen, 0, t->words * sizeof *t->seen);
}

/* Of the tokens asked for, the i-th stands in the text. */
static void found_token(struct qv_text_cond *t, uint32_t i)
{
    const uint64_t bit = 1ull << i % WORD_BITS;
    switch (t->type) {
    case QV_COND_MATCH_TEXT:
        t->left -= (t->seen[i / WORD_BITS] & bit) == 0;
        t->seen[i / WORD_BITS] |= bit;
        t->hit = t->left == 0;
        return;
    case QV_COND_MATCH_TEXT_ANY:
        t->hit = true;
        return;
    case QV_COND_MATCH_PHRASE:
        for (uint32_t w = 0; w < t->words; w++)
            t->next[w] |= t->masks[(size_t)i * t->words + w];
        return;
    default:
        QV_UNREACHABLE();
    }
}

/* The state moves one place up, a new phrase begins, and what the token does not continue ends. */
static void step_phrase(struct qv_text_cond *t)
{
    const uint32_t last = t->length - 1;
    uint64_t carry = 1;
    for (uint32_t w = 0; w < t->words; w++) {
        const uint64_t up = t->state[w] << 1 | carry;
        carry = t->state[w] >> (WORD_BITS - 1);
        t->state[w] = up & t->next[w];
        t->next[w] = 0;
    }
    t->hit = (t->state[last / WORD_BITS] >> last % WORD_BITS & 1) != 0;
}

/* A text of 16 MB under thousands of conditions takes minutes: the deadline is looked at here. */
static bool go_on(struct qv_filter_binding *b)
{
    if (b->err == 0 && b->until_asked-- == 0) {
        b->until_asked = ASK_EVERY;
        b->err = qv_stop_ask(b->stop, b->msg);
    }
    return b->err == 0;
}

int qv_filter_stopped(const struct qv_filter_binding *b)
{
    return b != NULL ? b->err : 0;
}

static bool begins_with(struct qv_str s, struct qv_str part)
{
    return s.n >= part.n && memcmp(s.p, part.p, part.n) == 0;
}

static bool meet_token(void *ctx, struct qv_token token)
{
    struct qv_text_cond *t = ctx;
    if (!go_on(t->field->binding))
        return false;
    if (t->field->options.tokenizer == QV_TOKENIZER_PREFIX) {
        for (uint32_t i = 0; i < t->count; i++) {
            if (begins_with(token.text, t->tokens[i]))
                found_token(t, i);
        }
    } else {
        const struct qv_str *found =
            bsearch(&token.text, t->tokens, t->count, sizeof *t->tokens, compare_tokens);
        if (found != NULL)
            found_token(t, (uint32_t)(found - t->tokens));
    }
    if (t->type == QV_COND_MATCH_PHRASE)
        step_phrase(t);
    return !t->hit;
}

bool qv_text_cond_add(struct qv_text_cond *t, struct qv_str s)
{
    const bool phrase = t->type == QV_COND_MATCH_PHRASE;
    if (t->never || t->field->binding->err != 0)
        return false;
    if (phrase) /* a phrase stands in one string */
        memset(t->state, 0, t->words * sizeof *t->state);
    (void)qv_analyzer_run(t->field->analyzer, s, phrase ? QV_TEXT_ORDER : 0, meet_token, t);
    return t->hit;
}
