/* Metadata keys of a node that is alone:
 *   writer                 u32: this data directory's writer id
 *   next_shard             u32: the next shard number
 *   collections/<uuid>     format u32 (1), name bytes u32, name, shard count u32, the shards'
 *                          numbers in the store u32, then the configuration as JSON
 *                          (wire/json_answer.h)
 *   aliases                see node_alias.c
 *   quotas                 as the API's JSON
 * and of a node in a cluster: node_cluster.h. */
#include "node/node_private.h"
#include "node/node_transfer.h"
#include "node/snapshots.h"

#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "base/utf8.h"
#include "storage/records_file.h"
#include "wire/json_answer.h"

#include <stdio.h>
#include <string.h>

#define COLLECTION_FORMAT 1
#define RESERVE_MIB 4

struct qv_env *qv_node_env(struct qv_node *n)
{
    return n->env;
}

const struct qv_topology *qv_node_topology(struct qv_node *n)
{
    pthread_mutex_lock(&n->lock);
    const struct qv_topology *t = n->topology;
    qv_topology_ref(t);
    pthread_mutex_unlock(&n->lock);
    return t;
}

int qv_node_missing(struct qv_str name, struct qv_errmsg *msg)
{
    return qv_fail(msg, QV_ENOTFOUND, "Collection `%.*s` doesn't exist!",
                   (int)(name.n < 300 ? name.n : 300), name.p);
}

int qv_node_shard(struct qv_node *n, struct qv_str collection, struct qv_shard **out,
                  struct qv_errmsg *msg)
{
    *out = NULL;
    const struct qv_topology *t = qv_node_topology(n);
    const struct qv_collection *c = qv_topology_find(t, collection);
    int err = c != NULL ? qv_node_shard_at(n, c, 0, out, msg) : qv_node_missing(collection, msg);
    qv_topology_unref(t);
    return err;
}

/* ---- records ---- */

static void uuid_text(const uint8_t uuid[QV_UUID_BYTES], char out[2 * QV_UUID_BYTES + 1])
{
    for (int i = 0; i < QV_UUID_BYTES; i++)
        snprintf(out + (size_t)2 * (size_t)i, 3, "%02x", uuid[i]);
}

void qv_node_collection_key(const struct qv_collection *c, char out[QV_NODE_KEY_BYTES])
{
    char uuid[2 * QV_UUID_BYTES + 1];
    uuid_text(c->uuid, uuid);
    snprintf(out, QV_NODE_KEY_BYTES, "collections/%s", uuid);
}

static void encode_collection(struct qv_node *n, const struct qv_collection *c, struct qv_buf *b)
{
    qv_buf_u32(b, COLLECTION_FORMAT);
    qv_buf_u32(b, (uint32_t)c->name.n);
    qv_buf_append(b, c->name.p, c->name.n);
    qv_buf_u32(b, c->shard_count);
    for (uint32_t i = 0; i < c->shard_count; i++)
        qv_buf_u32(b, qv_node_store_number(n, c, i));
    qv_json_config_write(b, c->config, c->generation);
}

static int parse_uuid(const char *text, uint8_t out[QV_UUID_BYTES])
{
    for (int i = 0; i < QV_UUID_BYTES; i++) {
        unsigned byte;
        if (sscanf(text + (size_t)2 * (size_t)i, "%2x", &byte) != 1)
            return QV_ECORRUPT;
        out[i] = (uint8_t)byte;
    }
    return text[2 * QV_UUID_BYTES] == '\0' ? 0 : QV_ECORRUPT;
}

static int decode_collection(struct qv_node *n, const char *key, struct qv_bytes value,
                             const struct qv_collection **out, struct qv_errmsg *msg)
{
    struct qv_collection_spec spec = {0};
    struct qv_collection_config config;
    struct qv_arena arena;
    struct qv_rd rd;
    qv_rd_init(&rd, value.p, value.n);
    uint32_t format = qv_rd_u32(&rd);
    spec.name.n = qv_rd_u32(&rd);
    spec.name.p = (const char *)qv_rd_take(&rd, spec.name.n);
    spec.shard_count = qv_rd_u32(&rd);
    if (rd.failed || format != COLLECTION_FORMAT || spec.name.n == 0 || spec.shard_count == 0 ||
        spec.shard_count > QV_SHARDS_MAX ||
        parse_uuid(key + strlen("collections/"), spec.uuid) != 0)
        return QV_CORRUPT(msg, "metadata record %s", key);
    struct qv_shard_place shards[QV_SHARDS_MAX];
    for (uint32_t i = 0; i < spec.shard_count; i++) {
        uint32_t store = qv_rd_u32(&rd);
        shards[i] = (struct qv_shard_place){.number = i};
        if (rd.failed || store == 0 || qv_node_local_find(n, spec.uuid, i) != NULL)
            return QV_CORRUPT(msg, "metadata record %s", key);
        qv_node_local_add(n, spec.uuid, i, store);
    }
    spec.shards = shards;
    spec.config = &config;
    qv_arena_init(&arena, QV_NODE_RECORD_ARENA_BYTES);
    int err = qv_json_config_read((struct qv_bytes){rd.p, qv_rd_left(&rd)}, &arena, &config,
                                  &spec.generation, msg);
    if (err == QV_EFORMAT || err == QV_EVALIDATION)
        err = QV_CORRUPT(msg, "metadata record %s: the configuration can't be read", key);
    if (err == 0)
        err = qv_collection_create(&spec, out);
    if (err == QV_EINVAL)
        err = QV_CORRUPT(msg, "metadata record %s: its placement does not fit its shards", key);
    qv_arena_close(&arena);
    return err;
}

/* ---- open ---- */

struct loading {
    struct qv_node *n;
    struct qv_errmsg *msg;
};

static int load_entry(void *arg, const char *key, struct qv_bytes value)
{
    struct loading *l = arg;
    const struct qv_collection *c = NULL;
    struct qv_node *n = l->n;
    if (strcmp(key, "writer") == 0 && value.n == 4)
        memcpy(&n->writer, value.p, 4);
    if (strcmp(key, "next_shard") == 0 && value.n == 4)
        memcpy(&n->next_shard, value.p, 4);
    const struct qv_topology *next = NULL;
    int err = 0;
    if (strncmp(key, "cluster/", strlen("cluster/")) == 0) {
        err = qv_node_cluster_load(n, key, value, l->msg);
    } else if (strcmp(key, QV_NODE_QUOTA_KEY) == 0) {
        err = qv_node_decode_quota(n, value, l->msg);
    } else if (strcmp(key, QV_NODE_ALIAS_KEY) == 0) {
        err = qv_node_decode_aliases(n->topology, value, &next, l->msg);
    } else if (strncmp(key, "collections/", strlen("collections/")) == 0) {
        err = decode_collection(n, key, value, &c, l->msg);
        if (err == 0)
            next = qv_topology_with(n->topology, n->records->epoch, c);
    }
    if (err != 0 || next == NULL)
        return err;
    qv_topology_unref(n->topology);
    n->topology = next;
    return 0;
}

/* Gives an array of *count. */
static struct qv_shard_spec *all_specs(struct qv_node *n, uint32_t *count)
{
    const struct qv_topology *t = n->topology;
    struct qv_shard_spec *specs = qv_mem_calloc(n->local_count + 1u, sizeof *specs);
    *count = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        for (uint32_t k = 0; k < t->collections[i]->shard_count; k++) {
            uint32_t store = qv_node_store_number(n, t->collections[i], k);
            if (store != 0)
                specs[(*count)++] = qv_node_spec_of(t->collections[i], k, store);
        }
    }
    return specs;
}

static void tick(struct qv_timer *timer)
{
    struct qv_node *n = timer->arg;
    struct qv_store_stats stats = {0};
    if (n->store != NULL)
        qv_store_get_stats(n->store, &stats);
    pthread_mutex_lock(&n->lock);
    n->stats = stats;
    pthread_mutex_unlock(&n->lock);
    qv_env_timer_start(n->env, timer, 100 * QV_NS_PER_MS);
}

static int first_start(struct qv_node *n, struct qv_errmsg *msg)
{
    const struct qv_records_change changes[] = {
        {"writer", {(const uint8_t *)&n->writer, sizeof n->writer}},
        {"next_shard", {(const uint8_t *)&n->next_shard, sizeof n->next_shard}},
    };
    return qv_records_txn(n->records, n->records->epoch, changes, 2, msg);
}

static struct qv_node *node_alloc(const struct qv_node_config *config)
{
    struct qv_node *n = qv_mem_calloc(1, sizeof *n);
    n->env = config->env;
    qv_node_init_reads(n);
    n->dir = qv_mem_strdup(config->dir);
    if (config->snapshots_dir != NULL)
        n->snapshots.dir = qv_mem_strdup(config->snapshots_dir);
    n->snapshots.bytes_per_s = config->snapshot_bytes_per_s;
    n->writer = 1;
    n->next_shard = 1;
    n->topology = qv_topology_create(0);
    qv_buf_init(&n->cluster.copy, 0);
    pthread_mutex_init(&n->lock, NULL);
    return n;
}

static void node_free(struct qv_node *n)
{
    qv_topology_unref(n->topology);
    qv_records_close(n->records);
    pthread_mutex_destroy(&n->lock);
    qv_node_free_remotes(n);
    qv_topology_unref(n->cluster.known);
    qv_mem_free(n->locals);
    qv_buf_close(&n->cluster.copy);
    qv_mem_free(n->dir);
    qv_mem_free(n->snapshots.dir);
    qv_mem_free(n);
}

static bool find_data(void *arg, const char *name, bool is_dir)
{
    bool *found = arg;
    *found = *found || (is_dir && (strcmp(name, "shards") == 0 || strcmp(name, "log") == 0));
    return !*found;
}

/* The first start writes the metadata before anything else. Shards and log without it are no new
 * directory but one that lost it: opened as new, all shards would be leftovers and go. */
static int check_no_data(const struct qv_node *n, struct qv_errmsg *msg)
{
    bool found = false;
    int err = qv_disk_list(n->env->disk, n->dir, find_data, &found, msg);
    if (err == 0 && found)
        err = QV_CORRUPT(msg, "%s/meta, the list of collections, is missing beside their data",
                         n->dir);
    return err;
}

static int load_metadata(struct qv_node *n, struct qv_errmsg *msg)
{
    struct loading l = {.n = n, .msg = msg};
    char path[4096];
    snprintf(path, sizeof path, "%s/meta", n->dir);
    int err = qv_records_file_open(n->env->disk, path, &n->records, msg);
    if (err == 0 && n->records->epoch == 0)
        err = check_no_data(n, msg);
    return err == 0 ? qv_records_list(n->records, "", load_entry, &l) : err;
}

static struct qv_store_config store_config(const struct qv_node *n,
                                           const struct qv_node_config *config)
{
    return (struct qv_store_config){.env = n->env,
                                    .kv = config->kv,
                                    .dir = n->dir,
                                    .writer = n->writer,
                                    .segment_bytes = config->segment_bytes,
                                    .checkpoint_bytes = config->checkpoint_bytes,
                                    .checkpoint_ms = config->checkpoint_ms,
                                    .bulk_rows_min = config->bulk_rows_min,
                                    .reserve_bytes = (uint64_t)RESERVE_MIB << 20,
                                    .scrub_bytes_per_s = config->scrub_bytes_per_s,
                                    .scrub_rest_ms = config->scrub_rest_ms};
}

int qv_node_load_records(const struct qv_node_config *config, struct qv_node **out,
                         struct qv_errmsg *msg)
{
    *out = node_alloc(config);
    int err = load_metadata(*out, msg);
    if (err == 0 && (*out)->records->epoch == 0)
        err = first_start(*out, msg);
    return err;
}

int qv_node_save_identity(struct qv_node *n, const struct qv_node_identity *identity,
                          struct qv_errmsg *msg)
{
    struct qv_buf b;
    qv_buf_init(&b, 0);
    qv_node_cluster_encode_identity(identity, &b);
    const struct qv_records_change change = {"cluster/node", {b.data, b.len}};
    int err = qv_records_txn(n->records, n->records->epoch, &change, 1, msg);
    qv_buf_close(&b);
    return err;
}

void qv_node_free_records(struct qv_node *n)
{
    node_free(n);
}

/* A directory belongs to a node alone or to a cluster's, for ever. */
static int check_kind(const struct qv_node *n, const struct qv_node_config *config,
                      struct qv_errmsg *msg)
{
    if (config->cluster == NULL && n->cluster.identity.id != 0)
        return qv_fail(msg, QV_EINVAL,
                       "%s belongs to a node of a cluster: cluster.enabled must be true", n->dir);
    return 0;
}

static int open_store(struct qv_node *n, const struct qv_node_config *config, struct qv_errmsg *msg)
{
    struct qv_store_config store = store_config(n, config);
    uint32_t count;
    struct qv_shard_spec *specs = all_specs(n, &count);
    if (config->cluster != NULL)
        store.writer = config->cluster->writer;
    int err = qv_node_transfer_log_from(n, &store.log_from, msg);
    if (err == 0)
        err = qv_store_open(&store, specs, count, &n->store, msg);
    for (uint32_t i = 0; i < n->local_count && err == 0; i++)
        qv_node_local_reach(n, &n->locals[i], n->locals[i].store);
    qv_mem_free(specs);
    return err;
}

static int open_data(struct qv_node *n, const struct qv_node_config *config, struct qv_errmsg *msg)
{
    struct qv_errmsg left = {""};
    int err = qv_disk_mkdir_all(n->env->disk, n->dir, msg);
    if (err == 0)
        err = load_metadata(n, msg);
    if (err == 0 && n->records->epoch == 0)
        err = first_start(n, msg);
    if (err == 0)
        err = check_kind(n, config, msg);
    if (err == 0 && config->cluster != NULL)
        err = qv_node_cluster_recall(n, msg);
    if (err == 0)
        err = open_store(n, config, msg);
    if (err == 0 && qv_node_snapshot_clean(n, &left) != 0)
        QV_WARN("snapshot", "%s", left.text); /* of the node itself nothing lies there */
    return err;
}

int qv_node_open(const struct qv_node_config *config, struct qv_node **out, struct qv_errmsg *msg)
{
    struct qv_node *n = node_alloc(config);
    bool proxy = config->cluster != NULL && config->cluster->self.role == QV_ROLE_PROXY;
    int err = proxy ? 0 : open_data(n, config, msg);
    if (err == 0 && config->cluster != NULL)
        err = qv_node_cluster_open(n, config->cluster, msg);
    if (err != 0) {
        if (n->store != NULL)
            qv_store_abandon(n->store);
        node_free(n);
        return err;
    }
    n->timer = (struct qv_timer){.run = tick, .arg = n};
    tick(&n->timer);
    *out = n;
    return 0;
}

static void store_closed(void *arg, int err)
{
    struct qv_node *n = arg;
    void (*closed)(void *arg, int err) = n->closed;
    void *closed_arg = n->closed_arg;
    node_free(n);
    closed(closed_arg, err);
}

void qv_node_abandon(struct qv_node *n)
{
    qv_node_confirm_forget(n);
    qv_node_move_forget(n);
    qv_node_transfer_forget(n);
    qv_membership_abandon(&n->cluster.membership);
    if (n->store != NULL)
        qv_store_abandon(n->store);
    node_free(n);
}

void qv_node_serve_begin(struct qv_node *n)
{
    n->cluster.serving++;
}

static void left_cluster(void *arg)
{
    struct qv_node *n = arg;
    n->cluster.left = n->cluster.serving > 0;
    if (n->cluster.left)
        return; /* the last of them goes on */
    if (n->store != NULL)
        qv_store_close(n->store, store_closed, n);
    else
        store_closed(n, 0);
}

void qv_node_serve_end(struct qv_node *n)
{
    QV_ASSERT(n->cluster.serving > 0);
    n->cluster.serving--;
    if (n->cluster.left && n->cluster.serving == 0)
        left_cluster(n);
}

void qv_node_close_store(struct qv_node *n)
{
    qv_env_timer_stop(n->env, &n->timer);
    if (n->cluster.membership != NULL)
        qv_node_cluster_close(n, left_cluster, n);
    else
        left_cluster(n);
}

void qv_node_close(struct qv_node *n, void (*done)(void *arg, int err), void *arg)
{
    n->closed = done;
    n->closed_arg = arg;
    n->closing = true;
    qv_node_snapshot_stop(n);
    if (n->snapshots.tasks == 0)
        qv_node_close_store(n); /* or when the last of them has ended */
}

void qv_node_checkpoint(struct qv_node *n, void (*done)(void *arg, int err), void *arg)
{
    if (n->store != NULL)
        qv_store_checkpoint(n->store, done, arg);
    else if (done != NULL)
        done(arg, 0);
}

/* Swaps the tree that requests see. */
void qv_node_set_topology(struct qv_node *n, const struct qv_topology *next)
{
    pthread_mutex_lock(&n->lock);
    const struct qv_topology *before = n->topology;
    n->topology = next;
    pthread_mutex_unlock(&n->lock);
    qv_topology_unref(before);
}

int qv_node_save_collection(struct qv_node *n, const struct qv_collection *c, struct qv_errmsg *msg)
{
    struct qv_buf b;
    char key[QV_NODE_KEY_BYTES];
    qv_buf_init(&b, QV_RECORDS_VALUE_BYTES_MAX);
    encode_collection(n, c, &b);
    qv_node_collection_key(c, key);
    const struct qv_records_change changes[] = {
        {key, {b.data, b.len}},
        {"next_shard", {(const uint8_t *)&n->next_shard, sizeof n->next_shard}},
    };
    int err = b.failed ? qv_fail(msg, QV_ETOOBIG, "the configuration is too large")
                       : qv_records_txn(n->records, n->records->epoch, changes, 2, msg);
    qv_buf_close(&b);
    return err;
}

void qv_node_new_uuid(struct qv_node *n, uint8_t out[QV_UUID_BYTES])
{
    uint64_t words[2] = {qv_env_random_u64(n->env), qv_env_random_u64(n->env)};
    memcpy(out, words, QV_UUID_BYTES);
    out[6] = (uint8_t)((out[6] & 0x0F) | 0x40); /* RFC 4122, version 4 */
    out[8] = (uint8_t)((out[8] & 0x3F) | 0x80);
}

/* ---- check ---- */

struct checking {
    struct qv_node *n;
    const struct qv_store_listener *listener;
};

/* Whose shard is it? */
static void check_report(void *arg, const struct qv_store_finding *f)
{
    const struct checking *x = arg;
    struct qv_store_finding named = *f;
    const struct qv_topology *t = x->n->topology;
    for (uint32_t i = 0; i < t->count && f->shard != 0; i++) {
        for (uint32_t k = 0; k < t->collections[i]->shard_count; k++) {
            if (qv_node_store_number(x->n, t->collections[i], k) == f->shard)
                named.collection = t->collections[i]->name;
        }
    }
    x->listener->report(x->listener->arg, &named);
}

static void check_progress(void *arg, uint64_t done, uint64_t total)
{
    const struct checking *x = arg;
    if (x->listener->progress != NULL)
        x->listener->progress(x->listener->arg, done, total);
}

int qv_node_check(const struct qv_node_config *config, const struct qv_store_listener *listener,
                  struct qv_store_check_summary *out, struct qv_errmsg *msg)
{
    struct qv_node *n = node_alloc(config);
    memset(out, 0, sizeof *out);
    int err = load_metadata(n, msg);
    if (err == 0) {
        struct qv_store_config store = store_config(n, config);
        uint32_t count;
        struct qv_shard_spec *specs = all_specs(n, &count);
        struct checking x = {.n = n, .listener = listener};
        struct qv_store_listener own = {
            .report = check_report, .progress = check_progress, .arg = &x};
        err = qv_store_check(&store, specs, count, &own, out, msg);
        qv_mem_free(specs);
    }
    node_free(n);
    return err;
}
