/* What nodes ask of each other's shards comes back as it was; what is malformed or hostile does
 * not. The bytes are also read, and written anew, by code generated from the .proto. */
#include "suite.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "core/limits.h"
#include "pb_gen.h"
#include "proto/quiver_internal_shard.pb-c.h"
#include "request_equal.h"
#include "request_gen.h"
#include "wire/pb_out.h"
#include "wire/peer_codec.h"

#include <math.h>
#include <stdlib.h>

#define ROUNDS SANITIZED_LESS(1500)
#define ARENA_BYTES ((size_t)64 << 20)

struct world {
    struct qv_rng rng;
    struct qv_arena arena; /* what is generated */
    struct qv_arena read;  /* what is decoded */
    struct qv_buf b;
    struct request_gen gen;
    struct qv_errmsg msg;
};

static void world_open(struct world *w, const char *test)
{
    const char *env = getenv("SEED");
    const uint64_t seed = env != NULL ? strtoull(env, NULL, 0) : 20251u;
    printf("%s: SEED=%llu\n", test, (unsigned long long)seed);
    qv_rng_init(&w->rng, seed);
    qv_arena_init(&w->arena, ARENA_BYTES);
    qv_arena_init(&w->read, ARENA_BYTES);
    qv_buf_init(&w->b, 0);
    w->gen =
        (struct request_gen){.rng = &w->rng, .arena = &w->arena, .dim_max = 20, .filter_depth = 3};
}

static void world_turn(struct world *w)
{
    qv_arena_reset(&w->arena);
    qv_arena_reset(&w->read);
    qv_buf_clear(&w->b);
}

static void world_close(struct world *w)
{
    qv_arena_close(&w->arena);
    qv_arena_close(&w->read);
    qv_buf_close(&w->b);
}

static struct qv_bytes bytes_of(const struct qv_buf *b)
{
    return (struct qv_bytes){b->data, b->len};
}

static void check_same(const char *differs, unsigned round)
{
    if (differs != NULL)
        print_error("round %u: %s differs\n", round, differs);
    assert_null(differs);
}

static void check_read(struct world *w, int err)
{
    if (err != 0)
        print_error("%d %s\n", err, w->msg.text);
    assert_int_equal(err, 0);
}

static bool is_refusal(int err)
{
    return err == QV_EPROTO || err == QV_ENOTIMPL || err == QV_ENOMEM;
}

/* Seeds for the fuzz targets, where QV_SEEDS names the folder of their corpora: the message behind
 * the byte that selects it there. */
static void keep_seed(const char *target, uint8_t selector, unsigned round, const struct qv_buf *b)
{
    const char *dir = getenv("QV_SEEDS");
    char path[512];
    if (dir == NULL || round >= 24 || b->len > 4000)
        return;
    (void)snprintf(path, sizeof path, "%s/%s/made-%u-%02u", dir, target, selector, round);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(&selector, 1, 1, f), 1);
    assert_int_equal(fwrite(b->data, 1, b->len, f), b->len);
    assert_int_equal(fclose(f), 0);
}

/* ---- what the generated code makes of it ---- */

static bool knows_all(const ProtobufCMessage *m)
{
    const ProtobufCMessageDescriptor *d = m->descriptor;
    if (m->n_unknown_fields > 0)
        return false;
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        const uint8_t *at = (const uint8_t *)m + f->offset;
        const ProtobufCMessage *const *subs = (const ProtobufCMessage *const *)(const void *)at;
        size_t n = 1;
        if (f->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            memcpy(&n, (const uint8_t *)m + f->quantifier_offset, sizeof n);
            memcpy(&subs, at, sizeof subs);
        }
        for (size_t k = 0; k < n; k++) {
            if (subs[k] != NULL && !knows_all(subs[k]))
                return false;
        }
    }
    return true;
}

/* Reads b by the descriptor and writes it anew: in the order of fields, without long lengths. */
static void rewrite(struct qv_buf *b, const ProtobufCMessageDescriptor *desc)
{
    ProtobufCMessage *m = protobuf_c_message_unpack(desc, NULL, b->len, b->data);
    assert_non_null(m);
    assert_true(knows_all(m));
    const size_t n = protobuf_c_message_get_packed_size(m);
    qv_buf_clear(b);
    uint8_t *room = qv_buf_reserve(b, n);
    assert_non_null(room);
    assert_int_equal(protobuf_c_message_pack(m, room), n);
    b->len = n;
    protobuf_c_message_free_unpacked(m, NULL);
}

/* ---- asks ---- */

static void read_ask(struct world *w, const struct qv_ask *ask, unsigned round)
{
    struct qv_ask got;
    check_read(w, qv_peer_decode_ask(bytes_of(&w->b), &w->read, &got, &w->msg));
    check_same(request_differ_ask(ask, &got), round);
}

static void asks_come_back(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, "asks_come_back");
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct qv_ask ask;
        world_turn(&w);
        request_gen_ask(&w.gen, &ask);
        qv_peer_encode_ask(&w.b, &ask);
        assert_false(w.b.failed);
        keep_seed("peer_request", 0, i, &w.b);
        read_ask(&w, &ask, i);
        rewrite(&w.b, &qv_peer__ask__descriptor);
        read_ask(&w, &ask, i);
    }
    world_close(&w);
}

static void every_condition_comes_back(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, "every_condition_comes_back");
    for (unsigned i = 0; i < 20 * QV_COND_TYPES; i++) {
        world_turn(&w);
        const struct qv_count_req count = {
            .filter = request_gen_filter_of(&w.gen, (enum qv_cond_type)(i % QV_COND_TYPES))};
        const struct qv_leg leg = {.cover = qv_cover_all};
        const struct qv_ask ask = {
            .kind = QV_ASK_COUNT, .req.count = &count, .legs = &leg, .leg_count = 1};
        qv_peer_encode_ask(&w.b, &ask);
        read_ask(&w, &ask, i);
    }
    world_close(&w);
}

/* ---- answers ---- */

struct answers {
    struct qv_leg_answer *list[8];
};

static void answers_open(struct answers *a, struct qv_ask *ask)
{
    QV_ASSERT(ask->leg_count <= 8);
    for (uint32_t i = 0; i < ask->leg_count; i++) {
        a->list[i] = qv_mem_calloc(1, sizeof **a->list);
        qv_arena_init(&a->list[i]->arena, ARENA_BYTES);
    }
    ask->answers = a->list;
}

static void answers_close(struct answers *a, const struct qv_ask *ask)
{
    for (uint32_t i = 0; i < ask->leg_count; i++) {
        qv_arena_close(&a->list[i]->arena);
        qv_mem_free(a->list[i]);
    }
}

static void read_answers(struct world *w, const struct qv_ask *ask, const struct qv_bytes *records,
                         unsigned round)
{
    struct answers got;
    struct qv_bytes got_records[8];
    struct qv_ask to = *ask;
    answers_open(&got, &to);
    check_read(w, qv_peer_decode_answers(bytes_of(&w->b), &to, got_records, &w->msg));
    struct qv_buf kept = w->b; /* nothing of it is borrowed */
    uint8_t *copy = qv_arena_dup(&w->read, kept.data, kept.len);
    memset(kept.data, 0xEE, kept.len);
    for (uint32_t i = 0; i < ask->leg_count; i++) {
        check_same(request_differ_answer(ask, ask->answers[i], to.answers[i]), round);
        assert_int_equal(got_records[i].n, records[i].n);
        if (records[i].n > 0)
            assert_memory_equal(got_records[i].p, records[i].p, records[i].n);
    }
    memcpy(kept.data, copy, kept.len);
    answers_close(&got, &to);
}

static void answers_come_back(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, "answers_come_back");
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct qv_ask ask;
        struct answers given;
        struct qv_bytes records[8] = {{NULL, 0}};
        world_turn(&w);
        request_gen_ask(&w.gen, &ask);
        answers_open(&given, &ask);
        for (uint32_t k = 0; k < ask.leg_count; k++) {
            request_gen_answer(&w.gen, &ask, ask.answers[k]);
            if (request_gen_chance(&w.gen, 20))
                records[k] = (struct qv_bytes){(const uint8_t *)"record", 6};
        }
        qv_peer_encode_answers(&w.b, &ask, records);
        assert_false(w.b.failed);
        read_answers(&w, &ask, records, i);
        if (ask.leg_count == 2 && (ask.kind != QV_ASK_SEARCH || ask.req.query->query_count == 2))
            keep_seed("peer_answer", (uint8_t)ask.kind, i / 64, &w.b);
        rewrite(&w.b, &qv_peer__answers__descriptor);
        read_answers(&w, &ask, records, i);
        answers_close(&given, &ask);
    }
    world_close(&w);
}

/* ---- writes ---- */

static void any_write(const struct request_gen *g, struct qv_peer_write *out)
{
    *out = (struct qv_peer_write){.leg_count = 1 + (uint32_t)qv_rng_below(g->rng, 4),
                                  .wait = request_gen_chance(g, 50),
                                  .ordering = (enum qv_ordering)qv_rng_below(g->rng, 3),
                                  .timeout_ms = request_gen_u64(g)};
    struct qv_peer_write_leg *legs =
        QV_ARENA_ARRAY(g->arena, struct qv_peer_write_leg, out->leg_count);
    assert_non_null(legs);
    for (uint32_t i = 0; i < out->leg_count; i++) {
        legs[i].op_count = 1 + (uint32_t)qv_rng_below(g->rng, 4);
        struct qv_write_op *ops = QV_ARENA_ARRAY(g->arena, struct qv_write_op, legs[i].op_count);
        assert_non_null(ops);
        for (uint32_t k = 0; k < legs[i].op_count; k++)
            request_gen_write_op(g, &ops[k]);
        legs[i].ops = ops;
        legs[i].shard = (uint32_t)request_gen_u64(g);
        legs[i].incarnation = request_gen_u64(g);
        legs[i].epoch = request_gen_u64(g);
        memset(legs[i].collection, (int)i + 1, sizeof legs[i].collection);
    }
    out->legs = legs;
}

static void read_write(struct world *w, const struct qv_peer_write *write, unsigned round)
{
    struct qv_peer_write got;
    check_read(w, qv_peer_decode_write(bytes_of(&w->b), &w->read, &got, &w->msg));
    assert_int_equal(got.wait, write->wait);
    assert_int_equal(got.ordering, write->ordering);
    assert_int_equal(got.timeout_ms, write->timeout_ms);
    assert_int_equal(got.leg_count, write->leg_count);
    for (uint32_t i = 0; i < write->leg_count; i++) {
        const struct qv_peer_write_leg *a = &write->legs[i], *b = &got.legs[i];
        assert_memory_equal(a->collection, b->collection, sizeof a->collection);
        assert_int_equal(a->shard, b->shard);
        assert_int_equal(a->incarnation, b->incarnation);
        assert_int_equal(a->epoch, b->epoch);
        assert_int_equal(a->op_count, b->op_count);
        for (uint32_t k = 0; k < a->op_count; k++)
            check_same(request_differ_write_op(&a->ops[k], &b->ops[k]), round);
    }
}

static void writes_come_back(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, "writes_come_back");
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct qv_peer_write write;
        world_turn(&w);
        any_write(&w.gen, &write);
        qv_peer_encode_write(&w.b, &write);
        assert_false(w.b.failed);
        keep_seed("peer_request", 1, i, &w.b);
        read_write(&w, &write, i);
        rewrite(&w.b, &qv_peer__write__descriptor);
        read_write(&w, &write, i);
    }
    world_close(&w);
}

static void read_write_answers(struct world *w, const struct qv_peer_write_answer *given,
                               uint32_t count)
{
    struct qv_peer_write_answer got[4];
    check_read(w, qv_peer_decode_write_answers(bytes_of(&w->b), count, &w->read, got, &w->msg));
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(got[i].err, given[i].err);
        assert_true(qv_str_equal(got[i].text, given[i].text));
        assert_int_equal(got[i].epoch, given[i].epoch);
        assert_int_equal(got[i].failed_op, given[i].failed_op);
        assert_int_equal(got[i].result_count, given[i].result_count);
        assert_int_equal(got[i].record.n, given[i].record.n);
        for (uint32_t k = 0; k < got[i].result_count; k++) {
            assert_int_equal(got[i].results[k].operation_id, given[i].results[k].operation_id);
            assert_int_equal(got[i].results[k].completed, given[i].results[k].completed);
        }
    }
}

static void write_answers_come_back(void **state)
{
    (void)state;
    static const int errors[] = {0, QV_EUNKNOWN, QV_ESTALE, QV_EINVAL, QV_ENOSPC};
    struct world w;
    world_open(&w, "write_answers_come_back");
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct qv_peer_write_answer given[4] = {{.err = 0}};
        struct qv_write_result results[3];
        const uint32_t count = (uint32_t)qv_rng_below(&w.rng, 5);
        world_turn(&w);
        for (uint32_t k = 0; k < 3; k++)
            results[k] =
                (struct qv_write_result){request_gen_u64(&w.gen), request_gen_chance(&w.gen, 50)};
        for (uint32_t k = 0; k < count; k++) {
            given[k].err = errors[qv_rng_below(&w.rng, 5)];
            given[k].text = request_gen_text(&w.gen);
            given[k].epoch = request_gen_u64(&w.gen);
            given[k].failed_op = (uint32_t)qv_rng_below(&w.rng, QV_BATCH_OPS_MAX);
            given[k].results = results;
            given[k].result_count = (uint32_t)qv_rng_below(&w.rng, 4);
            if (given[k].err == QV_ESTALE)
                given[k].record = (struct qv_bytes){(const uint8_t *)"r", 1};
        }
        qv_peer_encode_write_answers(&w.b, given, count);
        if (count == 2) /* as many as the target's write has legs */
            keep_seed("peer_answer", QV_ASK_KIND_COUNT, i / 64, &w.b);
        read_write_answers(&w, given, count);
        rewrite(&w.b, &qv_peer__write_answers__descriptor);
        read_write_answers(&w, given, count);
    }
    world_close(&w);
}

/* ---- in place ---- */

static struct qv_ask search_of(struct qv_query *q, struct qv_query_req *req, struct qv_leg *leg)
{
    static const uint32_t limit = 10;
    *req = (struct qv_query_req){.queries = q, .query_count = 1};
    *leg = (struct qv_leg){.cover = qv_cover_all, .limits = &limit, .limit_count = 1};
    return (struct qv_ask){
        .kind = QV_ASK_SEARCH, .req.query = req, .legs = leg, .leg_count = 1, .hops_left = 3};
}

/* Wherever a vector stands in a message, its values can be used where they lie. */
static void vectors_are_used_in_place(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, "vectors_are_used_in_place");
    for (unsigned i = 0; i < 64; i++) {
        float values[300];
        char name[65];
        struct qv_query_req req;
        struct qv_leg leg;
        struct qv_ask got;
        const uint32_t dim = 1 + (uint32_t)qv_rng_below(&w.rng, 299);
        world_turn(&w);
        memset(name, 'n', sizeof name);
        for (uint32_t k = 0; k < dim; k++)
            values[k] = qv_rng_gauss(&w.rng);
        struct qv_query q[2] = {{.using_ = {name, i}, .limit = i * 50}, {.limit = i}};
        q[0].vec = q[1].vec =
            (struct qv_vec){.kind = QV_VEC_DENSE, .dim = dim, .rows = 1, .values = values};
        struct qv_ask ask = search_of(q, &req, &leg);
        const uint32_t limits[2] = {10, 10};
        req.query_count = leg.limit_count = 2;
        leg.limits = limits;
        ask.hops_left = (uint8_t)(i * 4);
        qv_buf_append(&w.b, "0123", 4); /* a message may begin behind others */
        qv_peer_encode_ask(&w.b, &ask);
        for (unsigned shift = 0; shift < 4; shift++) {
            uint8_t *at = qv_arena_alloc(&w.arena, w.b.len + 4);
            assert_non_null(at);
            memcpy(at + shift, w.b.data + 4, w.b.len - 4);
            const struct qv_bytes in = {at + shift, w.b.len - 4};
            check_read(&w, qv_peer_decode_ask(in, &w.read, &got, &w.msg));
            for (unsigned k = 0; k < 2; k++) {
                const uint8_t *v = (const uint8_t *)got.req.query->queries[k].vec.values;
                assert_int_equal((uintptr_t)v % 4, 0);
                assert_memory_equal(v, values, dim * sizeof *values);
                assert_int_equal(v > at && v < at + w.b.len, shift == 0);
            }
        }
    }
    world_close(&w);
}

/* An answer is copied once, whatever is before its vectors. */
static void answers_are_copied_once(void **state)
{
    (void)state;
    float values[2000] = {1.5f};
    struct world w;
    world_open(&w, "answers_are_copied_once");
    const struct qv_named_vec vec = {
        .name = {"", 0}, .vec = {.kind = QV_VEC_DENSE, .dim = 2000, .rows = 1, .values = values}};
    struct qv_point_out point = {
        .id = qv_id_num(7), .vecs = &vec, .vec_count = 1, .has_vecs = true};
    const struct qv_get_req get = {.ids = NULL};
    const struct qv_leg leg = {.shard = 1};
    for (unsigned i = 0; i < 64; i += 7) {
        struct answers answers;
        struct qv_ask ask = {.kind = QV_ASK_FETCH, .req.get = &get, .legs = &leg, .leg_count = 1};
        world_turn(&w);
        answers_open(&answers, &ask);
        ask.answers[0]->fetch = (struct qv_points_out){.points = &point, .count = 1};
        ask.answers[0]->epoch = (uint64_t)1 << i;
        qv_peer_encode_answers(&w.b, &ask, NULL);
        check_read(&w, qv_peer_decode_answers(bytes_of(&w.b), &ask, NULL, &w.msg));
        assert_memory_equal(ask.answers[0]->fetch.points[0].vecs[0].vec.values, values,
                            sizeof values);
        assert_true(ask.answers[0]->arena.used_bytes < w.b.len + 1000);
        answers_close(&answers, &ask);
    }
    world_close(&w);
}

/* ---- versions ---- */

static void what_is_newer_is_refused_or_passed_over(void **state)
{
    (void)state;
    struct world w;
    struct qv_ask ask, got;
    struct qv_peer_write write;
    world_open(&w, "what_is_newer");
    request_gen_ask(&w.gen, &ask);
    qv_peer_encode_ask(&w.b, &ask);
    qv_pb_put_u64(&w.b, 900, 7); /* fields of every type that nobody knows */
    qv_pb_put_f64(&w.b, 901, 1.0);
    qv_pb_put_f32(&w.b, 902, 1.0f);
    qv_pb_put_bytes(&w.b, 903, "abc", 3);
    read_ask(&w, &ask, 0);
    qv_pb_put_u64(&w.b, 1, QV_PEER_FEATURE_LEVEL + 1);
    assert_int_equal(qv_peer_decode_ask(bytes_of(&w.b), &w.read, &got, &w.msg), QV_ENOTIMPL);
    assert_non_null(strstr(w.msg.text, "feature level 2"));
    qv_buf_clear(&w.b);
    qv_pb_put_u64(&w.b, 2, 99);
    assert_int_equal(qv_peer_decode_ask(bytes_of(&w.b), &w.read, &got, &w.msg), QV_ENOTIMPL);
    assert_non_null(strstr(w.msg.text, "kind of ask 99"));
    qv_buf_clear(&w.b);
    qv_pb_put_u64(&w.b, 1, 3);
    assert_int_equal(qv_peer_decode_write(bytes_of(&w.b), &w.read, &write, &w.msg), QV_ENOTIMPL);
    qv_buf_clear(&w.b);
    const size_t leg = qv_pb_begin(&w.b, 2);
    const size_t op = qv_pb_begin(&w.b, 5);
    qv_pb_put_u64(&w.b, 1, 77);
    qv_pb_end(&w.b, op);
    qv_pb_end(&w.b, leg);
    assert_int_equal(qv_peer_decode_write(bytes_of(&w.b), &w.read, &write, &w.msg), QV_ENOTIMPL);
    assert_non_null(strstr(w.msg.text, "operation 77"));
    world_close(&w);
}

/* ---- hostile ---- */

static int decode_filter(struct world *w, const struct qv_filter *f)
{
    const struct qv_count_req count = {.filter = f};
    const struct qv_leg leg = {.cover = qv_cover_all};
    const struct qv_ask ask = {
        .kind = QV_ASK_COUNT, .req.count = &count, .legs = &leg, .leg_count = 1};
    struct qv_ask got;
    qv_buf_clear(&w->b);
    qv_peer_encode_ask(&w->b, &ask);
    return qv_peer_decode_ask(bytes_of(&w->b), &w->read, &got, &w->msg);
}

static void filters_are_bounded(void **state)
{
    (void)state;
    struct world w;
    struct qv_filter filters[40] = {{.must = NULL}};
    struct qv_cond conds[40];
    world_open(&w, "filters_are_bounded");
    for (unsigned i = 0; i < 39; i++) {
        conds[i] = (struct qv_cond){.type = QV_COND_FILTER, .u.filter = &filters[i + 1]};
        filters[i] = (struct qv_filter){.must_not = &conds[i], .must_not_count = 1};
    }
    assert_int_equal(decode_filter(&w, &filters[40 - QV_FILTER_DEPTH_MAX]), 0);
    assert_int_equal(decode_filter(&w, &filters[39 - QV_FILTER_DEPTH_MAX]), QV_EPROTO);
    struct qv_cond *many = QV_ARENA_ARRAY(&w.arena, struct qv_cond, QV_FILTER_CONDS_MAX + 1);
    assert_non_null(many);
    for (unsigned i = 0; i <= QV_FILTER_CONDS_MAX; i++)
        many[i].type = QV_COND_HAS_VECTOR;
    struct qv_filter wide = {.must = many, .must_count = QV_FILTER_CONDS_MAX};
    assert_int_equal(decode_filter(&w, &wide), 0);
    wide.must_count++;
    assert_int_equal(decode_filter(&w, &wide), QV_EPROTO);
    wide.must_count = QV_FILTER_CONDS_MAX;
    wide.should = many;
    wide.should_count = 1;
    assert_int_equal(decode_filter(&w, &wide), QV_EPROTO);
    assert_non_null(strstr(w.msg.text, "too many conditions")); /* before there was room for it */
    const struct qv_cond slice = {.type = QV_COND_SLICE, .u.slice = {.total = 3, .index = 3}};
    assert_int_equal(decode_filter(&w, &(struct qv_filter){.must = &slice, .must_count = 1}),
                     QV_EPROTO);
    assert_non_null(strstr(w.msg.text, "must be less than total"));
    world_close(&w);
}

static void put_long(struct qv_buf *b, uint64_t tag, size_t n)
{
    qv_pb_put_varint(b, tag << 3 | QV_PB_LEN);
    for (unsigned shift = 0; shift < 21; shift += 7)
        qv_buf_u8(b, (uint8_t)(n >> shift | 0x80));
    qv_buf_u8(b, (uint8_t)(n >> 21));
}

/* Deep enough to leave any stack if it were followed. */
static void a_bottomless_filter_is_refused(void **state)
{
    (void)state;
    enum { LEVELS = 400000, EACH = 5 + 2 + 6 };
    struct world w;
    struct qv_ask got;
    world_open(&w, "a_bottomless_filter");
    put_long(&w.b, 10, (size_t)LEVELS * EACH);
    for (size_t left = LEVELS; left > 0; left--) {
        put_long(&w.b, 1, left * EACH - 5);
        qv_pb_put_u64(&w.b, 1, 20);
        put_long(&w.b, 20, left * EACH - EACH);
    }
    assert_int_equal(qv_peer_decode_ask(bytes_of(&w.b), &w.read, &got, &w.msg), QV_EPROTO);
    assert_non_null(strstr(w.msg.text, "nests too deep"));
    world_close(&w);
}

static int decode_query(struct world *w, const struct qv_query *q)
{
    struct qv_query copy = *q;
    struct qv_query_req req;
    struct qv_leg leg;
    struct qv_ask got;
    const struct qv_ask ask = search_of(&copy, &req, &leg);
    qv_buf_clear(&w->b);
    qv_peer_encode_ask(&w->b, &ask);
    return qv_peer_decode_ask(bytes_of(&w->b), &w->read, &got, &w->msg);
}

static void queries_are_checked(void **state)
{
    (void)state;
    struct world w;
    float values[2] = {1.0f, 2.0f};
    uint32_t indices[2] = {4, 9};
    world_open(&w, "queries_are_checked");
    struct qv_query q = {
        .vec = {.kind = QV_VEC_SPARSE, .dim = 2, .rows = 1, .values = values, .indices = indices},
        .limit = 10};
    assert_int_equal(decode_query(&w, &q), 0);
    indices[1] = 4;
    assert_int_equal(decode_query(&w, &q), QV_EPROTO);
    indices[1] = 5;
    values[1] = NAN;
    assert_int_equal(decode_query(&w, &q), QV_EPROTO);
    values[1] = 3.0f;
    q.offset = QV_PEER_LIMIT_MAX;
    assert_int_equal(decode_query(&w, &q), QV_EPROTO);
    q.offset = 0;
    q.hnsw_ef = (struct qv_opt_u64){true, QV_EF_MAX + 1};
    assert_int_equal(decode_query(&w, &q), QV_EPROTO);
    q.hnsw_ef.has = false;
    assert_int_equal(decode_query(&w, &q), 0);
    q.kind = QV_QUERY_ORDER_BY;
    assert_int_equal(decode_query(&w, &q), QV_EPROTO);
    q.kind = QV_QUERY_ID;
    assert_int_equal(decode_query(&w, &q), QV_EPROTO);
    world_close(&w);
}

static void points_are_checked(void **state)
{
    (void)state;
    struct world w;
    struct qv_peer_write got;
    const struct qv_vec none = {.kind = QV_VEC_SPARSE, .rows = 1};
    const struct qv_named_vec twice[2] = {{{"a", 1}, none}, {{"a", 1}, none}};
    const uint8_t text[] = {QV_DOC_STRING, 0, 0, 0, 0};
    const uint8_t broken[] = {QV_DOC_OBJECT, 4, 0, 0};
    world_open(&w, "points_are_checked");
    struct qv_point_in p = {.id = qv_id_num(1), .vecs = twice, .vec_count = 1};
    const struct qv_write_op op = {.type = QV_WRITE_UPSERT, .points = &p, .point_count = 1};
    const struct qv_peer_write_leg leg = {.ops = &op, .op_count = 1};
    const struct qv_peer_write write = {.legs = &leg, .leg_count = 1};
    const struct {
        uint32_t vecs;
        struct qv_doc payload;
        uint8_t id_type;
        int err;
    } cases[] = {
        {1, {NULL, 0}, QV_ID_NUM, 0},
        {2, {NULL, 0}, QV_ID_NUM, QV_EPROTO},
        {0, {text, sizeof text}, QV_ID_NUM, QV_EPROTO},
        {0, {broken, sizeof broken}, QV_ID_NUM, QV_EPROTO},
        {0, {NULL, 0}, 0, QV_EPROTO},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        p.vec_count = cases[i].vecs;
        p.payload = cases[i].payload;
        p.id.type = cases[i].id_type;
        qv_buf_clear(&w.b);
        qv_peer_encode_write(&w.b, &write);
        assert_int_equal(qv_peer_decode_write(bytes_of(&w.b), &w.read, &got, &w.msg), cases[i].err);
    }
    world_close(&w);
}

static void a_cover_has_one_form(void **state)
{
    (void)state;
    struct world w;
    struct qv_ask got;
    const struct qv_interval touching[2] = {{0, 9}, {10, 20}};
    const struct qv_interval backwards[2] = {{50, 60}, {10, 20}};
    const struct qv_interval apart[2] = {{0, 9}, {11, 20}};
    const struct qv_interval *const lists[] = {touching, backwards, apart};
    world_open(&w, "a_cover_has_one_form");
    for (unsigned i = 0; i < 3; i++) {
        const struct qv_leg leg = {.cover = {lists[i], 2}};
        const struct qv_ask ask = {.kind = QV_ASK_DIGESTS, .legs = &leg, .leg_count = 1};
        qv_buf_clear(&w.b);
        qv_peer_encode_ask(&w.b, &ask);
        const int err = qv_peer_decode_ask(bytes_of(&w.b), &w.read, &got, &w.msg);
        assert_int_equal(err, i == 2 ? 0 : QV_EPROTO);
    }
    world_close(&w);
}

/* One of the four kinds of message; what decodes is within its limits. */
static int decode_any(struct world *w, unsigned kind, struct qv_ask *asked)
{
    struct qv_ask ask;
    struct qv_peer_write write;
    struct qv_peer_write_answer answers[4];
    const struct qv_bytes in = bytes_of(&w->b);
    if (kind == 0)
        return qv_peer_decode_ask(in, &w->read, &ask, &w->msg);
    if (kind == 1)
        return qv_peer_decode_answers(in, asked, NULL, &w->msg);
    if (kind == 2)
        return qv_peer_decode_write(in, &w->read, &write, &w->msg);
    return qv_peer_decode_write_answers(in, 4, &w->read, answers, &w->msg);
}

static const ProtobufCMessageDescriptor *const descriptors[] = {
    &qv_peer__ask__descriptor, &qv_peer__answers__descriptor, &qv_peer__write__descriptor,
    &qv_peer__write_answers__descriptor};

static void encode_any(struct world *w, unsigned kind, struct qv_ask *asked)
{
    struct qv_peer_write write;
    const struct qv_peer_write_answer answers[4] = {{.err = QV_EUNKNOWN, .text = {"why", 3}}};
    if (kind == 0) {
        struct qv_ask ask;
        request_gen_ask(&w->gen, &ask);
        qv_peer_encode_ask(&w->b, &ask);
    } else if (kind == 1) {
        for (uint32_t i = 0; i < asked->leg_count; i++)
            request_gen_answer(&w->gen, asked, asked->answers[i]);
        qv_peer_encode_answers(&w->b, asked, NULL);
    } else if (kind == 2) {
        any_write(&w->gen, &write);
        qv_peer_encode_write(&w->b, &write);
    } else {
        qv_peer_encode_write_answers(&w->b, answers, 4);
    }
}

/* Messages made at random by the descriptor, and real ones changed or cut: read or refused. */
static void any_bytes_are_read_or_refused(void **state)
{
    (void)state;
    struct world w;
    unsigned fine = 0;
    world_open(&w, "any_bytes");
    const struct pb_gen gen = {.rng = &w.rng,
                               .depth_max = 6,
                               .repeat_max = 4,
                               .presence = 40,
                               .unpacked = 20,
                               .unknown = 20};
    for (unsigned i = 0; i < 4 * ROUNDS; i++) {
        struct qv_ask asked;
        struct answers answers;
        const unsigned kind = i % 4;
        world_turn(&w);
        request_gen_ask(&w.gen, &asked);
        answers_open(&answers, &asked);
        if (i / 4 % 4 == 0)
            pb_gen_message(&gen, descriptors[kind], &w.b);
        else
            encode_any(&w, kind, &asked);
        if (i / 4 % 4 == 1 && w.b.len > 0)
            w.b.len = (size_t)qv_rng_below(&w.rng, w.b.len);
        else if (i / 4 % 4 == 2)
            pb_gen_mutate(&w.rng, &w.b);
        const int err = decode_any(&w, kind, &asked);
        if (err != 0 && !is_refusal(err))
            print_error("round %u: %d %s\n", i, err, w.msg.text);
        assert_true(err == 0 || is_refusal(err));
        assert_true(i / 4 % 4 != 3 || err == 0);
        fine += err == 0;
        answers_close(&answers, &asked);
    }
    printf("%u of %u were read\n", fine, 4 * ROUNDS);
    world_close(&w);
}

static void a_small_arena_refuses(void **state)
{
    (void)state;
    struct world w;
    unsigned refused = 0;
    world_open(&w, "a_small_arena_refuses");
    for (unsigned i = 0; i < 200; i++) {
        struct qv_arena small;
        struct qv_ask ask, got;
        world_turn(&w);
        request_gen_ask(&w.gen, &ask);
        qv_peer_encode_ask(&w.b, &ask);
        qv_arena_init(&small, (size_t)qv_rng_below(&w.rng, 4000));
        const int err = qv_peer_decode_ask(bytes_of(&w.b), &small, &got, &w.msg);
        assert_true(err == 0 || err == QV_ENOMEM);
        refused += err != 0;
        qv_arena_close(&small);
    }
    assert_true(refused > 20);
    world_close(&w);
}

/* What did not fit into its buffer is no message, wherever it ended. */
static void half_a_message_is_refused(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, "half_a_message");
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct qv_ask ask, got;
        struct answers answers;
        struct qv_buf small;
        world_turn(&w);
        request_gen_ask(&w.gen, &ask);
        answers_open(&answers, &ask);
        for (uint32_t k = 0; k < ask.leg_count; k++)
            request_gen_answer(&w.gen, &ask, ask.answers[k]);
        qv_peer_encode_ask(&w.b, &ask);
        qv_buf_init(&small, 1 + (size_t)qv_rng_below(&w.rng, w.b.len - 1));
        qv_peer_encode_ask(&small, &ask);
        assert_true(small.failed);
        const struct qv_bytes half = {small.data, small.len};
        const int err = qv_peer_decode_ask(half, &w.read, &got, &w.msg);
        assert_true(err == QV_EPROTO || (err == 0 && got.leg_count < ask.leg_count));
        qv_buf_close(&small);
        qv_buf_clear(&w.b);
        qv_peer_encode_answers(&w.b, &ask, NULL);
        qv_buf_init(&small, 1 + (size_t)qv_rng_below(&w.rng, w.b.len - 1));
        qv_peer_encode_answers(&small, &ask, NULL);
        assert_true(small.failed);
        const struct qv_bytes part = {small.data, small.len};
        for (uint32_t k = 0; k < ask.leg_count; k++)
            qv_arena_reset(&ask.answers[k]->arena);
        assert_int_equal(qv_peer_decode_answers(part, &ask, NULL, &w.msg), QV_EPROTO);
        qv_buf_close(&small);
        answers_close(&answers, &ask);
    }
    world_close(&w);
}

static void answers_fit_the_ask(void **state)
{
    (void)state;
    struct world w;
    struct answers answers;
    world_open(&w, "answers_fit_the_ask");
    struct qv_leg legs[2] = {{.shard = 1}, {.shard = 2}};
    struct qv_query queries[2] = {{.kind = QV_QUERY_SCROLL}, {.kind = QV_QUERY_SCROLL}};
    struct qv_query_req req = {.queries = queries, .query_count = 2};
    struct qv_leg_list lists[2] = {{.bound.all = true}, {.bound.all = true}};
    struct qv_ask ask = {.kind = QV_ASK_SEARCH, .req.query = &req, .legs = legs, .leg_count = 2};
    answers_open(&answers, &ask);
    ask.answers[0]->lists = ask.answers[1]->lists = lists;
    qv_peer_encode_answers(&w.b, &ask, NULL);
    assert_int_equal(qv_peer_decode_answers(bytes_of(&w.b), &ask, NULL, &w.msg), 0);
    req.query_count = 1;
    assert_int_equal(qv_peer_decode_answers(bytes_of(&w.b), &ask, NULL, &w.msg), QV_EPROTO);
    req.query_count = 3;
    assert_int_equal(qv_peer_decode_answers(bytes_of(&w.b), &ask, NULL, &w.msg), QV_EPROTO);
    req.query_count = 2;
    ask.leg_count = 1;
    assert_int_equal(qv_peer_decode_answers(bytes_of(&w.b), &ask, NULL, &w.msg), QV_EPROTO);
    ask.leg_count = 2;
    ask.kind = QV_ASK_SCROLL;
    assert_int_equal(qv_peer_decode_answers(bytes_of(&w.b), &ask, NULL, &w.msg), QV_EPROTO);
    answers_close(&answers, &ask);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_come_back),
        cmocka_unit_test(every_condition_comes_back),
        cmocka_unit_test(answers_come_back),
        cmocka_unit_test(writes_come_back),
        cmocka_unit_test(write_answers_come_back),
        cmocka_unit_test(vectors_are_used_in_place),
        cmocka_unit_test(answers_are_copied_once),
        cmocka_unit_test(what_is_newer_is_refused_or_passed_over),
        cmocka_unit_test(filters_are_bounded),
        cmocka_unit_test(a_bottomless_filter_is_refused),
        cmocka_unit_test(queries_are_checked),
        cmocka_unit_test(points_are_checked),
        cmocka_unit_test(a_cover_has_one_form),
        cmocka_unit_test(any_bytes_are_read_or_refused),
        cmocka_unit_test(a_small_arena_refuses),
        cmocka_unit_test(half_a_message_is_refused),
        cmocka_unit_test(answers_fit_the_ask),
    };
    return RUN_SUITE(tests);
}
