#include "storage/snapshot.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdio.h>
#include <string.h>

#define HEAD_MAGIC "QVSNAPS\n"
#define FOOT_MAGIC "QVSNEND\n"
#define FORMAT 1u
#define CHUNK QV_SNAPSHOT_CHUNK_BYTES
/* Written back as it goes: one sync of it all at the end would hold up the log's for long. */
#define SYNC_BYTES ((uint64_t)16 << 20)

struct snap_header {
    char magic[8];
    uint32_t format;
    uint32_t kind;
    uint64_t created_ms;
    uint8_t zero[36];
    uint32_t crc; /* of the 60 bytes before */
};
QV_STATIC_ASSERT(sizeof(struct snap_header) == 64, "format");

struct snap_entry { /* of the manifest: u32 count, u32 zero, then these */
    uint32_t kind;
    uint32_t owner;
    uint32_t number;
    uint32_t zero;
    uint64_t bytes;
    uint64_t hash;
};
QV_STATIC_ASSERT(sizeof(struct snap_entry) == 32, "format");
#define MANIFEST_HEAD 8u

struct snap_trailer {
    char magic[8];
    uint64_t manifest_at;
    uint64_t manifest_bytes;
    uint64_t hash; /* XXH3-64 of the manifest, seeded with that of the header */
    uint8_t zero[28];
    uint32_t crc; /* of the 60 bytes before */
};
QV_STATIC_ASSERT(sizeof(struct snap_trailer) == 64, "format");

#define ENDS_BYTES (sizeof(struct snap_header) + sizeof(struct snap_trailer))

static uint64_t whole_hash(const struct snap_header *h, const void *manifest, size_t n)
{
    return qv_hash_64_seed(manifest, n, qv_hash_64(h, sizeof *h));
}

/* ---- writing ---- */

struct qv_snapshot_writer {
    struct qv_disk *disk;
    struct qv_file *file;
    char *path;
    struct snap_header header;
    uint8_t *chunk;
    size_t used; /* bytes of the part that wait in the chunk */
    uint64_t offset;
    uint64_t synced; /* up to there */
    struct snap_entry *parts;
    uint32_t count, cap;
    struct qv_sha256 sha;
    int err;
};

static void writer_free(struct qv_snapshot_writer *w)
{
    qv_file_close(w->file);
    qv_mem_free(w->path);
    qv_mem_free(w->chunk);
    qv_mem_free(w->parts);
    qv_mem_free(w);
}

static int put(struct qv_snapshot_writer *w, const void *p, size_t n, struct qv_errmsg *msg)
{
    int err = qv_file_pwrite_full(w->file, w->offset, p, n, msg);
    if (err == 0)
        qv_sha256_add(&w->sha, p, n);
    w->offset += n;
    if (err == 0 && w->offset - w->synced >= SYNC_BYTES) {
        err = qv_file_sync(w->file, msg);
        w->synced = w->offset;
    }
    w->err = err;
    return err;
}

int qv_snapshot_create(struct qv_disk *disk, const char *path, enum qv_snapshot_kind kind,
                       uint64_t created_ms, struct qv_snapshot_writer **out, struct qv_errmsg *msg)
{
    struct qv_snapshot_writer *w = qv_mem_calloc(1, sizeof *w);
    struct snap_header *h = &w->header;
    *out = NULL;
    w->disk = disk;
    w->path = qv_mem_strdup(path);
    w->chunk = qv_mem_alloc(CHUNK);
    memcpy(h->magic, HEAD_MAGIC, sizeof h->magic);
    h->format = FORMAT;
    h->kind = kind;
    h->created_ms = created_ms;
    h->crc = qv_hash_crc32c(0, h, offsetof(struct snap_header, crc));
    qv_sha256_init(&w->sha);
    int err =
        qv_disk_open(disk, path, QV_OPEN_WRITE | QV_OPEN_CREATE | QV_OPEN_EXCL, &w->file, msg);
    if (err != 0) {
        writer_free(w);
        return err;
    }
    err = put(w, h, sizeof *h, msg);
    if (err != 0) {
        qv_snapshot_abort(w);
        return err;
    }
    *out = w;
    return 0;
}

static int chunk_put(struct qv_snapshot_writer *w, struct qv_errmsg *msg)
{
    struct snap_entry *part = &w->parts[w->count - 1];
    size_t n = w->used;
    if (n == 0)
        return 0;
    part->hash = qv_hash_64_seed(w->chunk, n, part->hash);
    part->bytes += n;
    w->used = 0;
    return put(w, w->chunk, n, msg);
}

int qv_snapshot_begin_part(struct qv_snapshot_writer *w, uint32_t kind, uint32_t owner,
                           uint32_t number, struct qv_errmsg *msg)
{
    if (w->err == 0 && w->count == QV_SNAPSHOT_PARTS_MAX)
        w->err = qv_fail(msg, QV_ELIMIT, "a snapshot of more than %u parts", w->count);
    if (w->err == 0 && w->count > 0)
        w->err = chunk_put(w, msg);
    if (w->err != 0)
        return w->err;
    if (w->count == w->cap) {
        w->cap = w->cap ? w->cap * 2 : 16;
        w->parts = qv_mem_realloc(w->parts, w->cap * sizeof *w->parts);
    }
    w->parts[w->count++] = (struct snap_entry){.kind = kind, .owner = owner, .number = number};
    return 0;
}

int qv_snapshot_append(struct qv_snapshot_writer *w, const void *p, size_t n, struct qv_errmsg *msg)
{
    const uint8_t *from = p;
    QV_ASSERT(w->count > 0);
    if (w->err != 0)
        return qv_fail(msg, w->err, "%s: an earlier write failed", w->path);
    while (n > 0 && w->err == 0) {
        size_t room = CHUNK - w->used;
        size_t part = n < room ? n : room;
        memcpy(w->chunk + w->used, from, part);
        w->used += part;
        from += part;
        n -= part;
        if (w->used == CHUNK)
            w->err = chunk_put(w, msg);
    }
    return w->err;
}

uint64_t qv_snapshot_written(const struct qv_snapshot_writer *w)
{
    return w->offset + w->used;
}

static int put_ends(struct qv_snapshot_writer *w, struct qv_errmsg *msg)
{
    struct snap_trailer t = {.manifest_at = w->offset};
    size_t bytes = MANIFEST_HEAD + w->count * sizeof *w->parts;
    uint8_t *manifest = qv_mem_alloc(bytes);
    uint32_t head[2] = {w->count, 0};
    memcpy(manifest, head, sizeof head);
    if (w->count > 0)
        memcpy(manifest + MANIFEST_HEAD, w->parts, w->count * sizeof *w->parts);
    memcpy(t.magic, FOOT_MAGIC, sizeof t.magic);
    t.manifest_bytes = bytes;
    t.hash = whole_hash(&w->header, manifest, bytes);
    t.crc = qv_hash_crc32c(0, &t, offsetof(struct snap_trailer, crc));
    int err = put(w, manifest, bytes, msg);
    qv_mem_free(manifest);
    return err != 0 ? err : put(w, &t, sizeof t, msg);
}

int qv_snapshot_finish(struct qv_snapshot_writer *w, struct qv_snapshot_info *out,
                       struct qv_errmsg *msg)
{
    int err = w->err;
    if (err != 0)
        err = qv_fail(msg, err, "%s: an earlier write failed", w->path);
    if (err == 0 && w->count > 0)
        err = chunk_put(w, msg);
    if (err == 0)
        err = put_ends(w, msg);
    if (err == 0)
        err = qv_file_sync(w->file, msg);
    if (err != 0) {
        qv_snapshot_abort(w);
        return err;
    }
    out->bytes = w->offset;
    qv_sha256_end(&w->sha, out->sha256);
    writer_free(w);
    return 0;
}

void qv_snapshot_abort(struct qv_snapshot_writer *w)
{
    if (w == NULL)
        return;
    int ignored = qv_disk_unlink(w->disk, w->path, NULL); /* a start removes what is left */
    (void)ignored;
    writer_free(w);
}

/* ---- reading ---- */

struct qv_snapshot_reader {
    struct qv_file *file;
    char *path;
    uint64_t base; /* in the file */
    uint64_t bytes;
    struct snap_header header;
    uint64_t manifest_at;
    struct qv_snapshot_part *parts;
    uint64_t *starts; /* offset of each part */
    uint32_t count;
    uint8_t *chunk;
    struct {
        uint32_t part;
        uint64_t at; /* in the part: not in the chunk yet */
        size_t chunk_at, chunk_used;
        uint64_t hash;
    } read;
    struct {
        uint32_t part;
        uint64_t at;
        uint64_t hash;
        bool begun, done;
        struct qv_sha256 sha;
        uint8_t result[QV_SHA256_BYTES];
    } verify;
};

static int read_at(struct qv_snapshot_reader *r, uint64_t at, void *p, size_t n,
                   struct qv_errmsg *msg)
{
    return qv_file_pread_full(r->file, r->base + at, p, n, msg);
}

static int header_read(struct qv_snapshot_reader *r, struct qv_errmsg *msg)
{
    struct snap_header *h = &r->header;
    static const uint8_t zero[sizeof h->zero] = {0};
    if (r->bytes < ENDS_BYTES + MANIFEST_HEAD)
        return QV_CORRUPT(msg, "%llu bytes are no snapshot", (unsigned long long)r->bytes);
    int err = read_at(r, 0, h, sizeof *h, msg);
    if (err != 0)
        return err;
    if (memcmp(h->magic, HEAD_MAGIC, sizeof h->magic) != 0)
        return QV_CORRUPT(msg, "the file is no snapshot of this engine");
    if (h->crc != qv_hash_crc32c(0, h, offsetof(struct snap_header, crc)))
        return QV_CORRUPT(msg, "offset 0: the snapshot's header fails its checksum");
    if (h->format > FORMAT)
        return qv_fail(msg, QV_ENOTIMPL, "a snapshot of format %u: this version knows %u",
                       h->format, FORMAT);
    if (h->format == 0 || (h->kind != QV_SNAPSHOT_COLLECTION && h->kind != QV_SNAPSHOT_FULL) ||
        memcmp(h->zero, zero, sizeof zero) != 0)
        return QV_CORRUPT(msg, "offset 0: a snapshot of kind %u, format %u", h->kind, h->format);
    return 0;
}

static int trailer_read(struct qv_snapshot_reader *r, struct snap_trailer *t, struct qv_errmsg *msg)
{
    static const uint8_t zero[sizeof t->zero] = {0};
    uint64_t at = r->bytes - sizeof *t;
    int err = read_at(r, at, t, sizeof *t, msg);
    if (err != 0)
        return err;
    if (memcmp(t->magic, FOOT_MAGIC, sizeof t->magic) != 0 ||
        t->crc != qv_hash_crc32c(0, t, offsetof(struct snap_trailer, crc)) ||
        memcmp(t->zero, zero, sizeof zero) != 0)
        return QV_CORRUPT(msg, "the snapshot is cut short, or its trailer is damaged");
    if (t->manifest_at < sizeof r->header || t->manifest_at > at ||
        t->manifest_bytes != at - t->manifest_at || t->manifest_bytes < MANIFEST_HEAD ||
        (t->manifest_bytes - MANIFEST_HEAD) % sizeof(struct snap_entry) != 0 ||
        (t->manifest_bytes - MANIFEST_HEAD) / sizeof(struct snap_entry) > QV_SNAPSHOT_PARTS_MAX)
        return QV_CORRUPT(msg, "the snapshot's trailer has impossible sizes");
    return 0;
}

static int manifest_decode(struct qv_snapshot_reader *r, const uint8_t *p, size_t n,
                           struct qv_errmsg *msg)
{
    struct qv_rd rd;
    uint64_t at = sizeof r->header;
    qv_rd_init(&rd, p, n);
    r->count = qv_rd_u32(&rd);
    uint32_t none = qv_rd_u32(&rd);
    if (none != 0 || r->count != (n - MANIFEST_HEAD) / sizeof(struct snap_entry))
        return QV_CORRUPT(msg, "the snapshot's manifest of %zu bytes names %u parts", n, r->count);
    r->parts = qv_mem_try_calloc(r->count + 1, sizeof *r->parts);
    r->starts = qv_mem_try_calloc(r->count + 1, sizeof *r->starts);
    if (r->parts == NULL || r->starts == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < r->count; i++) {
        struct qv_snapshot_part *part = &r->parts[i];
        part->kind = qv_rd_u32(&rd);
        part->owner = qv_rd_u32(&rd);
        part->number = qv_rd_u32(&rd);
        none = qv_rd_u32(&rd);
        part->bytes = qv_rd_u64(&rd);
        part->hash = qv_rd_u64(&rd);
        r->starts[i] = at;
        if (none != 0 || part->bytes > r->manifest_at - at)
            return QV_CORRUPT(msg, "part %u of the snapshot does not fit", i);
        at += part->bytes;
    }
    if (at != r->manifest_at)
        return QV_CORRUPT(msg, "the snapshot's parts end at %llu, its manifest is at %llu",
                          (unsigned long long)at, (unsigned long long)r->manifest_at);
    return 0;
}

static int ends_read(struct qv_snapshot_reader *r, struct qv_errmsg *msg)
{
    struct snap_trailer t;
    int err = header_read(r, msg);
    if (err == 0)
        err = trailer_read(r, &t, msg);
    if (err != 0)
        return err;
    size_t n = (size_t)t.manifest_bytes;
    uint8_t *manifest = qv_mem_try_alloc(n);
    if (manifest == NULL)
        return QV_ENOMEM;
    r->manifest_at = t.manifest_at;
    err = read_at(r, t.manifest_at, manifest, n, msg);
    if (err == 0 && t.hash != whole_hash(&r->header, manifest, n))
        err = QV_CORRUPT(msg, "the snapshot's manifest fails its checksum");
    if (err == 0)
        err = manifest_decode(r, manifest, n, msg);
    qv_mem_free(manifest);
    return err;
}

int qv_snapshot_open(struct qv_disk *disk, const char *path, uint64_t offset, uint64_t bytes,
                     struct qv_snapshot_reader **out, struct qv_errmsg *msg)
{
    struct qv_snapshot_reader *r = qv_mem_calloc(1, sizeof *r);
    uint64_t size = 0;
    *out = NULL;
    r->path = qv_mem_strdup(path);
    r->chunk = qv_mem_alloc(CHUNK);
    int err = qv_disk_open(disk, path, QV_OPEN_READ, &r->file, msg);
    if (err == 0)
        err = qv_file_size(r->file, &size, msg);
    if (err == 0 && (offset > size || bytes > size - offset))
        err = QV_CORRUPT(msg, "a snapshot of %llu bytes in a file of %llu",
                         (unsigned long long)bytes, (unsigned long long)size);
    r->base = offset;
    r->bytes = bytes != 0 ? bytes : size - offset;
    if (err == 0)
        err = ends_read(r, msg);
    if (err != 0)
        qv_snapshot_close(r);
    else
        *out = r;
    return err;
}

void qv_snapshot_close(struct qv_snapshot_reader *r)
{
    if (r == NULL)
        return;
    qv_file_close(r->file);
    qv_mem_free(r->path);
    qv_mem_free(r->parts);
    qv_mem_free(r->starts);
    qv_mem_free(r->chunk);
    qv_mem_free(r);
}

enum qv_snapshot_kind qv_snapshot_kind(const struct qv_snapshot_reader *r)
{
    return (enum qv_snapshot_kind)r->header.kind;
}

uint64_t qv_snapshot_bytes(const struct qv_snapshot_reader *r)
{
    return r->bytes;
}

uint32_t qv_snapshot_part_count(const struct qv_snapshot_reader *r)
{
    return r->count;
}

const struct qv_snapshot_part *qv_snapshot_part(const struct qv_snapshot_reader *r, uint32_t i)
{
    QV_ASSERT(i < r->count);
    return &r->parts[i];
}

uint32_t qv_snapshot_find(const struct qv_snapshot_reader *r, uint32_t kind, uint32_t owner,
                          uint32_t number)
{
    for (uint32_t i = 0; i < r->count; i++) {
        const struct qv_snapshot_part *p = &r->parts[i];
        if (p->kind == kind && p->owner == owner && p->number == number)
            return i;
    }
    return UINT32_MAX;
}

/* ---- verification ---- */

static int hash_raw(struct qv_snapshot_reader *r, uint64_t from, uint64_t to, struct qv_errmsg *msg)
{
    for (int err; from < to;) {
        size_t n = to - from < CHUNK ? (size_t)(to - from) : CHUNK;
        err = read_at(r, from, r->chunk, n, msg);
        if (err != 0)
            return err;
        qv_sha256_add(&r->verify.sha, r->chunk, n);
        from += n;
    }
    return 0;
}

static int verify_end_part(struct qv_snapshot_reader *r, struct qv_errmsg *msg)
{
    const struct qv_snapshot_part *part = &r->parts[r->verify.part];
    if (r->verify.hash != part->hash)
        return QV_CORRUPT(msg, "part %u of the snapshot (offset %llu) fails its checksum",
                          r->verify.part, (unsigned long long)r->starts[r->verify.part]);
    r->verify.part++;
    r->verify.at = 0;
    r->verify.hash = 0;
    return 0;
}

int qv_snapshot_verify_step(struct qv_snapshot_reader *r, uint64_t bytes_max, bool with_sha,
                            bool *done, struct qv_errmsg *msg)
{
    uint64_t seen = 0;
    int err = 0;
    if (!r->verify.begun && with_sha) {
        qv_sha256_init(&r->verify.sha);
        qv_sha256_add(&r->verify.sha, &r->header, sizeof r->header);
    }
    r->verify.begun = true;
    while (err == 0 && r->verify.part < r->count && seen < bytes_max) {
        const struct qv_snapshot_part *part = &r->parts[r->verify.part];
        uint64_t left = part->bytes - r->verify.at;
        size_t n = left < CHUNK ? (size_t)left : CHUNK;
        if (n == 0) {
            err = verify_end_part(r, msg);
            continue;
        }
        err = read_at(r, r->starts[r->verify.part] + r->verify.at, r->chunk, n, msg);
        if (err != 0)
            break;
        r->verify.hash = qv_hash_64_seed(r->chunk, n, r->verify.hash);
        if (with_sha)
            qv_sha256_add(&r->verify.sha, r->chunk, n);
        r->verify.at += n;
        seen += n;
    }
    *done = err == 0 && r->verify.part == r->count;
    if (*done && with_sha && !r->verify.done) {
        err = hash_raw(r, r->manifest_at, r->bytes, msg);
        qv_sha256_end(&r->verify.sha, r->verify.result);
    }
    r->verify.done = *done;
    return err;
}

void qv_snapshot_sha256(const struct qv_snapshot_reader *r, uint8_t out[QV_SHA256_BYTES])
{
    QV_ASSERT(r->verify.done);
    memcpy(out, r->verify.result, QV_SHA256_BYTES);
}

/* ---- reading a part ---- */

void qv_snapshot_begin_read(struct qv_snapshot_reader *r, uint32_t part)
{
    QV_ASSERT(part < r->count);
    memset(&r->read, 0, sizeof r->read);
    r->read.part = part;
}

uint64_t qv_snapshot_left(const struct qv_snapshot_reader *r)
{
    return r->parts[r->read.part].bytes - r->read.at + (r->read.chunk_used - r->read.chunk_at);
}

static int chunk_load(struct qv_snapshot_reader *r, struct qv_errmsg *msg)
{
    uint64_t left = r->parts[r->read.part].bytes - r->read.at;
    size_t n = left < CHUNK ? (size_t)left : CHUNK;
    QV_ASSERT(n > 0);
    int err = read_at(r, r->starts[r->read.part] + r->read.at, r->chunk, n, msg);
    if (err != 0)
        return err;
    r->read.hash = qv_hash_64_seed(r->chunk, n, r->read.hash);
    r->read.at += n;
    r->read.chunk_at = 0;
    r->read.chunk_used = n;
    return 0;
}

int qv_snapshot_read(struct qv_snapshot_reader *r, void *p, size_t n, struct qv_errmsg *msg)
{
    uint8_t *to = p;
    if (n > qv_snapshot_left(r))
        return QV_CORRUPT(msg, "part %u of the snapshot ends too early", r->read.part);
    while (n > 0) {
        int err = r->read.chunk_at == r->read.chunk_used ? chunk_load(r, msg) : 0;
        if (err != 0)
            return err;
        size_t room = r->read.chunk_used - r->read.chunk_at;
        size_t part = n < room ? n : room;
        memcpy(to, r->chunk + r->read.chunk_at, part);
        r->read.chunk_at += part;
        to += part;
        n -= part;
    }
    return 0;
}

int qv_snapshot_end_read(struct qv_snapshot_reader *r, struct qv_errmsg *msg)
{
    if (qv_snapshot_left(r) > 0)
        return QV_CORRUPT(msg, "part %u of the snapshot: %llu bytes too many", r->read.part,
                          (unsigned long long)qv_snapshot_left(r));
    if (r->read.hash != r->parts[r->read.part].hash)
        return QV_CORRUPT(msg, "part %u of the snapshot fails its checksum", r->read.part);
    return 0;
}
