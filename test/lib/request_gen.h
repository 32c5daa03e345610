/* Random requests and answers in core's terms, as a decoder could have made them: filters are
 * sealed, paths parsed, documents valid. Everything lives in the arena, which must be large enough
 * (the process ends otherwise). */
#ifndef QV_TEST_REQUEST_GEN_H
#define QV_TEST_REQUEST_GEN_H

#include "base/rng.h"
#include "core/shard_ops.h"

struct request_gen {
    struct qv_rng *rng;
    struct qv_arena *arena;
    uint32_t dim_max;      /* of vectors */
    unsigned filter_depth; /* of filters, 1 .. QV_FILTER_DEPTH_MAX */
};

bool request_gen_chance(const struct request_gen *g, unsigned per_cent);
uint64_t request_gen_u64(const struct request_gen *g);       /* small, large, extreme */
struct qv_str request_gen_text(const struct request_gen *g); /* UTF-8, now and then with a NUL */
struct qv_id request_gen_id(const struct request_gen *g);
struct qv_id *request_gen_ids(const struct request_gen *g, uint32_t max, uint32_t *count);
struct qv_path request_gen_path(const struct request_gen *g, struct qv_str *text);
struct qv_doc request_gen_object(const struct request_gen *g);
/* any_bits: infinities and NaN too. */
struct qv_vec request_gen_vec(const struct request_gen *g, bool any_bits);
/* Of distinct names. */
struct qv_named_vec *request_gen_named(const struct request_gen *g, bool any_bits, uint32_t *count);
struct qv_cover request_gen_cover(const struct request_gen *g);
struct qv_filter *request_gen_filter(const struct request_gen *g);
/* One condition of that type, in a sealed filter. */
struct qv_filter *request_gen_filter_of(const struct request_gen *g, enum qv_cond_type type);
void request_gen_query(const struct request_gen *g, struct qv_query *out);
void request_gen_write_op(const struct request_gen *g, struct qv_write_op *out);
/* Any kind, with legs; answers are not set. */
void request_gen_ask(const struct request_gen *g, struct qv_ask *out);
/* What a leaf could answer to one leg of it, in g's arena; out->arena stays as it is. */
void request_gen_answer(const struct request_gen *g, const struct qv_ask *ask,
                        struct qv_leg_answer *out);

#endif
