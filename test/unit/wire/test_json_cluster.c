#include "suite.h"

#include "wire/json_request.h"

#include <string.h>

static int read_text(const char *text, struct qv_cluster_update *out, struct qv_errmsg *msg)
{
    struct qv_arena arena;
    qv_arena_init(&arena, 1 << 20);
    msg->text[0] = '\0';
    int err = qv_json_read_cluster_update((struct qv_bytes){(const uint8_t *)text, strlen(text)},
                                          &arena, out, msg);
    qv_arena_close(&arena);
    return err;
}

static void test_moves(void **state)
{
    (void)state;
    struct qv_cluster_update u;
    struct qv_errmsg msg;
    assert_int_equal(
        read_text("{\"move_shard\":{\"shard_id\":3,\"from_peer_id\":18446744073709551615,"
                  "\"to_peer_id\":2,\"method\":\"snapshot\",\"x\":[1]}}",
                  &u, &msg),
        0);
    assert_int_equal(u.kind, QV_CLUSTER_MOVE_SHARD);
    assert_int_equal(u.shard, 3);
    assert_true(u.from == UINT64_MAX && u.to == 2);
    assert_int_equal(
        read_text("{\"abort_transfer\":{\"shard_id\":0,\"to_peer_id\":2,\"from_peer_id\":1}}", &u,
                  &msg),
        0);
    assert_int_equal(u.kind, QV_CLUSTER_ABORT_TRANSFER);
}

static void test_what_is_refused(void **state)
{
    static const struct {
        const char *text;
        int err;
        const char *why;
    } rows[] = {
        {"{\"move_shard\":{\"shard_id\":0,\"from_peer_id\":1}}", QV_EFORMAT,
         "missing field `to_peer_id`"},
        {"{\"move_shard\":{\"shard_id\":4294967296,\"from_peer_id\":1,\"to_peer_id\":2}}",
         QV_EFORMAT, "shard_id: value 4294967296 is too large"},
        {"{\"move_shard\":{\"shard_id\":-1,\"from_peer_id\":1,\"to_peer_id\":2}}", QV_EFORMAT, ""},
        {"{\"move_shard\":3}", QV_EFORMAT, ""},
        {"{\"mov_shard\":{}}", QV_EFORMAT, "did not match any variant"},
        {"{}", QV_EFORMAT, "did not match any variant"},
        {"[]", QV_EFORMAT, ""},
        {"{\"replicate_shard\":{\"shard_id\":0}}", QV_ENOTIMPL, "replicate_shard"},
        {"{\"start_resharding\":{}}", QV_ENOTIMPL, "start_resharding"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct qv_cluster_update u;
        struct qv_errmsg msg;
        int err = read_text(rows[i].text, &u, &msg);
        if (err != rows[i].err || strstr(msg.text, rows[i].why) == NULL)
            fail_msg("%s: %s: %s", rows[i].text, qv_err_name(err), msg.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_what_is_refused),
    };
    return RUN_SUITE(tests);
}
