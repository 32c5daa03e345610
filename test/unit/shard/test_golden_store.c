/* A store that the first version wrote must open for ever: test/golden/store-v<n>/ holds its files
 * (store.tar.gz) and what is in it (contents.txt). A new format adds a folder, none is removed.
 *
 *   test_golden_store               opens a copy of each and compares
 *   test_golden_store --make DIR    writes a store into DIR as this version does, with changes that
 *                                   only the log has, and its contents to standard output:
 *
 *     g=build/test/unit/shard/test_golden_store; mkdir /tmp/g
 *     unshare -u sh -c "hostname quiver; $g --make /tmp/g/store" > contents.txt
 *     tar -C /tmp/g --sort=name --owner=0 --group=0 --exclude='LOG*' -czf store.tar.gz store
 *
 * (RocksDB writes the host's name into its files: hence unshare.) */
#include "golden.h"
#include "suite.h"

#include "io/disk_posix.h"
#include "io/uv_env.h"
#include "shard/store.h"
#include "storage/kv_rocks.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct golden {
    struct qv_disk *disk;
    struct qv_kv_driver *kv;
    struct qv_uv_env *env;
    struct qv_store *store;
    struct qv_store_config config;
    struct golden_config kept;
    struct qv_shard_spec spec;
    struct qv_shard *shard;
    struct qv_errmsg msg;
    struct golden_wait wait;
    bool create;
    int err;
};

/* ---- the store ---- */

static void open_store(void *arg)
{
    struct golden *g = arg;
    g->err = qv_store_open(&g->config, &g->spec, g->create ? 0 : 1, &g->store, &g->msg);
    if (g->err == 0 && g->create)
        g->err = qv_store_add_shard(g->store, &g->spec, &g->shard, &g->msg);
    else if (g->err == 0)
        g->shard = qv_store_shard(g->store, g->spec.number);
}

static void golden_open(struct golden *g, const char *dir, bool create)
{
    memset(g, 0, sizeof *g);
    golden_wait_init(&g->wait);
    golden_config(&g->kept);
    g->spec = (struct qv_shard_spec){
        .number = 3, .uuid = "golden-store-id", .generation = 2, .config = &g->kept.collection};
    g->disk = qv_disk_posix_create();
    g->kv = qv_kv_rocks_create(NULL);
    struct qv_uv_env_config env = {.disk = g->disk, .compute_threads = 1, .pin_cpu = -1};
    golden_must(qv_uv_env_create(&env, &g->env, &g->msg), "env", &g->msg);
    g->config = (struct qv_store_config){.env = qv_uv_env_env(g->env),
                                         .kv = g->kv,
                                         .dir = dir,
                                         .writer = 0x01000009,
                                         .segment_bytes = 65536,
                                         .checkpoint_ms = 3600000,
                                         .slots_max = 4096};
    g->create = create;
    qv_uv_env_call(g->env, open_store, g);
    golden_must(g->err, "open", &g->msg);
}

static void closed(void *arg, int err)
{
    golden_signal(&((struct golden *)arg)->wait, err);
}

static void close_store(void *arg)
{
    struct golden *g = arg;
    qv_store_close(g->store, closed, g);
}

static void golden_close(struct golden *g)
{
    qv_uv_env_call(g->env, close_store, g);
    golden_must(golden_wait(&g->wait), "close", &g->msg);
    qv_uv_env_destroy(&g->env);
    qv_kv_rocks_destroy(&g->kv);
    qv_disk_posix_destroy(&g->disk);
}

static void checkpointed(void *arg, int err)
{
    golden_signal(&((struct golden *)arg)->wait, err);
}

static void checkpoint(void *arg)
{
    struct golden *g = arg;
    qv_store_checkpoint(g->store, checkpointed, g);
}

/* Writes a store and ends without closing it, as a crash would. */
static int make(const char *dir)
{
    static struct golden g;
    struct qv_arena arena;
    struct qv_buf b;
    golden_open(&g, dir, true);
    qv_arena_init(&arena, (size_t)64 << 20);
    golden_upsert(g.shard, &arena, 0, 30);
    golden_change(g.shard, &arena, QV_WRITE_DELETE, 4, NULL);
    golden_change(g.shard, &arena, QV_WRITE_SET_PAYLOAD, 5, "{\"added\":-3,\"z\":\"now\"}");
    qv_uv_env_call(g.env, checkpoint, &g);
    golden_must(golden_wait(&g.wait), "checkpoint", &g.msg);
    golden_upsert(g.shard, &arena, 28, 40); /* from here on only the log has it */
    golden_changes(g.shard, &arena);
    qv_buf_init(&b, 0);
    golden_contents(g.shard, &b);
    fwrite(b.data, 1, b.len, stdout);
    fflush(stdout);
    _exit(0);
}

/* ---- the test ---- */

static void open_and_compare(const char *version)
{
    static struct golden g;
    struct qv_buf b;
    char command[1024];
    char path[512];
    char dir[] = "/tmp/qv-golden-XXXXXX";
    assert_non_null(mkdtemp(dir));
    snprintf(command, sizeof command, "tar -C '%s' -xzf '%s/%s/store.tar.gz'", dir, QV_GOLDEN_DIR,
             version);
    assert_int_equal(system(command), 0);
    snprintf(path, sizeof path, "%s/%s/contents.txt", QV_GOLDEN_DIR, version);
    char *want = golden_read(path);
    assert_non_null(want);
    snprintf(path, sizeof path, "%s/store", dir);
    for (int life = 0; life < 2; life++) { /* as it was written, then as this version has left it */
        golden_open(&g, path, false);
        struct qv_shard_info info;
        qv_shard_info(g.shard, &info);
        assert_string_equal(info.reason, "");
        qv_buf_init(&b, 0);
        golden_contents(g.shard, &b);
        qv_buf_u8(&b, 0);
        assert_string_equal((const char *)b.data, want);
        qv_buf_close(&b);
        golden_close(&g);
    }
    free(want);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

static void test_store_v1_opens(void **state)
{
    (void)state;
    open_and_compare("store-v1");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_v1_opens),
    };
    if (argc == 3 && strcmp(argv[1], "--make") == 0)
        return make(argv[2]);
    return RUN_SUITE(tests);
}
