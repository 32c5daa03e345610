/* Conditions of upserts and vector updates (update_mode, update_filter). They are decided when the
 * op's turn in the log has come and nothing of the shard is under way, so that they see everything
 * before them and nothing behind; what is logged is the outcome, plain changes on ids. */
#include "shard/prepare.h"
#include "shard/read.h"

#include "core/limits.h"

#define ASK_EVERY 256

/* A point that exists and does not match is left as it is; one that does not exist asks nothing. */
static int check_point(struct qv_shard *s, struct qv_arena *scratch,
                       const struct qv_bound_filter *filter, struct qv_change *c,
                       struct qv_errmsg *msg)
{
    struct qv_present now;
    bool match = true;
    int err = qv_read_copy(s, scratch, &c->id, &now, msg);
    if (err == 0 && now.found)
        err = qv_read_match(s, filter, &c->id, &now.copy, &match);
    if (err == 0 && !match)
        c->type = 0;
    return err;
}

int qv_condition_check(struct qv_shard *s, unsigned reader, const struct qv_count_req *req,
                       struct qv_prepared *p, struct qv_errmsg *msg)
{
    struct qv_bound_filter bound;
    struct qv_arena scratch;
    int err = qv_read_begin(s, reader, msg);
    if (err != 0)
        return err;
    qv_arena_init(&scratch, QV_REQUEST_ARENA_BYTES);
    err = qv_read_bind(s, req->filter, req->opts.stop, &bound, msg);
    for (uint32_t i = 0; i < p->change_count && err == 0; i++) {
        qv_arena_reset(&scratch);
        if (i % ASK_EVERY == 0)
            err = qv_stop_ask(req->opts.stop, msg);
        if (err == 0)
            err = check_point(s, &scratch, &bound, &p->changes[i], msg);
    }
    qv_arena_close(&scratch);
    qv_read_unbind(&bound);
    qv_read_end(s, reader);
    return err;
}

static bool mode_allows(enum qv_update_mode mode, bool exists)
{
    return mode == QV_UPDATE_UPSERT || exists == (mode == QV_UPDATE_UPDATE_ONLY);
}

void qv_condition_keep(struct qv_shard *s, const struct qv_write_op *op, struct qv_prepared *p)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < p->change_count; i++) {
        const struct qv_change *c = &p->changes[i];
        if (c->type == 0)
            continue;
        if (op->type == QV_WRITE_UPSERT && op->update_mode != QV_UPDATE_UPSERT &&
            !mode_allows(op->update_mode, qv_slot_table_find(&s->slots, &c->id) != QV_SLOT_NONE))
            continue;
        p->changes[kept++] = *c;
    }
    p->change_count = kept;
}
