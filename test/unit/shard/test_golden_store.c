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
#include "suite.h"

#include "base/buf.h"
#include "io/disk_posix.h"
#include "io/uv_env.h"
#include "shard/epoch.h"
#include "shard/store.h"
#include "storage/kv_rocks.h"
#include "wire/json_doc.h"
#include "wire/json_write.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QV_READER (QV_EPOCH_READERS_MAX - 1) /* of those for callers outside the workers */

struct golden {
    struct qv_disk *disk;
    struct qv_kv_driver *kv;
    struct qv_uv_env *env;
    struct qv_store *store;
    struct qv_store_config config;
    struct qv_vector_config vectors[4];
    struct qv_sparse_config sparse;
    struct qv_collection_config collection;
    struct qv_shard_spec spec;
    struct qv_shard *shard;
    struct qv_errmsg msg;
    bool create, done;
    int err;
    pthread_mutex_t lock;
    pthread_cond_t cond;
};

static void must(struct golden *g, int err, const char *what)
{
    if (err != 0) {
        fprintf(stderr, "%s: %s %s\n", what, qv_err_name(err), g->msg.text);
        exit(1);
    }
}

static void wait_done(struct golden *g)
{
    pthread_mutex_lock(&g->lock);
    while (!g->done)
        pthread_cond_wait(&g->cond, &g->lock);
    g->done = false;
    pthread_mutex_unlock(&g->lock);
}

static void signal_done(struct golden *g, int err)
{
    pthread_mutex_lock(&g->lock);
    g->err = err;
    g->done = true;
    pthread_cond_signal(&g->cond);
    pthread_mutex_unlock(&g->lock);
}

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
    static const struct {
        const char *name;
        uint32_t size;
        enum qv_distance distance;
        enum qv_dtype dtype;
        bool multi;
    } vectors[4] = {{"plain", 6, QV_DISTANCE_EUCLID, QV_DTYPE_F32, false},
                    {"half", 4, QV_DISTANCE_COSINE, QV_DTYPE_F16, false},
                    {"bytes", 8, QV_DISTANCE_DOT, QV_DTYPE_U8, false},
                    {"many", 3, QV_DISTANCE_MANHATTAN, QV_DTYPE_F32, true}};
    memset(g, 0, sizeof *g);
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->cond, NULL);
    for (uint32_t i = 0; i < 4; i++)
        g->vectors[i] = (struct qv_vector_config){.name = qv_str_of(vectors[i].name),
                                                  .number = i,
                                                  .size = vectors[i].size,
                                                  .distance = vectors[i].distance,
                                                  .datatype = vectors[i].dtype,
                                                  .multivector = vectors[i].multi};
    g->sparse = (struct qv_sparse_config){.name = qv_str_of("words"), .number = 4};
    g->collection = (struct qv_collection_config){.vector_count = 4,
                                                  .vectors = g->vectors,
                                                  .sparse_count = 1,
                                                  .sparse = &g->sparse,
                                                  .shard_number = 1,
                                                  .next_number = 5};
    g->spec = (struct qv_shard_spec){
        .number = 3, .uuid = "golden-store-id", .generation = 2, .config = &g->collection};
    g->disk = qv_disk_posix_create();
    g->kv = qv_kv_rocks_create(NULL);
    struct qv_uv_env_config env = {.disk = g->disk, .compute_threads = 1, .pin_cpu = -1};
    must(g, qv_uv_env_create(&env, &g->env, &g->msg), "env");
    g->config = (struct qv_store_config){.env = qv_uv_env_env(g->env),
                                         .kv = g->kv,
                                         .dir = dir,
                                         .writer = 0x01000009,
                                         .segment_bytes = 65536,
                                         .checkpoint_ms = 3600000,
                                         .slots_max = 4096};
    g->create = create;
    qv_uv_env_call(g->env, open_store, g);
    must(g, g->err, "open");
}

static void closed(void *arg, int err)
{
    signal_done(arg, err);
}

static void close_store(void *arg)
{
    struct golden *g = arg;
    qv_store_close(g->store, closed, g);
}

static void golden_close(struct golden *g)
{
    qv_uv_env_call(g->env, close_store, g);
    wait_done(g);
    must(g, g->err, "close");
    qv_uv_env_destroy(&g->env);
    qv_kv_rocks_destroy(&g->kv);
    qv_disk_posix_destroy(&g->disk);
}

/* ---- writing ---- */

static void write_done(struct qv_write *w, int err)
{
    signal_done(w->arg, err);
}

static void write_op(struct golden *g, struct qv_arena *arena, const struct qv_write_op *op)
{
    struct qv_write_req req = {.ops = op, .op_count = 1, .wait = true};
    struct qv_write w = {.req = &req, .arena = arena, .shard = g->shard, .done = write_done};
    w.arg = g;
    int err = qv_write_prepare(&w);
    if (err == 0) {
        qv_write_submit(&w);
        wait_done(g);
        err = g->err;
    }
    g->msg = w.msg;
    must(g, err, "write");
}

static struct qv_doc doc_of(struct qv_arena *arena, const char *json)
{
    struct qv_doc doc;
    struct qv_bytes text = {(const uint8_t *)json, strlen(json)};
    if (qv_json_read_doc(text, arena, &doc, NULL) != 0)
        exit(1);
    return doc;
}

static struct qv_id id_of(uint32_t i)
{
    struct qv_id id = qv_id_num(i * 7);
    if (i % 3 == 2)
        id = (struct qv_id){.type = QV_ID_UUID, .hi = 0x0123456789ab4def + i, .lo = 1ull << 63 | i};
    return id;
}

/* Values that are exact in every datatype. */
static float value_of(uint32_t i, uint32_t d)
{
    return (float)((i * 31 + d * 17) % 29) + (d % 2 == 0 ? 0.5f : 0.0f);
}

static struct qv_point_in point_of(struct qv_arena *arena, uint32_t i)
{
    static const char *const names[5] = {"plain", "half", "bytes", "many", "words"};
    static const uint32_t dims[5] = {6, 4, 8, 3, 3};
    static const uint32_t indices[3] = {4000000000u, 7, 12};
    struct qv_named_vec *vecs = QV_ARENA_ARRAY(arena, struct qv_named_vec, 5);
    uint32_t n = 0;
    for (uint32_t v = 0; v < 5; v++) {
        if (v > 0 && (i + v) % 3 == 0)
            continue;
        float *values = QV_ARENA_ARRAY(arena, float, 16);
        for (uint32_t d = 0; d < 16; d++)
            values[d] = v == 2 ? (float)((i * 3 + d) % 256) : value_of(i + v, d);
        vecs[n].name = qv_str_of(names[v]);
        vecs[n++].vec = (struct qv_vec){.kind = v == 3   ? QV_VEC_MULTI
                                                : v == 4 ? QV_VEC_SPARSE
                                                         : QV_VEC_DENSE,
                                        .dim = dims[v],
                                        .rows = v == 3 ? 2 : 1,
                                        .values = values,
                                        .indices = v == 4 ? indices : NULL};
    }
    char json[256];
    snprintf(json, sizeof json,
             "{\"n\":%u,\"x\":%u.25,\"s\":\"caf\\u00e9 %u\",\"b\":true,\"z\":null,\"a\":[1,\"two\","
             "[3.5],{}],\"o\":{\"k\":{\"deep\":%u}}}",
             i, i, i, i);
    return (struct qv_point_in){
        .id = id_of(i), .vecs = vecs, .vec_count = n, .payload = doc_of(arena, json)};
}

static void upsert(struct golden *g, struct qv_arena *arena, uint32_t from, uint32_t to)
{
    struct qv_point_in *points = QV_ARENA_ARRAY(arena, struct qv_point_in, to - from);
    for (uint32_t i = from; i < to; i++)
        points[i - from] = point_of(arena, i);
    struct qv_write_op op = {.type = QV_WRITE_UPSERT, .points = points, .point_count = to - from};
    write_op(g, arena, &op);
}

static void checkpointed(void *arg, int err)
{
    signal_done(arg, err);
}

static void checkpoint(void *arg)
{
    struct golden *g = arg;
    qv_store_checkpoint(g->store, checkpointed, g);
}

static void change_by_id(struct golden *g, struct qv_arena *arena, enum qv_write_type type,
                         uint32_t i, const char *payload)
{
    struct qv_id id = id_of(i);
    struct qv_str name = qv_str_of("half");
    struct qv_path path;
    if (qv_path_parse(arena, qv_str_of("o.k"), &path, NULL) != 0)
        exit(1);
    struct qv_write_op op = {.type = type,
                             .select = {.ids = &id, .id_count = 1},
                             .names = &name,
                             .name_count = 1,
                             .keys = &path,
                             .key_count = 1};
    if (payload != NULL)
        op.payload = doc_of(arena, payload);
    write_op(g, arena, &op);
}

/* ---- contents ---- */

static void print_vec(struct qv_buf *b, const struct qv_named_vec *nv)
{
    uint32_t n = nv->vec.dim * (nv->vec.kind == QV_VEC_MULTI ? nv->vec.rows : 1);
    qv_buf_printf(b, " %.*s=", (int)nv->name.n, nv->name.p);
    for (uint32_t i = 0; i < n; i++) {
        if (nv->vec.kind == QV_VEC_SPARSE)
            qv_buf_printf(b, "%s%u:", i > 0 ? "," : "", nv->vec.indices[i]);
        qv_buf_printf(b, "%s%a", i > 0 && nv->vec.kind != QV_VEC_SPARSE ? "," : "",
                      (double)nv->vec.values[i]);
    }
}

static int read_all(struct golden *g, struct qv_arena *arena, struct qv_buf *b, bool versions)
{
    struct qv_scroll_req req = {.limit = 1000,
                                .with_payload = {.mode = QV_SELECT_ALL},
                                .with_vector = {.mode = QV_SELECT_ALL}};
    struct qv_scroll_out out;
    int err = qv_shard_scroll(g->shard, QV_READER, arena, &req, &out, &g->msg);
    for (uint32_t i = 0; err == 0 && i < out.points.count; i++) {
        const struct qv_point_out *p = &out.points.points[i];
        char id[QV_ID_TEXT_MAX];
        qv_id_format(&p->id, id);
        qv_buf_printf(b, "%s", id);
        if (versions)
            qv_buf_printf(b, " %llx.%x", (unsigned long long)p->version.clock, p->version.writer);
        qv_buf_str(b, " ");
        qv_json_write_doc(b, p->payload);
        for (uint32_t v = 0; v < p->vec_count; v++)
            print_vec(b, &p->vecs[v]);
        qv_buf_str(b, "\n");
    }
    return err;
}

static void contents(struct golden *g, struct qv_buf *b)
{
    struct qv_arena arena;
    qv_arena_init(&arena, (size_t)64 << 20);
    must(g, read_all(g, &arena, b, true), "scroll");
    float q[6];
    for (uint32_t d = 0; d < 6; d++)
        q[d] = value_of(9, d);
    struct qv_query query = {.kind = QV_QUERY_VECTOR,
                             .vec = {.dim = 6, .rows = 1, .values = q},
                             .using_ = qv_str_of("plain"),
                             .limit = 5};
    struct qv_points_out hits;
    must(g, qv_shard_query(g->shard, QV_READER, &arena, &query, &hits, &g->msg), "query");
    for (uint32_t i = 0; i < hits.count; i++) {
        char id[QV_ID_TEXT_MAX];
        qv_id_format(&hits.points[i].id, id);
        qv_buf_printf(b, "near %s %a\n", id, (double)hits.points[i].score);
    }
    qv_arena_close(&arena);
}

/* Writes a store and ends without closing it, as a crash would. */
static int make(const char *dir)
{
    static struct golden g;
    struct qv_arena arena;
    struct qv_buf b;
    golden_open(&g, dir, true);
    qv_arena_init(&arena, (size_t)64 << 20);
    upsert(&g, &arena, 0, 30);
    change_by_id(&g, &arena, QV_WRITE_DELETE, 4, NULL);
    change_by_id(&g, &arena, QV_WRITE_SET_PAYLOAD, 5, "{\"added\":-3,\"z\":\"now\"}");
    qv_uv_env_call(g.env, checkpoint, &g);
    wait_done(&g);
    must(&g, g.err, "checkpoint");
    upsert(&g, &arena, 28, 40); /* from here on only the log has it */
    change_by_id(&g, &arena, QV_WRITE_DELETE, 6, NULL);
    change_by_id(&g, &arena, QV_WRITE_SET_PAYLOAD, 8, "{\"n\":null,\"s\":\"set\"}");
    change_by_id(&g, &arena, QV_WRITE_OVERWRITE_PAYLOAD, 9, "{\"only\":[\"this\"]}");
    change_by_id(&g, &arena, QV_WRITE_DELETE_PAYLOAD, 10, NULL);
    change_by_id(&g, &arena, QV_WRITE_CLEAR_PAYLOAD, 11, NULL);
    change_by_id(&g, &arena, QV_WRITE_DELETE_VECTORS, 12, NULL);
    qv_buf_init(&b, 0);
    contents(&g, &b);
    fwrite(b.data, 1, b.len, stdout);
    fflush(stdout);
    _exit(0);
}

/* ---- the test ---- */

static char *read_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return NULL;
    char *text = calloc(1, 1 << 20);
    size_t n = fread(text, 1, (1 << 20) - 1, f);
    text[n] = '\0';
    fclose(f);
    return text;
}

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
    char *want = read_text(path);
    assert_non_null(want);
    snprintf(path, sizeof path, "%s/store", dir);
    for (int life = 0; life < 2; life++) { /* as it was written, then as this version has left it */
        golden_open(&g, path, false);
        struct qv_shard_info info;
        qv_shard_info(g.shard, &info);
        assert_string_equal(info.reason, "");
        qv_buf_init(&b, 0);
        contents(&g, &b);
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
