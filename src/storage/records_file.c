#include "storage/records_file.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/qv_assert.h"

#include <string.h>

#define RECORDS_MAGIC 0x41544D51u /* "QMTA" */
#define RECORDS_FORMAT 1
#define RECORDS_FILE_BYTES_MAX ((size_t)256 << 20)

struct entry {
    char *key;
    uint8_t *value;
    uint32_t value_bytes;
};

struct records_file {
    struct qv_records base;
    struct qv_disk *disk;
    char *path;
    struct entry *entries; /* ascending by key */
    uint32_t count;
};

static void entry_close(struct entry *e)
{
    qv_mem_free(e->key);
    qv_mem_free(e->value);
}

static void entries_free(struct entry *entries, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        entry_close(&entries[i]);
    qv_mem_free(entries);
}

static struct entry entry_make(const char *key, size_t key_bytes, struct qv_bytes value)
{
    struct entry e = {.key = qv_mem_strndup(key, key_bytes), .value_bytes = (uint32_t)value.n};
    e.value = qv_mem_alloc(value.n);
    if (value.n > 0)
        memcpy(e.value, value.p, value.n);
    return e;
}

/* Where key is, or would be put. */
static uint32_t find(const struct entry *entries, uint32_t count, const char *key, bool *there)
{
    uint32_t lo = 0;
    uint32_t hi = count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (strcmp(entries[mid].key, key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *there = lo < count && strcmp(entries[lo].key, key) == 0;
    return lo;
}

/* ---- the file ---- */

static int save(const struct records_file *r, const struct entry *entries, uint32_t count,
                uint64_t epoch, struct qv_errmsg *msg)
{
    struct qv_buf b;
    qv_buf_init(&b, RECORDS_FILE_BYTES_MAX);
    qv_buf_u32(&b, RECORDS_MAGIC);
    qv_buf_u32(&b, RECORDS_FORMAT);
    qv_buf_u64(&b, epoch);
    qv_buf_u32(&b, count);
    for (uint32_t i = 0; i < count; i++) {
        size_t key_bytes = strlen(entries[i].key);
        qv_buf_u32(&b, (uint32_t)key_bytes);
        qv_buf_u32(&b, entries[i].value_bytes);
        qv_buf_append(&b, entries[i].key, key_bytes);
        qv_buf_append(&b, entries[i].value, entries[i].value_bytes);
    }
    if (!b.failed)
        qv_buf_u32(&b, qv_hash_crc32c(0, b.data, b.len));
    int err = b.failed ? qv_fail(msg, QV_ELIMIT, "the metadata is too large")
                       : qv_disk_replace_file(r->disk, r->path, b.data, b.len, msg);
    qv_buf_close(&b);
    return err;
}

static int read_entries(struct records_file *r, struct qv_rd *rd, uint32_t count,
                        struct qv_errmsg *msg)
{
    r->entries = qv_mem_calloc(count, sizeof *r->entries);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t key_bytes = qv_rd_u32(rd);
        uint32_t value_bytes = qv_rd_u32(rd);
        const uint8_t *key = qv_rd_take(rd, key_bytes);
        const uint8_t *value = qv_rd_take(rd, value_bytes);
        if (rd->failed || key_bytes == 0 || key_bytes > QV_RECORDS_KEY_BYTES_MAX ||
            memchr(key, 0, key_bytes) != NULL || value_bytes > QV_RECORDS_VALUE_BYTES_MAX)
            return QV_CORRUPT(msg, "%s: entry %u of %u", r->path, i, count);
        r->entries[r->count++] =
            entry_make((const char *)key, key_bytes, (struct qv_bytes){value, value_bytes});
        if (i > 0 && strcmp(r->entries[i - 1].key, r->entries[i].key) >= 0)
            return QV_CORRUPT(msg, "%s: entry %u of %u is out of order", r->path, i, count);
    }
    return 0;
}

static int parse(struct records_file *r, struct qv_bytes bytes, struct qv_errmsg *msg)
{
    struct qv_rd rd;
    uint32_t crc = 0;
    if (bytes.n < 24)
        return QV_CORRUPT(msg, "%s: only %zu bytes", r->path, bytes.n);
    memcpy(&crc, bytes.p + bytes.n - sizeof crc, sizeof crc);
    if (crc != qv_hash_crc32c(0, bytes.p, bytes.n - sizeof crc))
        return QV_CORRUPT(msg, "%s fails its checksum", r->path);
    qv_rd_init(&rd, bytes.p, bytes.n - sizeof crc);
    uint32_t magic = qv_rd_u32(&rd);
    uint32_t format = qv_rd_u32(&rd);
    r->base.epoch = qv_rd_u64(&rd);
    uint32_t count = qv_rd_u32(&rd);
    if (magic != RECORDS_MAGIC || format == 0 || count > QV_RECORDS_KEYS_MAX)
        return QV_CORRUPT(msg, "%s is no metadata file", r->path);
    if (format > RECORDS_FORMAT)
        return qv_fail(msg, QV_ENOTIMPL, "%s: format %u of a newer version", r->path, format);
    int err = read_entries(r, &rd, count, msg);
    if (err == 0 && qv_rd_left(&rd) != 0)
        err = QV_CORRUPT(msg, "%s: %zu bytes too many", r->path, qv_rd_left(&rd));
    return err;
}

/* ---- operations ---- */

static int check_change(const struct qv_records_change *c, struct qv_errmsg *msg)
{
    size_t n = strlen(c->key);
    if (n == 0 || n > QV_RECORDS_KEY_BYTES_MAX)
        return qv_fail(msg, QV_ELIMIT, "metadata key of %zu bytes, 1 to %u are allowed", n,
                       QV_RECORDS_KEY_BYTES_MAX);
    if (c->value.n > QV_RECORDS_VALUE_BYTES_MAX)
        return qv_fail(msg, QV_ELIMIT, "metadata value of %zu bytes, at most %u are allowed",
                       c->value.n, QV_RECORDS_VALUE_BYTES_MAX);
    return 0;
}

static void put(struct entry *entries, uint32_t *count, const struct qv_records_change *c)
{
    bool there;
    uint32_t at = find(entries, *count, c->key, &there);
    if (there) {
        entry_close(&entries[at]);
        if (c->value.p == NULL) {
            (*count)--;
            memmove(entries + at, entries + at + 1, (*count - at) * sizeof *entries);
            return;
        }
    } else if (c->value.p == NULL) {
        return;
    } else {
        memmove(entries + at + 1, entries + at, (*count - at) * sizeof *entries);
        (*count)++;
    }
    entries[at] = entry_make(c->key, strlen(c->key), c->value);
}

static int file_txn(struct qv_records *base, uint64_t epoch,
                    const struct qv_records_change *changes, size_t n, struct qv_errmsg *msg)
{
    struct records_file *r = (struct records_file *)base;
    if (epoch != base->epoch)
        return qv_fail(msg, QV_ESTALE, "the metadata is at epoch %llu, not %llu",
                       (unsigned long long)base->epoch, (unsigned long long)epoch);
    if (r->count + n > QV_RECORDS_KEYS_MAX)
        return qv_fail(msg, QV_ELIMIT, "more than %u metadata records", QV_RECORDS_KEYS_MAX);
    for (size_t i = 0; i < n; i++) {
        int err = check_change(&changes[i], msg);
        if (err != 0)
            return err;
    }
    struct entry *next = qv_mem_calloc(r->count + n, sizeof *next);
    uint32_t count = r->count;
    for (uint32_t i = 0; i < r->count; i++)
        next[i] = entry_make(r->entries[i].key, strlen(r->entries[i].key),
                             (struct qv_bytes){r->entries[i].value, r->entries[i].value_bytes});
    for (size_t i = 0; i < n; i++)
        put(next, &count, &changes[i]);
    int err = save(r, next, count, epoch + 1, msg);
    if (err != 0) {
        entries_free(next, count);
        return err;
    }
    entries_free(r->entries, r->count);
    r->entries = next;
    r->count = count;
    base->epoch = epoch + 1;
    return 0;
}

static int file_list(struct qv_records *base, const char *prefix, qv_records_visit_f visit,
                     void *arg)
{
    const struct records_file *r = (const struct records_file *)base;
    size_t n = strlen(prefix);
    for (uint32_t i = 0; i < r->count; i++) {
        const struct entry *e = &r->entries[i];
        if (strncmp(e->key, prefix, n) != 0)
            continue;
        int err = visit(arg, e->key, (struct qv_bytes){e->value, e->value_bytes});
        if (err != 0)
            return err;
    }
    return 0;
}

static void file_close(struct qv_records *base)
{
    struct records_file *r = (struct records_file *)base;
    entries_free(r->entries, r->count);
    qv_mem_free(r->path);
    qv_mem_free(r);
}

static const struct qv_records_ops file_ops = {
    .txn = file_txn, .list = file_list, .close = file_close};

int qv_records_file_open(struct qv_disk *disk, const char *path, struct qv_records **out,
                         struct qv_errmsg *msg)
{
    struct records_file *r = qv_mem_calloc(1, sizeof *r);
    struct qv_buf b;
    r->base.ops = &file_ops;
    r->disk = disk;
    r->path = qv_mem_strdup(path);
    qv_buf_init(&b, RECORDS_FILE_BYTES_MAX);
    int err = qv_disk_read_file(disk, path, RECORDS_FILE_BYTES_MAX, &b, msg);
    if (err == 0)
        err = parse(r, (struct qv_bytes){b.data, b.len}, msg);
    else if (err == QV_ENOTFOUND)
        err = 0;
    qv_buf_close(&b);
    if (err != 0) {
        file_close(&r->base);
        return err;
    }
    *out = &r->base;
    return 0;
}
