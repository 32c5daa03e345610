/* What every implementation of core/meta.h must do, and blocking calls to say it with. */
#ifndef QV_TEST_META_PARTS_H
#define QV_TEST_META_PARTS_H

#include "core/meta.h"

#define MP_METAS_MAX 5u

struct mp {
    struct qv_meta *metas[MP_METAS_MAX];
    unsigned count;
    void (*run)(struct mp *w, unsigned ms); /* lets time pass; 0: as little as there is */
    bool slow;                              /* real time: waits are shorter */
};

struct mp_answer {
    bool done;
    int err;
    uint64_t revision;
    uint32_t count;
    char text[512]; /* key=value@mod; ... */
    uint64_t at_ns;
};

struct mp_seen {
    struct mp *w;
    char text[2048];
    uint64_t revision;
    bool ended;
    int err;
    uint64_t at_ns;
};

struct mp_leased {
    struct mp *w;
    bool granted, lost;
    int err, lost_err;
    uint64_t lost_ns;
};

/* The callbacks that fill these; arg is the struct. */
void mp_list_done(struct qv_meta_listing *l, int err);
void mp_txn_done(struct qv_meta_txn *t, int err);
void mp_on_events(struct qv_meta_watch *w, const struct qv_meta_entry *events, uint32_t count,
                  uint64_t revision);
void mp_on_ended(struct qv_meta_watch *w, int err);

void mp_run_until(struct mp *w, const bool *done); /* fails after 100 s */
struct mp_answer mp_list(struct mp *w, unsigned node, const char *prefix);
struct mp_answer mp_txn(struct mp *w, unsigned node, struct qv_meta_txn t);
struct qv_meta_change mp_change(const char *key, const char *value, uint64_t lease);
struct mp_answer mp_put(struct mp *w, unsigned node, const char *key, const char *value,
                        uint64_t lease);
void mp_grant(struct mp *w, unsigned node, uint32_t ttl_ms, struct qv_meta_lease *l,
              struct mp_leased *s);

/* Each on an empty store, or one whose keys are others'. */
void mp_basics(struct mp *w);
void mp_limits(struct mp *w);
void mp_watches(struct mp *w);
void mp_leases(struct mp *w);
void mp_close_with_requests(struct mp *w); /* leaves metas[0] NULL */

#endif
