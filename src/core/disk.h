/* Files, as storage sees them. Every operation blocks: call them inside jobs, or at open and
 * recovery. Real: io/disk_posix.h; simulated: io/sim_disk.h.
 *
 * Results are 0 or QV_E*: QV_ENOSPC (disk or quota full), QV_ENOTFOUND, QV_EEXISTS, QV_ENOMEM,
 * QV_EIO (all else). msg may be NULL; otherwise it is filled on failure with operation, path and
 * reason. Paths are UTF-8, '/'-separated, NUL-terminated; borrowed for the call.
 *
 * Durability, and what callers may rely on:
 *  - bytes are durable after qv_file_sync; before it any subset of the 512-byte sectors written
 * since the last one may survive a crash, and the size may be old or new;
 *  - a created, renamed or unlinked name is durable after qv_disk_sync_dir of its directory; a
 * rename is atomic. Nothing else orders names against bytes;
 *  - after a failed write or sync of a file nothing more is written to it: `failed` is sticky and
 *    later writes and syncs give QV_EIO at once, since the kernel forgets which pages it dropped
 *    (Rebello et al. 2020, "Can applications recover from fsync failures?"). */
#ifndef QV_CORE_DISK_H
#define QV_CORE_DISK_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct qv_disk;
struct qv_file;

enum qv_open_flags {
    QV_OPEN_READ = 0,   /* read only, must exist */
    QV_OPEN_WRITE = 1,  /* read and write */
    QV_OPEN_CREATE = 2, /* with WRITE: made when missing */
    QV_OPEN_EXCL = 4,   /* with CREATE: QV_EEXISTS when it is there */
    QV_OPEN_TRUNC = 8,  /* with WRITE: emptied */
    QV_OPEN_PLAIN = 16  /* a file itself: what is a link, a pipe, a directory is QV_ENOTFOUND */
};

struct qv_disk_space {
    uint64_t total_bytes;
    uint64_t free_bytes; /* what this process may still allocate */
};

/* name: without directories, borrowed for the call. false stops the listing. */
typedef bool (*qv_disk_list_f)(void *arg, const char *name, bool is_dir);

struct qv_disk_ops {
    int (*open)(struct qv_disk *d, const char *path, unsigned flags, struct qv_file **out,
                struct qv_errmsg *msg);
    int (*rename)(struct qv_disk *d, const char *from, const char *to, struct qv_errmsg *msg);
    int (*unlink)(struct qv_disk *d, const char *path, struct qv_errmsg *msg);
    int (*mkdir)(struct qv_disk *d, const char *path, struct qv_errmsg *msg);
    int (*rmdir)(struct qv_disk *d, const char *path, struct qv_errmsg *msg);
    int (*list)(struct qv_disk *d, const char *path, qv_disk_list_f fn, void *arg,
                struct qv_errmsg *msg);
    int (*sync_dir)(struct qv_disk *d, const char *path, struct qv_errmsg *msg);
    int (*space)(struct qv_disk *d, const char *path, struct qv_disk_space *out,
                 struct qv_errmsg *msg);
    int (*pread)(struct qv_file *f, uint64_t offset, void *p, size_t n, size_t *got,
                 struct qv_errmsg *msg);
    int (*pwrite)(struct qv_file *f, uint64_t offset, const void *p, size_t n,
                  struct qv_errmsg *msg);
    int (*sync)(struct qv_file *f, struct qv_errmsg *msg);
    int (*write_back)(struct qv_file *f, uint64_t offset, uint64_t n, struct qv_errmsg *msg);
    int (*size)(struct qv_file *f, uint64_t *out, struct qv_errmsg *msg);
    int (*next_data)(struct qv_file *f, uint64_t offset, uint64_t *out, struct qv_errmsg *msg);
    int (*truncate)(struct qv_file *f, uint64_t size, struct qv_errmsg *msg);
    int (*allocate)(struct qv_file *f, uint64_t offset, uint64_t n, struct qv_errmsg *msg);
    int (*map)(struct qv_file *f, uint64_t offset, size_t n, void *at, const uint8_t **out,
               struct qv_errmsg *msg);
    void (*unmap)(struct qv_disk *d, const uint8_t *p, size_t n);
    void (*close)(struct qv_file *f);
};

struct qv_disk {
    const struct qv_disk_ops *ops;
};

/* The head of every implementation's file. One thread writes a file at a time; reads, maps and one
 * sync may go on meanwhile (a sync covers what was written before it began). */
struct qv_file {
    struct qv_disk *disk;
    const char *path;    /* as opened; owned by the file; stays what it was after a rename */
    _Atomic bool failed; /* a write or sync failed: sticky */
};

/* Gives a file; end with qv_file_close. QV_ENOTFOUND and QV_EEXISTS are expected outcomes. */
QV_MUST_USE int qv_disk_open(struct qv_disk *d, const char *path, unsigned flags,
                             struct qv_file **out, struct qv_errmsg *msg);
/* Replaces `to` when it is there. Both in the same file system. */
QV_MUST_USE int qv_disk_rename(struct qv_disk *d, const char *from, const char *to,
                               struct qv_errmsg *msg);
QV_MUST_USE int qv_disk_unlink(struct qv_disk *d, const char *path, struct qv_errmsg *msg);
QV_MUST_USE int qv_disk_mkdir(struct qv_disk *d, const char *path, struct qv_errmsg *msg);
/* As mkdir, its missing parents too; an existing directory is fine. Syncs the parents it touched.
 */
QV_MUST_USE int qv_disk_mkdir_all(struct qv_disk *d, const char *path, struct qv_errmsg *msg);
QV_MUST_USE int qv_disk_rmdir(struct qv_disk *d, const char *path, struct qv_errmsg *msg);
/* Every name in the directory but "." and "..", in no order. */
QV_MUST_USE int qv_disk_list(struct qv_disk *d, const char *path, qv_disk_list_f fn, void *arg,
                             struct qv_errmsg *msg);
QV_MUST_USE int qv_disk_sync_dir(struct qv_disk *d, const char *path, struct qv_errmsg *msg);
QV_MUST_USE int qv_disk_space(struct qv_disk *d, const char *path, struct qv_disk_space *out,
                              struct qv_errmsg *msg);

/* All n bytes, or QV_EEOF when the file ends before (then *p is partly filled). */
QV_MUST_USE int qv_file_pread_full(struct qv_file *f, uint64_t offset, void *p, size_t n,
                                   struct qv_errmsg *msg);
/* As many as there are, up to n. */
QV_MUST_USE int qv_file_pread(struct qv_file *f, uint64_t offset, void *p, size_t n, size_t *got,
                              struct qv_errmsg *msg);
QV_MUST_USE int qv_file_pwrite_full(struct qv_file *f, uint64_t offset, const void *p, size_t n,
                                    struct qv_errmsg *msg);
QV_MUST_USE int qv_file_sync(struct qv_file *f, struct qv_errmsg *msg); /* fdatasync */
/* As sync, for a file of which hundreds of megabytes may wait: in pieces, each written before the
 * next is asked for, so that another file's sync (the log's) finds a short queue at the disk. */
QV_MUST_USE int qv_file_sync_gently(struct qv_file *f, struct qv_errmsg *msg);
QV_MUST_USE int qv_file_size(struct qv_file *f, uint64_t *out, struct qv_errmsg *msg);
/* The first place >= offset that may hold anything but zeros; the size when there is none. A hint
 * that saves reading what was only allocated: *out == offset is always a right answer. */
QV_MUST_USE int qv_file_next_data(struct qv_file *f, uint64_t offset, uint64_t *out,
                                  struct qv_errmsg *msg);
QV_MUST_USE int qv_file_truncate(struct qv_file *f, uint64_t size, struct qv_errmsg *msg);
/* Blocks for [offset, offset + n) are the file's, so that writing them can't fail for want of
 * space; new ones read as zeros; the size grows to cover them. */
QV_MUST_USE int qv_file_allocate(struct qv_file *f, uint64_t offset, uint64_t n,
                                 struct qv_errmsg *msg);
/* Maps [offset, offset + n), which must lie inside the file, for reading; later writes show
 * through. offset is a multiple of 4096. at == NULL: anywhere, end with qv_disk_unmap. Otherwise
 * exactly there (4096-aligned, inside an address range that the caller reserved and releases as a
 * whole). */
QV_MUST_USE int qv_file_map(struct qv_file *f, uint64_t offset, size_t n, void *at,
                            const uint8_t **out, struct qv_errmsg *msg);
void qv_disk_unmap(struct qv_disk *d, const uint8_t *p, size_t n);
void qv_file_close(struct qv_file *f); /* takes f; NULL is fine; syncs nothing */

/* The whole file into out (appended); QV_ETOOBIG beyond limit bytes. */
QV_MUST_USE int qv_disk_read_file(struct qv_disk *d, const char *path, size_t limit,
                                  struct qv_buf *out, struct qv_errmsg *msg);
/* Replaces path by these bytes: written to path + ".tmp", synced, renamed, directory synced. */
QV_MUST_USE int qv_disk_replace_file(struct qv_disk *d, const char *path, const void *p, size_t n,
                                     struct qv_errmsg *msg);

#endif
