/* A metadata store in memory: the keys as they are, and the changes that led there, by revision.
 * What meta/meta_file.h keeps of its file and io/sim_meta.h serves.
 *
 * Items are immutable and counted by reference (plain counts: one thread), so that a list can be
 * held while the store moves on. */
#ifndef QV_CORE_META_TREE_H
#define QV_CORE_META_TREE_H

#include "core/meta.h"

struct qv_meta_item {
    struct qv_meta_entry entry; /* key and value stand behind the struct */
    uint32_t refs;
};

struct qv_meta_tree {
    struct qv_meta_item **items; /* ascending by key */
    uint32_t count, cap;
    struct qv_meta_item **log; /* ascending by revision, removals too */
    uint32_t log_count, log_cap;
    uint64_t revision;  /* of the last change; 1: none yet, as in etcd */
    uint64_t compacted; /* changes before it are forgotten */
};

void qv_meta_tree_init(struct qv_meta_tree *t, uint64_t revision);
void qv_meta_tree_close(struct qv_meta_tree *t);

struct qv_meta_item *qv_meta_item_make(const struct qv_meta_entry *e); /* copies; gives */
void qv_meta_item_unref(struct qv_meta_item *item);

/* Puts a key as it was stored, at the end; QV_ECORRUPT when it is not above the last. */
QV_MUST_USE int qv_meta_tree_load(struct qv_meta_tree *t, const struct qv_meta_entry *e,
                                  struct qv_errmsg *msg);

/* NULL: there is none. Borrowed until the next change. */
const struct qv_meta_entry *qv_meta_tree_find(const struct qv_meta_tree *t, const char *key);
/* The keys with the prefix: *first and how many. */
uint32_t qv_meta_tree_range(const struct qv_meta_tree *t, const char *prefix, uint32_t *first);

/* Whether every compare holds. */
bool qv_meta_tree_holds(const struct qv_meta_tree *t, const struct qv_meta_compare *compares,
                        uint32_t count);
/* Whether the changes would change anything: something is put, or a key that is there removed. */
bool qv_meta_tree_moves(const struct qv_meta_tree *t, const struct qv_meta_change *changes,
                        uint32_t count);
/* How many keys there would be afterwards. */
uint32_t qv_meta_tree_count_after(const struct qv_meta_tree *t,
                                  const struct qv_meta_change *changes, uint32_t count);
/* Applies them as one revision, if they change anything. */
void qv_meta_tree_apply(struct qv_meta_tree *t, const struct qv_meta_change *changes,
                        uint32_t count);
/* The keys bound to the lease, as removals: *out is given (qv_mem_free), the keys borrowed until
 * the next change. Returns how many. */
uint32_t qv_meta_tree_bound(const struct qv_meta_tree *t, uint64_t lease,
                            struct qv_meta_change **out);

/* Forgets the changes before revision (at most the present one). */
void qv_meta_tree_compact(struct qv_meta_tree *t, uint64_t revision);
/* The changes of keys with the prefix in from .. to, ascending: *out is given, the entries borrow
 * items with a reference each; free with qv_meta_events_close. from >= compacted. */
struct qv_meta_events {
    struct qv_meta_entry *entries;
    struct qv_meta_item **items;
    uint32_t count;
};
void qv_meta_tree_events(const struct qv_meta_tree *t, const char *prefix, uint64_t from,
                         uint64_t to, struct qv_meta_events *out);
/* The same of the keys there are now. */
void qv_meta_tree_list(const struct qv_meta_tree *t, const char *prefix,
                       struct qv_meta_events *out);
void qv_meta_events_close(struct qv_meta_events *e);

#endif
