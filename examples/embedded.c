/* A program with a vector store inside: 2,000 pictures that are really random numbers.
 *
 *     cc embedded.c -o embedded $(pkg-config --cflags --libs quiver)
 *     ./embedded [DIR]          (default ./embedded-data; it may be there already)
 *
 * Makes a collection, adds points with payloads, searches (one, filtered, a batch), changes and
 * removes points, saves, and opens the directory again. Prints what it found; ends with 0 when all
 * of it is as it must be. */
#include <quiver/quiver.h>

#include <stdio.h>
#include <string.h>

enum { COUNT = 2000, DIM = 32, BATCH = 16, LIMIT = 5 };

/* Any function that spreads numbers will do. */
static float element(uint32_t point, uint32_t i)
{
    uint32_t x = point * 2654435761u + i * 40503u + 12345u;
    x ^= x >> 15;
    x *= 2246822519u;
    x ^= x >> 13;
    return (float)(x & 0xFFFF) / 32768.0f - 1.0f;
}

static void fill(float vector[DIM], uint32_t point)
{
    for (uint32_t i = 0; i < DIM; i++)
        vector[i] = element(point, i);
}

static int failed(const char *what, int err, const struct quiver_error *why)
{
    fprintf(stderr, "%s: %s: %s\n", what, quiver_error_name(err), why->text);
    return 1;
}

static int add_pictures(struct quiver_collection *c)
{
    static const char *const payloads[] = {"{\"colour\": \"red\", \"size\": 1}",
                                           "{\"colour\": \"green\", \"size\": 2}",
                                           "{\"colour\": \"blue\", \"size\": 3}"};
    enum { PART = 500 };
    struct quiver_id ids[PART];
    float vectors[PART * DIM];
    const char *payload[PART];
    struct quiver_error why;
    for (uint32_t from = 0; from < COUNT; from += PART) {
        struct quiver_points points = QUIVER_POINTS_INIT;
        for (uint32_t i = 0; i < PART; i++) {
            ids[i] = quiver_id_of(from + i);
            fill(vectors + (size_t)i * DIM, from + i);
            payload[i] = payloads[(from + i) % 3];
        }
        points.count = PART;
        points.ids = ids;
        points.vectors = vectors;
        points.dim = DIM;
        points.payloads = payload;
        int err = quiver_add(c, &points, QUIVER_WAIT_INDEXED, &why);
        if (err != 0)
            return failed("add", err, &why);
    }
    return 0;
}

/* Point `point` is the nearest to its own vector; prints the rest. */
static int search_like(struct quiver_collection *c, uint32_t point, const char *filter)
{
    float vector[DIM];
    char text[QUIVER_ID_TEXT_MAX];
    struct quiver_results *r = NULL;
    struct quiver_query q = QUIVER_QUERY_INIT;
    struct quiver_error why;
    fill(vector, point);
    q.vector = vector;
    q.dim = DIM;
    q.limit = LIMIT;
    q.filter = filter;
    q.flags = QUIVER_WITH_PAYLOAD;
    int err = quiver_search(c, &q, &r, &why);
    if (err != 0)
        return failed("search", err, &why);
    printf("near %u%s%s:\n", point, filter != NULL ? " where " : "", filter != NULL ? filter : "");
    for (size_t i = 0; i < quiver_results_count(r); i++) {
        struct quiver_id id = quiver_results_id(r, i);
        quiver_id_format(&id, text);
        printf("  %-6s %.4f  %s\n", text, quiver_results_score(r, i), quiver_results_payload(r, i));
    }
    int wrong =
        quiver_results_count(r) != LIMIT || (filter == NULL && quiver_results_id(r, 0).lo != point);
    quiver_results_free(&r);
    return wrong;
}

static int search_many(struct quiver_collection *c)
{
    float vectors[BATCH][DIM];
    struct quiver_query queries[BATCH];
    struct quiver_results *results[BATCH];
    struct quiver_error why;
    int wrong = 0;
    for (uint32_t i = 0; i < BATCH; i++) {
        struct quiver_query q = QUIVER_QUERY_INIT;
        fill(vectors[i], i * 100);
        q.vector = vectors[i];
        q.dim = DIM;
        q.limit = 1;
        queries[i] = q;
    }
    int err = quiver_search_batch(c, queries, BATCH, results, &why);
    if (err != 0)
        return failed("batch", err, &why);
    for (uint32_t i = 0; i < BATCH; i++) {
        wrong += quiver_results_id(results[i], 0).lo != i * 100;
        quiver_results_free(&results[i]);
    }
    printf("batch of %d: %d as expected\n", (int)BATCH, (int)BATCH - wrong);
    return wrong;
}

static int change(struct quiver_collection *c)
{
    struct quiver_id ids[2] = {quiver_id_of(0), quiver_id_of(1)};
    struct quiver_error why;
    uint64_t left = 0;
    int err = quiver_remove(c, &ids[0], 1, 0, &why);
    if (err == 0)
        err = quiver_set_payload(c, &ids[1], 1, "{\"seen\": true}", 0, &why);
    if (err == 0)
        err = quiver_remove_where(
            c, "{\"must\": [{\"key\": \"colour\", \"match\": {\"value\": \"blue\"}}]}", 0, &why);
    if (err == 0)
        err = quiver_count(c, NULL, &left, &why);
    if (err != 0)
        return failed("change", err, &why);
    printf("after removals: %llu points\n", (unsigned long long)left);
    return left != COUNT - COUNT / 3 - 1;
}

/* Closed and opened again, the point whose payload was changed is as it was. */
static int look_again(struct quiver *db)
{
    struct quiver_collection *c = NULL;
    struct quiver_results *r = NULL;
    struct quiver_id id = quiver_id_of(1);
    struct quiver_error why;
    uint32_t dim = 0;
    int err = quiver_open_collection(db, "pictures", NULL, &c, &why);
    if (err == 0)
        err = quiver_get(c, &id, 1, QUIVER_WITH_PAYLOAD | QUIVER_WITH_VECTORS, &r, &why);
    int wrong = err != 0 || quiver_results_count(r) != 1 ||
                quiver_results_vector(r, 0, NULL, &dim) == NULL || dim != DIM ||
                strstr(quiver_results_payload(r, 0), "\"seen\":true") == NULL;
    if (err != 0)
        failed("open again", err, &why);
    else if (!wrong)
        printf("opened again: point 1 is %s\n", quiver_results_payload(r, 0));
    quiver_results_free(&r);
    quiver_close_collection(&c);
    return wrong;
}

static int fill_and_search(struct quiver *db)
{
    struct quiver_collection *c = NULL;
    struct quiver_collection_options options = QUIVER_COLLECTION_OPTIONS_INIT;
    struct quiver_collection_stats stats = QUIVER_COLLECTION_STATS_INIT;
    struct quiver_error why;
    options.dim = DIM;
    options.metric = QUIVER_EUCLID;
    int err = quiver_open_collection(db, "pictures", &options, &c, &why);
    if (err != 0)
        return failed("collection", err, &why);
    int wrong = add_pictures(c);
    wrong += search_like(c, 42, NULL);
    wrong += search_like(c, 42, "{\"must\": [{\"key\": \"size\", \"range\": {\"gte\": 2}}]}");
    wrong += search_many(c);
    wrong += change(c);
    err = quiver_get_collection_stats(c, &stats, &why);
    if (err != 0)
        wrong += failed("stats", err, &why);
    printf("%llu points, %llu in the graph, %llu bytes on disk\n", (unsigned long long)stats.points,
           (unsigned long long)stats.indexed_vectors, (unsigned long long)stats.disk_bytes);
    quiver_close_collection(&c);
    return wrong;
}

int main(int argc, char **argv)
{
    const char *dir = argc > 1 ? argv[1] : "embedded-data";
    struct quiver *db = NULL;
    struct quiver_error why;
    int err = quiver_open(dir, NULL, &db, &why);
    if (err != 0)
        return failed("open", err, &why);
    int wrong = fill_and_search(db);
    err = quiver_save(db, &why);
    if (err == 0)
        err = quiver_close(&db, &why);
    if (err == 0)
        err = quiver_load(dir, NULL, &db, &why);
    if (err != 0)
        return failed("save and load", err, &why);
    wrong += look_again(db);
    err = quiver_close(&db, &why);
    if (err != 0)
        wrong += failed("close", err, &why);
    printf(wrong == 0 ? "all as it must be\n" : "%d things are wrong\n", wrong);
    return wrong == 0 ? 0 : 1;
}
