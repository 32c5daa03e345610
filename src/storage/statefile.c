#include "storage/statefile.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdio.h>

#define HEAD_MAGIC "QVSTATE\n"
#define FOOT_MAGIC "QVSTEND\n"
#define FORMAT 1u
#define PATH_BYTES 4096

struct state_header {
    char magic[8];
    uint32_t format;
    uint32_t kind;
    uint32_t kind_version;
    uint32_t chunk_bytes;
    uint64_t payload_bytes;
    uint8_t zero[28];
    uint32_t crc; /* of the 60 bytes before */
};
QV_STATIC_ASSERT(sizeof(struct state_header) == 64, "format");

struct state_chunk {
    uint32_t crc; /* of the 12 bytes behind and the payload */
    uint32_t bytes;
    uint64_t index;
};
QV_STATIC_ASSERT(sizeof(struct state_chunk) == 16, "format");

struct state_footer {
    char magic[8];
    uint64_t payload_bytes;
    uint64_t payload_hash;
    uint32_t zero;
    uint32_t crc; /* of the 28 bytes before */
};
QV_STATIC_ASSERT(sizeof(struct state_footer) == 32, "format");

#define CHUNK_HEAD sizeof(struct state_chunk)

static uint64_t chunk_count(uint64_t payload)
{
    return (payload + QV_STATEFILE_CHUNK_BYTES - 1) / QV_STATEFILE_CHUNK_BYTES;
}

static uint32_t chunk_crc(const uint8_t *chunk)
{
    const struct state_chunk *c = (const struct state_chunk *)(const void *)chunk;
    return qv_hash_crc32c(0, chunk + 4, CHUNK_HEAD - 4 + c->bytes);
}

/* ---- writing ---- */

struct qv_statefile_writer {
    struct qv_disk *disk;
    struct qv_file *file;
    char *path;
    char *tmp;
    uint8_t *chunk; /* head and payload */
    size_t used;    /* payload bytes in it */
    uint64_t index;
    uint64_t offset;
    struct qv_statefile_info info;
    int err;
};

static void writer_free(struct qv_statefile_writer *w)
{
    qv_file_close(w->file);
    qv_mem_free(w->path);
    qv_mem_free(w->tmp);
    qv_mem_free(w->chunk);
    qv_mem_free(w);
}

int qv_statefile_create(struct qv_disk *disk, const char *path, uint32_t kind,
                        uint32_t kind_version, struct qv_statefile_writer **out,
                        struct qv_errmsg *msg)
{
    char tmp[PATH_BYTES];
    *out = NULL;
    int n = snprintf(tmp, sizeof tmp, "%s.tmp", path);
    if (n < 0 || n >= (int)sizeof tmp)
        return qv_fail(msg, QV_ETOOBIG, "path of %zu bytes", strlen(path));
    struct qv_statefile_writer *w = qv_mem_calloc(1, sizeof *w);
    w->disk = disk;
    w->path = qv_mem_strdup(path);
    w->tmp = qv_mem_strdup(tmp);
    w->info.kind = kind;
    w->info.kind_version = kind_version;
    w->offset = sizeof(struct state_header);
    w->chunk = qv_mem_try_aligned(64, CHUNK_HEAD + QV_STATEFILE_CHUNK_BYTES);
    int err = w->chunk != NULL ? 0 : qv_fail(msg, QV_ENOMEM, "no memory to write %s", path);
    if (err == 0)
        err =
            qv_disk_open(disk, tmp, QV_OPEN_WRITE | QV_OPEN_CREATE | QV_OPEN_TRUNC, &w->file, msg);
    if (err != 0) {
        writer_free(w);
        return err;
    }
    *out = w;
    return 0;
}

static int chunk_write(struct qv_statefile_writer *w, struct qv_errmsg *msg)
{
    struct state_chunk *c = (struct state_chunk *)(void *)w->chunk;
    QV_ASSERT(w->used > 0 && w->used <= QV_STATEFILE_CHUNK_BYTES);
    c->bytes = (uint32_t)w->used;
    c->index = w->index++;
    c->crc = chunk_crc(w->chunk);
    w->info.payload_hash = qv_hash_64_seed(w->chunk + CHUNK_HEAD, w->used, w->info.payload_hash);
    w->info.payload_bytes += w->used;
    int err = qv_file_pwrite_full(w->file, w->offset, w->chunk, CHUNK_HEAD + w->used, msg);
    w->offset += CHUNK_HEAD + w->used;
    w->used = 0;
    return err;
}

int qv_statefile_append(struct qv_statefile_writer *w, const void *p, size_t n,
                        struct qv_errmsg *msg)
{
    const uint8_t *from = p;
    if (w->err != 0)
        return qv_fail(msg, w->err, "%s: an earlier write failed", w->tmp);
    while (n > 0 && w->err == 0) {
        size_t room = QV_STATEFILE_CHUNK_BYTES - w->used;
        size_t part = n < room ? n : room;
        memcpy(w->chunk + CHUNK_HEAD + w->used, from, part);
        w->used += part;
        from += part;
        n -= part;
        if (w->used == QV_STATEFILE_CHUNK_BYTES)
            w->err = chunk_write(w, msg);
    }
    return w->err;
}

static int ends_write(struct qv_statefile_writer *w, struct qv_errmsg *msg)
{
    struct state_header h = {
        .format = FORMAT,
        .kind = w->info.kind,
        .kind_version = w->info.kind_version,
        .chunk_bytes = (uint32_t)QV_STATEFILE_CHUNK_BYTES,
        .payload_bytes = w->info.payload_bytes,
    };
    struct state_footer f = {
        .payload_bytes = w->info.payload_bytes,
        .payload_hash = w->info.payload_hash,
    };
    memcpy(h.magic, HEAD_MAGIC, sizeof h.magic);
    memcpy(f.magic, FOOT_MAGIC, sizeof f.magic);
    h.crc = qv_hash_crc32c(0, &h, offsetof(struct state_header, crc));
    f.crc = qv_hash_crc32c(0, &f, offsetof(struct state_footer, crc));
    int err = qv_file_pwrite_full(w->file, w->offset, &f, sizeof f, msg);
    return err != 0 ? err : qv_file_pwrite_full(w->file, 0, &h, sizeof h, msg);
}

static int dir_sync(struct qv_disk *disk, const char *path, struct qv_errmsg *msg)
{
    char dir[PATH_BYTES];
    const char *slash = strrchr(path, '/');
    snprintf(dir, sizeof dir, "%.*s", slash == NULL ? 1 : (int)(slash - path),
             slash == NULL ? "." : path);
    return qv_disk_sync_dir(disk, dir[0] != '\0' ? dir : "/", msg);
}

int qv_statefile_finish(struct qv_statefile_writer *w, struct qv_statefile_info *out,
                        struct qv_errmsg *msg)
{
    int err = w->err;
    if (err != 0)
        err = qv_fail(msg, err, "%s: an earlier write failed", w->tmp);
    if (err == 0 && w->used > 0)
        err = chunk_write(w, msg);
    if (err == 0)
        err = ends_write(w, msg);
    if (err == 0)
        err = qv_file_sync(w->file, msg);
    if (err == 0)
        err = qv_disk_rename(w->disk, w->tmp, w->path, msg);
    if (err != 0) {
        qv_statefile_abort(w);
        return err;
    }
    err = dir_sync(w->disk, w->path, msg);
    if (out != NULL)
        *out = w->info;
    writer_free(w);
    return err;
}

void qv_statefile_abort(struct qv_statefile_writer *w)
{
    if (w == NULL)
        return;
    int ignored = qv_disk_unlink(w->disk, w->tmp, NULL); /* an orphan .tmp harms nobody */
    (void)ignored;
    writer_free(w);
}

/* ---- reading ---- */

struct qv_statefile_reader {
    struct qv_file *file;
    char *path;
    uint8_t *chunk;
    size_t at, used; /* in the chunk's payload */
    uint64_t index;
    uint64_t offset;
    uint64_t left; /* payload bytes not in a chunk read yet */
    uint64_t hash;
    struct qv_statefile_info info;
};

static int header_read(struct qv_statefile_reader *r, uint32_t kind, uint32_t kind_version_max,
                       struct qv_errmsg *msg)
{
    struct state_header h;
    uint64_t size = 0;
    int err = qv_file_size(r->file, &size, msg);
    if (err == 0 && size < sizeof h + sizeof(struct state_footer))
        return QV_CORRUPT(msg, "%s: %llu bytes, shorter than its ends", r->path,
                          (unsigned long long)size);
    if (err == 0)
        err = qv_file_pread_full(r->file, 0, &h, sizeof h, msg);
    if (err != 0)
        return err;
    if (memcmp(h.magic, HEAD_MAGIC, sizeof h.magic) != 0 ||
        h.crc != qv_hash_crc32c(0, &h, offsetof(struct state_header, crc)))
        return QV_CORRUPT(msg, "%s, offset 0: bad header", r->path);
    if (h.format > FORMAT || (h.kind == kind && h.kind_version > kind_version_max))
        return qv_fail(msg, QV_ENOTIMPL, "%s: format %u.%u is newer than this version", r->path,
                       h.format, h.kind_version);
    if (kind != 0 && h.kind != kind)
        return QV_CORRUPT(msg, "%s: kind %u, expected %u", r->path, h.kind, kind);
    if (h.chunk_bytes != QV_STATEFILE_CHUNK_BYTES || h.payload_bytes > size)
        return QV_CORRUPT(msg, "%s, offset 0: impossible sizes", r->path);
    uint64_t want = sizeof h + sizeof(struct state_footer) + h.payload_bytes +
                    chunk_count(h.payload_bytes) * CHUNK_HEAD;
    if (size != want)
        return QV_CORRUPT(msg, "%s: %llu bytes, expected %llu", r->path, (unsigned long long)size,
                          (unsigned long long)want);
    r->info.kind = h.kind;
    r->info.kind_version = h.kind_version;
    r->info.payload_bytes = h.payload_bytes;
    r->left = h.payload_bytes;
    r->offset = sizeof h;
    return 0;
}

static int footer_read(struct qv_statefile_reader *r, struct qv_errmsg *msg)
{
    struct state_footer f;
    uint64_t at = sizeof(struct state_header) + r->info.payload_bytes +
                  chunk_count(r->info.payload_bytes) * CHUNK_HEAD;
    int err = qv_file_pread_full(r->file, at, &f, sizeof f, msg);
    if (err != 0)
        return err;
    if (memcmp(f.magic, FOOT_MAGIC, sizeof f.magic) != 0 || f.zero != 0 ||
        f.crc != qv_hash_crc32c(0, &f, offsetof(struct state_footer, crc)) ||
        f.payload_bytes != r->info.payload_bytes)
        return QV_CORRUPT(msg, "%s, offset %llu: bad footer", r->path, (unsigned long long)at);
    r->info.payload_hash = f.payload_hash;
    return 0;
}

int qv_statefile_open(struct qv_disk *disk, const char *path, uint32_t kind,
                      uint32_t kind_version_max, struct qv_statefile_reader **out,
                      struct qv_errmsg *msg)
{
    *out = NULL;
    struct qv_statefile_reader *r = qv_mem_calloc(1, sizeof *r);
    r->path = qv_mem_strdup(path);
    r->chunk = qv_mem_try_aligned(64, CHUNK_HEAD + QV_STATEFILE_CHUNK_BYTES);
    int err = r->chunk != NULL ? 0 : qv_fail(msg, QV_ENOMEM, "no memory to read %s", path);
    if (err == 0)
        err = qv_disk_open(disk, path, QV_OPEN_READ, &r->file, msg);
    if (err == 0)
        err = header_read(r, kind, kind_version_max, msg);
    if (err == 0)
        err = footer_read(r, msg);
    if (err != 0)
        qv_statefile_close(r);
    else
        *out = r;
    return err;
}

struct qv_statefile_info qv_statefile_get_info(const struct qv_statefile_reader *r)
{
    return r->info;
}

static int chunk_read(struct qv_statefile_reader *r, struct qv_errmsg *msg)
{
    const struct state_chunk *c = (const struct state_chunk *)(const void *)r->chunk;
    size_t n = r->left < QV_STATEFILE_CHUNK_BYTES ? (size_t)r->left : QV_STATEFILE_CHUNK_BYTES;
    QV_ASSERT(r->at == r->used && n > 0);
    int err = qv_file_pread_full(r->file, r->offset, r->chunk, CHUNK_HEAD + n, msg);
    if (err != 0)
        return err;
    if (c->bytes != n || c->index != r->index || c->crc != chunk_crc(r->chunk))
        return QV_CORRUPT(msg, "%s, offset %llu: checksum of chunk %llu", r->path,
                          (unsigned long long)r->offset, (unsigned long long)r->index);
    r->hash = qv_hash_64_seed(r->chunk + CHUNK_HEAD, n, r->hash);
    r->offset += CHUNK_HEAD + n;
    r->left -= n;
    r->index++;
    r->at = 0;
    r->used = n;
    return 0;
}

int qv_statefile_read(struct qv_statefile_reader *r, void *p, size_t n, struct qv_errmsg *msg)
{
    uint8_t *to = p;
    if (n > qv_statefile_left(r))
        return QV_CORRUPT(msg, "%s: the payload of %llu bytes ends too early", r->path,
                          (unsigned long long)r->info.payload_bytes);
    while (n > 0) {
        int err = r->at == r->used ? chunk_read(r, msg) : 0;
        if (err != 0)
            return err;
        size_t part = n < r->used - r->at ? n : r->used - r->at;
        memcpy(to, r->chunk + CHUNK_HEAD + r->at, part);
        r->at += part;
        to += part;
        n -= part;
    }
    return 0;
}

uint64_t qv_statefile_left(const struct qv_statefile_reader *r)
{
    return r->left + (r->used - r->at);
}

int qv_statefile_end(struct qv_statefile_reader *r, struct qv_errmsg *msg)
{
    if (qv_statefile_left(r) > 0)
        return QV_CORRUPT(msg, "%s: %llu payload bytes more than expected", r->path,
                          (unsigned long long)qv_statefile_left(r));
    if (r->hash != r->info.payload_hash)
        return QV_CORRUPT(msg, "%s: hash of the payload", r->path);
    return 0;
}

void qv_statefile_close(struct qv_statefile_reader *r)
{
    if (r == NULL)
        return;
    qv_file_close(r->file);
    qv_mem_free(r->path);
    qv_mem_free(r->chunk);
    qv_mem_free(r);
}

int qv_statefile_check(struct qv_disk *disk, const char *path, struct qv_statefile_info *info,
                       struct qv_errmsg *msg)
{
    struct qv_statefile_reader *r = NULL;
    int err = qv_statefile_open(disk, path, 0, UINT32_MAX, &r, msg);
    if (err != 0)
        return err;
    while (err == 0 && r->left > 0) {
        err = chunk_read(r, msg);
        r->at = r->used;
    }
    if (err == 0)
        err = qv_statefile_end(r, msg);
    *info = r->info;
    qv_statefile_close(r);
    return err;
}
