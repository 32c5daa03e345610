/* Records of the cluster's metadata from anywhere: the first byte selects the record (a node, a
 * shard, a collection, the aliases, a copy of everything), the rest is its value. What is read
 * comes back the same when it is written and read again; a copy makes a tree or says which record
 * does not fit. Seeds made-*: QV_SEEDS=test/fuzz/corpus test_tree_record
 * covers: src/cluster/tree_record.c src/cluster/mirror.c
 * options: -max_len=8192 */
#include "cluster/mirror.h"

#include "base/qv_assert.h"
#include "core/meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_refusal(int err)
{
    return err == QV_ECORRUPT || err == QV_ENOTIMPL || err == QV_ENOMEM;
}

static struct qv_bytes bytes_of(const struct qv_buf *b)
{
    return (struct qv_bytes){b->data, b->len};
}

static void check_member(struct qv_bytes in, struct qv_buf *b)
{
    struct qv_member m, again;
    struct qv_errmsg msg;
    int err = qv_tree_decode_member(in, &m, &msg);
    QV_ASSERT(err == 0 || is_refusal(err));
    if (err != 0)
        return;
    qv_tree_encode_member(b, &m);
    err = qv_tree_decode_member(bytes_of(b), &again, &msg);
    QV_ASSERT(err == 0 && again.id == m.id && again.feature_level == m.feature_level);
    QV_ASSERT(strcmp(again.host, m.host) == 0 && strcmp(again.zone, m.zone) == 0);
}

static void check_shard(struct qv_bytes in, struct qv_buf *b)
{
    struct qv_shard_place s, again;
    struct qv_errmsg msg;
    int err = qv_tree_decode_shard(in, &s, &msg);
    QV_ASSERT(err == 0 || is_refusal(err));
    if (err != 0)
        return;
    qv_tree_encode_shard(b, &s);
    err = qv_tree_decode_shard(bytes_of(b), &again, &msg);
    QV_ASSERT(err == 0 && again.number == s.number && again.slot_count == s.slot_count);
    for (uint32_t i = 0; i < s.slot_count; i++)
        QV_ASSERT(s.slots[i].holder == again.slots[i].holder &&
                  s.slots[i].step == again.slots[i].step);
}

static void check_collection(struct qv_bytes in)
{
    struct qv_tree_collection c;
    struct qv_collection_config config;
    struct qv_errmsg msg;
    struct qv_arena arena;
    int err = qv_tree_decode_collection(in, &c, &msg);
    QV_ASSERT(err == 0 || is_refusal(err));
    if (err != 0)
        return;
    qv_arena_init(&arena, 8u << 20);
    err = qv_tree_decode_config(c.config, &arena, &config, &msg);
    QV_ASSERT(err <= 0);
    qv_arena_close(&arena);
}

static void check_aliases(struct qv_bytes in, struct qv_buf *b)
{
    struct qv_aliases_out list, again;
    struct qv_errmsg msg;
    struct qv_arena arena;
    qv_arena_init(&arena, 8u << 20);
    int err = qv_tree_decode_aliases(in, &arena, &list, &msg);
    QV_ASSERT(err == 0 || is_refusal(err));
    if (err == 0) {
        qv_tree_encode_aliases(b, list.list, list.count);
        err = qv_tree_decode_aliases(bytes_of(b), &arena, &again, &msg);
        QV_ASSERT(err == 0 && again.count == list.count);
    }
    qv_arena_close(&arena);
}

/* The tree when one of the records goes, made from the one before; takes its reference. */
static void check_without(struct qv_mirror *m, const struct qv_topology *before, uint8_t which)
{
    const struct qv_topology *tree;
    struct qv_errmsg msg;
    char key[QV_META_KEY_BYTES_MAX + 1];
    if (qv_mirror_count(m) > 0) {
        const struct qv_mirror_entry e = qv_mirror_at(m, which % qv_mirror_count(m));
        QV_ASSERT(strlen(e.key) < sizeof key);
        memcpy(key, e.key, strlen(e.key) + 1);
        qv_mirror_put(m, &(struct qv_mirror_entry){key, {NULL, 0}});
        const int err = qv_mirror_tree(m, before, &tree, &msg);
        QV_ASSERT(err == 0 || is_refusal(err));
        if (err == 0)
            qv_topology_unref(tree);
    }
    qv_topology_unref(before);
}

static void check_mirror(struct qv_bytes in, struct qv_buf *b)
{
    const struct qv_topology *before = qv_topology_create(0);
    const struct qv_topology *tree = NULL;
    struct qv_errmsg msg;
    struct qv_mirror *m = qv_mirror_create();
    int err = qv_mirror_decode(m, in, &msg);
    QV_ASSERT(err == 0 || is_refusal(err));
    if (err == 0) {
        const uint32_t count = qv_mirror_count(m);
        qv_mirror_encode(m, b);
        err = qv_mirror_tree(m, before, &tree, &msg);
        QV_ASSERT(err == 0 || is_refusal(err));
        if (err == 0)
            check_without(m, tree, in.p[in.n - 1]);
        err = qv_mirror_decode(m, bytes_of(b), &msg);
        QV_ASSERT(err == 0 && qv_mirror_count(m) == count);
    }
    qv_mirror_destroy(&m);
    qv_topology_unref(before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qv_buf b;
    if (size == 0)
        return 0;
    const struct qv_bytes in = {data + 1, size - 1};
    qv_buf_init(&b, 0);
    switch (data[0] % 5) {
    case 0:
        check_member(in, &b);
        break;
    case 1:
        check_shard(in, &b);
        break;
    case 2:
        check_collection(in);
        break;
    case 3:
        check_aliases(in, &b);
        break;
    default:
        check_mirror(in, &b);
        break;
    }
    qv_buf_close(&b);
    return 0;
}
