#include "core/text_tokens.h"

#include "base/mem.h"
#include "core/text_index.h"

#define ARENA_BYTES ((size_t)64 << 20)

struct qv_text_tokens {
    struct qv_arena arena;
    struct qv_analyzer *analyzer;
};

int qv_text_tokens_open(struct qv_doc params, struct qv_text_tokens **out, struct qv_errmsg *msg)
{
    struct qv_text_tokens *t = qv_mem_calloc(1, sizeof *t);
    struct qv_text_options options;
    int err = 0;
    qv_arena_init(&t->arena, ARENA_BYTES);
    if (params.p != NULL) {
        params.p = qv_arena_dup(&t->arena, params.p, params.n);
        err = params.p == NULL ? QV_ENOMEM : 0;
    }
    if (err == 0)
        err = qv_text_index_options(params, &t->arena, &options, msg);
    if (err == 0) {
        t->analyzer = qv_analyzer_open(&t->arena, &options);
        err = t->analyzer == NULL ? QV_ENOMEM : 0;
    }
    *out = t;
    if (err != 0)
        qv_text_tokens_close(out);
    return err;
}

void qv_text_tokens_close(struct qv_text_tokens **t)
{
    if (*t == NULL)
        return;
    qv_analyzer_close((*t)->analyzer);
    qv_arena_close(&(*t)->arena);
    qv_mem_free(*t);
    *t = NULL;
}

struct visit {
    bool (*f)(void *ctx, struct qv_str token);
    void *ctx;
};

static bool give(void *ctx, struct qv_token token)
{
    const struct visit *v = ctx;
    return v->f(v->ctx, token.text);
}

void qv_text_tokens_run(struct qv_text_tokens *t, struct qv_str text,
                        bool (*f)(void *ctx, struct qv_str token), void *ctx)
{
    struct visit v = {f, ctx};
    (void)qv_analyzer_run(t->analyzer, text, 0, give, &v);
}
