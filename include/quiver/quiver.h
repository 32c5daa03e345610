/* libquiver: Quiver's vector store inside a program. No server, no network, no other process.
 *
 *     struct quiver *db = NULL;
 *     struct quiver_collection *c = NULL;
 *     struct quiver_results *r = NULL;
 *     struct quiver_error why;
 *     struct quiver_collection_options options = QUIVER_COLLECTION_OPTIONS_INIT;
 *     options.dim = 128;
 *     if (quiver_open("data", NULL, &db, &why) != 0 ||
 *         quiver_open_collection(db, "pictures", &options, &c, &why) != 0)
 *         fprintf(stderr, "%s\n", why.text);
 *     ...
 *     struct quiver_points points = QUIVER_POINTS_INIT;
 *     points.count = n;  points.ids = ids;  points.dim = 128;  points.vectors = floats;
 *     quiver_add(c, &points, 0, &why);
 *     struct quiver_query q = QUIVER_QUERY_INIT;
 *     q.vector = floats;  q.dim = 128;  q.limit = 10;
 *     quiver_search(c, &q, &r, &why);
 *     for (size_t i = 0; i < quiver_results_count(r); i++)
 *         printf("%g\n", quiver_results_score(r, i));
 *     quiver_results_free(&r);
 *     quiver_close_collection(&c);
 *     quiver_close(&db, &why);
 *
 * Errors. Functions that can fail return 0 or a negative QUIVER_E* code. `why`, the last argument,
 * belongs to the caller and gets a text for a person on failure; NULL where nobody asks. Results
 * come through out-parameters, which are set to NULL or 0 on failure.
 *
 * Ownership. What a call takes is borrowed until it returns: nothing is kept. What it gives (a
 * `struct x **` argument) is the caller's until the function named beside it takes it back; those
 * accept a pointer to NULL and set the pointer to NULL. Texts are UTF-8 and end with a NUL.
 *
 * Threads. Every function may be called from any thread, on the same handles at the same time, but
 * for those that end a handle: nobody else may use it then. Searches wait for nobody. Writes to a
 * database are put in one order; a call returns when its changes are durable, and calls of several
 * threads share their disk syncs: throughput of writes comes from large calls or from many threads.
 * The library starts threads of its own, which have all signals blocked. It installs no signal
 * handler, changes no locale, writes to no standard stream but for what quiver_set_log_level asks
 * (on stderr). After fork only the parent may go on using it.
 *
 * Durability. A write that returned 0 survives a crash of the process and of the machine: it is in
 * a log on the disk. quiver_save only bounds how much of the log the next open replays.
 *
 * Compatibility. Structs that callers fill begin with `size` and are initialised by their _INIT
 * macro: fields are only ever added at their end, so programs built against an older header go on
 * working, and a caller may leave unknown fields alone. Handles are opaque. The shared library's
 * symbols are versioned; its soname changes when that promise ends. The directory is the same as
 * that of `quiver serve` (storage.storage_path): either may open what the other wrote. One process
 * at a time has it open.
 *
 * Our own mistakes (a broken invariant) end the process with a line on stderr: data is not risked.
 */
#ifndef QUIVER_QUIVER_H
#define QUIVER_QUIVER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QUIVER_API __attribute__((visibility("default")))

/* ---- errors ---- */

enum {
    QUIVER_EINVAL = -1,       /* an argument that can't be: why says which */
    QUIVER_ENOTFOUND = -2,    /* no such collection, vector name or point */
    QUIVER_EEXISTS = -3,      /* the collection exists, with other vectors where that matters */
    QUIVER_ETOOBIG = -4,      /* a payload, answer or name beyond its bound */
    QUIVER_ELIMIT = -5,       /* a count beyond its bound */
    QUIVER_ENOTIMPL = -6,     /* known to the API, not done by this version */
    QUIVER_EBUSY = -7,        /* in use (the directory, an open handle), or too much is waiting */
    QUIVER_ETIMEOUT = -8,     /* the time given is over */
    QUIVER_EUNAVAILABLE = -9, /* the collection can't serve: quarantined, dropped or closing */
    QUIVER_EUNKNOWN = -10,    /* a write whose outcome is not known: it may or may not survive */
    QUIVER_ENOSPC = -11,      /* the disk is full: reads go on */
    QUIVER_ENOMEM = -12,
    QUIVER_EIO = -13,      /* the operating system refused: why names file and reason */
    QUIVER_ECORRUPT = -14, /* bytes on disk fail their checksum: why names the file */
    QUIVER_EINTERNAL = -15
};

struct quiver_error {
    char text[512]; /* "" after success */
};

QUIVER_API const char *quiver_error_name(int err); /* "QUIVER_EINVAL"; static, never NULL */
QUIVER_API const char *quiver_version(void);       /* of the library that runs: "0.1.0"; static */

/* Lines about background work on stderr: 0 none (the default), 1 errors, 2 warnings, 3 information,
 * 4 everything. For the whole process. */
QUIVER_API void quiver_set_log_level(int level);

/* ---- a database: one directory ---- */

struct quiver; /* closed by quiver_close */

struct quiver_options {
    size_t size;             /* set by the macro */
    uint32_t threads;        /* that build graphs and share batches; 0: one per core; <= 64 */
    uint32_t log_segment_mb; /* MiB; 0: 64; 1 .. 1024 */
    uint32_t checkpoint_mb;  /* MiB of changes that start a checkpoint; 0: 64; <= 4096 */
    uint32_t checkpoint_s;   /* seconds a change waits for one at most; 0: 60; <= 86400 */
};
#define QUIVER_OPTIONS_INIT                                                                        \
    {                                                                                              \
        sizeof(struct quiver_options), 0, 0, 0, 0                                                  \
    }

/* Opens the directory, making it if it is not there, and brings its collections up to the last
 * acknowledged write. options may be NULL. Takes seconds per million points.
 * QUIVER_EBUSY: another process (or handle) has it open; QUIVER_ECORRUPT, QUIVER_EIO.
 * The environment's QUIVER_ISA (serial, avx2, avx512) lowers the instruction set; QUIVER_EINVAL for
 * one this machine has not. */
QUIVER_API int quiver_open(const char *dir, const struct quiver_options *options,
                           struct quiver **db, struct quiver_error *why);
/* The same for a directory that must hold a database: QUIVER_ENOTFOUND otherwise, and nothing is
 * made. */
QUIVER_API int quiver_load(const char *dir, const struct quiver_options *options,
                           struct quiver **db, struct quiver_error *why);
/* Writes a checkpoint of everything; returns when it is durable. Searches and writes go on. */
QUIVER_API int quiver_save(struct quiver *db, struct quiver_error *why);
/* Saves and frees. QUIVER_EBUSY while collections of it are open: nothing has happened then and
 * *db stays. With any other error *db is gone too, and every acknowledged write is in the log. */
QUIVER_API int quiver_close(struct quiver **db, struct quiver_error *why);

struct quiver_stats {
    size_t size; /* set by the macro; fields beyond the caller's size are not written */
    uint64_t collections;
    uint64_t points;              /* in all of them */
    uint64_t quarantined;         /* collections that failed their checksums: not served */
    uint64_t checkpoints;         /* since the open */
    uint64_t checkpoint_failures; /* since the open */
    uint64_t log_bytes;           /* on disk */
};
#define QUIVER_STATS_INIT                                                                          \
    {                                                                                              \
        sizeof(struct quiver_stats), 0, 0, 0, 0, 0, 0                                              \
    }
QUIVER_API int quiver_get_stats(struct quiver *db, struct quiver_stats *out,
                                struct quiver_error *why);

/* ---- collections ---- */

struct quiver_collection; /* a handle; given back by quiver_close_collection */

enum { QUIVER_COSINE, QUIVER_EUCLID, QUIVER_DOT, QUIVER_MANHATTAN };
enum { QUIVER_F32, QUIVER_F16, QUIVER_U8 };

struct quiver_collection_options {
    size_t size;           /* set by the macro */
    uint32_t dim;          /* elements of a vector, 1 .. 65536 */
    int32_t metric;        /* QUIVER_COSINE .. */
    int32_t datatype;      /* how elements are stored: QUIVER_F32 .. */
    uint32_t m;            /* links of a graph node; 0: 16; <= 128 */
    uint32_t ef_construct; /* effort of building; 0: 100; 4 .. 4096 */
    int32_t no_graph;      /* not 0: no graph, searches scan */
    /* Not NULL: the JSON body of Qdrant's "create collection" (several named vectors, quantization
     * and all else that the REST API of this version takes); the fields above are not read. */
    const char *json;
    /* How points are divided, NULL: "hash". The name of a strategy ("hash", "consistent_hash",
     * "range", "cluster": those that this version serves) or, for its settings, the JSON object
     * that stands as quiver.placement in the REST API. Not read where json is given. */
    const char *placement;
    uint32_t shard_number; /* parts, each with its own graph; 0: 1; <= 1024; json: not read */
    uint32_t reserved;
};
#define QUIVER_COLLECTION_OPTIONS_INIT                                                             \
    {                                                                                              \
        sizeof(struct quiver_collection_options), 0, QUIVER_COSINE, QUIVER_F32, 0, 0, 0, NULL,     \
            NULL, 0, 0                                                                             \
    }

/* Makes the collection and opens it; durable on return. Names: 1 to 255 bytes, none of <>:"/\|?*.
 * QUIVER_EEXISTS. */
QUIVER_API int quiver_create_collection(struct quiver *db, const char *name,
                                        const struct quiver_collection_options *options,
                                        struct quiver_collection **c, struct quiver_error *why);
/* Opens it, making it first if it is not there. options NULL: it must exist (QUIVER_ENOTFOUND).
 * Otherwise its vectors must be those of options, and QUIVER_EEXISTS says which differs (names,
 * dim, metric, datatype are compared; placement and shard_number where they are given). */
QUIVER_API int quiver_open_collection(struct quiver *db, const char *name,
                                      const struct quiver_collection_options *options,
                                      struct quiver_collection **c, struct quiver_error *why);
QUIVER_API void quiver_close_collection(struct quiver_collection **c);
/* Removes it. Open handles stay valid and answer QUIVER_EUNAVAILABLE or QUIVER_ENOTFOUND; the disk
 * gets its room back when the last of them is closed. QUIVER_ENOTFOUND when there is none. */
QUIVER_API int quiver_drop_collection(struct quiver *db, const char *name,
                                      struct quiver_error *why);
/* Calls visit for each name, in order, until it returns something else than 0, which is returned.
 * The name is borrowed for the call. */
QUIVER_API int quiver_each_collection(struct quiver *db, int (*visit)(void *arg, const char *name),
                                      void *arg);

struct quiver_collection_stats {
    size_t size; /* set by the macro; fields beyond the caller's size are not written */
    uint64_t points;
    uint64_t indexed_vectors; /* in graphs */
    uint64_t pending;         /* rows that wait for a graph; searches scan them */
    uint64_t disk_bytes;
    uint64_t dirty_bytes; /* newer than the last checkpoint: replayed by an open after a crash */
    int32_t err;          /* not 0: why it takes no writes, or is not served */
    uint32_t shards;      /* that it is divided into; 0: dropped, or told by an older library */
};
#define QUIVER_COLLECTION_STATS_INIT                                                               \
    {                                                                                              \
        sizeof(struct quiver_collection_stats), 0, 0, 0, 0, 0, 0, 0                                \
    }
QUIVER_API int quiver_get_collection_stats(struct quiver_collection *c,
                                           struct quiver_collection_stats *out,
                                           struct quiver_error *why);

struct quiver_shard_stats {
    size_t size; /* set by the macro; fields beyond the caller's size are not written */
    uint64_t points;
    uint64_t indexed_vectors;
    uint64_t pending;
    uint64_t disk_bytes;
    uint64_t dirty_bytes;
    int32_t err; /* as those of the collection */
    uint32_t reserved;
};
#define QUIVER_SHARD_STATS_INIT                                                                    \
    {                                                                                              \
        sizeof(struct quiver_shard_stats), 0, 0, 0, 0, 0, 0, 0                                     \
    }
/* Of one part of the collection: 0 .. quiver_collection_stats.shards - 1. QUIVER_EINVAL. */
QUIVER_API int quiver_get_shard_stats(struct quiver_collection *c, uint32_t shard,
                                      struct quiver_shard_stats *out, struct quiver_error *why);

/* ---- points ---- */

/* A number or a UUID. Fixed layout. */
struct quiver_id {
    uint64_t hi;   /* UUID: its first 8 bytes as a big-endian number; number: 0 */
    uint64_t lo;   /* UUID: its last 8; number: the number */
    uint32_t kind; /* QUIVER_ID_NUM, QUIVER_ID_UUID */
    uint32_t reserved;
};
enum { QUIVER_ID_NUM = 1, QUIVER_ID_UUID = 2 };
#define QUIVER_ID_TEXT_MAX 37

static inline struct quiver_id quiver_id_of(uint64_t number)
{
    struct quiver_id id = {0, 0, QUIVER_ID_NUM, 0};
    id.lo = number;
    return id;
}
/* Digits, or a UUID with or without dashes. QUIVER_EINVAL. */
QUIVER_API int quiver_id_parse(const char *text, struct quiver_id *out);
/* Digits or a dashed lower-case UUID with its NUL; returns the length. */
QUIVER_API size_t quiver_id_format(const struct quiver_id *id, char out[QUIVER_ID_TEXT_MAX]);

/* One named vector of every point of a call. Fixed layout. */
struct quiver_column {
    const char *name;    /* NULL: the unnamed vector */
    const float *values; /* count rows of dim */
    uint32_t dim;
    uint32_t reserved;
};

/* Points by columns. */
struct quiver_points {
    size_t size; /* set by the macro */
    size_t count;
    const struct quiver_id *ids; /* count */
    const float *vectors;        /* count rows of dim: the unnamed vector; NULL: columns */
    const char *const *payloads; /* count JSON objects, each may be NULL; NULL: none have one */
    const struct quiver_column *columns; /* named vectors, when vectors is NULL */
    uint32_t dim;
    uint32_t column_count; /* may be 0: points without vectors */
};
#define QUIVER_POINTS_INIT                                                                         \
    {                                                                                              \
        sizeof(struct quiver_points), 0, NULL, NULL, NULL, NULL, 0, 0                              \
    }

/* Flags of writes. */
#define QUIVER_WAIT_INDEXED 1u /* return only when the graphs hold the points, too */

/* Adds points, or replaces those of the same ids whole (vectors and payload). Of equal ids in one
 * call the last counts. On return they are durable and found by every search that begins now.
 * Large calls are stored in order, in pieces; on an error what was stored before it stays:
 * repeating the call does no harm. QUIVER_EINVAL (a wrong dim, NaN or Inf, a payload that is no
 * JSON object), QUIVER_EBUSY, QUIVER_ENOSPC, QUIVER_EUNKNOWN. */
QUIVER_API int quiver_add(struct quiver_collection *c, const struct quiver_points *points,
                          unsigned flags, struct quiver_error *why);
/* Removes points; ids that are not there are passed over. */
QUIVER_API int quiver_remove(struct quiver_collection *c, const struct quiver_id *ids, size_t count,
                             unsigned flags, struct quiver_error *why);
/* Removes every point that matches; filter: JSON as in Qdrant's API ({"must": [..]}), {}: all. */
QUIVER_API int quiver_remove_where(struct quiver_collection *c, const char *filter, unsigned flags,
                                   struct quiver_error *why);
/* Merges the keys of a JSON object into the payloads of points. */
QUIVER_API int quiver_set_payload(struct quiver_collection *c, const struct quiver_id *ids,
                                  size_t count, const char *json, unsigned flags,
                                  struct quiver_error *why);

/* ---- reading ---- */

struct quiver_results; /* an answer; freed by quiver_results_free; belongs to no thread */

/* Flags of reads: what of each point is wanted beside its id. */
#define QUIVER_WITH_PAYLOAD 1u
#define QUIVER_WITH_VECTORS 2u

struct quiver_query {
    size_t size; /* set by the macro; in an array every element has the size of the first */
    const float *vector;
    const struct quiver_id *like; /* vector NULL: near to this point's vector, itself left out */
    const char *vector_name;      /* which vector is searched; NULL: the unnamed */
    const char *filter;           /* JSON as in Qdrant's API; NULL: none */
    uint32_t dim;
    uint32_t limit;  /* 0: 10; limit + offset <= 100,000 */
    uint32_t offset; /* best results to skip */
    uint32_t ef;     /* effort: larger finds more and takes longer; 0: 100 or the limit */
    uint32_t flags;  /* QUIVER_WITH_PAYLOAD | QUIVER_WITH_VECTORS */
    int32_t exact;   /* not 0: compare with every point */
    int32_t has_threshold;
    float threshold; /* only scores better than this */
};
#define QUIVER_QUERY_INIT                                                                          \
    {                                                                                              \
        sizeof(struct quiver_query), NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0.0f             \
    }

/* The points nearest to a vector, best first. Scores: cosine and dot larger is better; Euclid and
 * Manhattan are distances. On the caller's thread. Result: quiver_results_free. */
QUIVER_API int quiver_search(struct quiver_collection *c, const struct quiver_query *query,
                             struct quiver_results **out, struct quiver_error *why);
/* Many queries, shared out over the caller's and the library's threads. out: an array of count,
 * each result freed by its own call; on an error all are NULL and why names the query. */
QUIVER_API int quiver_search_batch(struct quiver_collection *c, const struct quiver_query *queries,
                                   size_t count, struct quiver_results **out,
                                   struct quiver_error *why);
/* The points of these ids that exist, in the order asked for. */
QUIVER_API int quiver_get(struct quiver_collection *c, const struct quiver_id *ids, size_t count,
                          unsigned flags, struct quiver_results **out, struct quiver_error *why);

struct quiver_scroll {
    size_t size;             /* set by the macro */
    const char *filter;      /* JSON; NULL: all points */
    struct quiver_id offset; /* first id; kind 0: from the beginning */
    uint32_t limit;          /* 0: 10; <= 100,000 */
    uint32_t flags;          /* QUIVER_WITH_.. */
};
#define QUIVER_SCROLL_INIT                                                                         \
    {                                                                                              \
        sizeof(struct quiver_scroll), NULL, {0, 0, 0, 0}, 0, 0                                     \
    }
/* Points in the order of their ids (numbers before UUIDs). *next is where to go on; kind 0: that
 * was the end. next may be NULL, or &scroll->offset. */
QUIVER_API int quiver_scroll(struct quiver_collection *c, const struct quiver_scroll *scroll,
                             struct quiver_results **out, struct quiver_id *next,
                             struct quiver_error *why);
/* How many points match; filter NULL: all. */
QUIVER_API int quiver_count(struct quiver_collection *c, const char *filter, uint64_t *out,
                            struct quiver_error *why);

/* ---- results ---- i < quiver_results_count; anything else ends the process.
 * Pointers are valid until quiver_results_free. Any number of threads may read one result. */

QUIVER_API size_t quiver_results_count(const struct quiver_results *r); /* NULL: 0 */
QUIVER_API struct quiver_id quiver_results_id(const struct quiver_results *r, size_t i);
QUIVER_API float quiver_results_score(const struct quiver_results *r, size_t i); /* searches */
/* JSON; NULL when it was not asked for ({} when the point has none). */
QUIVER_API const char *quiver_results_payload(const struct quiver_results *r, size_t i);
/* The elements of a vector as f32, *dim of them (dim may be NULL); NULL when it was not asked for
 * or the point has none of that name. name NULL: the unnamed. Cosine vectors come back at unit
 * length. */
QUIVER_API const float *quiver_results_vector(const struct quiver_results *r, size_t i,
                                              const char *name, uint32_t *dim);
QUIVER_API void quiver_results_free(struct quiver_results **r);

#ifdef __cplusplus
}
#endif

#endif
