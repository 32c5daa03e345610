#include "meta/meta_file.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/qv_assert.h"

#include <string.h>

#define META_MAGIC 0x41544D51u /* "QMTA" */
#define META_FORMAT 1
#define META_FILE_BYTES_MAX ((size_t)256 << 20)

struct entry {
    char *key;
    uint8_t *value;
    uint32_t value_bytes;
};

struct meta_file {
    struct qv_meta base;
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

static int save(const struct meta_file *m, const struct entry *entries, uint32_t count,
                uint64_t epoch, struct qv_errmsg *msg)
{
    struct qv_buf b;
    qv_buf_init(&b, META_FILE_BYTES_MAX);
    qv_buf_u32(&b, META_MAGIC);
    qv_buf_u32(&b, META_FORMAT);
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
                       : qv_disk_replace_file(m->disk, m->path, b.data, b.len, msg);
    qv_buf_close(&b);
    return err;
}

static int read_entries(struct meta_file *m, struct qv_rd *rd, uint32_t count,
                        struct qv_errmsg *msg)
{
    m->entries = qv_mem_calloc(count, sizeof *m->entries);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t key_bytes = qv_rd_u32(rd);
        uint32_t value_bytes = qv_rd_u32(rd);
        const uint8_t *key = qv_rd_take(rd, key_bytes);
        const uint8_t *value = qv_rd_take(rd, value_bytes);
        if (rd->failed || key_bytes == 0 || key_bytes > QV_META_KEY_BYTES_MAX ||
            memchr(key, 0, key_bytes) != NULL || value_bytes > QV_META_VALUE_BYTES_MAX)
            return QV_CORRUPT(msg, "%s: entry %u of %u", m->path, i, count);
        m->entries[m->count++] =
            entry_make((const char *)key, key_bytes, (struct qv_bytes){value, value_bytes});
        if (i > 0 && strcmp(m->entries[i - 1].key, m->entries[i].key) >= 0)
            return QV_CORRUPT(msg, "%s: entry %u of %u is out of order", m->path, i, count);
    }
    return 0;
}

static int parse(struct meta_file *m, struct qv_bytes bytes, struct qv_errmsg *msg)
{
    struct qv_rd rd;
    uint32_t crc = 0;
    if (bytes.n < 24)
        return QV_CORRUPT(msg, "%s: only %zu bytes", m->path, bytes.n);
    memcpy(&crc, bytes.p + bytes.n - sizeof crc, sizeof crc);
    if (crc != qv_hash_crc32c(0, bytes.p, bytes.n - sizeof crc))
        return QV_CORRUPT(msg, "%s fails its checksum", m->path);
    qv_rd_init(&rd, bytes.p, bytes.n - sizeof crc);
    uint32_t magic = qv_rd_u32(&rd);
    uint32_t format = qv_rd_u32(&rd);
    m->base.epoch = qv_rd_u64(&rd);
    uint32_t count = qv_rd_u32(&rd);
    if (magic != META_MAGIC || format == 0 || count > QV_META_KEYS_MAX)
        return QV_CORRUPT(msg, "%s is no metadata file", m->path);
    if (format > META_FORMAT)
        return qv_fail(msg, QV_ENOTIMPL, "%s: format %u of a newer version", m->path, format);
    int err = read_entries(m, &rd, count, msg);
    if (err == 0 && qv_rd_left(&rd) != 0)
        err = QV_CORRUPT(msg, "%s: %zu bytes too many", m->path, qv_rd_left(&rd));
    return err;
}

/* ---- operations ---- */

static int check_change(const struct qv_meta_change *c, struct qv_errmsg *msg)
{
    size_t n = strlen(c->key);
    if (n == 0 || n > QV_META_KEY_BYTES_MAX)
        return qv_fail(msg, QV_ELIMIT, "metadata key of %zu bytes, 1 to %u are allowed", n,
                       QV_META_KEY_BYTES_MAX);
    if (c->value.n > QV_META_VALUE_BYTES_MAX)
        return qv_fail(msg, QV_ELIMIT, "metadata value of %zu bytes, at most %u are allowed",
                       c->value.n, QV_META_VALUE_BYTES_MAX);
    return 0;
}

static void put(struct entry *entries, uint32_t *count, const struct qv_meta_change *c)
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

static int file_txn(struct qv_meta *base, uint64_t epoch, const struct qv_meta_change *changes,
                    size_t n, struct qv_errmsg *msg)
{
    struct meta_file *m = (struct meta_file *)base;
    if (epoch != base->epoch)
        return qv_fail(msg, QV_ESTALE, "the metadata is at epoch %llu, not %llu",
                       (unsigned long long)base->epoch, (unsigned long long)epoch);
    if (m->count + n > QV_META_KEYS_MAX)
        return qv_fail(msg, QV_ELIMIT, "more than %u metadata records", QV_META_KEYS_MAX);
    for (size_t i = 0; i < n; i++) {
        int err = check_change(&changes[i], msg);
        if (err != 0)
            return err;
    }
    struct entry *next = qv_mem_calloc(m->count + n, sizeof *next);
    uint32_t count = m->count;
    for (uint32_t i = 0; i < m->count; i++)
        next[i] = entry_make(m->entries[i].key, strlen(m->entries[i].key),
                             (struct qv_bytes){m->entries[i].value, m->entries[i].value_bytes});
    for (size_t i = 0; i < n; i++)
        put(next, &count, &changes[i]);
    int err = save(m, next, count, epoch + 1, msg);
    if (err != 0) {
        entries_free(next, count);
        return err;
    }
    entries_free(m->entries, m->count);
    m->entries = next;
    m->count = count;
    base->epoch = epoch + 1;
    return 0;
}

static int file_list(struct qv_meta *base, const char *prefix, qv_meta_visit_f visit, void *arg)
{
    const struct meta_file *m = (const struct meta_file *)base;
    size_t n = strlen(prefix);
    for (uint32_t i = 0; i < m->count; i++) {
        const struct entry *e = &m->entries[i];
        if (strncmp(e->key, prefix, n) != 0)
            continue;
        int err = visit(arg, e->key, (struct qv_bytes){e->value, e->value_bytes});
        if (err != 0)
            return err;
    }
    return 0;
}

static void file_close(struct qv_meta *base)
{
    struct meta_file *m = (struct meta_file *)base;
    entries_free(m->entries, m->count);
    qv_mem_free(m->path);
    qv_mem_free(m);
}

static const struct qv_meta_ops file_ops = {
    .txn = file_txn, .list = file_list, .close = file_close};

int qv_meta_file_open(struct qv_disk *disk, const char *path, struct qv_meta **out,
                      struct qv_errmsg *msg)
{
    struct meta_file *m = qv_mem_calloc(1, sizeof *m);
    struct qv_buf b;
    m->base.ops = &file_ops;
    m->disk = disk;
    m->path = qv_mem_strdup(path);
    qv_buf_init(&b, META_FILE_BYTES_MAX);
    int err = qv_disk_read_file(disk, path, META_FILE_BYTES_MAX, &b, msg);
    if (err == 0)
        err = parse(m, (struct qv_bytes){b.data, b.len}, msg);
    else if (err == QV_ENOTFOUND)
        err = 0;
    qv_buf_close(&b);
    if (err != 0) {
        file_close(&m->base);
        return err;
    }
    *out = &m->base;
    return 0;
}
