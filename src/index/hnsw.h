/* The graph index: one mutable HNSW over the slots of a shard's rows.
 *
 * Life of a slot:
 *
 *     free --insert--> live --remove--> dead --repair--> unlinked --release--> free
 *
 *   live      returned by searches.
 *   dead      never returned, still walked through; costs the searches a little.
 *   unlinked  no node links to it; only searches that began before may still stand on it.
 *   free      may be inserted again, under a new generation and with a new row.
 *
 * Rows belong to the caller: they are read through struct qv_rows, whose base never moves, and the
 * row of a slot must not change from its insert until its release. The walk compares the rows as
 * they are (same dtype as the query), or codes of 8 bits an element that the graph makes of them
 * and keeps (simd/lvq.h): a fourth of the memory traffic, distances that are near. What leaves a
 * shard as a score is computed elsewhere, on the rows.
 *
 * Threads: insert, remove, repair, search, save and check may all run at once on any threads, each
 * thread with its own context; a given slot is inserted, removed, repaired and released by one
 * thread at a time, in that order. Searches take no locks. release demands more, see there.
 * create, load and destroy are the owner's alone.
 *
 * Memory: a slot costs 4 * m0 + 20 bytes and a bit, 1/(m - 1) of them also 4 * (m + 1) bytes a
 * level; resident only as far as slots were used. Columns lie in reserved address space
 * (base/vmem.h), so nothing ever moves.
 *
 * Algorithm, invariants and departures from the paper (Malkov & Yashunin, "Efficient and robust
 * approximate nearest neighbor search using HNSW graphs", 2018): src/index/README.md. */
#ifndef QV_INDEX_HNSW_H
#define QV_INDEX_HNSW_H

#include "base/err.h"
#include "base/metric.h"
#include "base/slot.h"
#include "index/rows_view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QV_HNSW_M_MIN 2u
#define QV_HNSW_M_MAX 512u
#define QV_HNSW_M0_MAX 1024u
#define QV_HNSW_EF_MAX 65536u

struct qv_hnsw;     /* a graph */
struct qv_hnsw_ctx; /* one thread's scratch, for any number of graphs */

enum qv_hnsw_coding {
    QV_HNSW_CODING_ROWS, /* the rows themselves */
    QV_HNSW_CODING_LVQ8, /* f32 and f16 but by L1; elsewhere the same as ROWS */
    QV_HNSW_CODING_LVQ10 /* the same, and two bits an element that rank looks at and no walk */
};

struct qv_hnsw_params {
    enum qv_metric metric;
    enum qv_dtype dtype;
    uint32_t dim;          /* elements of a row, 1 .. QV_SIMD_DIM_MAX */
    uint32_t m;            /* links a node makes on each level, M_MIN .. M_MAX */
    uint32_t m0;           /* links a node may have on level 0, m .. M0_MAX; 0 = 2m */
    uint32_t ef_construct; /* candidates looked at by an insertion, 1 .. EF_MAX */
    uint32_t max_slots;    /* slots are 0 .. max_slots - 1; address space for them is reserved */
    uint64_t seed;         /* with slot and generation it gives a node's level */
    enum qv_hnsw_coding coding; /* what walks and links compare; not part of a saved graph */
};

/* m 16, m0 32, ef_construct 100, seed 0, max_slots 2^26; the rest as given. */
struct qv_hnsw_params qv_hnsw_params_default(enum qv_metric metric, enum qv_dtype dtype,
                                             uint32_t dim);

/* QV_EINVAL (msg names the field, its value and what is allowed), QV_ENOMEM. Borrows rows->base for
 * the life of the graph. Gives *out. */
int qv_hnsw_create(const struct qv_hnsw_params *params, const struct qv_rows *rows,
                   struct qv_hnsw **out, struct qv_errmsg *msg) QV_MUST_USE;
void qv_hnsw_destroy(struct qv_hnsw **h); /* NULL is fine; sets NULL */

/* As given at its creation or load; valid while h is. */
const struct qv_hnsw_params *qv_hnsw_get_params(const struct qv_hnsw *h);

/* A context holds visited marks and pools, grown on use to the largest graph and ef it met: one a
 * thread serves a thousand graphs. About a byte a slot. Gives; never NULL. */
struct qv_hnsw_ctx *qv_hnsw_ctx_create(void);
void qv_hnsw_ctx_destroy(struct qv_hnsw_ctx **ctx); /* NULL is fine; sets NULL */

/* Work done through a context since it was made: what a benchmark or EXPLAIN divides. */
struct qv_hnsw_work {
    uint64_t distances;  /* rows compared */
    uint64_t hops;       /* nodes expanded */
    uint64_t bridges;    /* nodes that failed a filter and were stepped over */
    uint64_t full_scans; /* repairs that had to look at every node */
};
struct qv_hnsw_work qv_hnsw_ctx_work(const struct qv_hnsw_ctx *ctx);

/* The caller's rows are going: the graph borrows them no longer. What would read one is refused
 * from here on with QV_EINVAL: insert, bulk, a search by_rows, effort traces, packing. Searches by
 * codes, rank, remove, repair, save and check go on. The owner's alone, with no call under way.
 * QV_EINVAL: there are no codes, rows are all it has. */
int qv_hnsw_drop_rows(struct qv_hnsw *h) QV_MUST_USE;

/* Does it compare codes? */
bool qv_hnsw_has_codes(const struct qv_hnsw *h);
/* Bytes of what a search compares a row by. */
uint32_t qv_hnsw_row_bytes(const struct qv_hnsw *h, bool by_rows);

/* Links the slot's row into the graph. On return every later search can find it. generation is
 * kept and saved: the owner's proof at a later load that slot and row still belong together.
 * QV_EEXISTS: the slot is not free. QV_ELIMIT: beyond max_slots. QV_ENOMEM. QV_EINVAL: the rows
 * were dropped. On an error the slot stays free. */
int qv_hnsw_insert(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot slot,
                   uint32_t generation) QV_MUST_USE;

/* ---- many rows at once ----
 *
 * Fills an empty graph two to four times as fast as insertions do, to a better recall at equal
 * distances, and to the same bytes whatever the number of threads. Meanwhile the graph is the
 * build's alone: no insert, search, save or check before it is done. Takes about 750 bytes a row
 * beside the graph while it runs, and the codes where the graph has none. How it goes:
 * hnsw_bulk.c. */

struct qv_hnsw_bulk; /* a build under way */

struct qv_hnsw_item {
    qv_slot slot;
    uint32_t generation;
};

/* Bytes that a build of n rows takes, beside the graph. */
uint64_t qv_hnsw_bulk_bytes(const struct qv_hnsw *h, uint32_t n);

/* items: n >= 1 rows of different slots, which must not change before the build is done; copied.
 * Borrows h until destroy. QV_ENOTIMPL: not by this metric (L1), or with so many links a node:
 * insert instead. QV_EEXISTS: the graph is not empty. QV_ELIMIT: beyond max_slots. QV_ENOMEM.
 * QV_EINVAL: the rows were dropped. Gives *out. */
int qv_hnsw_bulk_create(struct qv_hnsw *h, const struct qv_hnsw_item *items, uint32_t n,
                        struct qv_hnsw_bulk **out) QV_MUST_USE;

enum qv_hnsw_step {
    QV_HNSW_STEP_DONE, /* the graph is whole and free for all */
    QV_HNSW_STEP_MORE, /* call again */
    QV_HNSW_STEP_WAIT  /* all that can be done now is under way in other threads */
};

/* One unit of the work, some milliseconds; *step says what to do next. Any number of threads at
 * once, each with its own context; one alone never meets WAIT. QV_ENOTIMPL: more than one row
 * in 16 is not for it (equal rows; by DOT those of other lengths than 1): destroy, and insert
 * instead.
 * QV_ENOMEM. An error stays. */
int qv_hnsw_bulk_step(struct qv_hnsw_bulk *b, struct qv_hnsw_ctx *ctx,
                      enum qv_hnsw_step *step) QV_MUST_USE;

/* How many of its rows' worth of work is done, 0 .. n; roughly, for a progress bar. Any thread. */
uint32_t qv_hnsw_bulk_done(struct qv_hnsw_bulk *b);

/* Before it is done: the graph is empty again. No step may be under way. NULL is fine; sets NULL.
 */
void qv_hnsw_bulk_destroy(struct qv_hnsw_bulk **b);

/* live -> dead: a search that begins after this returns never returns the slot. O(1).
 * QV_ENOTFOUND: the slot is not live. */
int qv_hnsw_remove(struct qv_hnsw *h, qv_slot slot) QV_MUST_USE;

/* dead -> unlinked: its neighbours are linked to substitutes, the entry point moves if it was the
 * slot. About the cost of an insertion. QV_ENOTFOUND: the slot is not dead. QV_ENOMEM (the slot
 * stays dead; call again). */
int qv_hnsw_repair(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot slot) QV_MUST_USE;

/* The same for many at once, which share the looks at the whole graph that hidden links cost: up to
 * 30 ns a node of the graph, so deletions are best gathered to some hundred. Slots that are not
 * dead are passed over; *done is how many were unlinked. QV_ENOMEM: some stay dead. */
int qv_hnsw_repair_many(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, const qv_slot *slots,
                        uint32_t n, uint32_t *done) QV_MUST_USE;

/* unlinked -> free. The caller vouches that every search, insert and repair that was running when
 * this slot's repair returned has ended since. QV_ENOTFOUND: the slot is not unlinked. */
int qv_hnsw_release(struct qv_hnsw *h, qv_slot slot) QV_MUST_USE;

enum qv_hnsw_state {
    QV_HNSW_FREE,
    QV_HNSW_LINKING, /* an insert is under way */
    QV_HNSW_LIVE,
    QV_HNSW_DEAD,
    QV_HNSW_UNLINKED
};

/* The slot's state, and the generation of its insert in *generation (may be NULL; meaningless when
 * free). Any slot number may be asked. After a load, a slot of the owner's that is not LIVE here is
 * one to insert again. */
enum qv_hnsw_state qv_hnsw_slot_state(const struct qv_hnsw *h, qv_slot slot, uint32_t *generation);

struct qv_hnsw_stats {
    uint32_t live;
    uint32_t dead;           /* removed, not yet repaired */
    uint32_t slot_bound;     /* no slot at or above it was ever used */
    uint32_t level_max;      /* of the entry point */
    uint64_t reserved_bytes; /* address space */
    uint64_t used_bytes;     /* of it, made usable: the bound of what is resident */
};
struct qv_hnsw_stats qv_hnsw_stats(const struct qv_hnsw *h);

/* How a walk treats what the bitmap refuses. */
enum qv_hnsw_way {
    QV_HNSW_WAY_WIDE,    /* compared and expanded as all else, not returned */
    QV_HNSW_WAY_BRIDGES, /* not compared: stepped over, to what passes behind it */
    QV_HNSW_WAY_CHECK    /* the plain walk, a little broader; what fails is dropped at its end */
};

struct qv_hnsw_query {
    const void *row;        /* dim elements of the graph's dtype; borrowed for the call */
    uint32_t k;             /* hits wanted, 1 .. EF_MAX */
    uint32_t ef;            /* breadth; max(ef, k) is used; at most EF_MAX */
    const uint64_t *bitmap; /* NULL, or bit s set = slot s may be returned; borrowed */
    uint32_t bitmap_slots;  /* bits in bitmap; slots beyond it are not returned */
    bool (*accept)(void *arg, qv_slot slot); /* NULL, or asked once a slot beside the bitmap */
    void *accept_arg;
    bool by_rows;           /* compare rows even where there are codes; QV_EINVAL once they went */
    enum qv_hnsw_way way;   /* other than WIDE: with a bitmap, without accept */
    float share;            /* BRIDGES, CHECK: of the live nodes, those that pass; 0 .. 1, about */
    uint64_t visits_max;    /* 0, or what may be compared and stepped over before it gives up */
    int (*stop)(void *arg); /* of a scan; NULL: never */
    void *stop_arg;
};

struct qv_hnsw_hit {
    qv_slot slot;
    float dist; /* of the codes, where those were compared: ask for more than is wanted, and rank
                   by the rows */
};

/* hits: room for k; *n_out of them are filled, by (dist, slot) ascending; fewer than k only when
 * the walk found no more. Slots that fail the filter are walked through and ef counts those that
 * pass, so a filtered search is never worse than the same search unfiltered; it can cost a walk of
 * the whole graph where almost nothing passes (the planner scans there instead). A NaN distance
 * counts as +Inf. QV_EINVAL (k, ef), QV_ENOMEM.
 * QV_ELIMIT, without hits: visits_max, or under one BRIDGES ended lost, far from the query; CHECK
 * met fewer than ef that pass. */
int qv_hnsw_search(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                   const struct qv_hnsw_query *query, struct qv_hnsw_hit *hits,
                   uint32_t *n_out) QV_MUST_USE;

struct qv_hnsw_found {
    struct qv_hnsw_hit *hits; /* room for the query's k; borrowed */
    uint32_t n;               /* of them filled */
};

/* n searches, found[i] of queries[i]: the hits that qv_hnsw_search gives. On one thread, in turns:
 * while one waits for memory the others go on. Worth it from some ten queries on. On an error found
 * means nothing. A context keeps some 0.1 MB for it at ef 100. Errors as qv_hnsw_search. */
int qv_hnsw_search_many(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                        const struct qv_hnsw_query *queries, uint32_t n,
                        struct qv_hnsw_found *found) QV_MUST_USE;

/* Puts n hits of a search by codes in the order of their distance from the query as it is, not as
 * its code is; nearer to the rows' own order, without reading rows. The hits' distances become
 * those. Does nothing where there are no codes, and where codes are exactly the rows. row: the
 * query's. QV_ENOMEM. */
int qv_hnsw_rank(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, const void *row,
                 struct qv_hnsw_hit *hits, uint32_t n) QV_MUST_USE;

/* The same as a search, but compares every live node of the bitmap (which must be there; accept,
 * ef, way and visits_max are not looked at): exact but for the codes. stop is asked every 2^16
 * slots; a result other than 0 ends the scan, which returns it. QV_EINVAL (k), QV_ENOMEM. */
int qv_hnsw_scan(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                 const struct qv_hnsw_query *query, struct qv_hnsw_hit *hits,
                 uint32_t *n_out) QV_MUST_USE;

/* ---- file ---- */

/* Takes n bytes in order; a result other than 0 ends the save, which returns it. */
typedef int (*qv_hnsw_write_f)(void *arg, const void *bytes, size_t n);
/* Fills up to n bytes, sets *got (0 only at the end of the data); a result other than 0 ends the
 * load, which returns it. */
typedef int (*qv_hnsw_read_f)(void *arg, void *bytes, size_t n, size_t *got);
/* May this node of the file stay? Called once a node, slots ascending. */
typedef bool (*qv_hnsw_keep_f)(void *arg, qv_slot slot, uint32_t generation);

/* Writes the graph while inserts, removes, repairs and searches go on: every node is copied under
 * its lock. What was inserted before the call and is live or dead throughout is in the file; what
 * changes meanwhile may be, and a load makes it whole. A slot must not be released during a save.
 * The format is told in hnsw_file.c. */
int qv_hnsw_save(struct qv_hnsw *h, qv_hnsw_write_f write, void *arg) QV_MUST_USE;

struct qv_hnsw_load_report {
    uint32_t kept;
    uint32_t dropped;      /* in the file, refused by keep */
    uint32_t cut_links;    /* links to nodes that are not there (dropped, or newer than the file) */
    uint32_t reattached;   /* kept nodes that had become unreachable and were linked again */
    uint32_t ef_construct; /* that the saved graph was built with */
};

/* Where a load reads from, and what it may keep. */
struct qv_hnsw_source {
    qv_hnsw_read_f read;
    void *read_arg;
    qv_hnsw_keep_f keep; /* NULL keeps all that the file calls live */
    void *keep_arg;
};

/* Reads a saved graph into a new one. Metric, dtype, dim, m and m0 of params must be the file's
 * (QV_EINVAL else); ef_construct, seed and max_slots are params'. Nodes that keep refuses, and
 * those that were dead when saved, are dropped and their neighbours linked to substitutes. Every
 * kept node is live and reachable afterwards; a slot of the owner's that is not LIVE then
 * (slot_state) was not in the file and is to be inserted. rows must hold the rows of what is kept.
 * Bytes that are not a graph: QV_ECORRUPT with the reason in msg, whatever they are. QV_ELIMIT: a
 * slot at or above max_slots; QV_ENOMEM; what read returned. report may be NULL. Gives *out. */
int qv_hnsw_load(const struct qv_hnsw_params *params, const struct qv_rows *rows,
                 const struct qv_hnsw_source *source, struct qv_hnsw **out,
                 struct qv_hnsw_load_report *report, struct qv_errmsg *msg) QV_MUST_USE;

/* ---- check ---- */

struct qv_hnsw_check_report {
    uint32_t nodes;       /* live and dead */
    uint32_t unreachable; /* live, but no path from the entry point on level 0 */
    uint64_t links0;      /* on level 0 */
    uint64_t links_upper;
};

/* Walks everything. 0, or QV_ECORRUPT and what is wrong in msg: links out of range, to itself,
 * twice or to a slot that is not linked; degrees; levels; in-counts; the entry point; live marks.
 * Counts nodes that can't be reached, which is a matter of recall and not an error here. The graph
 * must be at rest: no insert, remove, repair or release meanwhile. */
int qv_hnsw_check(const struct qv_hnsw *h, struct qv_hnsw_check_report *report,
                  struct qv_errmsg *msg) QV_MUST_USE;

#endif
