/* libquiver through its public header, against a model: what was acknowledged is what is found,
 * before and after closing; wrong arguments; old and new callers; threads. */
#include "suite.h"

#include "base/rng.h"
#include "quiver/quiver.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIM = 8, IDS = 300 };

struct model {
    bool there[IDS];
    float vector[IDS][DIM];
    int tag[IDS]; /* -1: no payload */
};

struct world {
    char dir[64];
    struct quiver *db;
    struct quiver_collection *c;
    struct quiver_error why;
};

static void remove_dir(const char *dir)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

static struct quiver_collection_options small_options(int metric)
{
    struct quiver_collection_options o = QUIVER_COLLECTION_OPTIONS_INIT;
    o.dim = DIM;
    o.metric = metric;
    return o;
}

static void world_open(struct world *w)
{
    struct quiver_options o = QUIVER_OPTIONS_INIT;
    memset(w, 0, sizeof *w);
    strcpy(w->dir, "/tmp/quiver-lib-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    o.threads = 2;
    o.log_segment_mb = 1;
    assert_int_equal(quiver_open(w->dir, &o, &w->db, &w->why), 0);
}

/* The tests that take it run for collections of one shard and of several. */
static uint32_t shards_of(void **state)
{
    return *state != NULL ? *(const uint32_t *)*state : 0;
}

static void world_make(struct world *w, int metric, uint32_t shards)
{
    struct quiver_collection_options o = small_options(metric);
    o.shard_number = shards;
    world_open(w);
    assert_int_equal(quiver_create_collection(w->db, "points", &o, &w->c, &w->why), 0);
}

static void world_reopen(struct world *w)
{
    quiver_close_collection(&w->c);
    assert_int_equal(quiver_close(&w->db, &w->why), 0);
    assert_null(w->db);
    assert_int_equal(quiver_load(w->dir, NULL, &w->db, &w->why), 0);
    assert_int_equal(quiver_open_collection(w->db, "points", NULL, &w->c, &w->why), 0);
}

static void world_close(struct world *w)
{
    quiver_close_collection(&w->c);
    assert_int_equal(quiver_close(&w->db, &w->why), 0);
    remove_dir(w->dir);
}

/* ---- against a model ---- */

static void add_some(struct world *w, struct model *m, struct qv_rng *rng)
{
    enum { MOST = 40 };
    struct quiver_id ids[MOST];
    float vectors[MOST][DIM];
    char text[MOST][32];
    const char *payloads[MOST];
    struct quiver_points p = QUIVER_POINTS_INIT;
    p.count = 1 + qv_rng_u64(rng) % MOST;
    for (size_t i = 0; i < p.count; i++) {
        uint64_t id = qv_rng_u64(rng) % IDS;
        ids[i] = quiver_id_of(id);
        m->there[id] = true;
        for (int d = 0; d < DIM; d++)
            m->vector[id][d] = vectors[i][d] = (float)(qv_rng_u64(rng) % 2001) / 1000.0f - 1.0f;
        m->tag[id] = (int)(qv_rng_u64(rng) % 5) - 1;
        snprintf(text[i], sizeof text[i], "{\"tag\": %d}", m->tag[id]);
        payloads[i] = m->tag[id] < 0 ? NULL : text[i];
    }
    p.ids = ids;
    p.vectors = &vectors[0][0];
    p.dim = DIM;
    p.payloads = payloads;
    assert_int_equal(quiver_add(w->c, &p, (unsigned)(qv_rng_u64(rng) % 2), &w->why), 0);
}

static void remove_some(struct world *w, struct model *m, struct qv_rng *rng)
{
    struct quiver_id ids[10];
    if (qv_rng_u64(rng) % 4 == 0) {
        char filter[96];
        int tag = (int)(qv_rng_u64(rng) % 4);
        snprintf(filter, sizeof filter, "{\"must\":[{\"key\":\"tag\",\"match\":{\"value\":%d}}]}",
                 tag);
        assert_int_equal(quiver_remove_where(w->c, filter, 0, &w->why), 0);
        for (int i = 0; i < IDS; i++)
            m->there[i] = m->there[i] && m->tag[i] != tag;
        return;
    }
    for (int i = 0; i < 10; i++) {
        uint64_t id = qv_rng_u64(rng) % IDS;
        ids[i] = quiver_id_of(id);
        m->there[id] = false;
    }
    assert_int_equal(quiver_remove(w->c, ids, 10, 0, &w->why), 0);
}

static double distance(const float *a, const float *b)
{
    double sum = 0;
    for (int d = 0; d < DIM; d++)
        sum += ((double)a[d] - (double)b[d]) * ((double)a[d] - (double)b[d]);
    return sqrt(sum);
}

/* Exact search gives the model's distances, in order. */
static void compare_search(struct world *w, const struct model *m, struct qv_rng *rng)
{
    float target[DIM];
    double best[10];
    size_t n = 0;
    struct quiver_results *r = NULL;
    struct quiver_query q = QUIVER_QUERY_INIT;
    for (int d = 0; d < DIM; d++)
        target[d] = (float)(qv_rng_u64(rng) % 2001) / 1000.0f - 1.0f;
    for (int i = 0; i < IDS; i++) {
        double at = m->there[i] ? distance(target, m->vector[i]) : INFINITY;
        size_t j = n < 10 ? n++ : 9;
        if (j == 9 && n == 10 && i >= 10 && best[9] <= at)
            continue;
        for (; j > 0 && best[j - 1] > at; j--)
            best[j] = best[j - 1];
        best[j] = at;
    }
    q.vector = target;
    q.dim = DIM;
    q.exact = 1;
    q.flags = QUIVER_WITH_VECTORS | QUIVER_WITH_PAYLOAD;
    assert_int_equal(quiver_search(w->c, &q, &r, &w->why), 0);
    for (size_t i = 0; i < quiver_results_count(r); i++) {
        uint64_t id = quiver_results_id(r, i).lo;
        uint32_t dim = 0;
        const float *v = quiver_results_vector(r, i, NULL, &dim);
        assert_true(m->there[id]);
        assert_true(fabs((double)quiver_results_score(r, i) - best[i]) < 1e-4);
        assert_int_equal(dim, DIM);
        assert_memory_equal(v, m->vector[id], sizeof m->vector[id]);
        assert_non_null(quiver_results_payload(r, i));
    }
    quiver_results_free(&r);
}

/* Every point by scroll, in pages, is the model's. */
static void compare_all(struct world *w, const struct model *m)
{
    struct quiver_scroll s = QUIVER_SCROLL_INIT;
    uint64_t expected = 0;
    uint64_t counted = 0;
    uint64_t seen = 0;
    for (int i = 0; i < IDS; i++)
        expected += m->there[i] ? 1 : 0;
    assert_int_equal(quiver_count(w->c, NULL, &counted, &w->why), 0);
    assert_int_equal(counted, expected);
    s.limit = 37;
    s.flags = QUIVER_WITH_VECTORS | QUIVER_WITH_PAYLOAD;
    do {
        struct quiver_results *r = NULL;
        assert_int_equal(quiver_scroll(w->c, &s, &r, &s.offset, &w->why), 0);
        for (size_t i = 0; i < quiver_results_count(r); i++) {
            uint64_t id = quiver_results_id(r, i).lo;
            char text[32] = "{}";
            assert_true(id < IDS && m->there[id]);
            assert_memory_equal(quiver_results_vector(r, i, NULL, NULL), m->vector[id],
                                sizeof m->vector[id]);
            if (m->tag[id] >= 0)
                snprintf(text, sizeof text, "{\"tag\":%d}", m->tag[id]);
            assert_string_equal(quiver_results_payload(r, i), text);
            seen++;
        }
        quiver_results_free(&r);
    } while (s.offset.kind != 0);
    assert_int_equal(seen, expected);
}

static void what_was_acknowledged_is_found(void **state)
{
    const char *env = getenv("QV_SEED");
    uint64_t seed = env != NULL ? strtoull(env, NULL, 10) : 1;
    struct model *m = test_calloc(1, sizeof *m);
    struct qv_rng rng;
    struct world w;
    print_message("seed %llu\n", (unsigned long long)seed);
    qv_rng_init(&rng, seed);
    world_make(&w, QUIVER_EUCLID, shards_of(state));
    for (int round = 0; round < SANITIZED_LESS(60); round++) {
        if (qv_rng_u64(&rng) % 3 != 0)
            add_some(&w, m, &rng);
        else
            remove_some(&w, m, &rng);
        compare_search(&w, m, &rng);
        if (round % 15 == 7)
            assert_int_equal(quiver_save(w.db, &w.why), 0);
        if (round % 15 == 14)
            world_reopen(&w);
        if (round % 5 == 0)
            compare_all(&w, m);
    }
    world_reopen(&w);
    compare_all(&w, m);
    world_close(&w);
    test_free(m);
}

/* ---- arguments ---- */

static void wrong_arguments_are_named(void **state)
{
    struct world w;
    struct quiver_id id = quiver_id_of(1);
    struct quiver_id bad = {0, 0, 7, 0};
    float v[DIM] = {1};
    const char *payload = "[1]";
    struct quiver_results *r = NULL;
    world_make(&w, QUIVER_COSINE, shards_of(state));
    struct quiver_points p = QUIVER_POINTS_INIT;
    p.count = 1;
    p.ids = &id;
    p.vectors = v;
    p.dim = DIM - 1;
    assert_int_equal(quiver_add(w.c, &p, 0, &w.why), QUIVER_EINVAL);
    assert_non_null(strstr(w.why.text, "expected dim: 8, got 7"));
    p.dim = DIM;
    p.payloads = &payload;
    assert_int_equal(quiver_add(w.c, &p, 0, &w.why), QUIVER_EINVAL);
    assert_non_null(strstr(w.why.text, "payload 0: not a JSON object"));
    payload = "{\"a\":";
    assert_int_equal(quiver_add(w.c, &p, 0, &w.why), QUIVER_EINVAL);
    payload = NULL;
    p.ids = &bad;
    assert_int_equal(quiver_add(w.c, &p, 0, &w.why), QUIVER_EINVAL);
    assert_non_null(strstr(w.why.text, "id 0"));
    p.ids = &id;
    v[3] = NAN;
    assert_int_equal(quiver_add(w.c, &p, 0, &w.why), QUIVER_EINVAL);
    assert_int_equal(quiver_add(w.c, &p, 0, NULL), QUIVER_EINVAL);
    struct quiver_query q = QUIVER_QUERY_INIT;
    assert_int_equal(quiver_search(w.c, &q, &r, &w.why), QUIVER_EINVAL);
    q.vector = v;
    q.dim = DIM;
    assert_int_equal(quiver_search(w.c, &q, &r, &w.why), QUIVER_EINVAL);
    assert_non_null(strstr(w.why.text, "element 3"));
    v[3] = 0;
    q.limit = 100001;
    assert_int_equal(quiver_search(w.c, &q, &r, &w.why), QUIVER_ELIMIT);
    q.limit = 5;
    q.vector_name = "other";
    assert_true(quiver_search(w.c, &q, &r, &w.why) < 0);
    q.vector_name = NULL;
    q.filter = "{\"must\": 1";
    assert_int_equal(quiver_search(w.c, &q, &r, &w.why), QUIVER_EINVAL);
    assert_int_equal(strncmp(w.why.text, "filter: ", 8), 0);
    assert_null(r);
    q.filter = NULL;
    q.vector = NULL;
    q.like = &id;
    assert_int_equal(quiver_search(w.c, &q, &r, &w.why), QUIVER_ENOTFOUND);
    q.size = 0;
    assert_int_equal(quiver_search(w.c, &q, &r, &w.why), QUIVER_EINVAL);
    assert_int_equal(quiver_remove_where(w.c, NULL, 0, &w.why), QUIVER_EINVAL);
    assert_int_equal(quiver_get(w.c, NULL, 1, 0, &r, &w.why), QUIVER_EINVAL);
    world_close(&w);
}

static void directories_and_handles_are_guarded(void **state)
{
    struct world w;
    struct quiver *other = NULL;
    struct quiver_collection *again = NULL;
    char path[128];
    struct stat st;
    world_make(&w, QUIVER_DOT, shards_of(state));
    assert_int_equal(quiver_open(w.dir, NULL, &other, &w.why), QUIVER_EBUSY);
    assert_null(other);
    struct quiver_collection_options o = small_options(QUIVER_DOT);
    o.shard_number = shards_of(state);
    assert_int_equal(quiver_create_collection(w.db, "points", &o, &again, &w.why), QUIVER_EEXISTS);
    assert_int_equal(quiver_open_collection(w.db, "points", &o, &again, &w.why), 0);
    quiver_close_collection(&again);
    quiver_close_collection(&again);
    o.dim = 9;
    assert_int_equal(quiver_open_collection(w.db, "points", &o, &again, &w.why), QUIVER_EEXISTS);
    assert_non_null(strstr(w.why.text, "dim 8 instead of 9"));
    assert_int_equal(quiver_open_collection(w.db, "none", NULL, &again, &w.why), QUIVER_ENOTFOUND);
    assert_int_equal(quiver_create_collection(w.db, "a/b", &o, &again, &w.why), QUIVER_EINVAL);
    o.dim = 0;
    assert_int_equal(quiver_create_collection(w.db, "zero", &o, &again, &w.why), QUIVER_EINVAL);
    assert_int_equal(quiver_close(&w.db, &w.why), QUIVER_EBUSY);
    assert_non_null(w.db);
    assert_int_equal(quiver_drop_collection(w.db, "points", &w.why), 0);
    assert_int_equal(quiver_drop_collection(w.db, "points", &w.why), QUIVER_ENOTFOUND);
    struct quiver_id id = quiver_id_of(1);
    struct quiver_results *r = NULL;
    assert_true(quiver_get(w.c, &id, 1, 0, &r, &w.why) <
                0); /* the handle outlived its collection */
    assert_true(quiver_remove(w.c, &id, 1, 0, &w.why) < 0);
    snprintf(path, sizeof path, "%s/nothing", w.dir);
    assert_int_equal(quiver_load(path, NULL, &other, &w.why), QUIVER_ENOTFOUND);
    assert_int_equal(stat(path, &st), -1);
    assert_int_equal(quiver_open("/dev/null/x", NULL, &other, &w.why), QUIVER_EIO);
    world_close(&w);
}

/* ---- callers built against other headers ---- */

static void callers_of_other_versions_are_served(void **state)
{
    (void)state;
    struct world w;
    struct {
        struct quiver_collection_options known;
        char later[64];
    } newer;
    struct {
        size_t size;
        uint64_t points;
        uint64_t untouched;
    } older = {2 * sizeof(uint64_t), 99, 77};
    struct quiver_collection *c = NULL;
    world_make(&w, QUIVER_DOT, 0);
    memset(&newer, 0x5A, sizeof newer);
    newer.known = small_options(QUIVER_DOT);
    newer.known.size = sizeof newer;
    assert_int_equal(quiver_open_collection(w.db, "newer", &newer.known, &c, &w.why), 0);
    quiver_close_collection(&c);
    newer.known.size = offsetof(struct quiver_collection_options, placement);
    memset(&newer.known.placement, 0x5A, sizeof newer.known - newer.known.size);
    assert_int_equal(quiver_open_collection(w.db, "newer", &newer.known, &c, &w.why), 0);
    quiver_close_collection(&c);
    assert_int_equal(
        quiver_get_collection_stats(w.c, (struct quiver_collection_stats *)&older, &w.why), 0);
    assert_int_equal(older.points, 0);
    assert_int_equal(older.untouched, 77);
    struct quiver_stats stats = QUIVER_STATS_INIT;
    assert_int_equal(quiver_get_stats(w.db, &stats, &w.why), 0);
    assert_int_equal(stats.collections, 2);
    stats.size = 0;
    assert_int_equal(quiver_get_stats(w.db, &stats, &w.why), QUIVER_EINVAL);
    assert_string_equal(quiver_error_name(QUIVER_ECORRUPT), "QUIVER_ECORRUPT");
    assert_string_equal(quiver_error_name(QUIVER_EINTERNAL), "QUIVER_EINTERNAL");
    assert_string_equal(quiver_error_name(-99), "unknown error");
    world_close(&w);
}

/* ---- named vectors, UUIDs, large calls ---- */

static int count_names(void *arg, const char *name)
{
    *(int *)arg += strcmp(name, "named") == 0 || strcmp(name, "points") == 0;
    return 0;
}

static void named_vectors_and_uuids_come_back(void **state)
{
    struct world w;
    struct quiver_collection_options o = QUIVER_COLLECTION_OPTIONS_INIT;
    struct quiver_collection *c = NULL;
    struct quiver_results *r = NULL;
    struct quiver_id ids[2];
    char text[QUIVER_ID_TEXT_MAX];
    int names = 0;
    const float image[] = {3, 4, 6, 8};
    const float words[] = {1, 2, 3, 4, 5, 6};
    const struct quiver_column columns[] = {{"image", image, 2, 0}, {"words", words, 3, 0}};
    struct quiver_points p = QUIVER_POINTS_INIT;
    char json[256];
    snprintf(json, sizeof json,
             "{\"vectors\":{\"image\":{\"size\":2,\"distance\":\"Euclid\"},"
             "\"words\":{\"size\":3,\"distance\":\"Dot\"}},\"shard_number\":%u}",
             shards_of(state) != 0 ? shards_of(state) : 1);
    o.json = json;
    world_make(&w, QUIVER_DOT, shards_of(state));
    assert_int_equal(quiver_open_collection(w.db, "named", &o, &c, &w.why), 0);
    assert_int_equal(quiver_id_parse("12", &ids[0]), 0);
    assert_int_equal(quiver_id_parse("550E8400E29B41D4A716446655440000", &ids[1]), 0);
    assert_int_equal(quiver_id_parse("pear", &ids[0]), QUIVER_EINVAL);
    assert_int_equal(quiver_id_format(&ids[1], text), 36);
    assert_string_equal(text, "550e8400-e29b-41d4-a716-446655440000");
    p.count = 2;
    p.ids = ids;
    p.columns = columns;
    p.column_count = 2;
    assert_int_equal(quiver_add(c, &p, QUIVER_WAIT_INDEXED, &w.why), 0);
    struct quiver_query q = QUIVER_QUERY_INIT;
    q.like = &ids[0];
    q.vector_name = "image";
    q.flags = QUIVER_WITH_VECTORS;
    assert_int_equal(quiver_search(c, &q, &r, &w.why), 0);
    assert_int_equal(quiver_results_count(r), 1);
    struct quiver_id found = quiver_results_id(r, 0);
    assert_memory_equal(&found, &ids[1], sizeof found);
    assert_memory_equal(quiver_results_vector(r, 0, "words", NULL), words + 3, 12);
    assert_null(quiver_results_vector(r, 0, "sound", NULL));
    assert_null(quiver_results_vector(r, 0, NULL, NULL));
    assert_null(quiver_results_payload(r, 0));
    assert_int_equal(quiver_each_collection(w.db, count_names, &names), 0);
    assert_int_equal(names, 2);
    assert_int_equal(quiver_drop_collection(w.db, "named", &w.why), 0);
    assert_memory_equal(quiver_results_vector(r, 0, "words", NULL), words + 3, 12);
    quiver_results_free(&r);
    quiver_close_collection(&c);
    world_close(&w);
}

static void large_calls_are_stored_whole(void **state)
{
    enum { N = 25000 };
    struct world w;
    struct quiver_id *ids = test_malloc(N * sizeof *ids);
    float *vectors = test_malloc((size_t)N * DIM * sizeof *vectors);
    struct quiver_points p = QUIVER_POINTS_INIT;
    uint64_t count = 0;
    world_open(&w);
    struct quiver_collection_options o = small_options(QUIVER_EUCLID);
    o.shard_number = shards_of(state);
    o.no_graph = 1;
    assert_int_equal(quiver_create_collection(w.db, "points", &o, &w.c, &w.why), 0);
    for (uint32_t i = 0; i < N; i++) {
        ids[i] = quiver_id_of(i);
        for (uint32_t d = 0; d < DIM; d++)
            vectors[i * DIM + d] = (float)(i * d);
    }
    p.count = N;
    p.ids = ids;
    p.vectors = vectors;
    p.dim = DIM;
    assert_int_equal(quiver_add(w.c, &p, 0, &w.why), 0);
    assert_int_equal(quiver_count(w.c, NULL, &count, &w.why), 0);
    assert_int_equal(count, N);
    assert_int_equal(quiver_remove(w.c, ids + 1, N - 1, 0, &w.why), 0);
    assert_int_equal(quiver_count(w.c, "{}", &count, &w.why), 0);
    assert_int_equal(count, 1);
    world_close(&w);
    test_free(vectors);
    test_free(ids);
}

/* ---- threads ---- */

struct busy {
    struct world *w;
    uint32_t from;
    atomic_bool *stop;
    int wrong;
};

static void *write_and_find(void *arg)
{
    struct busy *b = arg;
    for (uint32_t i = 0; i < SANITIZED_LESS(150) + 10; i++) {
        float v[DIM] = {(float)(b->from + i), 1};
        struct quiver_id id = quiver_id_of(b->from + i);
        struct quiver_points p = QUIVER_POINTS_INIT;
        struct quiver_query q = QUIVER_QUERY_INIT;
        struct quiver_results *r = NULL;
        p.count = 1;
        p.ids = &id;
        p.vectors = v;
        p.dim = DIM;
        b->wrong += quiver_add(b->w->c, &p, 0, NULL) != 0;
        q.vector = v;
        q.dim = DIM;
        q.limit = 1;
        b->wrong += quiver_search(b->w->c, &q, &r, NULL) != 0 || quiver_results_count(r) != 1 ||
                    quiver_results_id(r, 0).lo != id.lo;
        quiver_results_free(&r);
        if (i % 40 == 39)
            b->wrong += quiver_save(b->w->db, NULL) != 0;
    }
    return NULL;
}

static void *search_batches(void *arg)
{
    struct busy *b = arg;
    while (!atomic_load(b->stop)) {
        struct quiver_query queries[20];
        struct quiver_results *r[20];
        const float v[DIM] = {5, 5};
        for (int i = 0; i < 20; i++) {
            struct quiver_query q = QUIVER_QUERY_INIT;
            q.vector = v;
            q.dim = DIM;
            queries[i] = q;
        }
        b->wrong += quiver_search_batch(b->w->c, queries, 20, r, NULL) != 0;
        for (int i = 0; i < 20; i++)
            quiver_results_free(&r[i]);
    }
    return NULL;
}

static void threads_share_handles(void **state)
{
    enum { WRITERS = 3, SEARCHERS = 2 };
    struct world w;
    struct busy busy[WRITERS + SEARCHERS];
    pthread_t threads[WRITERS + SEARCHERS];
    atomic_bool stop = false;
    world_make(&w, QUIVER_EUCLID, shards_of(state));
    for (uint32_t i = 0; i < WRITERS + SEARCHERS; i++) {
        busy[i] = (struct busy){.w = &w, .from = i * 1000, .stop = &stop};
        assert_int_equal(pthread_create(&threads[i], NULL,
                                        i < WRITERS ? write_and_find : search_batches, &busy[i]),
                         0);
    }
    for (int i = 0; i < WRITERS + SEARCHERS; i++) {
        if (i == WRITERS)
            atomic_store(&stop, true);
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(busy[i].wrong, 0);
    }
    world_close(&w);
}

/* Works on a collection until it is told that there is none. */
static void *use_until_dropped(void *arg)
{
    struct busy *b = arg;
    for (uint32_t i = 0;; i++) {
        float v[DIM] = {(float)i};
        struct quiver_id id = quiver_id_of(b->from + i % 50);
        struct quiver_points p = QUIVER_POINTS_INIT;
        struct quiver_query q = QUIVER_QUERY_INIT;
        struct quiver_results *r = NULL;
        struct quiver_collection_stats stats = QUIVER_COLLECTION_STATS_INIT;
        p.count = 1;
        p.ids = &id;
        p.vectors = q.vector = v;
        p.dim = q.dim = DIM;
        q.flags = QUIVER_WITH_PAYLOAD | QUIVER_WITH_VECTORS;
        int err = quiver_add(b->w->c, &p, i % 2, NULL);
        int read = quiver_search(b->w->c, &q, &r, NULL);
        quiver_results_free(&r);
        b->wrong += quiver_get_collection_stats(b->w->c, &stats, NULL) != 0;
        if (err != 0 && read != 0) {
            b->wrong += err != QUIVER_ENOTFOUND && err != QUIVER_EUNAVAILABLE;
            return NULL;
        }
    }
}

static void a_collection_is_dropped_under_its_users(void **state)
{
    enum { USERS = 3 };
    struct world w;
    world_open(&w);
    for (int round = 0; round < 5; round++) {
        struct busy busy[USERS];
        pthread_t threads[USERS];
        struct quiver_collection_options o = small_options(QUIVER_EUCLID);
        o.shard_number = shards_of(state);
        assert_int_equal(quiver_create_collection(w.db, "points", &o, &w.c, &w.why), 0);
        for (uint32_t i = 0; i < USERS; i++) {
            busy[i] = (struct busy){.w = &w, .from = i * 100};
            assert_int_equal(pthread_create(&threads[i], NULL, use_until_dropped, &busy[i]), 0);
        }
        usleep(20000);
        assert_int_equal(quiver_drop_collection(w.db, "points", &w.why), 0);
        for (int i = 0; i < USERS; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            assert_int_equal(busy[i].wrong, 0);
        }
        quiver_close_collection(&w.c);
    }
    world_close(&w);
}

static void a_wrong_query_of_a_batch_is_named(void **state)
{
    struct world w;
    struct quiver_query queries[10];
    struct quiver_results *r[10];
    const float v[DIM + 1] = {1};
    world_make(&w, QUIVER_DOT, shards_of(state));
    for (int i = 0; i < 10; i++) {
        struct quiver_query q = QUIVER_QUERY_INIT;
        q.vector = v;
        q.dim = i == 7 ? DIM + 1 : DIM;
        queries[i] = q;
    }
    assert_int_equal(quiver_search_batch(w.c, queries, 10, r, &w.why), QUIVER_EINVAL);
    assert_int_equal(strncmp(w.why.text, "query 7: ", 9), 0);
    for (int i = 0; i < 10; i++)
        assert_null(r[i]);
    assert_int_equal(quiver_search_batch(w.c, queries, 7, r, &w.why), 0);
    for (int i = 0; i < 7; i++)
        quiver_results_free(&r[i]);
    assert_int_equal(quiver_search_batch(w.c, NULL, 0, r, &w.why), 0);
    world_close(&w);
}

/* Points by their numbers, in calls of a few: each shard tells what it holds, together all; the
 * same is found as in one shard. */
static void shards_hold_their_shares(void **state)
{
    (void)state;
    enum { N = 400, SHARDS = 4 };
    struct world w;
    struct quiver_id ids[N];
    float vectors[N][DIM];
    struct quiver_collection *one = NULL;
    struct qv_rng rng;
    qv_rng_init(&rng, 7);
    world_make(&w, QUIVER_COSINE, SHARDS);
    struct quiver_collection_options o = small_options(QUIVER_COSINE);
    assert_int_equal(quiver_create_collection(w.db, "one", &o, &one, &w.why), 0);
    for (size_t i = 0; i < N; i++) {
        ids[i] = quiver_id_of(i);
        for (int d = 0; d < DIM; d++)
            vectors[i][d] = (float)(qv_rng_u64(&rng) % 2001) / 1000.0f - 1.0f;
    }
    struct quiver_points p = QUIVER_POINTS_INIT;
    p.count = N;
    p.ids = ids;
    p.vectors = &vectors[0][0];
    p.dim = DIM;
    assert_int_equal(quiver_add(w.c, &p, QUIVER_WAIT_INDEXED, &w.why), 0);
    assert_int_equal(quiver_add(one, &p, 0, &w.why), 0);
    struct quiver_collection_stats all = QUIVER_COLLECTION_STATS_INIT;
    assert_int_equal(quiver_get_collection_stats(w.c, &all, &w.why), 0);
    assert_int_equal(all.points, N);
    assert_int_equal(all.shards, SHARDS);
    assert_int_equal(all.pending, 0);
    uint64_t sum = 0;
    struct quiver_shard_stats part = QUIVER_SHARD_STATS_INIT;
    for (uint32_t i = 0; i < SHARDS; i++) {
        assert_int_equal(quiver_get_shard_stats(w.c, i, &part, &w.why), 0);
        assert_in_range(part.points, N / SHARDS / 2, N / SHARDS * 2);
        assert_int_equal(part.indexed_vectors, part.points);
        sum += part.points;
    }
    assert_int_equal(sum, N);
    assert_int_equal(quiver_get_shard_stats(w.c, SHARDS, &part, &w.why), QUIVER_EINVAL);
    assert_string_equal(w.why.text, "shard 4: the collection has 4");
    assert_int_equal(quiver_get_shard_stats(one, 1, &part, &w.why), QUIVER_EINVAL);
    assert_int_equal(quiver_get_shard_stats(one, 0, &part, &w.why), 0);
    assert_int_equal(part.points, N);
    for (size_t i = 0; i < N; i += 40) {
        struct quiver_results *a = NULL;
        struct quiver_results *b = NULL;
        struct quiver_query q = QUIVER_QUERY_INIT;
        q.vector = vectors[i];
        q.dim = DIM;
        q.exact = 1;
        q.offset = (uint32_t)i % 3;
        assert_int_equal(quiver_search(w.c, &q, &a, &w.why), 0);
        assert_int_equal(quiver_search(one, &q, &b, &w.why), 0);
        assert_int_equal(quiver_results_count(a), quiver_results_count(b));
        for (size_t k = 0; k < quiver_results_count(a); k++) {
            assert_int_equal(quiver_results_id(a, k).lo, quiver_results_id(b, k).lo);
            assert_true(quiver_results_score(a, k) == quiver_results_score(b, k));
        }
        quiver_results_free(&a);
        quiver_results_free(&b);
    }
    quiver_close_collection(&one);
    world_close(&w);
}

static void shards_are_asked_for_rightly(void **state)
{
    (void)state;
    struct world w;
    struct quiver_collection *c = NULL;
    world_make(&w, QUIVER_DOT, 3);
    struct quiver_collection_options o = small_options(QUIVER_DOT);
    assert_int_equal(quiver_open_collection(w.db, "points", &o, &c, &w.why), 0); /* not said */
    quiver_close_collection(&c);
    o.shard_number = 2;
    assert_int_equal(quiver_open_collection(w.db, "points", &o, &c, &w.why), QUIVER_EEXISTS);
    assert_string_equal(w.why.text, "the collection exists, with shard_number 3 instead of 2");
    o.shard_number = 1025;
    assert_int_equal(quiver_create_collection(w.db, "many", &o, &c, &w.why), QUIVER_EINVAL);
    assert_non_null(strstr(w.why.text, "shard_number"));
    o.shard_number = 2;
    o.placement = "by chance";
    assert_int_equal(quiver_create_collection(w.db, "many", &o, &c, &w.why), QUIVER_EINVAL);
    assert_string_equal(w.why.text, "placement: neither a strategy's name nor a JSON object");
    o.placement = "chance";
    assert_int_not_equal(quiver_create_collection(w.db, "many", &o, &c, &w.why), 0);
    o.placement = "{\"strategy\": \"hash\"";
    assert_int_not_equal(quiver_create_collection(w.db, "many", &o, &c, &w.why), 0);
    o.placement = "{\"strategy\": \"consistent_hash\", \"virtual_nodes\": 7}";
    assert_int_equal(quiver_create_collection(w.db, "many", &o, &c, &w.why), 0);
    quiver_close_collection(&c);
    assert_int_equal(quiver_open_collection(w.db, "many", &o, &c, &w.why), 0);
    quiver_close_collection(&c);
    o.placement = "consistent_hash";
    assert_int_equal(quiver_open_collection(w.db, "many", &o, &c, &w.why), QUIVER_EEXISTS);
    assert_non_null(strstr(w.why.text, "its strategy: consistent_hash"));
    world_reopen(&w);
    struct quiver_collection_stats all = QUIVER_COLLECTION_STATS_INIT;
    assert_int_equal(quiver_get_collection_stats(w.c, &all, &w.why), 0);
    assert_int_equal(all.shards, 3);
    world_close(&w);
}

int main(void)
{
    static uint32_t three = 3;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_acknowledged_is_found),
        cmocka_unit_test(wrong_arguments_are_named),
        cmocka_unit_test(directories_and_handles_are_guarded),
        cmocka_unit_test(callers_of_other_versions_are_served),
        cmocka_unit_test(named_vectors_and_uuids_come_back),
        cmocka_unit_test(large_calls_are_stored_whole),
        cmocka_unit_test(threads_share_handles),
        cmocka_unit_test(a_collection_is_dropped_under_its_users),
        cmocka_unit_test(a_wrong_query_of_a_batch_is_named),
        cmocka_unit_test(shards_hold_their_shares),
        cmocka_unit_test(shards_are_asked_for_rightly),
        {"what_was_acknowledged_is_found: several shards", what_was_acknowledged_is_found, NULL,
         NULL, &three},
        {"wrong_arguments_are_named: several shards", wrong_arguments_are_named, NULL, NULL,
         &three},
        {"directories_and_handles_are_guarded: several shards", directories_and_handles_are_guarded,
         NULL, NULL, &three},
        {"named_vectors_and_uuids_come_back: several shards", named_vectors_and_uuids_come_back,
         NULL, NULL, &three},
        {"large_calls_are_stored_whole: several shards", large_calls_are_stored_whole, NULL, NULL,
         &three},
        {"threads_share_handles: several shards", threads_share_handles, NULL, NULL, &three},
        {"a_collection_is_dropped_under_its_users: several shards",
         a_collection_is_dropped_under_its_users, NULL, NULL, &three},
        {"a_wrong_query_of_a_batch_is_named: several shards", a_wrong_query_of_a_batch_is_named,
         NULL, NULL, &three},
    };
    return RUN_SUITE(tests);
}
