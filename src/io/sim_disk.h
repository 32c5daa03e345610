/* core/disk.h simulated: files in memory, each with a volatile image (what reads see) and a durable
 * one (what a sync saved), and names of which the same is true.
 *
 * A crash keeps a seeded subset of the 512-byte sectors written since their file's last sync, old
 * or new size, and a seeded subset of the directory operations since the directory's last sync.
 * mkdir and rmdir are durable at once. One thread at a time. */
#ifndef QV_IO_SIM_DISK_H
#define QV_IO_SIM_DISK_H

#include "core/disk.h"

enum qv_sim_op {
    QV_SIM_OP_WRITE = 1,
    QV_SIM_OP_SYNC = 2,
    QV_SIM_OP_READ = 4,
    QV_SIM_OP_ALLOCATE = 8, /* and truncate */
    QV_SIM_OP_NAME = 16,    /* open, rename, unlink, sync_dir */
    QV_SIM_OP_ANY = 31
};

struct qv_sim_disk_counts { /* which faults fired */
    uint64_t ops;
    uint64_t crashes;
    uint64_t sectors_lost;
    uint64_t sectors_kept; /* unsynced, but survived */
    uint64_t writes_torn;  /* a crash kept a part of what one file had unsynced */
    uint64_t names_lost;
    uint64_t names_kept;
    uint64_t errors_io;
    uint64_t errors_space;
    uint64_t flips;
};

/* Gives. */
struct qv_disk *qv_sim_disk_create(uint64_t seed, uint64_t capacity_bytes /* 0: no bound */);
void qv_sim_disk_destroy(struct qv_disk **d);

/* Power fails: see above. Open files stay open handles but give QV_EIO from now on; close them.
 * Mappings must be gone. */
void qv_sim_disk_crash(struct qv_disk *d);
/* The process dies, the machine lives: nothing is lost, open files as above. */
void qv_sim_disk_kill(struct qv_disk *d);

/* From the n-th operation of these kinds on a path that contains `part` (NULL: any), counted from
 * now, n >= 1: that operation, and the following until `count` failed, give err. A failed sync
 * saves nothing and forgets what was unsynced; a failed write may have written a part. One rule at
 * a time; n = 0 clears it. */
void qv_sim_disk_fail(struct qv_disk *d, unsigned ops, const char *part, uint64_t n, uint64_t count,
                      int err);
/* After n more operations every one fails with QV_EIO until the next crash or kill: the place where
 * a crash happens inside a job. 0: never. */
void qv_sim_disk_die_after(struct qv_disk *d, uint64_t n);
bool qv_sim_disk_is_dead(const struct qv_disk *d);
void qv_sim_disk_set_capacity(struct qv_disk *d, uint64_t bytes);
uint64_t qv_sim_disk_used(const struct qv_disk *d);

/* Flips one bit of a file, durably. QV_ENOTFOUND, QV_EINVAL beyond its size. */
QV_MUST_USE int qv_sim_disk_flip(struct qv_disk *d, const char *path, uint64_t offset,
                                 unsigned bit);
/* The n-th (0-based) path in order of names that contains part; NULL when there are fewer. Borrowed
 * until the next operation. */
const char *qv_sim_disk_find(struct qv_disk *d, const char *part, size_t n);
const struct qv_sim_disk_counts *qv_sim_disk_counts(const struct qv_disk *d);

#endif
