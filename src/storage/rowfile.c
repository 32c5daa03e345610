#include "storage/rowfile.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "base/vmem.h"

#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>

#define HEADER_BYTES 4096u
#define MAGIC "QVROWS\r\n"
#define FORMAT 1u
#define ROW_BYTES_MAX (65536u * 4u)
#define STEP_MIN ((uint64_t)256 << 10)
#define STEP_MAX ((uint64_t)64 << 20)
#define PAGE 4096u
#define COPY_BYTES ((size_t)1 << 20)
#define PATH_BYTES 4096

struct row_header {
    char magic[8];
    uint32_t format;
    uint32_t header_bytes;
    uint32_t row_bytes;
    uint32_t stride;
    uint64_t id;
    uint8_t zero[28];
    uint32_t crc; /* of the 60 bytes before */
};
QV_STATIC_ASSERT(sizeof(struct row_header) == 64, "format");

struct qv_rowfile {
    struct qv_disk *disk;
    struct qv_file *file;
    char *path;
    struct qv_rowfile_config config;
    struct qv_vmem range; /* address space; never grown, only mapped over */
    uint64_t file_bytes;  /* allocated and mapped */
    _Atomic uint32_t capacity;
    uint8_t *row; /* one stride: a row and zeros behind it */
};

static uint64_t round_page(uint64_t n)
{
    return (n + PAGE - 1) / PAGE * PAGE;
}

static uint64_t bytes_for(const struct qv_rowfile *f, uint32_t slots)
{
    return round_page(HEADER_BYTES + (uint64_t)slots * f->config.stride);
}

static int config_check(struct qv_rowfile_config *c, struct qv_errmsg *msg)
{
    if (c->row_bytes == 0 || c->row_bytes > ROW_BYTES_MAX)
        return qv_fail(msg, QV_EINVAL, "rows of %u bytes; 1 to %u are possible", c->row_bytes,
                       ROW_BYTES_MAX);
    if (c->stride == 0)
        c->stride = (c->row_bytes + 3) / 4 * 4;
    if (c->stride < c->row_bytes || c->stride > 2 * ROW_BYTES_MAX || c->slot_max == 0)
        return qv_fail(msg, QV_EINVAL, "stride %u for rows of %u bytes, at most %u slots",
                       c->stride, c->row_bytes, c->slot_max);
    return 0;
}

static void header_make(const struct qv_rowfile *f, struct row_header *h)
{
    memset(h, 0, sizeof *h);
    memcpy(h->magic, MAGIC, sizeof h->magic);
    h->format = FORMAT;
    h->header_bytes = HEADER_BYTES;
    h->row_bytes = f->config.row_bytes;
    h->stride = f->config.stride;
    h->id = f->config.id;
    h->crc = qv_hash_crc32c(0, h, offsetof(struct row_header, crc));
}

/* Maps what the file has beyond what was mapped; base stays. */
static int map_to(struct qv_rowfile *f, uint64_t bytes, struct qv_errmsg *msg)
{
    const uint8_t *p = NULL;
    QV_ASSERT(bytes % PAGE == 0 && bytes > f->file_bytes && bytes <= f->range.reserved_bytes);
    int err = qv_file_map(f->file, f->file_bytes, (size_t)(bytes - f->file_bytes),
                          f->range.base + f->file_bytes, &p, msg);
    if (err != 0)
        return err;
    QV_ASSERT(p == f->range.base + f->file_bytes);
    f->file_bytes = bytes;
    uint64_t slots = (bytes - HEADER_BYTES) / f->config.stride;
    if (slots > f->config.slot_max)
        slots = f->config.slot_max;
    f->capacity = (uint32_t)slots;
    return 0;
}

static int file_create(struct qv_rowfile *f, const char *path, struct qv_errmsg *msg)
{
    struct row_header h;
    int err =
        qv_disk_open(f->disk, path, QV_OPEN_WRITE | QV_OPEN_CREATE | QV_OPEN_EXCL, &f->file, msg);
    if (err != 0)
        return err;
    header_make(f, &h);
    err = qv_file_allocate(f->file, 0, HEADER_BYTES, msg);
    if (err == 0)
        err = qv_file_pwrite_full(f->file, 0, &h, sizeof h, msg);
    if (err == 0)
        err = map_to(f, HEADER_BYTES, msg);
    return err;
}

static int file_open(struct qv_rowfile *f, const char *path, struct qv_errmsg *msg)
{
    struct row_header h;
    struct row_header want;
    uint64_t size = 0;
    unsigned flags = f->config.read_only ? QV_OPEN_READ : QV_OPEN_WRITE;
    int err = qv_disk_open(f->disk, path, flags, &f->file, msg);
    if (err == 0)
        err = qv_file_size(f->file, &size, msg);
    if (err == 0 && size < HEADER_BYTES)
        err = QV_CORRUPT(msg, "%s: %llu bytes, shorter than its header", path,
                         (unsigned long long)size);
    if (err == 0)
        err = qv_file_pread_full(f->file, 0, &h, sizeof h, msg);
    if (err != 0)
        return err;
    header_make(f, &want);
    if (memcmp(h.magic, MAGIC, sizeof h.magic) != 0 ||
        h.crc != qv_hash_crc32c(0, &h, offsetof(struct row_header, crc)))
        return QV_CORRUPT(msg, "%s, offset 0: bad header", path);
    if (h.format != FORMAT)
        return qv_fail(msg, QV_ENOTIMPL, "%s: format %u, this version knows %u", path, h.format,
                       FORMAT);
    if (memcmp(&h, &want, sizeof h) != 0)
        return QV_CORRUPT(msg, "%s: rows of %u bytes, stride %u, id %llx; expected %u, %u, %llx",
                          path, h.row_bytes, h.stride, (unsigned long long)h.id, want.row_bytes,
                          want.stride, (unsigned long long)want.id);
    uint64_t most = bytes_for(f, f->config.slot_max);
    uint64_t bytes = size < most ? size / PAGE * PAGE : most;
    return map_to(f, bytes, msg);
}

int qv_rowfile_open(struct qv_disk *disk, const char *path, const struct qv_rowfile_config *config,
                    struct qv_rowfile **out, struct qv_errmsg *msg)
{
    struct qv_rowfile_config c = *config;
    *out = NULL;
    int err = config_check(&c, msg);
    if (err != 0)
        return err;
    struct qv_rowfile *f = qv_mem_calloc(1, sizeof *f);
    f->disk = disk;
    f->path = qv_mem_strdup(path);
    f->config = c;
    f->row = qv_mem_calloc(1, c.stride);
    err = qv_vmem_reserve(&f->range, (size_t)bytes_for(f, c.slot_max), false);
    if (err != 0)
        err = qv_fail(msg, err, "%s: no address space for %u rows of %u bytes", path, c.slot_max,
                      c.stride);
    if (err == 0)
        err = c.create ? file_create(f, path, msg) : file_open(f, path, msg);
    if (err != 0)
        qv_rowfile_close(f);
    else
        *out = f;
    return err;
}

int qv_rowfile_reserve(struct qv_rowfile *f, uint32_t slots, struct qv_errmsg *msg)
{
    if (slots <= f->capacity)
        return 0;
    if (slots > f->config.slot_max)
        return qv_fail(msg, QV_ELIMIT, "%s: %u rows; at most %u are possible", f->file->path, slots,
                       f->config.slot_max);
    uint64_t need = bytes_for(f, slots);
    uint64_t most = bytes_for(f, f->config.slot_max);
    uint64_t step = f->file_bytes / 2;
    step = step < STEP_MIN ? STEP_MIN : step > STEP_MAX ? STEP_MAX : round_page(step);
    uint64_t want = f->file_bytes + step > need ? f->file_bytes + step : need;
    if (want > most)
        want = most;
    int err = qv_file_allocate(f->file, f->file_bytes, want - f->file_bytes, msg);
    if (err == QV_ENOSPC && want > need) { /* the last bit of a full disk */
        want = need;
        err = qv_file_allocate(f->file, f->file_bytes, want - f->file_bytes, msg);
    }
    return err != 0 ? err : map_to(f, want, msg);
}

uint32_t qv_rowfile_capacity(const struct qv_rowfile *f)
{
    return f->capacity;
}

const uint8_t *qv_rowfile_base(const struct qv_rowfile *f)
{
    return f->range.base + HEADER_BYTES;
}

uint32_t qv_rowfile_stride(const struct qv_rowfile *f)
{
    return f->config.stride;
}

int qv_rowfile_write(struct qv_rowfile *f, uint32_t slot, uint32_t n, const void *rows,
                     struct qv_errmsg *msg)
{
    if (n > f->config.slot_max || slot > f->config.slot_max - n)
        return qv_fail(msg, QV_ELIMIT, "%s: slot %u + %u of at most %u", f->file->path, slot, n,
                       f->config.slot_max);
    int err = qv_rowfile_reserve(f, slot + n, msg);
    if (err != 0 || n == 0)
        return err;
    QV_ASSERT(slot + n <= f->capacity);
    return qv_file_pwrite_full(f->file, HEADER_BYTES + (uint64_t)slot * f->config.stride, rows,
                               (size_t)n * f->config.stride, msg);
}

int qv_rowfile_write_row(struct qv_rowfile *f, uint32_t slot, const void *row,
                         struct qv_errmsg *msg)
{
    if (f->config.stride == f->config.row_bytes)
        return qv_rowfile_write(f, slot, 1, row, msg);
    memcpy(f->row, row, f->config.row_bytes); /* the bytes behind it stay zero */
    return qv_rowfile_write(f, slot, 1, f->row, msg);
}

int qv_rowfile_sync(struct qv_rowfile *f, struct qv_errmsg *msg)
{
    return qv_file_sync_gently(f->file, msg);
}

/* ---- a new file ---- */

bool qv_rowfile_failed(const struct qv_rowfile *f)
{
    return atomic_load(&f->file->failed);
}

const char *qv_rowfile_path(const struct qv_rowfile *f)
{
    return f->path;
}

static int copy_bytes(const struct qv_rowfile *f, struct qv_file *to, struct qv_errmsg *msg)
{
    uint8_t *chunk = qv_mem_try_alloc(COPY_BYTES);
    int err = chunk == NULL ? qv_fail(msg, QV_ENOMEM, "no memory to copy %s", f->path) : 0;
    for (uint64_t at = 0; at < f->file_bytes && err == 0; at += COPY_BYTES) {
        size_t n = f->file_bytes - at < COPY_BYTES ? (size_t)(f->file_bytes - at) : COPY_BYTES;
        err = qv_file_pread_full(f->file, at, chunk, n, msg);
        if (err == 0)
            err = qv_file_pwrite_full(to, at, chunk, n, msg);
    }
    qv_mem_free(chunk);
    return err;
}

int qv_rowfile_copy(struct qv_rowfile *f, struct qv_file **out, struct qv_errmsg *msg)
{
    char tmp[PATH_BYTES];
    char dir[PATH_BYTES];
    struct qv_file *to = NULL;
    *out = NULL;
    int n = snprintf(tmp, sizeof tmp, "%s.tmp", f->path);
    if (n < 0 || n >= (int)sizeof tmp)
        return qv_fail(msg, QV_ETOOBIG, "path of %zu bytes", strlen(f->path));
    const char *slash = strrchr(f->path, '/');
    snprintf(dir, sizeof dir, "%.*s", slash != NULL ? (int)(slash - f->path) : 1,
             slash != NULL ? f->path : ".");
    int err = qv_disk_open(f->disk, tmp, QV_OPEN_WRITE | QV_OPEN_CREATE | QV_OPEN_TRUNC, &to, msg);
    if (err == 0)
        err = qv_file_allocate(to, 0, f->file_bytes, msg);
    if (err == 0)
        err = copy_bytes(f, to, msg);
    if (err == 0)
        err = qv_file_sync(to, msg);
    if (err == 0)
        err = qv_disk_rename(f->disk, tmp, f->path, msg);
    if (err == 0)
        err = qv_disk_sync_dir(f->disk, dir, msg);
    int ignored = err != 0 && to != NULL ? qv_disk_unlink(f->disk, tmp, NULL) : 0;
    (void)ignored; /* the next try empties it, the next open removes it */
    qv_file_close(to);
    return err == 0 ? qv_disk_open(f->disk, f->path, QV_OPEN_WRITE, out, msg) : err;
}

int qv_rowfile_adopt(struct qv_rowfile *f, struct qv_file *copy, struct qv_errmsg *msg)
{
    const uint8_t *p = NULL;
    int err = qv_file_map(copy, 0, (size_t)f->file_bytes, f->range.base, &p, msg);
    if (err != 0) {
        qv_file_close(copy);
        return err;
    }
    QV_ASSERT(p == f->range.base && !copy->failed);
    qv_file_close(f->file);
    f->file = copy;
    return 0;
}

uint64_t qv_rowfile_disk_bytes(const struct qv_rowfile *f)
{
    return f->file_bytes;
}

void qv_rowfile_prefetch(const struct qv_rowfile *f, uint32_t slot, uint32_t n)
{
    uint32_t capacity = f->capacity;
    if (slot >= capacity || n == 0)
        return;
    n = n < capacity - slot ? n : capacity - slot;
    uint64_t from = (HEADER_BYTES + (uint64_t)slot * f->config.stride) / PAGE * PAGE;
    uint64_t to = HEADER_BYTES + (uint64_t)(slot + n) * f->config.stride;
    (void)madvise(f->range.base + from, (size_t)(to - from), MADV_WILLNEED); /* only advice */
}

void qv_rowfile_close(struct qv_rowfile *f)
{
    if (f == NULL)
        return;
    qv_vmem_close(&f->range); /* the mappings lie in it */
    qv_file_close(f->file);
    qv_mem_free(f->row);
    qv_mem_free(f->path);
    qv_mem_free(f);
}
