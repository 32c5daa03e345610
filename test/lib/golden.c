#include "golden.h"

#include "wire/json_doc.h"
#include "wire/json_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void golden_wait_init(struct golden_wait *w)
{
    *w = (struct golden_wait){.done = false};
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->cond, NULL);
}

int golden_wait(struct golden_wait *w)
{
    pthread_mutex_lock(&w->lock);
    while (!w->done)
        pthread_cond_wait(&w->cond, &w->lock);
    w->done = false;
    int err = w->err;
    pthread_mutex_unlock(&w->lock);
    return err;
}

void golden_signal(void *arg, int err)
{
    struct golden_wait *w = arg;
    pthread_mutex_lock(&w->lock);
    w->err = err;
    w->done = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

void golden_must(int err, const char *what, const struct qv_errmsg *msg)
{
    if (err == 0)
        return;
    fprintf(stderr, "%s: %s %s\n", what, qv_err_name(err), msg->text);
    exit(1);
}

void golden_config(struct golden_config *g)
{
    static const struct {
        const char *name;
        uint32_t size;
        enum qv_distance distance;
        enum qv_dtype dtype;
        bool multi;
    } vectors[4] = {{"plain", 6, QV_DISTANCE_EUCLID, QV_DTYPE_F32, false},
                    {"half", 4, QV_DISTANCE_COSINE, QV_DTYPE_F16, false},
                    {"bytes", 8, QV_DISTANCE_DOT, QV_DTYPE_U8, false},
                    {"many", 3, QV_DISTANCE_MANHATTAN, QV_DTYPE_F32, true}};
    for (uint32_t i = 0; i < 4; i++)
        g->vectors[i] = (struct qv_vector_config){.name = qv_str_of(vectors[i].name),
                                                  .number = i,
                                                  .size = vectors[i].size,
                                                  .distance = vectors[i].distance,
                                                  .has_datatype = true,
                                                  .datatype = vectors[i].dtype,
                                                  .multivector = vectors[i].multi};
    g->sparse = (struct qv_sparse_config){.name = qv_str_of("words"), .number = 4};
    g->collection = (struct qv_collection_config){.vector_count = 4,
                                                  .vectors = g->vectors,
                                                  .sparse_count = 1,
                                                  .sparse = &g->sparse,
                                                  .shard_number = 1,
                                                  .replication_factor = 1,
                                                  .write_consistency_factor = 1,
                                                  .on_disk_payload = true,
                                                  .next_number = 5};
}

/* ---- writing ---- */

static void write_done(struct qv_write *w, int err)
{
    golden_signal(w->arg, err);
}

static void write_op(struct qv_shard *shard, struct qv_arena *arena, const struct qv_write_op *op)
{
    struct qv_write_req req = {.ops = op, .op_count = 1, .wait = true};
    struct golden_wait wait;
    golden_wait_init(&wait);
    struct qv_write w = {.req = &req, .arena = arena, .shard = shard, .done = write_done};
    w.arg = &wait;
    int err = qv_write_prepare(&w);
    if (err == 0) {
        qv_write_submit(&w);
        err = golden_wait(&wait);
    }
    golden_must(err, "write", &w.msg);
}

static struct qv_doc doc_of(struct qv_arena *arena, const char *json)
{
    struct qv_doc doc;
    struct qv_bytes text = {(const uint8_t *)json, strlen(json)};
    if (qv_json_read_doc(text, arena, &doc, NULL) != 0)
        exit(1);
    return doc;
}

static struct qv_id id_of(uint32_t i)
{
    struct qv_id id = qv_id_num(i * 7);
    if (i % 3 == 2)
        id = (struct qv_id){.type = QV_ID_UUID, .hi = 0x0123456789ab4def + i, .lo = 1ull << 63 | i};
    return id;
}

/* Values that are exact in every datatype. */
static float value_of(uint32_t i, uint32_t d)
{
    return (float)((i * 31 + d * 17) % 29) + (d % 2 == 0 ? 0.5f : 0.0f);
}

static struct qv_point_in point_of(struct qv_arena *arena, uint32_t i)
{
    static const char *const names[5] = {"plain", "half", "bytes", "many", "words"};
    static const uint32_t dims[5] = {6, 4, 8, 3, 3};
    static const uint32_t indices[3] = {4000000000u, 7, 12};
    struct qv_named_vec *vecs = QV_ARENA_ARRAY(arena, struct qv_named_vec, 5);
    uint32_t n = 0;
    for (uint32_t v = 0; v < 5; v++) {
        if (v > 0 && (i + v) % 3 == 0)
            continue;
        float *values = QV_ARENA_ARRAY(arena, float, 16);
        for (uint32_t d = 0; d < 16; d++)
            values[d] = v == 2 ? (float)((i * 3 + d) % 256) : value_of(i + v, d);
        vecs[n].name = qv_str_of(names[v]);
        vecs[n++].vec = (struct qv_vec){.kind = v == 3   ? QV_VEC_MULTI
                                                : v == 4 ? QV_VEC_SPARSE
                                                         : QV_VEC_DENSE,
                                        .dim = dims[v],
                                        .rows = v == 3 ? 2 : 1,
                                        .values = values,
                                        .indices = v == 4 ? indices : NULL};
    }
    char json[256];
    snprintf(json, sizeof json,
             "{\"n\":%u,\"x\":%u.25,\"s\":\"caf\\u00e9 %u\",\"b\":true,\"z\":null,\"a\":[1,\"two\","
             "[3.5],{}],\"o\":{\"k\":{\"deep\":%u}}}",
             i, i, i, i);
    return (struct qv_point_in){
        .id = id_of(i), .vecs = vecs, .vec_count = n, .payload = doc_of(arena, json)};
}

void golden_upsert(struct qv_shard *shard, struct qv_arena *arena, uint32_t from, uint32_t to)
{
    struct qv_point_in *points = QV_ARENA_ARRAY(arena, struct qv_point_in, to - from);
    for (uint32_t i = from; i < to; i++)
        points[i - from] = point_of(arena, i);
    struct qv_write_op op = {.type = QV_WRITE_UPSERT, .points = points, .point_count = to - from};
    write_op(shard, arena, &op);
}

void golden_change(struct qv_shard *shard, struct qv_arena *arena, enum qv_write_type type,
                   uint32_t i, const char *payload)
{
    struct qv_id id = id_of(i);
    struct qv_str name = qv_str_of("half");
    struct qv_path path;
    if (qv_path_parse(arena, qv_str_of("o.k"), &path, NULL) != 0)
        exit(1);
    struct qv_write_op op = {.type = type,
                             .select = {.ids = &id, .id_count = 1},
                             .names = &name,
                             .name_count = 1,
                             .keys = &path,
                             .key_count = 1};
    if (payload != NULL)
        op.payload = doc_of(arena, payload);
    write_op(shard, arena, &op);
}

void golden_changes(struct qv_shard *shard, struct qv_arena *arena)
{
    golden_change(shard, arena, QV_WRITE_DELETE, 6, NULL);
    golden_change(shard, arena, QV_WRITE_SET_PAYLOAD, 8, "{\"n\":null,\"s\":\"set\"}");
    golden_change(shard, arena, QV_WRITE_OVERWRITE_PAYLOAD, 9, "{\"only\":[\"this\"]}");
    golden_change(shard, arena, QV_WRITE_DELETE_PAYLOAD, 10, NULL);
    golden_change(shard, arena, QV_WRITE_CLEAR_PAYLOAD, 11, NULL);
    golden_change(shard, arena, QV_WRITE_DELETE_VECTORS, 12, NULL);
}

/* ---- contents ---- */

static void print_vec(struct qv_buf *b, const struct qv_named_vec *nv)
{
    uint32_t n = nv->vec.dim * (nv->vec.kind == QV_VEC_MULTI ? nv->vec.rows : 1);
    qv_buf_printf(b, " %.*s=", (int)nv->name.n, nv->name.p);
    for (uint32_t i = 0; i < n; i++) {
        if (nv->vec.kind == QV_VEC_SPARSE)
            qv_buf_printf(b, "%s%u:", i > 0 ? "," : "", nv->vec.indices[i]);
        qv_buf_printf(b, "%s%a", i > 0 && nv->vec.kind != QV_VEC_SPARSE ? "," : "",
                      (double)nv->vec.values[i]);
    }
}

static void read_all(struct qv_shard *shard, struct qv_arena *arena, struct qv_buf *b)
{
    struct qv_scroll_req req = {.limit = 1000,
                                .with_payload = {.mode = QV_SELECT_ALL},
                                .with_vector = {.mode = QV_SELECT_ALL}};
    struct qv_scroll_out out;
    struct qv_errmsg msg = {""};
    golden_must(qv_shard_scroll(shard, GOLDEN_READER, arena, &req, &out, &msg), "scroll", &msg);
    for (uint32_t i = 0; i < out.points.count; i++) {
        const struct qv_point_out *p = &out.points.points[i];
        char id[QV_ID_TEXT_MAX];
        qv_id_format(&p->id, id);
        qv_buf_printf(b, "%s", id);
        qv_buf_printf(b, " %llx.%x", (unsigned long long)p->version.clock, p->version.writer);
        qv_buf_str(b, " ");
        qv_json_write_doc(b, p->payload);
        for (uint32_t v = 0; v < p->vec_count; v++)
            print_vec(b, &p->vecs[v]);
        qv_buf_str(b, "\n");
    }
}

void golden_contents(struct qv_shard *shard, struct qv_buf *b)
{
    struct qv_arena arena;
    qv_arena_init(&arena, (size_t)64 << 20);
    read_all(shard, &arena, b);
    float q[6];
    for (uint32_t d = 0; d < 6; d++)
        q[d] = value_of(9, d);
    struct qv_query query = {.kind = QV_QUERY_VECTOR,
                             .vec = {.dim = 6, .rows = 1, .values = q},
                             .using_ = qv_str_of("plain"),
                             .limit = 5};
    struct qv_points_out hits;
    struct qv_errmsg msg = {""};
    golden_must(qv_shard_query(shard, GOLDEN_READER, &arena, &query, &hits, &msg), "query", &msg);
    for (uint32_t i = 0; i < hits.count; i++) {
        char id[QV_ID_TEXT_MAX];
        qv_id_format(&hits.points[i].id, id);
        qv_buf_printf(b, "near %s %a\n", id, (double)hits.points[i].score);
    }
    qv_arena_close(&arena);
}

char *golden_read(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return NULL;
    char *text = calloc(1, 1 << 20);
    size_t n = fread(text, 1, (1 << 20) - 1, f);
    text[n] = '\0';
    fclose(f);
    return text;
}
