/* Snapshots that the first version wrote must restore for ever: test/golden/snapshot-v<n>/ holds
 * one of a collection, one of everything, and what a node has after each (contents.txt). A new
 * format adds a folder, none is removed.
 *
 *   test_golden_snapshot               restores each into an empty node, under its own name, and
 *                                      under another, opens the node anew, and compares
 *   test_golden_snapshot --make DIR    writes such a folder as this version does:
 *
 *     unshare -u sh -c "hostname quiver; build/test/unit/node/test_golden_snapshot --make DIR"
 *
 * (Nothing of the host is meant to be in them; unshare makes sure.) */
#include "golden.h"
#include "quiet.h"
#include "suite.h"

#include "io/disk_posix.h"
#include "io/uv_env.h"
#include "node/snapshots.h"
#include "storage/kv_rocks.h"
#include "wire/json_doc.h"
#include "wire/json_write.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct world {
    struct qv_disk *disk;
    struct qv_kv_driver *kv;
    struct qv_uv_env *env;
    struct qv_node *node;
    struct golden_wait wait;
    struct qv_arena arena;
    char dir[64], snapshots[96];
    struct qv_snapshot_recover_req recover;
    struct qv_snapshot_scope scope;
    char made[QV_SNAPSHOT_PATH_MAX];
    int err;
    struct qv_errmsg msg;
};

/* ---- a node ---- */

static void open_node(void *arg)
{
    struct world *x = arg;
    struct qv_node_config config = {.env = qv_uv_env_env(x->env),
                                    .kv = x->kv,
                                    .dir = x->dir,
                                    .segment_bytes = 65536,
                                    .checkpoint_ms = 3600000,
                                    .snapshots_dir = x->snapshots};
    x->err = qv_node_open(&config, &x->node, &x->msg);
}

static void world_open(struct world *x, const char *dir)
{
    memset(x, 0, sizeof *x);
    golden_wait_init(&x->wait);
    qv_arena_init(&x->arena, (size_t)16 << 20);
    snprintf(x->dir, sizeof x->dir, "%s/store", dir);
    snprintf(x->snapshots, sizeof x->snapshots, "%s/snapshots", dir);
    x->disk = qv_disk_posix_create();
    x->kv = qv_kv_rocks_create(NULL);
    struct qv_uv_env_config env = {.disk = x->disk, .compute_threads = 1, .pin_cpu = -1};
    golden_must(qv_uv_env_create(&env, &x->env, &x->msg), "env", &x->msg);
    qv_uv_env_call(x->env, open_node, x);
    golden_must(x->err, "open", &x->msg);
}

static void close_node(void *arg)
{
    struct world *x = arg;
    qv_node_close(x->node, golden_signal, &x->wait);
}

static void world_close(struct world *x)
{
    qv_uv_env_call(x->env, close_node, x);
    golden_must(golden_wait(&x->wait), "close", &x->msg);
    qv_uv_env_destroy(&x->env);
    qv_kv_rocks_destroy(&x->kv);
    qv_disk_posix_destroy(&x->disk);
    qv_arena_close(&x->arena);
}

/* ---- what it holds ---- */

static void put_config(struct qv_buf *b, const struct qv_collection *c)
{
    const struct qv_collection_config *config = c->config;
    qv_buf_printf(b, "collection %.*s:", (int)c->name.n, c->name.p);
    for (uint32_t i = 0; i < config->vector_count; i++) {
        const struct qv_vector_config *v = &config->vectors[i];
        qv_buf_printf(b, " '%.*s' %u x %u distance %d type %d multi %d m %llu;", (int)v->name.n,
                      v->name.p, v->number, v->size, (int)v->distance, (int)v->datatype,
                      v->multivector, (unsigned long long)(v->hnsw.m.has ? v->hnsw.m.v : 0));
    }
    for (uint32_t i = 0; i < config->sparse_count; i++)
        qv_buf_printf(b, " sparse '%.*s' %u idf %d;", (int)config->sparse[i].name.n,
                      config->sparse[i].name.p, config->sparse[i].number,
                      config->sparse[i].modifier_idf);
    for (uint32_t i = 0; i < config->payload_index_count; i++)
        qv_buf_printf(b, " index %.*s %.*s;", (int)config->payload_indexes[i].field.n,
                      config->payload_indexes[i].field.p, (int)config->payload_indexes[i].type.n,
                      config->payload_indexes[i].type.p);
    if (config->metadata.p != NULL) {
        qv_buf_str(b, " metadata ");
        qv_json_write_doc(b, config->metadata);
    }
    qv_buf_str(b, "\n");
}

static void put_node(struct world *x, struct qv_buf *b)
{
    const struct qv_topology *t = qv_node_topology(x->node);
    for (uint32_t i = 0; i < t->aliases.count; i++) {
        const struct qv_alias *a = &t->aliases.list[i];
        qv_buf_printf(b, "alias %.*s of %.*s\n", (int)a->name.n, a->name.p, (int)a->collection.n,
                      a->collection.p);
    }
    for (uint32_t i = 0; i < t->count; i++) {
        struct qv_shard *shard = NULL;
        put_config(b, t->collections[i]);
        golden_must(qv_node_shard(x->node, t->collections[i]->name, &shard, &x->msg), "shard",
                    &x->msg);
        golden_contents(shard, b);
        qv_shard_unref(shard);
    }
    qv_topology_unref(t);
}

/* ---- making ---- */

static struct qv_doc doc_of(struct world *x, const char *json)
{
    struct qv_doc doc;
    golden_must(qv_json_read_doc((struct qv_bytes){(const uint8_t *)json, strlen(json)}, &x->arena,
                                 &doc, &x->msg),
                "document", &x->msg);
    return doc;
}

static void create_collections(void *arg)
{
    struct world *x = arg;
    struct golden_config g;
    struct qv_alias_action alias = {QV_ALIAS_CREATE, qv_str_of("latest"), qv_str_of("docs")};
    struct qv_alias_req aliases = {.actions = &alias, .count = 1};
    struct qv_payload_index index = {.field = qv_str_of("n"), .type = qv_str_of("integer")};
    golden_config(&g);
    g.collection.metadata = doc_of(x, "{\"owner\":\"caf\xc3\xa9\",\"rank\":[1,2.5]}");
    g.vectors[0].has_hnsw = true;
    g.vectors[0].hnsw.m = (struct qv_opt_u64){true, 24};
    golden_must(qv_node_create_collection(x->node, qv_str_of("docs"), &g.collection, &x->msg),
                "docs", &x->msg);
    golden_config(&g); /* "few": the first vector alone */
    g.collection.vector_count = 1;
    g.collection.sparse_count = 0;
    g.collection.next_number = 1;
    golden_must(qv_node_create_collection(x->node, qv_str_of("few"), &g.collection, &x->msg), "few",
                &x->msg);
    golden_must(qv_node_update_aliases(x->node, &aliases, &x->msg), "alias", &x->msg);
    golden_must(qv_node_set_payload_index(x->node, qv_str_of("docs"), index.field, &index, &x->msg),
                "index", &x->msg);
}

static void fill(struct world *x)
{
    struct qv_shard *shard = NULL;
    golden_must(qv_node_shard(x->node, qv_str_of("docs"), &shard, &x->msg), "docs", &x->msg);
    golden_upsert(shard, &x->arena, 0, 40);
    golden_change(shard, &x->arena, QV_WRITE_DELETE, 4, NULL);
    golden_changes(shard, &x->arena);
    qv_shard_unref(shard);
}

static void snapshot_made(void *arg, int err, const struct qv_snapshot_desc *made,
                          const struct qv_errmsg *msg)
{
    struct world *x = arg;
    x->msg = *msg;
    if (err == 0)
        err = qv_node_snapshot_path(x->node, &x->scope, qv_str_of(made->name), x->made, &x->msg);
    golden_signal(&x->wait, err);
}

static void make_snapshot(void *arg)
{
    struct world *x = arg;
    struct qv_snapshot_create_req req = {.scope = x->scope, .done = snapshot_made, .arg = x};
    qv_node_snapshot_create(x->node, &req);
}

static void keep_snapshot(struct world *x, const char *collection, const char *dir,
                          const char *name)
{
    char command[QV_SNAPSHOT_PATH_MAX + 256];
    x->scope.collection = qv_str_of(collection);
    qv_uv_env_call(x->env, make_snapshot, x);
    golden_must(golden_wait(&x->wait), name, &x->msg);
    snprintf(command, sizeof command, "cp '%s' '%s/%s.snapshot'", x->made, dir, name);
    golden_must(system(command) == 0 ? 0 : QV_EIO, name, &x->msg);
}

static int make(const char *dir)
{
    static struct world x;
    struct qv_buf b;
    char tmp[] = "/tmp/qv-golden-XXXXXX";
    char path[256];
    if (mkdtemp(tmp) == NULL)
        return 1;
    world_open(&x, tmp);
    qv_uv_env_call(x.env, create_collections, &x);
    fill(&x);
    keep_snapshot(&x, "docs", dir, "collection");
    keep_snapshot(&x, "", dir, "full");
    qv_buf_init(&b, 0);
    put_node(&x, &b);
    snprintf(path, sizeof path, "%s/contents.txt", dir);
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(b.data, 1, b.len, f) != b.len || fclose(f) != 0)
        return 1;
    qv_buf_close(&b);
    world_close(&x);
    snprintf(path, sizeof path, "rm -rf '%s'", tmp);
    return system(path) == 0 ? 0 : 1;
}

/* ---- the test ---- */

static void restored(void *arg, int err, const struct qv_snapshot_desc *made,
                     const struct qv_errmsg *msg)
{
    struct world *x = arg;
    (void)made;
    x->msg = *msg;
    golden_signal(&x->wait, err);
}

static void restore(void *arg)
{
    struct world *x = arg;
    qv_node_snapshot_recover(x->node, &x->recover);
}

/* The text of the collection called `from` (NULL: all of it), under the name `to`. */
static void expect(struct world *x, const char *contents, const char *from, const char *to)
{
    struct qv_buf got;
    struct qv_buf want;
    char head[64];
    qv_buf_init(&got, 0);
    qv_buf_init(&want, 0);
    put_node(x, &got);
    qv_buf_u8(&got, 0);
    if (from != NULL) {
        snprintf(head, sizeof head, "collection %s:", from);
        const char *at = strstr(contents, head);
        assert_non_null(at);
        at += strlen(head);
        const char *end = strstr(at, "\ncollection ");
        qv_buf_printf(&want, "collection %s:", to);
        qv_buf_append(&want, at, end != NULL ? (size_t)(end + 1 - at) : strlen(at));
    } else {
        qv_buf_str(&want, contents);
    }
    qv_buf_u8(&want, 0);
    assert_string_equal((const char *)got.data, (const char *)want.data);
    qv_buf_close(&got);
    qv_buf_close(&want);
}

/* to NULL: everything. */
static void restore_and_compare(const char *version, const char *file, const char *from,
                                const char *to)
{
    static struct world x;
    char path[512];
    char dir[] = "/tmp/qv-golden-XXXXXX";
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/%s/contents.txt", QV_GOLDEN_DIR, version);
    char *contents = golden_read(path);
    assert_non_null(contents);
    world_open(&x, dir);
    snprintf(path, sizeof path, "%s/%s/%s.snapshot", QV_GOLDEN_DIR, version, file);
    x.recover = (struct qv_snapshot_recover_req){.collection = qv_str_of(to != NULL ? to : ""),
                                                 .path = path,
                                                 .fd = -1,
                                                 .done = restored,
                                                 .arg = &x};
    qv_uv_env_call(x.env, restore, &x);
    int err = golden_wait(&x.wait);
    if (err != 0)
        fail_msg("%s: %s %s", path, qv_err_name(err), x.msg.text);
    expect(&x, contents, from, to);
    world_close(&x);
    world_open(&x, dir);
    expect(&x, contents, from, to);
    world_close(&x);
    free(contents);
    snprintf(path, sizeof path, "rm -rf '%s'", dir);
    assert_int_equal(system(path), 0);
}

static void test_collection_v1_restores(void **state)
{
    (void)state;
    restore_and_compare("snapshot-v1", "collection", "docs", "docs");
    restore_and_compare("snapshot-v1", "collection", "docs", "another name");
}

static void test_full_v1_restores(void **state)
{
    (void)state;
    restore_and_compare("snapshot-v1", "full", NULL, NULL);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_collection_v1_restores),
        cmocka_unit_test(test_full_v1_restores),
    };
    if (argc == 3 && strcmp(argv[1], "--make") == 0)
        return make(argv[2]);
    quiet_log();
    return RUN_SUITE(tests);
}
