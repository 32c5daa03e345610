#include "cluster/tree_record.h"

#include "base/qv_assert.h"
#include "wire/json_answer.h"

#include <inttypes.h>
#include <stdio.h>

#define VERSION 1u

/* ---- keys ---- */

void qv_tree_member_key(uint64_t id, char out[QV_TREE_KEY_BYTES])
{
    snprintf(out, QV_TREE_KEY_BYTES, QV_TREE_NODES "%016" PRIx64, id);
}

static void put_uuid(char out[QV_TREE_KEY_BYTES], const char *prefix,
                     const uint8_t uuid[QV_UUID_BYTES])
{
    size_t n = (size_t)snprintf(out, QV_TREE_KEY_BYTES, "%s", prefix);
    for (int i = 0; i < QV_UUID_BYTES; i++)
        n += (size_t)snprintf(out + n, QV_TREE_KEY_BYTES - n, "%02x", uuid[i]);
}

void qv_tree_collection_key(const uint8_t uuid[QV_UUID_BYTES], char out[QV_TREE_KEY_BYTES])
{
    put_uuid(out, QV_TREE_COLLECTIONS, uuid);
}

void qv_tree_shard_key(const uint8_t uuid[QV_UUID_BYTES], uint32_t number,
                       char out[QV_TREE_KEY_BYTES])
{
    put_uuid(out, QV_TREE_SHARDS, uuid);
    size_t n = strlen(out);
    snprintf(out + n, QV_TREE_KEY_BYTES - n, "/%08" PRIx32, number);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Reads `digits` of them; false: there are not so many. */
static bool take_hex(const char **p, int digits, uint64_t *out)
{
    *out = 0;
    for (int i = 0; i < digits; i++) {
        int d = hex_digit(**p);
        if (d < 0)
            return false;
        *out = *out << 4 | (uint64_t)d;
        (*p)++;
    }
    return true;
}

bool qv_tree_key_uuid(const char *key, uint8_t uuid[QV_UUID_BYTES], uint32_t *number)
{
    bool shard = strncmp(key, QV_TREE_SHARDS, strlen(QV_TREE_SHARDS)) == 0;
    uint64_t v = 0;
    if (!shard && strncmp(key, QV_TREE_COLLECTIONS, strlen(QV_TREE_COLLECTIONS)) != 0)
        return false;
    key += shard ? strlen(QV_TREE_SHARDS) : strlen(QV_TREE_COLLECTIONS);
    for (int i = 0; i < QV_UUID_BYTES; i++) {
        if (!take_hex(&key, 2, &v))
            return false;
        uuid[i] = (uint8_t)v;
    }
    if (shard && (*key++ != '/' || !take_hex(&key, 8, &v)))
        return false;
    if (number != NULL)
        *number = shard ? (uint32_t)v : 0;
    return *key == '\0';
}

/* ---- fields ---- */

static void put_text(struct qv_buf *b, const char *p, size_t n)
{
    qv_buf_u16(b, (uint16_t)n);
    qv_buf_append(b, p, n);
}

/* Into an array of `room` bytes, NUL-terminated. */
static void take_array(struct qv_rd *rd, char *out, size_t room)
{
    size_t n = qv_rd_u16(rd);
    const uint8_t *p = qv_rd_take(rd, n);
    if (p == NULL || n >= room || memchr(p, 0, n) != NULL) {
        rd->failed = true;
        return;
    }
    memcpy(out, p, n);
    out[n] = '\0';
}

static struct qv_str take_name(struct qv_rd *rd)
{
    struct qv_str s = {.n = qv_rd_u16(rd)};
    s.p = (const char *)qv_rd_take(rd, s.n);
    if (s.n == 0 || s.n > QV_NAME_BYTES_MAX)
        rd->failed = true;
    return s;
}

static int begin(struct qv_rd *rd, struct qv_bytes value, const char *what, struct qv_errmsg *msg)
{
    qv_rd_init(rd, value.p, value.n);
    uint16_t version = qv_rd_u16(rd);
    if (rd->failed || version == 0)
        return QV_CORRUPT(msg, "a %s's record", what);
    if (version > VERSION)
        return qv_fail(msg, QV_ENOTIMPL,
                       "a %s's record is of version %u, this build knows %u: a newer node wrote it",
                       what, version, VERSION);
    return 0;
}

static int end(const struct qv_rd *rd, bool sound, const char *what, struct qv_errmsg *msg)
{
    return rd->failed || !sound ? QV_CORRUPT(msg, "a %s's record", what) : 0;
}

/* ---- members ---- */

void qv_tree_encode_member(struct qv_buf *b, const struct qv_member *m)
{
    qv_buf_u16(b, VERSION);
    qv_buf_u64(b, m->id);
    qv_buf_u64(b, m->incarnation);
    qv_buf_u8(b, m->role);
    qv_buf_u8(b, m->state);
    put_text(b, m->host, strlen(m->host));
    put_text(b, m->zone, strlen(m->zone));
    qv_buf_u16(b, m->peer_port);
    qv_buf_u16(b, m->http_port);
    qv_buf_u16(b, m->grpc_port);
    qv_buf_u32(b, m->protocol_min);
    qv_buf_u32(b, m->protocol_max);
    qv_buf_u32(b, m->feature_level);
}

int qv_tree_decode_member(struct qv_bytes value, struct qv_member *out, struct qv_errmsg *msg)
{
    struct qv_rd rd;
    memset(out, 0, sizeof *out);
    int err = begin(&rd, value, "node", msg);
    if (err != 0)
        return err;
    out->id = qv_rd_u64(&rd);
    out->incarnation = qv_rd_u64(&rd);
    out->role = qv_rd_u8(&rd);
    out->state = qv_rd_u8(&rd);
    take_array(&rd, out->host, sizeof out->host);
    take_array(&rd, out->zone, sizeof out->zone);
    out->peer_port = qv_rd_u16(&rd);
    out->http_port = qv_rd_u16(&rd);
    out->grpc_port = qv_rd_u16(&rd);
    out->protocol_min = qv_rd_u32(&rd);
    out->protocol_max = qv_rd_u32(&rd);
    out->feature_level = qv_rd_u32(&rd);
    return end(&rd,
               out->id != 0 && out->role <= QV_ROLE_SHARD && out->state < QV_MEMBER_STATE_COUNT,
               "node", msg);
}

/* ---- shards ---- */

void qv_tree_encode_shard(struct qv_buf *b, const struct qv_shard_place *s)
{
    qv_buf_u16(b, VERSION);
    qv_buf_u32(b, s->number);
    qv_buf_u32(b, s->incarnation);
    qv_buf_u64(b, s->epoch);
    qv_buf_u8(b, (uint8_t)s->slot_count);
    for (uint32_t i = 0; i < s->slot_count; i++) {
        qv_buf_u64(b, s->slots[i].holder);
        qv_buf_u64(b, s->slots[i].next);
        qv_buf_u64(b, s->slots[i].transfer);
        qv_buf_u8(b, s->slots[i].step);
    }
}

int qv_tree_decode_shard(struct qv_bytes value, struct qv_shard_place *out, struct qv_errmsg *msg)
{
    struct qv_rd rd;
    memset(out, 0, sizeof *out);
    int err = begin(&rd, value, "shard", msg);
    if (err != 0)
        return err;
    out->number = qv_rd_u32(&rd);
    out->incarnation = qv_rd_u32(&rd);
    out->epoch = qv_rd_u64(&rd);
    uint32_t slots = qv_rd_u8(&rd);
    bool sound = slots > 0 && slots <= QV_SHARD_SLOTS_MAX;
    for (uint32_t i = 0; i < slots && sound; i++) {
        struct qv_slot_place *p = &out->slots[i];
        p->holder = qv_rd_u64(&rd);
        p->next = qv_rd_u64(&rd);
        p->transfer = qv_rd_u64(&rd);
        p->step = qv_rd_u8(&rd);
        sound = p->holder != 0 && p->step < QV_STEP_COUNT &&
                (p->next != 0) == (p->step != QV_STEP_NONE);
    }
    out->slot_count = slots;
    return end(&rd, sound, "shard", msg);
}

/* ---- collections ---- */

void qv_tree_encode_collection(struct qv_buf *b, const struct qv_collection *c)
{
    qv_buf_u16(b, VERSION);
    put_text(b, c->name.p, c->name.n);
    qv_buf_u64(b, c->generation);
    size_t at = b->len;
    qv_buf_u32(b, 0);
    qv_json_config_write(b, c->config, c->generation);
    if (!b->failed) {
        uint32_t n = (uint32_t)(b->len - at - sizeof n);
        memcpy(b->data + at, &n, sizeof n);
    }
}

int qv_tree_decode_collection(struct qv_bytes value, struct qv_tree_collection *out,
                              struct qv_errmsg *msg)
{
    struct qv_rd rd;
    int err = begin(&rd, value, "collection", msg);
    if (err != 0)
        return err;
    out->name = take_name(&rd);
    out->generation = qv_rd_u64(&rd);
    out->config.n = qv_rd_u32(&rd);
    out->config.p = qv_rd_take(&rd, out->config.n);
    return end(&rd, out->generation != 0, "collection", msg);
}

int qv_tree_decode_config(struct qv_bytes json, struct qv_arena *arena,
                          struct qv_collection_config *out, struct qv_errmsg *msg)
{
    uint64_t generation;
    int err = qv_json_config_read(json, arena, out, &generation, msg);
    if (err == QV_EFORMAT || err == QV_EVALIDATION)
        err = QV_CORRUPT(msg, "a collection's configuration");
    return err;
}

/* ---- aliases ---- */

void qv_tree_encode_aliases(struct qv_buf *b, const struct qv_alias *list, uint32_t count)
{
    qv_buf_u16(b, VERSION);
    qv_buf_u32(b, count);
    for (uint32_t i = 0; i < count; i++) {
        put_text(b, list[i].name.p, list[i].name.n);
        put_text(b, list[i].collection.p, list[i].collection.n);
    }
}

int qv_tree_decode_aliases(struct qv_bytes value, struct qv_arena *arena,
                           struct qv_aliases_out *out, struct qv_errmsg *msg)
{
    struct qv_rd rd;
    *out = (struct qv_aliases_out){NULL, 0};
    int err = begin(&rd, value, "list of aliases", msg);
    if (err != 0)
        return err;
    uint32_t count = qv_rd_u32(&rd);
    if (rd.failed || count > QV_ALIASES_MAX)
        return QV_CORRUPT(msg, "a list of aliases's record");
    struct qv_alias *list = QV_ARENA_ARRAY(arena, struct qv_alias, count + 1);
    if (list == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        list[i].name = take_name(&rd);
        list[i].collection = take_name(&rd);
    }
    *out = (struct qv_aliases_out){list, count};
    return end(&rd, true, "list of aliases", msg);
}
