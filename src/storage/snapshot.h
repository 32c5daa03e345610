/* Snapshot files: parts of any kind in one file that is written front to back, and read again
 * after everything in it was verified.
 *
 * Format (docs/formats.md): header, the parts' bytes one behind the other, the manifest (what each
 * part is, its length and hash), the trailer (where the manifest is, the hash over header and
 * manifest). So each byte is under a checksum: a part's by the manifest, all else by the trailer.
 *
 * A valid snapshot: header and trailer are sound, parts fill the room between header and manifest
 * exactly, every hash holds. What the parts mean is the caller's.
 *
 * Threads: one at a time per writer or reader. All calls block. */
#ifndef QV_STORAGE_SNAPSHOT_H
#define QV_STORAGE_SNAPSHOT_H

#include "base/sha256.h"
#include "core/disk.h"

#define QV_SNAPSHOT_CHUNK_BYTES ((size_t)256 << 10)
#define QV_SNAPSHOT_PARTS_MAX (1u << 20) /* 1,000 collections of 256 vectors fit */

enum qv_snapshot_kind { QV_SNAPSHOT_COLLECTION = 1, QV_SNAPSHOT_FULL = 2 };

/* owner and number are the caller's: which collection, which vector. */
struct qv_snapshot_part {
    uint32_t kind;
    uint32_t owner;
    uint32_t number;
    uint64_t bytes;
    uint64_t hash; /* chained XXH3-64 over chunks of QV_SNAPSHOT_CHUNK_BYTES */
};

/* ---- writing ---- */

struct qv_snapshot_writer;

struct qv_snapshot_info {
    uint64_t bytes;
    uint8_t sha256[QV_SHA256_BYTES]; /* of the whole file */
};

/* A new file at path (a temporary name: the caller renames it); gives. */
QV_MUST_USE int qv_snapshot_create(struct qv_disk *disk, const char *path,
                                   enum qv_snapshot_kind kind, uint64_t created_ms,
                                   struct qv_snapshot_writer **out, struct qv_errmsg *msg);
/* One part after the other; what is appended belongs to the one that was begun last. */
QV_MUST_USE int qv_snapshot_begin_part(struct qv_snapshot_writer *w, uint32_t kind, uint32_t owner,
                                       uint32_t number, struct qv_errmsg *msg);
/* After an error every later call gives it again. */
QV_MUST_USE int qv_snapshot_append(struct qv_snapshot_writer *w, const void *p, size_t n,
                                   struct qv_errmsg *msg);
uint64_t qv_snapshot_written(const struct qv_snapshot_writer *w); /* bytes, all parts */
/* Ends the last part, writes manifest and trailer, syncs. Takes w, whatever the result; the file is
 * removed on an error. */
QV_MUST_USE int qv_snapshot_finish(struct qv_snapshot_writer *w, struct qv_snapshot_info *out,
                                   struct qv_errmsg *msg);
void qv_snapshot_abort(struct qv_snapshot_writer *w); /* takes w; NULL is fine; removes the file */

/* ---- reading ---- */

struct qv_snapshot_reader;

/* The snapshot that lies in bytes [offset, offset + bytes) of a file (bytes 0: up to its end).
 * Checks header, trailer and manifest, not the parts yet. QV_ECORRUPT, QV_ENOTIMPL (a newer
 * format). Gives. */
QV_MUST_USE int qv_snapshot_open(struct qv_disk *disk, const char *path, uint64_t offset,
                                 uint64_t bytes, struct qv_snapshot_reader **out,
                                 struct qv_errmsg *msg);
void qv_snapshot_close(struct qv_snapshot_reader *r); /* takes r; NULL is fine */
enum qv_snapshot_kind qv_snapshot_kind(const struct qv_snapshot_reader *r);
uint64_t qv_snapshot_bytes(const struct qv_snapshot_reader *r); /* of the whole */
uint32_t qv_snapshot_part_count(const struct qv_snapshot_reader *r);
const struct qv_snapshot_part *qv_snapshot_part(const struct qv_snapshot_reader *r, uint32_t i);
/* The first part of that kind, owner and number; UINT32_MAX when there is none. */
uint32_t qv_snapshot_find(const struct qv_snapshot_reader *r, uint32_t kind, uint32_t owner,
                          uint32_t number);

/* Verifies about bytes_max more of the file against the manifest, from its front; *done at its end.
 * with_sha: also hashes the whole with SHA-256 (the same at every step). QV_ECORRUPT. */
QV_MUST_USE int qv_snapshot_verify_step(struct qv_snapshot_reader *r, uint64_t bytes_max,
                                        bool with_sha, bool *done, struct qv_errmsg *msg);
/* After a verification with_sha. */
void qv_snapshot_sha256(const struct qv_snapshot_reader *r, uint8_t out[QV_SHA256_BYTES]);

/* Reading one part, front to back. */
void qv_snapshot_begin_read(struct qv_snapshot_reader *r, uint32_t part);
/* Exactly n bytes; QV_ECORRUPT when the part ends before. */
QV_MUST_USE int qv_snapshot_read(struct qv_snapshot_reader *r, void *p, size_t n,
                                 struct qv_errmsg *msg);
uint64_t qv_snapshot_left(const struct qv_snapshot_reader *r);
/* After its last byte: QV_ECORRUPT when bytes are left, or the hash is another than at the
 * verification. */
QV_MUST_USE int qv_snapshot_end_read(struct qv_snapshot_reader *r, struct qv_errmsg *msg);

#endif
