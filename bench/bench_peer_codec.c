/* What a search between nodes costs as bytes: a query of 768 floats for 4 shards of one node, and
 * its answer of 10 hits a shard without payloads, written and read; beside them the same bytes
 * through the code that protobuf-c generates. One pinned core, passes interleaved, minimum and
 * median; JSON on stdout. bench_peer_codec [passes] */
#include "base/rng.h"
#include "proto/quiver_internal_shard.pb-c.h"
#include "wire/peer_codec.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define DIM 768u
#define LEGS 4u
#define HITS 10u
#define TURNS 1000u /* in one pass */
#define PASSES_MAX 1000u

struct bench {
    float values[DIM];
    struct qv_query query;
    struct qv_query_req req;
    struct qv_interval covers[LEGS];
    struct qv_leg legs[LEGS];
    uint32_t limit;
    struct qv_point_out points[HITS];
    struct qv_leg_list list;
    struct qv_leg_answer given[LEGS], got[LEGS];
    struct qv_leg_answer *given_list[LEGS], *got_list[LEGS];
    struct qv_ask ask;
    struct qv_buf asked, answered;
    struct qv_arena arena;
};

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

static void bench_init(struct bench *b)
{
    struct qv_rng rng;
    qv_rng_init(&rng, 1);
    for (unsigned i = 0; i < DIM; i++)
        b->values[i] = qv_rng_gauss(&rng);
    b->query = (struct qv_query){
        .vec = {.kind = QV_VEC_DENSE, .dim = DIM, .rows = 1, .values = b->values}, .limit = HITS};
    b->req = (struct qv_query_req){.queries = &b->query, .query_count = 1};
    b->limit = HITS;
    for (unsigned i = 0; i < HITS; i++)
        b->points[i] = (struct qv_point_out){.id = qv_id_num(qv_rng_below(&rng, 1000000)),
                                             .version = {qv_rng_u64(&rng), 3},
                                             .score = qv_rng_gauss(&rng)};
    b->list.points = (struct qv_points_out){.points = b->points, .count = HITS};
    b->list.bound = (struct qv_bound){.score = 0.5f, .id = qv_id_num(7)};
    for (unsigned i = 0; i < LEGS; i++) {
        const uint64_t first = (uint64_t)i << 62;
        b->covers[i] = (struct qv_interval){first, first + (UINT64_MAX >> 2)};
        b->legs[i] = (struct qv_leg){.shard = i,
                                     .incarnation = 1,
                                     .epoch = 1000,
                                     .cover = {&b->covers[i], 1},
                                     .limits = &b->limit,
                                     .limit_count = 1};
        b->given[i] = (struct qv_leg_answer){.cover = b->legs[i].cover, .lists = &b->list};
        b->given_list[i] = &b->given[i];
        b->got_list[i] = &b->got[i];
        qv_arena_init(&b->got[i].arena, 1u << 20);
    }
    b->ask = (struct qv_ask){.kind = QV_ASK_SEARCH,
                             .req.query = &b->req,
                             .legs = b->legs,
                             .leg_count = LEGS,
                             .hops_left = 3};
    qv_buf_init(&b->asked, 0);
    qv_buf_init(&b->answered, 0);
    qv_arena_init(&b->arena, 1u << 20);
}

static void bench_close(struct bench *b)
{
    for (unsigned i = 0; i < LEGS; i++)
        qv_arena_close(&b->got[i].arena);
    qv_arena_close(&b->arena);
    qv_buf_close(&b->asked);
    qv_buf_close(&b->answered);
}

/* ---- what is timed ---- */

static void encode_ask(struct bench *b)
{
    qv_buf_clear(&b->asked);
    qv_peer_encode_ask(&b->asked, &b->ask);
}

static void decode_ask(struct bench *b)
{
    struct qv_ask got;
    qv_arena_reset(&b->arena);
    if (qv_peer_decode_ask((struct qv_bytes){b->asked.data, b->asked.len}, &b->arena, &got, NULL))
        abort();
}

static void encode_answers(struct bench *b)
{
    b->ask.answers = b->given_list;
    qv_buf_clear(&b->answered);
    qv_peer_encode_answers(&b->answered, &b->ask, NULL);
}

static void decode_answers(struct bench *b)
{
    b->ask.answers = b->got_list;
    for (unsigned i = 0; i < LEGS; i++)
        qv_arena_reset(&b->got[i].arena);
    const struct qv_bytes in = {b->answered.data, b->answered.len};
    if (qv_peer_decode_answers(in, &b->ask, NULL, NULL))
        abort();
}

static void unpack(const ProtobufCMessageDescriptor *desc, const struct qv_buf *b)
{
    ProtobufCMessage *m = protobuf_c_message_unpack(desc, NULL, b->len, b->data);
    if (m == NULL)
        abort();
    protobuf_c_message_free_unpacked(m, NULL);
}

static void generated_ask(struct bench *b)
{
    unpack(&qv_peer__ask__descriptor, &b->asked);
}

static void generated_answers(struct bench *b)
{
    unpack(&qv_peer__answers__descriptor, &b->answered);
}

static const struct {
    const char *name;
    void (*run)(struct bench *b);
} parts[] = {
    {"ask_encode", encode_ask},         {"ask_decode", decode_ask},
    {"ask_unpack", generated_ask},      {"answers_encode", encode_answers},
    {"answers_decode", decode_answers}, {"answers_unpack", generated_answers},
};
#define PARTS (sizeof parts / sizeof *parts)

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    static struct bench b;
    static double ns[PARTS][PASSES_MAX];
    const unsigned long wanted = argc > 1 ? strtoul(argv[1], NULL, 10) : 31;
    const unsigned passes = wanted == 0 || wanted > PASSES_MAX ? 31 : (unsigned)wanted;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    (void)sched_setaffinity(0, sizeof one, &one);
    bench_init(&b);
    for (unsigned pass = 0; pass <= passes; pass++) { /* the first is to warm up */
        for (size_t i = 0; i < PARTS; i++) {
            const double start = now_ns();
            for (unsigned turn = 0; turn < TURNS; turn++)
                parts[i].run(&b);
            ns[i][pass > 0 ? pass - 1 : 0] = (now_ns() - start) / TURNS;
        }
    }
    printf("{\"ask_bytes\": %zu, \"answers_bytes\": %zu, \"ns\": {", b.asked.len, b.answered.len);
    for (size_t i = 0; i < PARTS; i++) {
        qsort(ns[i], passes, sizeof ns[i][0], compare);
        printf("%s\"%s\": {\"min\": %.0f, \"median\": %.0f}", i > 0 ? ", " : "", parts[i].name,
               ns[i][0], ns[i][passes / 2]);
    }
    printf("}}\n");
    bench_close(&b);
    return 0;
}
