#include "core/meta_tree.h"

#include "base/mem.h"
#include "base/qv_assert.h"

struct qv_meta_item *qv_meta_item_make(const struct qv_meta_entry *e)
{
    size_t key_bytes = strlen(e->key) + 1;
    struct qv_meta_item *item = qv_mem_alloc(sizeof *item + key_bytes + e->value.n);
    char *key = (char *)(item + 1);
    uint8_t *value = (uint8_t *)key + key_bytes;
    memcpy(key, e->key, key_bytes);
    if (e->value.p != NULL)
        memcpy(value, e->value.p, e->value.n);
    item->refs = 1;
    item->entry = *e;
    item->entry.key = key;
    item->entry.value.p = e->value.p == NULL ? NULL : value;
    return item;
}

void qv_meta_item_unref(struct qv_meta_item *item)
{
    QV_ASSERT(item->refs > 0);
    if (--item->refs == 0)
        qv_mem_free(item);
}

void qv_meta_tree_init(struct qv_meta_tree *t, uint64_t revision)
{
    *t = (struct qv_meta_tree){.revision = revision, .compacted = revision + 1};
}

void qv_meta_tree_close(struct qv_meta_tree *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        qv_meta_item_unref(t->items[i]);
    for (uint32_t i = 0; i < t->log_count; i++)
        qv_meta_item_unref(t->log[i]);
    qv_mem_free(t->items);
    qv_mem_free(t->log);
    *t = (struct qv_meta_tree){0};
}

/* Where key is, or would be put. */
static uint32_t find(const struct qv_meta_tree *t, const char *key, bool *there)
{
    uint32_t lo = 0;
    uint32_t hi = t->count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (strcmp(t->items[mid]->entry.key, key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *there = lo < t->count && strcmp(t->items[lo]->entry.key, key) == 0;
    return lo;
}

static void insert(struct qv_meta_tree *t, uint32_t at, struct qv_meta_item *item)
{
    if (t->count == t->cap) {
        t->cap = t->cap == 0 ? 16 : t->cap * 2;
        t->items = qv_mem_realloc(t->items, t->cap * sizeof(struct qv_meta_item *));
    }
    memmove(t->items + at + 1, t->items + at, (t->count - at) * sizeof(struct qv_meta_item *));
    t->items[at] = item;
    t->count++;
}

static void remember(struct qv_meta_tree *t, struct qv_meta_item *item)
{
    if (t->log_count == t->log_cap) {
        t->log_cap = t->log_cap == 0 ? 64 : t->log_cap * 2;
        t->log = qv_mem_realloc(t->log, t->log_cap * sizeof(struct qv_meta_item *));
    }
    t->log[t->log_count++] = item;
}

int qv_meta_tree_load(struct qv_meta_tree *t, const struct qv_meta_entry *e, struct qv_errmsg *msg)
{
    if (t->count > 0 && strcmp(t->items[t->count - 1]->entry.key, e->key) >= 0)
        return qv_fail(msg, QV_ECORRUPT, "metadata keys are out of order");
    insert(t, t->count, qv_meta_item_make(e));
    return 0;
}

const struct qv_meta_entry *qv_meta_tree_find(const struct qv_meta_tree *t, const char *key)
{
    bool there;
    uint32_t at = find(t, key, &there);
    return there ? &t->items[at]->entry : NULL;
}

uint32_t qv_meta_tree_range(const struct qv_meta_tree *t, const char *prefix, uint32_t *first)
{
    bool there;
    size_t n = strlen(prefix);
    uint32_t at = find(t, prefix, &there);
    *first = at;
    while (at < t->count && strncmp(t->items[at]->entry.key, prefix, n) == 0)
        at++;
    return at - *first;
}

static bool holds(const struct qv_meta_entry *e, const struct qv_meta_compare *c)
{
    switch (c->kind) {
    case QV_META_MOD:
        return (e == NULL ? 0 : e->mod_revision) == c->mod_revision;
    case QV_META_ABSENT:
        return e == NULL;
    case QV_META_VALUE:
        return e != NULL && e->value.n == c->value.n &&
               (c->value.n == 0 || memcmp(e->value.p, c->value.p, c->value.n) == 0);
    }
    return false;
}

bool qv_meta_tree_holds(const struct qv_meta_tree *t, const struct qv_meta_compare *compares,
                        uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!holds(qv_meta_tree_find(t, compares[i].key), &compares[i]))
            return false;
    }
    return true;
}

bool qv_meta_tree_moves(const struct qv_meta_tree *t, const struct qv_meta_change *changes,
                        uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (changes[i].value.p != NULL || qv_meta_tree_find(t, changes[i].key) != NULL)
            return true;
    }
    return false;
}

uint32_t qv_meta_tree_count_after(const struct qv_meta_tree *t,
                                  const struct qv_meta_change *changes, uint32_t count)
{
    uint32_t n = t->count;
    for (uint32_t i = 0; i < count; i++) {
        bool there = qv_meta_tree_find(t, changes[i].key) != NULL;
        if (there && changes[i].value.p == NULL)
            n--;
        else if (!there && changes[i].value.p != NULL)
            n++;
    }
    return n;
}

static void apply_one(struct qv_meta_tree *t, const struct qv_meta_change *c)
{
    bool there;
    uint32_t at = find(t, c->key, &there);
    if (!there && c->value.p == NULL)
        return;
    struct qv_meta_item *item = qv_meta_item_make(
        &(struct qv_meta_entry){c->key, c->value, t->revision, c->value.p == NULL ? 0 : c->lease});
    struct qv_meta_item *old = there ? t->items[at] : NULL;
    remember(t, item);
    if (c->value.p == NULL) {
        t->count--;
        memmove(t->items + at, t->items + at + 1, (t->count - at) * sizeof(struct qv_meta_item *));
    } else {
        item->refs++;
        if (there)
            t->items[at] = item;
        else
            insert(t, at, item);
    }
    if (old != NULL)
        qv_meta_item_unref(old); /* last: the change's key may be its */
}

void qv_meta_tree_apply(struct qv_meta_tree *t, const struct qv_meta_change *changes,
                        uint32_t count)
{
    if (!qv_meta_tree_moves(t, changes, count))
        return;
    t->revision++;
    for (uint32_t i = 0; i < count; i++)
        apply_one(t, &changes[i]);
}

uint32_t qv_meta_tree_bound(const struct qv_meta_tree *t, uint64_t lease,
                            struct qv_meta_change **out)
{
    uint32_t n = 0;
    *out = NULL;
    for (uint32_t i = 0; i < t->count; i++)
        n += t->items[i]->entry.lease == lease;
    if (n == 0)
        return 0;
    *out = qv_mem_calloc(n, sizeof **out);
    n = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        if (t->items[i]->entry.lease == lease)
            (*out)[n++].key = t->items[i]->entry.key;
    }
    return n;
}

/* The first place in the log at or after the revision. */
static uint32_t log_at(const struct qv_meta_tree *t, uint64_t revision)
{
    uint32_t lo = 0;
    uint32_t hi = t->log_count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (t->log[mid]->entry.mod_revision < revision)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void qv_meta_tree_compact(struct qv_meta_tree *t, uint64_t revision)
{
    QV_ASSERT(revision <= t->revision);
    if (revision <= t->compacted)
        return;
    uint32_t n = log_at(t, revision);
    for (uint32_t i = 0; i < n; i++)
        qv_meta_item_unref(t->log[i]);
    t->log_count -= n;
    memmove(t->log, t->log + n, t->log_count * sizeof(struct qv_meta_item *));
    t->compacted = revision;
}

static void events_add(struct qv_meta_events *out, struct qv_meta_item *item)
{
    item->refs++;
    out->items[out->count] = item;
    out->entries[out->count++] = item->entry;
}

static void events_init(struct qv_meta_events *out, uint32_t count)
{
    out->count = 0;
    out->items = qv_mem_calloc(count + 1, sizeof(struct qv_meta_item *));
    out->entries = qv_mem_calloc(count + 1, sizeof *out->entries);
}

void qv_meta_tree_events(const struct qv_meta_tree *t, const char *prefix, uint64_t from,
                         uint64_t to, struct qv_meta_events *out)
{
    size_t n = strlen(prefix);
    uint32_t first = log_at(t, from);
    uint32_t end = log_at(t, to + 1);
    QV_ASSERT(from >= t->compacted && first <= end);
    events_init(out, end - first);
    for (uint32_t i = first; i < end; i++) {
        if (strncmp(t->log[i]->entry.key, prefix, n) == 0)
            events_add(out, t->log[i]);
    }
}

void qv_meta_tree_list(const struct qv_meta_tree *t, const char *prefix, struct qv_meta_events *out)
{
    uint32_t first;
    uint32_t count = qv_meta_tree_range(t, prefix, &first);
    events_init(out, count);
    for (uint32_t i = 0; i < count; i++)
        events_add(out, t->items[first + i]);
}

void qv_meta_events_close(struct qv_meta_events *e)
{
    for (uint32_t i = 0; i < e->count; i++)
        qv_meta_item_unref(e->items[i]);
    qv_mem_free(e->items);
    qv_mem_free(e->entries);
    *e = (struct qv_meta_events){0};
}
