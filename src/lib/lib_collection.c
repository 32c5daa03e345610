/* Collections: made, opened, dropped. What the options say becomes the JSON body of the REST API,
 * so that there is one decoder and one set of checks. */
#include "lib/lib_private.h"

#include "base/mem.h"
#include "core/limits.h"
#include "wire/json_request.h"

#include <stdio.h>
#include <string.h>

#define CONFIG_ARENA_BYTES ((size_t)16 << 20)
#define OPTIONS_BYTES_MIN                                                                          \
    (offsetof(struct quiver_collection_options, json) +                                            \
     sizeof(((struct quiver_collection_options *)0)->json))

/* Creating and dropping happen on the owner. */
struct change {
    struct quiver *db;
    struct qv_str name;
    const struct qv_collection_config *config;
    bool existed;
    struct qv_errmsg msg;
    int err;
};

static void create_on_owner(void *arg)
{
    struct change *x = arg;
    x->err = qv_node_create_collection(x->db->node, x->name, x->config, &x->msg);
}

static void drop_on_owner(void *arg)
{
    struct change *x = arg;
    x->err = qv_node_delete_collection(x->db->node, x->name, &x->existed, &x->msg);
}

/* ---- options ---- */

/* A strategy's name, or the object that the REST API takes. What it says is the decoder's to
 * check. */
static int write_placement(const char *text, struct qv_buf *b, struct qv_errmsg *msg)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz_");
    if (text[0] == '{') {
        qv_buf_printf(b, ",\"quiver\":{\"placement\":%s}", text);
        return 0;
    }
    if (n == 0 || n > 64 || text[n] != '\0')
        return qv_fail(msg, QV_EINVAL, "placement: neither a strategy's name nor a JSON object");
    qv_buf_printf(b, ",\"quiver\":{\"placement\":{\"strategy\":\"%s\"}}", text);
    return 0;
}

static int write_body(const struct quiver_collection_options *o, struct qv_buf *b,
                      struct qv_errmsg *msg)
{
    static const char *const distances[] = {"Cosine", "Euclid", "Dot", "Manhattan"};
    static const char *const datatypes[] = {"float32", "float16", "uint8"};
    if (o->metric < 0 || o->metric > QUIVER_MANHATTAN)
        return qv_fail(msg, QV_EINVAL, "metric: %d is none", o->metric);
    if (o->datatype < 0 || o->datatype > QUIVER_U8)
        return qv_fail(msg, QV_EINVAL, "datatype: %d is none", o->datatype);
    qv_buf_printf(b, "{\"vectors\":{\"size\":%u,\"distance\":\"%s\",\"datatype\":\"%s\"}", o->dim,
                  distances[o->metric], datatypes[o->datatype]);
    qv_buf_str(b, ",\"hnsw_config\":{");
    if (o->no_graph || o->m != 0)
        qv_buf_printf(b, "\"m\":%u", o->no_graph ? 0 : o->m);
    if (o->ef_construct != 0)
        qv_buf_printf(b, "%s\"ef_construct\":%u", o->no_graph || o->m != 0 ? "," : "",
                      o->ef_construct);
    qv_buf_str(b, "}");
    if (o->shard_number != 0)
        qv_buf_printf(b, ",\"shard_number\":%u", o->shard_number);
    int err = o->placement != NULL ? write_placement(o->placement, b, msg) : 0;
    qv_buf_str(b, "}");
    if (err != 0)
        return err;
    return b->failed ? QV_ENOMEM : 0;
}

/* The text that is read stays in the arena: the configuration borrows it. */
static int read_options(const struct quiver_collection_options *options, struct qv_arena *a,
                        struct qv_collection_config *out, struct qv_errmsg *msg)
{
    struct quiver_collection_options o = QUIVER_COLLECTION_OPTIONS_INIT;
    struct qv_buf b;
    if (qv_lib_options(&o, sizeof o, options, OPTIONS_BYTES_MIN) != 0)
        return qv_fail(msg, QV_EINVAL,
                       "options: size is not set: use QUIVER_COLLECTION_OPTIONS_INIT");
    qv_buf_init(&b, 4096);
    int err = o.json != NULL ? 0 : write_body(&o, &b, msg);
    struct qv_bytes body = {b.data, b.len};
    if (o.json != NULL)
        body = (struct qv_bytes){(const uint8_t *)o.json, strlen(o.json)};
    if (err == 0) {
        body.p = qv_arena_dup(a, body.p, body.n);
        err = body.p == NULL ? QV_ETOOBIG : qv_json_read_create_collection(body, a, out, msg);
    }
    qv_buf_close(&b);
    return err;
}

/* ---- handles ---- */

static int open_handle(struct quiver *db, struct qv_str name, struct quiver_collection **c,
                       struct qv_errmsg *msg)
{
    struct quiver_collection *x = qv_mem_calloc(1, sizeof *x);
    const struct qv_topology *t = qv_node_topology(db->node);
    const struct qv_collection *found = qv_topology_find(t, name);
    int err = found == NULL             ? qv_node_missing(name, msg)
              : found->shard_count == 1 ? qv_node_shard_at(db->node, found, 0, &x->shard, msg)
                                        : 0;
    if (err == 0 && found != NULL)
        memcpy(x->uuid, found->uuid, sizeof x->uuid);
    qv_topology_unref(t);
    if (err != 0) {
        qv_mem_free(x);
        return err;
    }
    x->db = db;
    pthread_mutex_lock(&db->lock);
    db->handles++;
    pthread_mutex_unlock(&db->lock);
    *c = x;
    return 0;
}

void quiver_close_collection(struct quiver_collection **p)
{
    struct quiver_collection *c = *p;
    if (c == NULL)
        return;
    struct quiver *db = c->db;
    if (c->shard != NULL)
        qv_shard_unref(c->shard);
    qv_mem_free(c);
    *p = NULL;
    pthread_mutex_lock(&db->lock);
    db->handles--;
    pthread_mutex_unlock(&db->lock);
}

static int create(struct quiver *db, struct qv_str name,
                  const struct quiver_collection_options *options, struct quiver_collection **c,
                  struct qv_errmsg *msg)
{
    struct qv_arena arena;
    struct qv_collection_config config;
    struct change x = {.db = db, .name = name, .config = &config};
    qv_arena_init(&arena, CONFIG_ARENA_BYTES);
    int err = read_options(options, &arena, &config, msg);
    if (err == 0) {
        qv_uv_env_call(db->env, create_on_owner, &x);
        *msg = x.msg;
        err = x.err;
    }
    qv_arena_close(&arena);
    return err == 0 ? open_handle(db, name, c, msg) : err;
}

int quiver_create_collection(struct quiver *db, const char *name,
                             const struct quiver_collection_options *options,
                             struct quiver_collection **c, struct quiver_error *why)
{
    struct qv_errmsg msg = {""};
    *c = NULL;
    qv_lib_clear(why);
    if (name == NULL || options == NULL)
        return qv_lib_refuse(why, QV_EINVAL, "%s: NULL", name == NULL ? "name" : "options");
    return qv_lib_fail(why, create(db, qv_str_of(name), options, c, &msg), &msg);
}

static int compare_vectors(const struct qv_collection_config *have,
                           const struct qv_collection_config *want, struct qv_errmsg *msg)
{
    for (uint32_t i = 0; i < want->vector_count; i++) {
        const struct qv_vector_config *w = &want->vectors[i];
        const struct qv_vector_config *h = qv_config_vector(have, w->name);
        if (h == NULL)
            return qv_fail(msg, QV_EEXISTS, "the collection exists, without a vector '%.*s'",
                           (int)w->name.n, w->name.p);
        if (h->size != w->size)
            return qv_fail(msg, QV_EEXISTS, "the collection exists, with dim %u instead of %u",
                           h->size, w->size);
        if (h->distance != w->distance || h->datatype != w->datatype)
            return qv_fail(msg, QV_EEXISTS, "the collection exists, with another %s",
                           h->distance != w->distance ? "metric" : "datatype");
    }
    if (have->vector_count != want->vector_count)
        return qv_fail(msg, QV_EEXISTS, "the collection exists, with %u vectors instead of %u",
                       have->vector_count, want->vector_count);
    return 0;
}

/* How its points are divided, where the caller says it. */
static int compare_shards(const struct qv_collection *have, const struct qv_collection_config *want,
                          const struct quiver_collection_options *options, struct qv_errmsg *msg)
{
    struct quiver_collection_options o;
    if (qv_lib_options(&o, sizeof o, options, OPTIONS_BYTES_MIN) != 0)
        return QV_EINVAL;
    if (o.json == NULL && o.shard_number != 0 && o.shard_number != have->shard_count)
        return qv_fail(msg, QV_EEXISTS, "the collection exists, with shard_number %u instead of %u",
                       have->shard_count, o.shard_number);
    if (o.json == NULL && o.placement != NULL &&
        !qv_placement_config_equal(&have->config->placement, &want->placement))
        return qv_fail(msg, QV_EEXISTS,
                       "the collection exists, with another placement (its strategy: %s)",
                       qv_placement_strategy_name(have->config->placement.strategy));
    return 0;
}

/* *there: the collection exists; then the result says whether it is the one that is wanted. */
static int look_up(struct quiver *db, struct qv_str name,
                   const struct quiver_collection_options *options, bool *there,
                   struct qv_errmsg *msg)
{
    struct qv_arena arena;
    struct qv_collection_config want;
    const struct qv_topology *t = qv_node_topology(db->node);
    const struct qv_collection *c = qv_topology_find(t, name);
    int err = 0;
    *there = c != NULL;
    if (c != NULL && options != NULL) {
        qv_arena_init(&arena, CONFIG_ARENA_BYTES);
        err = read_options(options, &arena, &want, msg);
        if (err == 0)
            err = compare_vectors(c->config, &want, msg);
        if (err == 0)
            err = compare_shards(c, &want, options, msg);
        qv_arena_close(&arena);
    }
    qv_topology_unref(t);
    return err;
}

int quiver_open_collection(struct quiver *db, const char *name,
                           const struct quiver_collection_options *options,
                           struct quiver_collection **c, struct quiver_error *why)
{
    struct qv_errmsg msg = {""};
    bool there = false;
    *c = NULL;
    qv_lib_clear(why);
    if (name == NULL)
        return qv_lib_refuse(why, QV_EINVAL, "name: NULL");
    struct qv_str text = qv_str_of(name);
    int err = look_up(db, text, options, &there, &msg);
    if (err == 0 && !there && options != NULL) {
        err = create(db, text, options, c, &msg);
        if (err != QV_EEXISTS)
            return qv_lib_fail(why, err, &msg);
        err = look_up(db, text, options, &there, &msg); /* another thread was faster */
    }
    if (err == 0)
        err = open_handle(db, text, c, &msg);
    return qv_lib_fail(why, err, &msg);
}

int quiver_drop_collection(struct quiver *db, const char *name, struct quiver_error *why)
{
    qv_lib_clear(why);
    if (name == NULL)
        return qv_lib_refuse(why, QV_EINVAL, "name: NULL");
    struct change x = {.db = db, .name = qv_str_of(name)};
    qv_uv_env_call(db->env, drop_on_owner, &x);
    if (x.err == 0 && !x.existed)
        x.err = qv_node_missing(x.name, &x.msg);
    return qv_lib_fail(why, x.err, &x.msg);
}

int quiver_each_collection(struct quiver *db, int (*visit)(void *arg, const char *name), void *arg)
{
    char name[QV_NAME_BYTES_MAX + 1];
    const struct qv_topology *t = qv_node_topology(db->node);
    int result = 0;
    for (uint32_t i = 0; i < t->count && result == 0; i++) {
        struct qv_str text = t->collections[i]->name;
        size_t n = text.n < sizeof name ? text.n : sizeof name - 1;
        memcpy(name, text.p, n);
        name[n] = '\0';
        result = visit(arg, name);
    }
    qv_topology_unref(t);
    return result;
}
