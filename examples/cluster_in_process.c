/* A collection divided over four shards inside one program: 10,000 vectors of 128 dimensions.
 *
 *     cc cluster_in_process.c -o cluster_in_process $(pkg-config --cflags --libs quiver)
 *     ./cluster_in_process [DIR [COUNT]]    (default ./cluster-data, which must not be there yet)
 *
 * For each way of placing points (those that this version serves) it makes a collection, in a
 * directory of its own below DIR, adds all vectors in one call, prints how many there are and how
 * many each shard holds, and searches the ten nearest to one of them, by the graphs and by
 * comparing with all. Ends with 0 when the shards add up and every placement finds the same. */
#include <quiver/quiver.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHARDS = 4, DIM = 128, COUNT = 10000, LIMIT = 10, WANTED = 42 };

struct way {
    const char *name;
    char placement[512]; /* "": the name says it all */
};

/* Neighbours are near: each vector is its group's centre and a little of its own. */
static float element(uint32_t point, uint32_t i)
{
    uint32_t group = (point % 50) * 2654435761u + i * 40503u + 12345u;
    uint32_t own = point * 2246822519u + i * 3266489917u + 54321u;
    group = (group ^ (group >> 15)) * 2246822519u;
    own = (own ^ (own >> 15)) * 2654435761u;
    return (float)((group >> 13) & 0xFFFF) / 32768.0f - 1.0f +
           0.3f * ((float)((own >> 13) & 0xFFFF) / 32768.0f - 1.0f);
}

static int failed(const char *what, int err, const struct quiver_error *why)
{
    fprintf(stderr, "%s: %s: %s\n", what, quiver_error_name(err), why->text);
    return 1;
}

/* One call: the library cuts it into what a log record holds, and divides it over the shards. */
static int add_all(struct quiver_collection *c, const float *vectors, uint32_t count)
{
    struct quiver_points points = QUIVER_POINTS_INIT;
    struct quiver_error why;
    struct quiver_id *ids = malloc(count * sizeof *ids);
    if (ids == NULL)
        return 1;
    for (uint32_t i = 0; i < count; i++)
        ids[i] = quiver_id_of(i);
    points.count = count;
    points.ids = ids;
    points.vectors = vectors;
    points.dim = DIM;
    int err = quiver_add(c, &points, QUIVER_WAIT_INDEXED, &why);
    free(ids);
    return err == 0 ? 0 : failed("add", err, &why);
}

/* Totals, and what each shard holds. */
static int print_shards(struct quiver_collection *c, uint32_t count)
{
    struct quiver_collection_stats all = QUIVER_COLLECTION_STATS_INIT;
    struct quiver_error why;
    uint64_t sum = 0;
    int err = quiver_get_collection_stats(c, &all, &why);
    if (err != 0)
        return failed("stats", err, &why);
    printf("  %llu vectors, %llu in graphs, in %u shards:", (unsigned long long)all.points,
           (unsigned long long)all.indexed_vectors, all.shards);
    for (uint32_t i = 0; i < all.shards; i++) {
        struct quiver_shard_stats shard = QUIVER_SHARD_STATS_INIT;
        err = quiver_get_shard_stats(c, i, &shard, &why);
        if (err != 0)
            return failed("shard", err, &why);
        printf(" %llu", (unsigned long long)shard.points);
        sum += shard.points;
    }
    printf("\n");
    return all.points != count || sum != count || all.shards != SHARDS;
}

static int search(struct quiver_collection *c, const float *vector, int exact,
                  struct quiver_id found[LIMIT])
{
    char text[QUIVER_ID_TEXT_MAX];
    struct quiver_results *r = NULL;
    struct quiver_query q = QUIVER_QUERY_INIT;
    struct quiver_error why;
    q.vector = vector;
    q.dim = DIM;
    q.limit = LIMIT;
    q.exact = exact;
    int err = quiver_search(c, &q, &r, &why);
    if (err != 0)
        return failed("search", err, &why);
    printf("  nearest to %d, %s:", (int)WANTED, exact ? "exact" : "by the graphs");
    for (size_t i = 0; i < quiver_results_count(r); i++) {
        struct quiver_id id = quiver_results_id(r, i);
        quiver_id_format(&id, text);
        printf(" %s (%.3f)", text, quiver_results_score(r, i));
        found[i] = id;
    }
    printf("\n");
    int wrong = quiver_results_count(r) != LIMIT || quiver_results_id(r, 0).lo != WANTED;
    quiver_results_free(&r);
    return wrong;
}

/* found: what the placements before have found exactly; kind 0: this is the first. */
static int show(struct quiver *db, const struct way *way, const float *vectors, uint32_t count,
                struct quiver_id found[LIMIT])
{
    struct quiver_collection *c = NULL;
    struct quiver_collection_options options = QUIVER_COLLECTION_OPTIONS_INIT;
    struct quiver_error why;
    struct quiver_id by_graph[LIMIT];
    struct quiver_id exact[LIMIT];
    options.dim = DIM;
    options.metric = QUIVER_EUCLID;
    options.shard_number = SHARDS;
    options.placement = way->placement[0] != '\0' ? way->placement : way->name;
    int err = quiver_create_collection(db, way->name, &options, &c, &why);
    if (err == QUIVER_ENOTIMPL) {
        printf("%s: not served yet: %s\n", way->name, why.text);
        return 0;
    }
    if (err != 0)
        return failed(way->name, err, &why);
    printf("%s\n", way->name);
    int wrong = add_all(c, vectors, count);
    wrong += print_shards(c, count);
    wrong += search(c, vectors + (size_t)WANTED * DIM, 0, by_graph);
    wrong += search(c, vectors + (size_t)WANTED * DIM, 1, exact);
    if (wrong == 0 && found[0].kind == 0)
        memcpy(found, exact, sizeof exact);
    wrong += wrong == 0 && memcmp(found, exact, sizeof exact) != 0;
    quiver_close_collection(&c);
    return wrong;
}

static int show_all(const char *dir, const float *vectors, uint32_t count)
{
    struct way ways[] = {{"hash", ""}, {"consistent_hash", ""}, {"range", ""}, {"cluster", ""}};
    struct quiver_id found[LIMIT] = {{0, 0, 0, 0}};
    int wrong = 0;
    /* Ranges are given: a shard's ids begin where those of the one before end. */
    snprintf(ways[2].placement, sizeof ways[2].placement,
             "{\"strategy\": \"range\", \"ranges\": [{\"to\": %u, \"shard\": 0}, "
             "{\"from\": %u, \"to\": %u, \"shard\": 1}, {\"from\": %u, \"to\": %u, \"shard\": 2}, "
             "{\"from\": %u, \"shard\": 3}]}",
             count / 4, count / 4, count / 2, count / 2, count / 4 * 3, count / 4 * 3);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        struct quiver *db = NULL;
        struct quiver_error why;
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", dir, ways[i].name);
        int err = quiver_open(path, NULL, &db, &why);
        if (err != 0)
            return failed("open", err, &why);
        wrong += show(db, &ways[i], vectors, count, found);
        err = quiver_close(&db, &why);
        if (err != 0)
            wrong += failed("close", err, &why);
    }
    return wrong;
}

int main(int argc, char **argv)
{
    const char *dir = argc > 1 ? argv[1] : "cluster-data";
    const uint32_t count = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : COUNT;
    if (count < 100 || count > 1000000) {
        fprintf(stderr, "COUNT: 100 to 1000000\n");
        return 2;
    }
    float *vectors = malloc((size_t)count * DIM * sizeof *vectors);
    if (vectors == NULL)
        return 1;
    for (uint32_t i = 0; i < count * DIM; i++)
        vectors[i] = element(i / DIM, i % DIM);
    int wrong = show_all(dir, vectors, count);
    free(vectors);
    printf(wrong == 0 ? "all as it must be\n" : "%d things are wrong\n", wrong);
    return wrong == 0 ? 0 : 1;
}
