/* Private to src/repl: the two ends of transfers, and what they share. */
#ifndef QV_REPL_TRANSFER_PRIVATE_H
#define QV_REPL_TRANSFER_PRIVATE_H

#include "repl/transfer.h"
#include "repl/transfer_codec.h"

#define QV_TRANSFER_ENDS_MAX 256u /* of each side */

struct qv_transfer_source;
struct qv_transfer_target;

struct qv_transfers {
    struct qv_transfer_config config;
    struct qv_transfer_source *sources; /* newest first */
    struct qv_transfer_target *targets;
    uint32_t source_count, target_count;
    /* the cap: no chunk is asked for before due_ns */
    uint64_t due_ns;
    struct qv_timer pace;
    /* what is told to owners, and the end, come as a task of their own */
    struct qv_task task;
    bool posted;
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* Something has changed that the task looks at: whom to tell, what to free, the end. */
void qv_transfers_post(struct qv_transfers *t);
/* Borrows s; keys in a copy of its own, to be freed with qv_transfer_spec_free. Gives. */
void qv_transfer_spec_copy(struct qv_transfer_spec *out, const struct qv_transfer_spec *s);
void qv_transfer_spec_free(struct qv_transfer_spec *s);
bool qv_transfer_spec_same(const struct qv_transfer_spec *a, const struct qv_transfer_spec *b);

/* transfer_source.c */
void qv_transfer_sources_serve(struct qv_transfers *t, bool on);
void qv_transfer_sources_stop(struct qv_transfers *t); /* for ever: requests are answered */
bool qv_transfer_sources_quiet(const struct qv_transfers *t);
void qv_transfer_sources_free(struct qv_transfers *t);

/* transfer_target.c */
void qv_transfer_targets_stop(struct qv_transfers *t);
bool qv_transfer_targets_quiet(const struct qv_transfers *t);
void qv_transfer_targets_free(struct qv_transfers *t);
void qv_transfer_targets_pump(struct qv_transfers *t); /* chunks may be asked for again */
void qv_transfer_targets_tell(struct qv_transfers *t); /* in the task */

#endif
