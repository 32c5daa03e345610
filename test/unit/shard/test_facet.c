/* Facets of more values than one pass holds: the range of hashes is halved until they fit. */
#include "quiet.h"
#include "suite.h"

#include "shard_world.h"

#define POINTS 32
#define VALUES 12000 /* of a point; half of them are shared by two points, which makes 288,000 */

static void done(struct qv_write *w, int err)
{
    *(int *)w->arg = err;
}

/* Point p holds the ints from p * VALUES / 2 * 3 / 2 on... each chunk of VALUES / 2: one its own,
 * one shared with its neighbour. */
static struct qv_doc payload_of(struct qv_arena *arena, uint32_t p)
{
    struct qv_buf b;
    qv_buf_init(&b, 0);
    size_t object = qv_doc_begin_object(&b);
    qv_doc_put_key(&b, "n", 1);
    size_t array = qv_doc_begin_array(&b);
    for (uint32_t i = 0; i < VALUES; i++) {
        bool shared = i < VALUES / 2;
        uint32_t chunk = shared ? p / 2 : POINTS / 2 + p;
        qv_doc_put_int(&b, (int64_t)chunk * (VALUES / 2) + i % (VALUES / 2));
    }
    qv_doc_end_array(&b, array, VALUES);
    qv_doc_end_object(&b, object, 1);
    struct qv_doc doc = {qv_arena_dup(arena, b.data, b.len), b.len};
    qv_buf_close(&b);
    return doc;
}

static void upsert(struct world *w, struct qv_arena *arena)
{
    struct qv_point_in points[POINTS] = {0};
    for (uint32_t p = 0; p < POINTS; p++) {
        points[p].id = qv_id_num(p + 1);
        points[p].payload = payload_of(arena, p);
    }
    int err = 1;
    struct qv_write_op op = {.type = QV_WRITE_UPSERT, .points = points, .point_count = POINTS};
    struct qv_write_req req = {.ops = &op, .op_count = 1};
    struct qv_write write = {.req = &req,
                             .arena = arena,
                             .shard = qv_store_shard(w->store, 1),
                             .done = done,
                             .arg = &err};
    assert_int_equal(qv_write_prepare(&write), 0);
    qv_write_submit(&write);
    for (int i = 0; i < 1000 && err == 1; i++)
        qv_sim_run(w->sim, 100);
    assert_int_equal(err, 0);
}

static void test_more_values_than_a_pass_holds(void **state)
{
    (void)state;
    struct world *w = calloc(1, sizeof *w);
    struct qv_errmsg msg = {""};
    struct qv_arena arena;
    world_init(w, 5);
    w->config.segment_bytes = 16u << 20;
    w->config.log_bytes_max = 256u << 20;
    w->config.checkpoint_bytes = 256u << 20;
    assert_int_equal(world_open(w, &msg), 0);
    qv_arena_init(&arena, (size_t)256 << 20);
    upsert(w, &arena);
    const uint32_t shared = POINTS / 2 * (VALUES / 2);
    struct qv_facet_req req = {.key = qv_str_of("n"), .limit = shared + 10};
    struct qv_facet_out out;
    assert_int_equal(qv_path_parse(&arena, req.key, &req.path, &msg), 0);
    int err = qv_shard_facet(qv_store_shard(w->store, 1), 0, &arena, &req, &out, &msg);
    if (err != 0)
        fail_msg("%s", msg.text);
    assert_int_equal(out.count, req.limit);
    for (uint32_t i = 0; i < out.count; i++) {
        assert_int_equal(out.hits[i].count, i < shared ? 2 : 1);
        assert_int_equal(qv_doc_int(out.hits[i].value), i);
    }
    qv_arena_close(&arena);
    assert_int_equal(world_shut(w), 0);
    world_close(w);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_more_values_than_a_pass_holds),
    };
    return RUN_SUITE(tests);
}
