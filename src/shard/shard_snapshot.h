/* A shard into a snapshot file, and out of one, while everything else goes on.
 *
 * Taking: a *pin* holds one durable checkpoint: its slots are not reused, its files stay, its
 * records are read through a snapshot of the payload store. So what is copied is the shard at one
 * position of its log, whatever is written meanwhile. Writers wait for nothing but the capture of
 * that checkpoint.
 *
 * Restoring: the files of a new shard (a new number) are built beside everything else, opened and
 * verified as at a start; the store takes it over when the caller says so. Before that a crash
 * leaves a directory that the metadata does not know, which the next start removes.
 *
 * The parts of a shard in a snapshot: docs/formats.md.
 *
 * Threads: as each says. A step blocks on the disk: call it in jobs, one at a time per object. */
#ifndef QV_SHARD_SHARD_SNAPSHOT_H
#define QV_SHARD_SHARD_SNAPSHOT_H

#include "shard/store.h"
#include "storage/snapshot.h"

/* Kinds of parts: part.owner is the caller's (which shard), part.number the named vector's. */
enum qv_shard_part {
    QV_SHARD_PART_HEAD = 0x10,
    QV_SHARD_PART_SLOTS = 0x11,
    QV_SHARD_PART_ROWS = 0x12,
    QV_SHARD_PART_GRAPH = 0x13,
    QV_SHARD_PART_RECORDS = 0x14
};

/* ---- pins; on the owner ---- */

struct qv_shard_pin;

struct qv_shard_pin_req {
    /* Once, on the owner, later or from inside qv_shard_pin. err 0: pin is given. QV_ENOTFOUND (the
     * shard was dropped), QV_EUNAVAILABLE (quarantined, closing), QV_EIO, QV_ENOSPC. */
    void (*done)(struct qv_shard_pin_req *req, int err);
    void *arg;
    struct qv_shard_pin *pin;
    struct qv_errmsg msg;
    /* the shard's */
    uint64_t seq;
    uint64_t failures;
    struct qv_shard_pin_req *next;
};

/* Pins a checkpoint that holds every change applied until now; makes one when there is none. req
 * stays valid until done. The caller holds a reference to the shard. */
void qv_shard_pin(struct qv_shard *s, struct qv_shard_pin_req *req);
void qv_shard_unpin(struct qv_shard_pin **pin); /* takes; NULL is fine */
/* What is pinned is the shard at this position: a feed from there on gives the rest
 * (shard_feed.h). While the pin is granted and the feed is opened in req's done the log still has
 * it. */
uint64_t qv_shard_pin_position(const struct qv_shard_pin *pin);
/* The configuration that the checkpoint was made under; borrowed while the pin is held. */
const struct qv_collection_config *qv_shard_pin_config(const struct qv_shard_pin *pin);

/* ---- export ---- */

struct qv_shard_export;

/* Borrows pin and writer until destroyed; gives. Any thread. */
struct qv_shard_export *qv_shard_export_create(struct qv_shard_pin *pin,
                                               struct qv_snapshot_writer *w, uint32_t owner);
void qv_shard_export_destroy(struct qv_shard_export **e);
/* Appends about bytes_max more; *done when all of the shard is in. QV_ENOTFOUND: it was dropped;
 * QV_ECORRUPT names what is damaged. */
QV_MUST_USE int qv_shard_export_step(struct qv_shard_export *e, uint64_t bytes_max, bool *done,
                                     struct qv_errmsg *msg);

/* ---- import ---- */

struct qv_shard_import;

/* The shard of `owner` in a verified snapshot, as a new shard of the store: spec as for
 * qv_store_add_shard, its configuration has the vectors and numbers of the snapshot's. On the
 * owner. Borrows reader and spec->config; gives. */
struct qv_shard_import *qv_shard_import_create(struct qv_store *st,
                                               const struct qv_shard_spec *spec,
                                               struct qv_snapshot_reader *r, uint32_t owner);
/* The snapshot is the state of another shard at `position`, whose changes will be replayed
 * (shard_replay.h). Before the first step. */
void qv_shard_import_stream(struct qv_shard_import *im, uint64_t stream, uint64_t position);
/* Builds about bytes_max more; *done when the shard is built, opened and verified. QV_ECORRUPT:
 * what the snapshot holds is not sound. */
QV_MUST_USE int qv_shard_import_step(struct qv_shard_import *im, uint64_t bytes_max, bool *done,
                                     struct qv_errmsg *msg);
/* After it is done, on the owner: the store has the shard, as after qv_store_add_shard (out:
 * borrowed). QV_EINVAL: its changes are from further ahead than a clock may be. */
QV_MUST_USE int qv_shard_import_adopt(struct qv_shard_import *im, struct qv_shard **out,
                                      struct qv_errmsg *msg);
/* One that was not adopted is removed from the disk. Blocks then: in a job. NULL is fine. */
void qv_shard_import_destroy(struct qv_shard_import **im);

#endif
