/* Runs a gather machine on an env's owner: sends its asks to leaves, grouped by node, brings their
 * answers, the time and newer views to it. Owner only, unless said otherwise. */
#ifndef QV_QUERY_READER_H
#define QV_QUERY_READER_H

#include "core/env.h"
#include "query/gather.h"

struct qv_read;

/* What reads of one owner share; embedded in its maker. */
struct qv_read_host {
    struct qv_env *env;
    struct qv_read_budget budget;
    uint32_t same_tries; /* as in qv_gather_config */
    /* Who answers as that node; NULL: nobody any more. */
    struct qv_leaf *(*leaf)(struct qv_read_host *h, uint64_t node);
    /* A leaf knew another record: qv_read_refreshed, later, with the view as it is known here then.
     * NULL: there is no other view than the first. */
    void (*refresh)(struct qv_read_host *h, struct qv_read *r);
};

struct qv_read_message;

/* Embedded in the caller's struct; all zeros but for the first eight to begin with. */
struct qv_read {
    struct qv_read_host *host;
    const struct qv_view *view; /* held until closed, and so are later ones */
    struct qv_read_what what;   /* borrowed until closed */
    uint64_t deadline_ns;       /* mono */
    const struct qv_stop *stop; /* also asked; NULL: never; until done */
    uint8_t hops_left;
    void (*done)(struct qv_read *r, int err); /* once, never from inside start */
    void *arg;                                /* the caller's */
    /* from done until closed */
    struct qv_read_result result;
    struct qv_errmsg msg;
    /* the driver's */
    struct qv_arena arena;
    struct qv_gather *gather;
    struct qv_timer timer;
    struct qv_task task;
    struct qv_read_message *messages;
    uint32_t sent; /* messages */
    bool ended;
};

/* done is always called, later. */
void qv_read_start(struct qv_read *r);
/* Nobody waits any more: done comes soon. Fine after done. */
void qv_read_cancel(struct qv_read *r);
/* What host->refresh was asked for; view NULL: the collection is gone. */
void qv_read_refreshed(struct qv_read *r, const struct qv_view *view);
/* Frees the result and the answers it borrows. After done; any thread. */
void qv_read_close(struct qv_read *r);

#endif
