#include "cluster/mirror.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "core/meta.h"

#include <stdlib.h>

struct record {
    char *key;
    uint8_t *value;
    size_t n;
};

struct qv_mirror {
    struct record *list; /* ascending by key */
    uint32_t count, cap;
    /* What the next tree must make anew: */
    bool members, aliases;
    uint64_t made;                     /* epoch of the tree that it made last */
    uint8_t (*touched)[QV_UUID_BYTES]; /* collections */
    uint32_t touched_count, touched_cap;
};

struct qv_mirror *qv_mirror_create(void)
{
    return qv_mem_calloc(1, sizeof(struct qv_mirror));
}

static void free_record(struct record *r)
{
    qv_mem_free(r->key);
    qv_mem_free(r->value);
}

void qv_mirror_destroy(struct qv_mirror **m)
{
    if (*m == NULL)
        return;
    for (uint32_t i = 0; i < (*m)->count; i++)
        free_record(&(*m)->list[i]);
    qv_mem_free((*m)->list);
    qv_mem_free((*m)->touched);
    qv_mem_free(*m);
    *m = NULL;
}

/* ---- records ---- */

/* Where key is, or would stand. */
static uint32_t find(const struct qv_mirror *m, const char *key, bool *found)
{
    uint32_t lo = 0;
    uint32_t hi = m->count;
    *found = false;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int order = strcmp(m->list[mid].key, key);
        if (order == 0) {
            *found = true;
            return mid;
        }
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void touch_collection(struct qv_mirror *m, const uint8_t uuid[QV_UUID_BYTES])
{
    for (uint32_t i = 0; i < m->touched_count; i++) {
        if (memcmp(m->touched[i], uuid, QV_UUID_BYTES) == 0)
            return;
    }
    if (m->touched_count == m->touched_cap) {
        m->touched_cap = m->touched_cap != 0 ? m->touched_cap * 2 : 8;
        m->touched = qv_mem_realloc(m->touched, m->touched_cap * sizeof *m->touched);
    }
    memcpy(m->touched[m->touched_count++], uuid, QV_UUID_BYTES);
}

static void touch(struct qv_mirror *m, const char *key)
{
    uint8_t uuid[QV_UUID_BYTES];
    if (strncmp(key, QV_TREE_NODES, strlen(QV_TREE_NODES)) == 0)
        m->members = true;
    else if (strcmp(key, QV_TREE_ALIASES) == 0)
        m->aliases = true;
    else if (qv_tree_key_uuid(key, uuid, NULL))
        touch_collection(m, uuid);
}

static void insert_at(struct qv_mirror *m, uint32_t at, const struct qv_mirror_entry *e)
{
    if (m->count == m->cap) {
        m->cap = m->cap != 0 ? m->cap * 2 : 32;
        m->list = qv_mem_realloc(m->list, m->cap * sizeof *m->list);
    }
    memmove(&m->list[at + 1], &m->list[at], (m->count - at) * sizeof *m->list);
    m->list[at] = (struct record){qv_mem_strdup(e->key), qv_mem_alloc(e->value.n + 1), e->value.n};
    memcpy(m->list[at].value, e->value.p, e->value.n);
    m->count++;
}

void qv_mirror_put(struct qv_mirror *m, const struct qv_mirror_entry *e)
{
    bool found;
    uint32_t at = find(m, e->key, &found);
    if (found && e->value.p != NULL && m->list[at].n == e->value.n &&
        memcmp(m->list[at].value, e->value.p, e->value.n) == 0)
        return;
    if (!found && e->value.p == NULL)
        return;
    touch(m, e->key);
    if (found) {
        free_record(&m->list[at]);
        m->count--;
        memmove(&m->list[at], &m->list[at + 1], (m->count - at) * sizeof *m->list);
    }
    if (e->value.p != NULL)
        insert_at(m, at, e);
}

void qv_mirror_replace(struct qv_mirror *m, const struct qv_mirror_entry *entries, uint32_t count)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < count; i++) { /* what is here and not there goes */
        while (at < m->count && strcmp(m->list[at].key, entries[i].key) < 0)
            qv_mirror_put(m, &(struct qv_mirror_entry){m->list[at].key, {NULL, 0}});
        QV_ASSERT(i == 0 || strcmp(entries[i - 1].key, entries[i].key) < 0);
        qv_mirror_put(m, &entries[i]);
        at++;
    }
    while (at < m->count)
        qv_mirror_put(m, &(struct qv_mirror_entry){m->list[at].key, {NULL, 0}});
}

struct qv_bytes qv_mirror_get(const struct qv_mirror *m, const char *key)
{
    bool found;
    uint32_t at = find(m, key, &found);
    return found ? (struct qv_bytes){m->list[at].value, m->list[at].n} : (struct qv_bytes){NULL, 0};
}

uint32_t qv_mirror_count(const struct qv_mirror *m)
{
    return m->count;
}

struct qv_mirror_entry qv_mirror_at(const struct qv_mirror *m, uint32_t i)
{
    QV_ASSERT(i < m->count);
    return (struct qv_mirror_entry){m->list[i].key, {m->list[i].value, m->list[i].n}};
}

static uint64_t number_at(const struct qv_mirror *m, const char *key)
{
    struct qv_bytes v = qv_mirror_get(m, key);
    uint64_t n = 0;
    if (v.n == sizeof n)
        memcpy(&n, v.p, sizeof n);
    return n;
}

bool qv_mirror_is_dirty(const struct qv_mirror *m)
{
    return m->members || m->aliases || m->touched_count > 0;
}

uint64_t qv_mirror_epoch(const struct qv_mirror *m)
{
    return number_at(m, QV_TREE_EPOCH);
}

uint64_t qv_mirror_controller(const struct qv_mirror *m)
{
    return number_at(m, QV_TREE_CONTROLLER);
}

/* ---- the tree ---- */

struct building {
    struct qv_mirror *m;
    const struct qv_topology *before; /* as it came */
    const struct qv_topology *tree;   /* so far; ours */
    uint64_t epoch;
    struct qv_errmsg *msg;
};

static void advance(struct building *x, const struct qv_topology *next)
{
    qv_topology_unref(x->tree);
    x->tree = next;
}

static int named(struct building *x, const char *key, int err)
{
    struct qv_errmsg why = {""};
    if (x->msg != NULL)
        why = *x->msg;
    return err == QV_ECORRUPT || err == QV_ENOTIMPL
               ? qv_fail(x->msg, err, "metadata key %s: %.300s", key, why.text)
               : err;
}

/* [first, last) of the keys that begin with prefix. */
static void range_of(const struct qv_mirror *m, const char *prefix, uint32_t *first, uint32_t *last)
{
    bool found;
    *first = find(m, prefix, &found);
    *last = *first;
    while (*last < m->count && strncmp(m->list[*last].key, prefix, strlen(prefix)) == 0)
        (*last)++;
}

static int build_members(struct building *x)
{
    uint32_t first;
    uint32_t last;
    int err = 0;
    range_of(x->m, QV_TREE_NODES, &first, &last);
    struct qv_member *list = qv_mem_calloc(last - first + 1, sizeof *list);
    for (uint32_t i = first; i < last && err == 0; i++) {
        struct qv_mirror_entry e = qv_mirror_at(x->m, i);
        err = named(x, e.key, qv_tree_decode_member(e.value, &list[i - first], x->msg));
    }
    if (err == 0)
        advance(x, qv_topology_with_members(x->tree, x->epoch, list, last - first));
    qv_mem_free(list);
    return err;
}

static int build_aliases(struct building *x)
{
    struct qv_bytes value = qv_mirror_get(x->m, QV_TREE_ALIASES);
    struct qv_aliases_out aliases = {NULL, 0};
    struct qv_arena arena;
    int err = 0;
    qv_arena_init(&arena, (size_t)4 * QV_META_VALUE_BYTES_MAX);
    if (value.p != NULL)
        err = named(x, QV_TREE_ALIASES, qv_tree_decode_aliases(value, &arena, &aliases, x->msg));
    if (err == 0)
        advance(x, qv_topology_with_aliases(x->tree, x->epoch, aliases.list, aliases.count));
    qv_arena_close(&arena);
    return err;
}

static int read_shards(struct building *x, const uint8_t uuid[QV_UUID_BYTES],
                       struct qv_shard_place *list, uint32_t *count)
{
    char prefix[QV_TREE_KEY_BYTES];
    uint32_t first;
    uint32_t last;
    qv_tree_shard_key(uuid, 0, prefix);
    prefix[strlen(prefix) - 8] = '\0';
    range_of(x->m, prefix, &first, &last);
    *count = last - first;
    if (*count > QV_SHARDS_MAX)
        return QV_CORRUPT(x->msg, "metadata: %u shards of a collection", *count);
    for (uint32_t i = first; i < last; i++) {
        struct qv_mirror_entry e = qv_mirror_at(x->m, i);
        uint8_t own[QV_UUID_BYTES];
        uint32_t number;
        int err = named(x, e.key, qv_tree_decode_shard(e.value, &list[i - first], x->msg));
        if (err == 0 &&
            (!qv_tree_key_uuid(e.key, own, &number) || number != list[i - first].number))
            err = QV_CORRUPT(x->msg, "metadata key %s: the record of another shard", e.key);
        if (err != 0)
            return err;
    }
    return 0;
}

static int build_value(struct building *x, const char *key, struct qv_bytes value,
                       struct qv_collection_spec spec)
{
    struct qv_shard_place shards[QV_SHARDS_MAX];
    struct qv_tree_collection record;
    struct qv_collection_config config;
    const struct qv_collection *c;
    struct qv_arena arena;
    int err = named(x, key, qv_tree_decode_collection(value, &record, x->msg));
    if (err == 0)
        err = read_shards(x, spec.uuid, shards, &spec.shard_count);
    if (err == 0 && spec.shard_count == 0)
        err = QV_CORRUPT(x->msg, "metadata key %s: a collection without shards", key);
    if (err != 0)
        return err;
    spec.name = record.name;
    spec.generation = record.generation;
    spec.shards = shards;
    qv_arena_init(&arena, (size_t)16 * QV_META_VALUE_BYTES_MAX);
    if (spec.before != NULL && spec.before->generation == record.generation) {
        spec.config = spec.before->config; /* a generation is one configuration, for ever */
    } else {
        spec.config = &config;
        err = named(x, key, qv_tree_decode_config(record.config, &arena, &config, x->msg));
    }
    if (err == 0)
        err = qv_collection_create(&spec, &c);
    if (err == QV_EINVAL)
        err = QV_CORRUPT(x->msg, "metadata key %s: its placement does not fit its shards", key);
    if (err == 0) {
        if (spec.before != NULL) /* perhaps under another name */
            advance(x, qv_topology_without(x->tree, x->epoch, spec.before->name));
        advance(x, qv_topology_with(x->tree, x->epoch, c));
    }
    qv_arena_close(&arena);
    return err;
}

static int build_collection(struct building *x, const uint8_t uuid[QV_UUID_BYTES])
{
    char key[QV_TREE_KEY_BYTES];
    struct qv_collection_spec spec = {.before = qv_topology_by_uuid(x->before, uuid)};
    qv_tree_collection_key(uuid, key);
    memcpy(spec.uuid, uuid, QV_UUID_BYTES);
    struct qv_bytes value = qv_mirror_get(x->m, key);
    if (value.p != NULL)
        return build_value(x, key, value, spec);
    if (spec.before != NULL)
        advance(x, qv_topology_without(x->tree, x->epoch, spec.before->name));
    return 0;
}

/* The tree before was not made from these records: nothing of it can be taken as it is. */
static void touch_all(struct qv_mirror *m, const struct qv_topology *before)
{
    m->members = true;
    m->aliases = true;
    for (uint32_t i = 0; i < before->count; i++)
        touch_collection(m, before->collections[i]->uuid);
    for (uint32_t i = 0; i < m->count; i++)
        touch(m, m->list[i].key);
}

int qv_mirror_tree(struct qv_mirror *m, const struct qv_topology *before,
                   const struct qv_topology **out, struct qv_errmsg *msg)
{
    struct building x = {.m = m, .before = before, .epoch = qv_mirror_epoch(m), .msg = msg};
    int err = 0;
    if (before->epoch != m->made)
        touch_all(m, before);
    x.tree = qv_topology_with_aliases(before, x.epoch, before->aliases.list, before->aliases.count);
    if (m->members)
        err = build_members(&x);
    for (uint32_t i = 0; i < m->touched_count && err == 0; i++)
        err = build_collection(&x, m->touched[i]);
    /* Last: a collection that goes takes its aliases along, one that is renamed does not. */
    if (err == 0 && (m->aliases || m->touched_count > 0))
        err = build_aliases(&x);
    if (err != 0) {
        qv_topology_unref(x.tree);
        return err;
    }
    m->members = false;
    m->aliases = false;
    m->touched_count = 0;
    m->made = x.epoch;
    *out = x.tree;
    return 0;
}

/* ---- all of it ---- */

void qv_mirror_encode(const struct qv_mirror *m, struct qv_buf *b)
{
    qv_buf_u32(b, m->count);
    for (uint32_t i = 0; i < m->count; i++) {
        size_t n = strlen(m->list[i].key);
        qv_buf_u16(b, (uint16_t)n);
        qv_buf_u32(b, (uint32_t)m->list[i].n);
        qv_buf_append(b, m->list[i].key, n);
        qv_buf_append(b, m->list[i].value, m->list[i].n);
    }
}

/* The next key and value; the key is copied, NUL-terminated. False: they are not sound. */
static bool take_entry(struct qv_rd *rd, char key[QV_META_KEY_BYTES_MAX + 1],
                       struct qv_bytes *value)
{
    size_t key_bytes = qv_rd_u16(rd);
    value->n = qv_rd_u32(rd);
    const uint8_t *text = qv_rd_take(rd, key_bytes);
    value->p = qv_rd_take(rd, value->n);
    if (text == NULL || value->p == NULL || key_bytes == 0 || key_bytes > QV_META_KEY_BYTES_MAX ||
        value->n > QV_META_VALUE_BYTES_MAX || memchr(text, 0, key_bytes) != NULL)
        return false;
    memcpy(key, text, key_bytes);
    key[key_bytes] = '\0';
    return true;
}

int qv_mirror_decode(struct qv_mirror *m, struct qv_bytes bytes, struct qv_errmsg *msg)
{
    struct qv_rd rd;
    qv_rd_init(&rd, bytes.p, bytes.n);
    uint32_t count = qv_rd_u32(&rd);
    if (rd.failed || count > QV_META_KEYS_MAX)
        return QV_CORRUPT(msg, "a copy of the metadata: %u keys", count);
    struct qv_mirror_entry *list = qv_mem_calloc(count + 1u, sizeof *list);
    char *keys = qv_mem_alloc((count + 1u) * (size_t)(QV_META_KEY_BYTES_MAX + 1));
    bool sound = true;
    for (uint32_t i = 0; i < count && sound; i++) {
        char *key = keys + i * (size_t)(QV_META_KEY_BYTES_MAX + 1);
        sound =
            take_entry(&rd, key, &list[i].value) && (i == 0 || strcmp(list[i - 1].key, key) < 0);
        list[i].key = key;
    }
    sound = sound && qv_rd_left(&rd) == 0;
    if (sound)
        qv_mirror_replace(m, list, count);
    qv_mem_free(list);
    qv_mem_free(keys);
    return sound ? 0 : QV_CORRUPT(msg, "a copy of the metadata");
}
