/* A checksummed file written once, front to back, and read the same way: what a checkpoint holds
 * beside the key-value store (graph, slot columns).
 *
 * Format (docs/formats.md): a header, chunks of up to 256 KiB each with its CRC32C, a footer with
 * the XXH3-64 of the whole payload. It appears under its name complete and synced, or not at all.
 * Readers verify every chunk before they give its bytes; anything wrong (length, magic, version,
 * kind, checksum) is QV_ECORRUPT naming file and offset.
 *
 * Threads: one at a time per writer or reader. All calls block. */
#ifndef QV_STORAGE_STATEFILE_H
#define QV_STORAGE_STATEFILE_H

#include "core/disk.h"

#define QV_STATEFILE_CHUNK_BYTES ((size_t)256 << 10)

struct qv_statefile_writer;
struct qv_statefile_reader;

struct qv_statefile_info {
    uint32_t kind;         /* the caller's: what is inside */
    uint32_t kind_version; /* the caller's format version of it */
    uint64_t payload_bytes;
    uint64_t payload_hash; /* chained XXH3-64: what a checkpoint records of the file */
};

/* Writes to path + ".tmp"; gives. End with finish or abort. */
QV_MUST_USE int qv_statefile_create(struct qv_disk *disk, const char *path, uint32_t kind,
                                    uint32_t kind_version, struct qv_statefile_writer **out,
                                    struct qv_errmsg *msg);
/* Any number of bytes. After an error every later call gives it again. */
QV_MUST_USE int qv_statefile_append(struct qv_statefile_writer *w, const void *p, size_t n,
                                    struct qv_errmsg *msg);
/* Writes the rest, syncs, renames into place, syncs the directory. Takes w, whatever the result.
 * out may be NULL. */
QV_MUST_USE int qv_statefile_finish(struct qv_statefile_writer *w, struct qv_statefile_info *out,
                                    struct qv_errmsg *msg);
void qv_statefile_abort(
    struct qv_statefile_writer *w); /* takes w; NULL is fine; removes the .tmp */

/* Opens and checks header, footer and length. Gives. kind must be the expected one; kind_version
 * must be at most kind_version_max (QV_ENOTIMPL otherwise: written by a newer version). */
QV_MUST_USE int qv_statefile_open(struct qv_disk *disk, const char *path, uint32_t kind,
                                  uint32_t kind_version_max, struct qv_statefile_reader **out,
                                  struct qv_errmsg *msg);
struct qv_statefile_info qv_statefile_get_info(const struct qv_statefile_reader *r);
/* Exactly n payload bytes, verified; QV_ECORRUPT when the payload ends before. */
QV_MUST_USE int qv_statefile_read(struct qv_statefile_reader *r, void *p, size_t n,
                                  struct qv_errmsg *msg);
uint64_t qv_statefile_left(const struct qv_statefile_reader *r); /* payload bytes not read yet */
/* After the last byte: verifies the hash of the whole. QV_ECORRUPT when bytes are left. */
QV_MUST_USE int qv_statefile_end(struct qv_statefile_reader *r, struct qv_errmsg *msg);
void qv_statefile_close(struct qv_statefile_reader *r); /* takes r; NULL is fine */

/* Reads the whole file and verifies it. */
QV_MUST_USE int qv_statefile_check(struct qv_disk *disk, const char *path,
                                   struct qv_statefile_info *info, struct qv_errmsg *msg);

#endif
