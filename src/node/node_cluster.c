#include "node/node_cluster.h"

#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "cluster/methods.h"
#include "node/node_private.h"
#include "node/node_transfer.h"

#include <stdio.h>
#include <string.h>

#define VERSION 1u
#define KEY_NODE "cluster/node"
#define KEY_SHARDS "cluster/shards"
#define KEY_FOLLOWED "cluster/followed"
#define KEY_COPY "cluster/copy/"
#define COPY_PIECE_BYTES ((size_t)1 << 20)
#define COPY_PIECES_MAX 64u
#define RETRY_NS (2 * QV_NS_PER_S)

/* ---- records ---- */

void qv_node_cluster_encode_identity(const struct qv_node_identity *id, struct qv_buf *b)
{
    qv_buf_u16(b, VERSION);
    qv_buf_u64(b, id->id);
    qv_buf_u64(b, id->incarnation);
    qv_buf_u32(b, id->writer);
    qv_buf_append(b, id->cluster, sizeof id->cluster);
}

static int decode_identity(struct qv_bytes value, struct qv_node_identity *out,
                           struct qv_errmsg *msg)
{
    struct qv_rd rd;
    qv_rd_init(&rd, value.p, value.n);
    uint16_t version = qv_rd_u16(&rd);
    out->id = qv_rd_u64(&rd);
    out->incarnation = qv_rd_u64(&rd);
    out->writer = qv_rd_u32(&rd);
    const uint8_t *cluster = qv_rd_take(&rd, sizeof out->cluster);
    if (rd.failed || version == 0 || out->id == 0)
        return QV_CORRUPT(msg, "metadata record " KEY_NODE);
    memcpy(out->cluster, cluster, sizeof out->cluster);
    return 0;
}

static int decode_shards(struct qv_node *n, struct qv_bytes value, struct qv_errmsg *msg)
{
    struct qv_rd rd;
    qv_rd_init(&rd, value.p, value.n);
    uint16_t version = qv_rd_u16(&rd);
    uint32_t count = qv_rd_u32(&rd);
    for (uint32_t i = 0; i < count && !rd.failed; i++) {
        const uint8_t *uuid = qv_rd_take(&rd, QV_UUID_BYTES);
        uint32_t number = qv_rd_u32(&rd);
        uint32_t store = qv_rd_u32(&rd);
        if (rd.failed || store == 0 || qv_node_local_find(n, uuid, number) != NULL)
            return QV_CORRUPT(msg, "metadata record " KEY_SHARDS);
        qv_node_local_add(n, uuid, number, store);
    }
    return rd.failed || version == 0 ? QV_CORRUPT(msg, "metadata record " KEY_SHARDS) : 0;
}

int qv_node_cluster_load(struct qv_node *n, const char *key, struct qv_bytes value,
                         struct qv_errmsg *msg)
{
    if (strncmp(key, KEY_COPY, strlen(KEY_COPY)) == 0)
        qv_buf_append(&n->cluster.copy, value.p, value.n);
    if (strcmp(key, KEY_SHARDS) == 0)
        return decode_shards(n, value, msg);
    if (strcmp(key, KEY_FOLLOWED) == 0 && value.n == sizeof n->cluster.saved_epoch)
        memcpy(&n->cluster.saved_epoch, value.p, sizeof n->cluster.saved_epoch);
    if (strcmp(key, KEY_NODE) == 0)
        return decode_identity(value, &n->cluster.identity, msg);
    return 0;
}

/* What lies here and the tree, as one transaction. */
int qv_node_cluster_save(struct qv_node *n, struct qv_errmsg *msg)
{
    struct qv_records_change changes[COPY_PIECES_MAX + 3];
    char keys[COPY_PIECES_MAX][32];
    struct qv_buf shards;
    struct qv_buf copy;
    size_t count = 0;
    if (n->records == NULL)
        return 0; /* a proxy keeps nothing */
    qv_buf_init(&shards, QV_RECORDS_VALUE_BYTES_MAX);
    qv_buf_u16(&shards, VERSION);
    qv_buf_u32(&shards, n->local_count);
    for (uint32_t i = 0; i < n->local_count; i++) {
        qv_buf_append(&shards, n->locals[i].uuid, QV_UUID_BYTES);
        qv_buf_u32(&shards, n->locals[i].number);
        qv_buf_u32(&shards, n->locals[i].store);
    }
    qv_buf_init(&copy, COPY_PIECES_MAX * COPY_PIECE_BYTES);
    qv_membership_copy(n->cluster.membership, &copy);
    changes[count++] = (struct qv_records_change){KEY_SHARDS, {shards.data, shards.len}};
    changes[count++] = (struct qv_records_change){
        "next_shard", {(const uint8_t *)&n->next_shard, sizeof n->next_shard}};
    /* Of a tree that could not be followed whole the last one before it: what was not made yet is
     * not what was lost. */
    const uint64_t followed = n->cluster.follow_err == 0
                                  ? qv_membership_tree(n->cluster.membership)->epoch
                                  : n->cluster.saved_epoch;
    changes[count++] =
        (struct qv_records_change){KEY_FOLLOWED, {(const uint8_t *)&followed, sizeof followed}};
    uint32_t pieces = 0;
    for (size_t at = 0; at < copy.len; at += COPY_PIECE_BYTES, pieces++) {
        size_t left = copy.len - at;
        snprintf(keys[pieces], sizeof keys[pieces], KEY_COPY "%04u", pieces);
        changes[count++] = (struct qv_records_change){
            keys[pieces], {copy.data + at, left < COPY_PIECE_BYTES ? left : COPY_PIECE_BYTES}};
    }
    for (uint32_t i = pieces; i < n->cluster.pieces; i++) { /* it was longer before */
        snprintf(keys[i], sizeof keys[i], KEY_COPY "%04u", i);
        changes[count++] = (struct qv_records_change){keys[i], {NULL, 0}};
    }
    int err = shards.failed || copy.failed
                  ? qv_fail(msg, QV_ETOOBIG, "the tree is too large to be kept")
                  : qv_records_txn(n->records, n->records->epoch, changes, count, msg);
    if (err == 0)
        n->cluster.pieces = pieces;
    qv_buf_close(&shards);
    qv_buf_close(&copy);
    return err;
}

/* ---- what the tree asks of this node ---- */

static bool is_mine(const struct qv_node *n, const struct qv_shard_place *s)
{
    for (uint32_t i = 0; i < s->slot_count; i++) {
        if (s->slots[i].holder == n->cluster.self.id || s->slots[i].next == n->cluster.self.id)
            return true;
    }
    return false;
}

static bool is_holder(const struct qv_node *n, const struct qv_shard_place *s)
{
    for (uint32_t i = 0; i < s->slot_count; i++) {
        if (s->slots[i].holder == n->cluster.self.id)
            return true;
    }
    return false;
}

/* Those whose slots name others by now. Their collections' values in the tree before keep the
 * configuration that they read. */
static bool drop_foreign(struct qv_node *n, const struct qv_topology *t)
{
    bool dropped = false;
    for (uint32_t i = 0; i < n->local_count;) {
        const struct qv_node_local l = n->locals[i];
        const struct qv_collection *c = qv_topology_by_uuid(t, l.uuid);
        const struct qv_shard_place *s = c != NULL ? qv_collection_shard(c, l.number) : NULL;
        if (s != NULL && is_mine(n, s)) {
            i++;
            continue;
        }
        const struct qv_collection *was = qv_topology_by_uuid(n->topology, l.uuid);
        qv_node_local_remove(n, l.uuid, l.number);
        if (was != NULL)
            qv_collection_ref(was);
        if (l.shard == NULL)
            qv_collection_unref(was);
        else if (s != NULL) /* it lies elsewhere: what waits here is tried again there */
            qv_store_replace_shard(n->store, l.store, qv_node_collection_gone,
                                   (void *)(uintptr_t)was);
        else
            qv_store_drop_shard(n->store, l.store, qv_node_collection_gone, (void *)(uintptr_t)was);
        dropped = true;
    }
    return dropped;
}

static int make_shard(struct qv_node *n, const struct qv_collection *c, uint32_t i,
                      struct qv_errmsg *msg)
{
    struct qv_shard *shard;
    struct qv_shard_spec spec = qv_node_spec_of(c, i, n->next_shard++);
    int err = qv_store_add_shard(n->store, &spec, &shard, msg);
    if (err != 0)
        return err;
    struct qv_node_local *l = qv_node_local_add(n, c->uuid, c->shards[i].number, spec.number);
    l->generation = c->generation;
    return 0;
}

static int follow_config(struct qv_node *n, const struct qv_collection *c, struct qv_node_local *l,
                         struct qv_errmsg *msg)
{
    if (l->generation == c->generation)
        return 0;
    int err = qv_store_prepare_config(n->store, l->store, c->config, msg);
    if (err != 0)
        return err;
    qv_store_set_config(n->store, l->store, c->config, (uint32_t)c->generation);
    l->generation = c->generation;
    return 0;
}

static int follow_shard(struct qv_node *n, const struct qv_collection *c, uint32_t i,
                        struct qv_errmsg *msg)
{
    const struct qv_shard_place *s = &c->shards[i];
    struct qv_node_local *l = qv_node_local_find(n, c->uuid, s->number);
    if (l != NULL)
        return follow_config(n, c, l, msg);
    if (!is_holder(n, s))
        return 0; /* its transfer makes it */
    if (s->epoch <= n->cluster.saved_epoch)
        return qv_fail(msg, QV_ECORRUPT, "shard %u of collection %.*s was here and is gone",
                       s->number, (int)(c->name.n < 200 ? c->name.n : 200), c->name.p);
    return make_shard(n, c, i, msg);
}

/* Everything that the tree asks for; the first error is kept and tried again. */
static void follow(struct qv_node *n, const struct qv_topology *t)
{
    n->cluster.follow_err = 0;
    for (uint32_t i = 0; i < t->count && n->store != NULL; i++) {
        const struct qv_collection *c = t->collections[i];
        for (uint32_t k = 0; k < c->shard_count; k++) {
            struct qv_errmsg msg = {""};
            if (!is_mine(n, &c->shards[k]))
                continue;
            int err = follow_shard(n, c, k, &msg);
            if (err != 0 && n->cluster.follow_err == 0) {
                n->cluster.follow_err = err;
                n->cluster.follow_msg = msg;
            }
        }
    }
}

static void reach_new(struct qv_node *n)
{
    for (uint32_t i = 0; i < n->local_count; i++) {
        if (n->locals[i].shard == NULL)
            qv_node_local_reach(n, &n->locals[i], n->locals[i].store);
    }
}

static void know_peers(struct qv_node *n, const struct qv_topology *t)
{
    const struct qv_topology *before = n->cluster.known;
    struct qv_errmsg msg = {""};
    for (uint32_t i = 0; i < t->member_count; i++) {
        const struct qv_member *m = &t->members[i];
        const struct qv_member *was = qv_topology_member(before, m->id);
        if (was != NULL && strcmp(was->host, m->host) == 0 && was->peer_port == m->peer_port)
            continue;
        if (qv_peers_set(n->cluster.peers, m->id, m->host, m->peer_port, &msg) != 0)
            QV_WARN("cluster", "node %016llx at %.100s:%u: %.200s", (unsigned long long)m->id,
                    m->host, m->peer_port, msg.text);
    }
    for (uint32_t i = 0; i < before->member_count; i++) {
        if (qv_topology_member(t, before->members[i].id) == NULL)
            qv_peers_remove(n->cluster.peers, before->members[i].id);
    }
    qv_topology_ref(t);
    qv_topology_unref(before);
    n->cluster.known = t;
}

static void try_again(struct qv_timer *timer)
{
    qv_node_cluster_changed(timer->arg);
}

void qv_node_cluster_changed(void *arg)
{
    struct qv_node *n = arg;
    struct qv_errmsg msg = {""};
    if (n->cluster.membership == NULL)
        return; /* it is being opened: looked at after that */
    const struct qv_topology *t = qv_membership_tree(n->cluster.membership);
    know_peers(n, t);
    drop_foreign(n, t);
    follow(n, t);
    int err = t->epoch != n->cluster.saved_epoch || n->cluster.follow_err == 0
                  ? qv_node_cluster_save(n, &msg)
                  : 0;
    if (err == 0)
        reach_new(n); /* what is not on record yet would be forgotten by a restart */
    if (err == 0 && n->cluster.follow_err == 0)
        n->cluster.saved_epoch = t->epoch;
    else if (n->cluster.follow_err == 0) {
        n->cluster.follow_err = err;
        n->cluster.follow_msg = msg;
    }
    if (n->cluster.follow_err != 0) {
        QV_WARN("cluster", "epoch %llu: %.300s", (unsigned long long)t->epoch,
                n->cluster.follow_msg.text);
        qv_env_timer_start(n->env, &n->cluster.again, RETRY_NS);
    }
    qv_topology_ref(t);
    qv_node_set_topology(n, t);
    qv_node_transfer_changed(n);
    qv_node_move_changed(n);
    pthread_mutex_lock(&n->lock);
    n->cluster.complete = n->cluster.follow_err == 0;
    pthread_mutex_unlock(&n->lock);
    qv_node_confirm_settle(n);
}

/* ---- open, close ---- */

static void serve_all(struct qv_node *n, bool on)
{
    qv_node_confirm_serve(n, on);
    qv_node_serve(n, on);
    qv_node_serve_reads(n, on);
    qv_node_survey_serve(n, on);
}

int qv_node_cluster_open(struct qv_node *n, const struct qv_node_cluster_config *config,
                         struct qv_errmsg *msg)
{
    struct qv_membership_config membership = {.env = n->env,
                                              .meta = config->meta,
                                              .peers = config->peers,
                                              .self = config->self,
                                              .copy = {n->cluster.copy.data, n->cluster.copy.len},
                                              .tree = n->topology,
                                              .changed = qv_node_cluster_changed,
                                              .arg = n};
    n->cluster.peers = config->peers;
    n->cluster.known = qv_topology_create(0);
    n->cluster.self = config->self;
    n->cluster.again = (struct qv_timer){.run = try_again, .arg = n};
    n->cluster.rebalance = config->rebalance;
    serve_all(n, true);
    qv_node_transfer_open(n);
    int err = qv_membership_open(&membership, &n->cluster.membership, msg);
    qv_buf_close(&n->cluster.copy);
    if (err == 0) {
        qv_node_move_open(n);
        qv_node_cluster_changed(n);
    } else {
        serve_all(n, false);
        qv_node_transfer_forget(n);
    }
    return err;
}

/* The tree of the last run, before the store is opened: it says what the shards here are. */
int qv_node_cluster_recall(struct qv_node *n, struct qv_errmsg *msg)
{
    struct qv_mirror *m = qv_mirror_create();
    const struct qv_topology *t;
    int err = 0;
    if (n->cluster.copy.len != 0) {
        err =
            qv_mirror_decode(m, (struct qv_bytes){n->cluster.copy.data, n->cluster.copy.len}, msg);
        if (err == 0)
            err = qv_mirror_tree(m, n->topology, &t, msg);
        if (err == 0) {
            qv_node_set_topology(n, t);
        }
    }
    qv_mirror_destroy(&m);
    for (uint32_t i = 0; i < n->local_count; i++) {
        const struct qv_collection *c = qv_topology_by_uuid(n->topology, n->locals[i].uuid);
        n->locals[i].generation = c != NULL ? c->generation : 0;
    }
    return err;
}

static void transfers_closed(void *arg)
{
    struct qv_node *n = arg;
    struct qv_membership *m = n->cluster.membership;
    serve_all(n, false);
    n->cluster.membership = NULL;
    qv_membership_close(m, n->cluster.closed, n->cluster.closed_arg);
}

static void moves_closed(struct qv_node *n)
{
    qv_node_transfer_close(n, transfers_closed, n);
}

void qv_node_cluster_close(struct qv_node *n, void (*closed)(void *arg), void *arg)
{
    qv_env_timer_stop(n->env, &n->cluster.again);
    n->cluster.closed = closed;
    n->cluster.closed_arg = arg;
    qv_node_move_close(n, moves_closed);
}

/* ---- identity ---- */

/* Of 53 bits: the API tells ids of nodes as JSON numbers, which some clients read as doubles. */
static uint64_t new_id(struct qv_env *env)
{
    return qv_env_random_u64(env) >> 11 | 1;
}

int qv_node_identify(const struct qv_node_config *config, uint8_t role,
                     struct qv_node_identity *out, struct qv_errmsg *msg)
{
    memset(out, 0, sizeof *out);
    if (role == QV_ROLE_PROXY) {
        out->id = new_id(config->env);
        out->incarnation = 1;
        return 0;
    }
    int err = qv_disk_mkdir_all(config->env->disk, config->dir, msg);
    struct qv_node *n = NULL;
    if (err == 0)
        err = qv_node_load_records(config, &n, msg);
    if (err == 0 && n->topology->count != 0)
        err = qv_fail(msg, QV_EINVAL,
                      "%s holds the collections of a node alone: it can't become a cluster's",
                      config->dir);
    if (err == 0) {
        *out = n->cluster.identity;
        if (out->id == 0)
            out->id = new_id(config->env);
        out->incarnation++;
        err = qv_node_save_identity(n, out, msg);
    }
    if (n != NULL)
        qv_node_free_records(n);
    return err;
}

int qv_node_found(const struct qv_node_config *config, const struct qv_node_identity *identity,
                  struct qv_errmsg *msg)
{
    struct qv_node *n = NULL;
    int err = qv_node_load_records(config, &n, msg);
    if (err == 0)
        err = qv_node_save_identity(n, identity, msg);
    if (n != NULL)
        qv_node_free_records(n);
    return err;
}

bool qv_node_is_ready(struct qv_node *n)
{
    pthread_mutex_lock(&n->lock);
    const bool known = qv_topology_member(n->topology, n->cluster.self.id) != NULL;
    const bool ready = !qv_node_in_cluster(n) || (known && n->cluster.complete);
    pthread_mutex_unlock(&n->lock);
    return ready;
}

bool qv_node_in_cluster(const struct qv_node *n)
{
    return n->cluster.self.id != 0;
}

uint64_t qv_node_id(const struct qv_node *n)
{
    return n->cluster.self.id;
}

void qv_node_cluster_status(struct qv_node *n, struct qv_membership_status *out)
{
    qv_membership_status(n->cluster.membership, out);
    if (out->why[0] == '\0' && n->cluster.follow_err != 0)
        snprintf(out->why, sizeof out->why, "%.255s", n->cluster.follow_msg.text);
}
