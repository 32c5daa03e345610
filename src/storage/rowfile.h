/* Rows of one fixed size by slot: the vectors of a shard.
 *
 * Written by pwrite into blocks that were allocated before, mapped for reading only: a full disk is
 * QV_ENOSPC from reserve, never a SIGBUS. The mapping lies in an address range reserved at open for
 * slot_max rows, so base never moves and readers need no lock.
 *
 * Format: 4096 bytes of header (docs/formats.md), then row i at 4096 + i * stride. Rows carry no
 * checksum here: the caller keeps each row's CRC32C with its slot. A row that a durable checkpoint
 * refers to must not be overwritten: the caller's rule (DESIGN.md section 4).
 *
 * Threads: reserve and write by one thread at a time (they block: use jobs, or accept it); one sync
 * may run beside them and covers what was written before it began; base, and rows that were written
 * before, on any thread. */
#ifndef QV_STORAGE_ROWFILE_H
#define QV_STORAGE_ROWFILE_H

#include "core/disk.h"

#include <stdbool.h>

struct qv_rowfile;

struct qv_rowfile_config {
    uint32_t row_bytes; /* what the caller stores; 1 .. 65536 * 4 */
    uint32_t stride;    /* distance of rows, >= row_bytes; 0: row_bytes rounded up to 4 */
    uint32_t slot_max;  /* the most rows there will ever be: address space only */
    uint64_t id;        /* whose rows: written at creation, compared at open */
    bool create;        /* a new file; QV_EEXISTS when there is one */
    bool read_only;     /* for checking: nothing is ever written */
};

/* QV_ECORRUPT (named) when header, stride, row size or id are not what the config says. Gives. disk
 * is borrowed. A created file is durable after qv_rowfile_sync and a sync of its directory. */
QV_MUST_USE int qv_rowfile_open(struct qv_disk *disk, const char *path,
                                const struct qv_rowfile_config *config, struct qv_rowfile **out,
                                struct qv_errmsg *msg);

/* Blocks for slots [0, slots); grows in large steps. QV_ENOSPC, QV_ELIMIT beyond slot_max. */
QV_MUST_USE int qv_rowfile_reserve(struct qv_rowfile *f, uint32_t slots, struct qv_errmsg *msg);
uint32_t
qv_rowfile_capacity(const struct qv_rowfile *f); /* slots that have blocks and are mapped */

/* Row 0; never moves. Slots below the capacity may be read; unwritten ones are zeros. */
const uint8_t *qv_rowfile_base(const struct qv_rowfile *f);
uint32_t qv_rowfile_stride(const struct qv_rowfile *f);
static inline const uint8_t *qv_rowfile_row(const uint8_t *base, uint32_t stride, uint32_t slot)
{
    return base + (size_t)slot * stride;
}

/* rows: n rows of `stride` bytes each, to slots [slot, slot + n); reserves when it has to. One
 * pwrite. After an error (QV_EIO) the file takes no more writes. */
QV_MUST_USE int qv_rowfile_write(struct qv_rowfile *f, uint32_t slot, uint32_t n, const void *rows,
                                 struct qv_errmsg *msg);
/* One row of row_bytes; the gap up to the stride is written as zeros. */
QV_MUST_USE int qv_rowfile_write_row(struct qv_rowfile *f, uint32_t slot, const void *row,
                                     struct qv_errmsg *msg);
QV_MUST_USE int qv_rowfile_sync(struct qv_rowfile *f, struct qv_errmsg *msg);

/* ---- a file whose write or sync failed ----
 *
 * What the kernel dropped of it is unknown, and what it says of a repeated sync is worth nothing:
 * all rows go to a new file, which takes the name. Two steps, since the first takes long: */
bool qv_rowfile_failed(const struct qv_rowfile *f);
/* Copies the file, as it can be read, to <path>.tmp; syncs that, renames it over path, syncs the
 * directory. On any thread, one at a time; reads go on, writes and reserve are refused meanwhile by
 * the failure itself. Gives. Rows that can't be read any more end it with QV_EIO. */
QV_MUST_USE int qv_rowfile_copy(struct qv_rowfile *f, struct qv_file **out, struct qv_errmsg *msg);
/* Takes the copy: readers see its rows at the same addresses, writes are taken again. By the
 * writing thread. */
QV_MUST_USE int qv_rowfile_adopt(struct qv_rowfile *f, struct qv_file *copy, struct qv_errmsg *msg);
const char *qv_rowfile_path(const struct qv_rowfile *f);

uint64_t qv_rowfile_disk_bytes(const struct qv_rowfile *f);
/* Advice for the page cache: slots [slot, slot + n) will be read soon. */
void qv_rowfile_prefetch(const struct qv_rowfile *f, uint32_t slot, uint32_t n);
void qv_rowfile_close(struct qv_rowfile *f); /* takes f; NULL is fine; syncs nothing */

#endif
