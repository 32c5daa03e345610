#include "cli/source.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "cli/mapped.h"
#include "wire/json_doc.h"
#include "wire/json_parts.h"
#include "wire/json_write.h"
#include "wire/pb_out.h"
#include "wire/pb_value.h"

#include <stdio.h>
#include <sys/stat.h>

#define POINT_ARENA_BYTES ((size_t)128 << 20)
#define SOURCE_PATH_MAX 4096
#define ABOUT_ARENA_BYTES ((size_t)16 << 20)
#define LINE_BYTES_MAX ((size_t)QV_REQUEST_BYTES_DEFAULT)

/* A folder that `quiver export` wrote: collection.json, and where its parts are. */
struct qv_exported {
    char lines_path[SOURCE_PATH_MAX], vectors_path[SOURCE_PATH_MAX], about_path[SOURCE_PATH_MAX];
    struct qv_bytes about; /* the file, mapped */
    struct qv_arena arena; /* what borrows no byte of it */
    struct qv_str vector;  /* name of that in vectors.fbin */
    struct qv_str create;
    uint64_t rows;
    uint32_t dim;
};

/* ---- lines ---- */

static bool is_blank(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != ' ' && p[i] != '\t' && p[i] != '\r')
            return false;
    }
    return true;
}

/* The next line that is not empty, without its end; false: there is none. */
static bool next_line(struct qv_lines *l, struct qv_bytes *out)
{
    while (l->at < l->map.n) {
        const char *p = (const char *)l->map.p + l->at;
        const char *end = memchr(p, '\n', l->map.n - l->at);
        size_t n = end != NULL ? (size_t)(end - p) : l->map.n - l->at;
        l->at += n + (end != NULL ? 1 : 0);
        l->line++;
        if (!is_blank(p, n)) {
            *out = (struct qv_bytes){(const uint8_t *)p, n};
            return true;
        }
    }
    return false;
}

static int open_lines(const char *path, struct qv_lines *out, struct qv_errmsg *msg)
{
    struct qv_bytes line;
    int err = qv_mapped_open(path, &out->map, msg);
    if (err != 0)
        return err;
    out->path = path;
    while (next_line(out, &line))
        out->count++;
    out->at = 0;
    out->line = 0;
    return out->count > 0 ? 0 : qv_fail(msg, QV_EINVAL, "%s: only empty lines", path);
}

static int fail_line(const struct qv_lines *l, int err, const struct qv_errmsg *why,
                     struct qv_errmsg *msg)
{
    char text[400];
    (void)snprintf(text, sizeof text, "%.399s",
                   why->text[0] != '\0' ? why->text : qv_err_text(err));
    char *place = strstr(text, " at line 1 column "); /* the reader saw one line only */
    if (place != NULL)
        memmove(place + 3, place + 10, strlen(place + 10) + 1);
    return qv_fail(msg, QV_EINVAL, "%s, line %llu: %s", l->path, (unsigned long long)l->line, text);
}

static int read_line(struct qv_lines *l, struct qv_bytes *out, struct qv_errmsg *msg)
{
    if (!next_line(l, out))
        return qv_fail(msg, QV_EEOF, "%s: no more lines", l->path);
    if (out->n > LINE_BYTES_MAX)
        return qv_fail(msg, QV_EINVAL, "%s, line %llu: %zu bytes; allowed: %zu", l->path,
                       (unsigned long long)l->line, out->n, LINE_BYTES_MAX);
    return 0;
}

/* ---- points ---- */

/* The row of vectors.fbin beside the vectors of the line. */
static void add_row(struct qv_source *s, struct qv_json *j, uint64_t row, struct qv_point_in *out)
{
    struct qv_errmsg why = {""};
    struct qv_named_vec *vecs =
        QV_ARENA_ARRAY(&s->arena, struct qv_named_vec, (size_t)out->vec_count + 1);
    if (j->err != 0)
        return;
    if (row >= s->exported->rows) {
        qv_json_fail(j, QV_EFORMAT, "\"row\": %llu of %llu in vectors.fbin",
                     (unsigned long long)row, (unsigned long long)s->exported->rows);
        return;
    }
    int err = vecs == NULL ? QV_ENOMEM
                           : qv_vecfile_read_f32(&s->vectors, s->exported->vectors_path,
                                                 (uint32_t)row, s->row, &why);
    if (err != 0) {
        qv_json_fail(j, err, "%.300s", why.text);
        return;
    }
    if (out->vec_count > 0)
        memcpy(vecs, out->vecs, out->vec_count * sizeof *vecs);
    vecs[out->vec_count].name = s->exported->vector;
    vecs[out->vec_count].vec =
        (struct qv_vec){.kind = QV_VEC_DENSE, .dim = s->vectors.dim, .rows = 1, .values = s->row};
    out->vecs = vecs;
    out->vec_count++;
}

static int read_json_point(struct qv_source *s, struct qv_point_in *out, struct qv_errmsg *msg)
{
    struct qv_bytes line;
    struct qv_json j;
    struct qv_str key;
    struct qv_errmsg why = {""};
    bool has_id = false;
    bool has_vector = false;
    bool has_row = false;
    uint64_t row = 0;
    int err = read_line(&s->lines, &line, msg);
    if (err != 0)
        return err;
    qv_json_init(&j, line, &s->arena, &why);
    qv_json_begin_object(&j);
    while (qv_json_next_key(&j, &key)) {
        if (qv_str_is(key, "id")) {
            out->id = qv_json_id(&j);
            has_id = true;
        } else if (qv_str_is(key, "vector") || qv_str_is(key, "vectors")) {
            out->vecs = qv_json_vectors(&j, &out->vec_count);
            has_vector = true;
        } else if (s->exported != NULL && qv_str_is(key, "row")) {
            row = qv_json_u64(&j);
            has_row = true;
        } else if (qv_str_is(key, "payload")) {
            out->payload = (struct qv_doc){NULL, 0};
            if (!qv_json_null(&j))
                out->payload = qv_json_doc_object(&j, "an object");
        } else {
            qv_json_fail(&j, QV_EFORMAT, "key \"%.*s\" is not allowed: id, vector, payload are",
                         (int)(key.n < 100 ? key.n : 100), key.p);
        }
    }
    if (has_row)
        add_row(s, &j, row, out);
    if (j.err == 0 && !has_vector && !has_row)
        qv_json_fail(&j, QV_EFORMAT, "no key \"vector\"");
    err = qv_json_finish(&j);
    if (!has_id)
        out->id = qv_id_num(s->config.start_id + s->next);
    return err != 0 ? fail_line(&s->lines, err, &why, msg) : 0;
}

static int read_payload(struct qv_source *s, struct qv_point_in *out, struct qv_errmsg *msg)
{
    struct qv_bytes line;
    struct qv_json j;
    struct qv_errmsg why = {""};
    int err = read_line(&s->payload, &line, msg);
    if (err != 0)
        return err;
    qv_json_init(&j, line, &s->arena, &why);
    out->payload = qv_json_doc_object(&j, "an object");
    err = qv_json_finish(&j);
    return err != 0 ? fail_line(&s->payload, err, &why, msg) : 0;
}

static int read_row(struct qv_source *s, struct qv_point_in *out, struct qv_errmsg *msg)
{
    struct qv_named_vec *vec = QV_ARENA_NEW(&s->arena, struct qv_named_vec);
    if (vec == NULL)
        return qv_fail(msg, QV_ENOMEM, "no memory for a point");
    int err = qv_vecfile_read_f32(&s->vectors, s->config.path, (uint32_t)s->next, s->row, msg);
    vec->vec =
        (struct qv_vec){.kind = QV_VEC_DENSE, .dim = s->vectors.dim, .rows = 1, .values = s->row};
    out->id = qv_id_num(s->config.start_id + s->next);
    out->vecs = vec;
    out->vec_count = 1;
    if (err == 0 && s->payload.map.n > 0)
        err = read_payload(s, out, msg);
    return err;
}

/* Lives until the next call. */
static int read_point(struct qv_source *s, struct qv_point_in *out, struct qv_errmsg *msg)
{
    if (s->next == s->total)
        return QV_EEOF;
    memset(out, 0, sizeof *out);
    qv_arena_reset(&s->arena);
    int err = s->is_json ? read_json_point(s, out, msg) : read_row(s, out, msg);
    if (err == 0)
        s->next++;
    QV_ASSERT(err != QV_EEOF); /* lines were counted */
    return err;
}

/* ---- as messages ---- */

static void put_vector(struct qv_buf *b, uint32_t number, const struct qv_vec *v)
{
    size_t mark = qv_pb_begin(b, number);
    size_t inner;
    switch (v->kind) {
    case QV_VEC_DENSE:
        qv_pb_put_bytes(b, 1, v->values, v->dim * sizeof *v->values);
        break;
    case QV_VEC_SPARSE:
        inner = qv_pb_begin(b, 102);
        qv_pb_put_bytes(b, 1, v->values, v->dim * sizeof *v->values);
        size_t packed = qv_pb_begin(b, 2);
        for (uint32_t i = 0; i < v->dim; i++)
            qv_pb_put_varint(b, v->indices[i]);
        qv_pb_end(b, packed);
        qv_pb_end(b, inner);
        break;
    case QV_VEC_MULTI:
        inner = qv_pb_begin(b, 103);
        for (uint32_t i = 0; i < v->rows; i++) {
            size_t row = qv_pb_begin(b, 1);
            qv_pb_put_bytes(b, 1, v->values + (size_t)i * v->dim, v->dim * sizeof *v->values);
            qv_pb_end(b, row);
        }
        qv_pb_end(b, inner);
        break;
    }
    qv_pb_end(b, mark);
}

static void put_vectors(struct qv_buf *b, const struct qv_point_in *p)
{
    size_t mark = qv_pb_begin(b, 4);
    if (p->vec_count == 1 && p->vecs[0].name.n == 0) {
        put_vector(b, 1, &p->vecs[0].vec);
    } else {
        size_t named = qv_pb_begin(b, 2);
        for (uint32_t i = 0; i < p->vec_count; i++) {
            size_t entry = qv_pb_begin(b, 1);
            qv_pb_put_str(b, 1, p->vecs[i].name);
            put_vector(b, 2, &p->vecs[i].vec);
            qv_pb_end(b, entry);
        }
        qv_pb_end(b, named);
    }
    qv_pb_end(b, mark);
}

static void put_point(struct qv_buf *b, const struct qv_point_in *p)
{
    char text[QV_ID_TEXT_MAX];
    size_t mark = qv_pb_begin(b, 3);
    size_t id = qv_pb_begin(b, 1);
    if (p->id.type == QV_ID_NUM)
        qv_pb_put_u64(b, 1, p->id.lo);
    else
        qv_pb_put_bytes(b, 2, text, qv_id_format(&p->id, text));
    qv_pb_end(b, id);
    if (p->payload.p != NULL)
        qv_pb_map_write(b, 3, p->payload);
    put_vectors(b, p);
    qv_pb_end(b, mark);
}

int qv_source_put(struct qv_source *s, struct qv_buf *b, struct qv_errmsg *msg)
{
    struct qv_point_in p;
    int err = read_point(s, &p, msg);
    if (err != 0)
        return err;
    put_point(b, &p);
    return b->failed ? qv_fail(msg, QV_ENOMEM, "no memory for a batch") : 0;
}

/* ---- schema ---- */

static void put_dense_schema(struct qv_buf *b, const struct qv_vec *v, const char *distance,
                             const char *datatype)
{
    qv_buf_printf(b, "{\"size\":%u,\"distance\":", v->dim);
    qv_json_write_text(b, distance);
    if (datatype != NULL) {
        qv_buf_str(b, ",\"datatype\":");
        qv_json_write_text(b, datatype);
    }
    if (v->kind == QV_VEC_MULTI)
        qv_buf_str(b, ",\"multivector_config\":{\"comparator\":\"max_sim\"}");
    qv_buf_str(b, "}");
}

static void put_named_schema(struct qv_buf *b, const struct qv_point_in *p, const char *distance,
                             const char *datatype)
{
    bool first = true;
    for (uint32_t i = 0; i < p->vec_count; i++) {
        if (p->vecs[i].vec.kind == QV_VEC_SPARSE)
            continue;
        qv_buf_str(b, first ? "" : ",");
        qv_json_write_str(b, p->vecs[i].name);
        qv_buf_str(b, ":");
        put_dense_schema(b, &p->vecs[i].vec, distance, datatype);
        first = false;
    }
    qv_buf_str(b, "},\"sparse_vectors\":{");
    first = true;
    for (uint32_t i = 0; i < p->vec_count; i++) {
        if (p->vecs[i].vec.kind != QV_VEC_SPARSE)
            continue;
        qv_buf_str(b, first ? "" : ",");
        qv_json_write_str(b, p->vecs[i].name);
        qv_buf_str(b, ":{}");
        first = false;
    }
    qv_buf_str(b, "}");
}

int qv_source_put_schema(struct qv_source *s, const char *distance, const char *datatype,
                         struct qv_buf *json, struct qv_errmsg *msg)
{
    struct qv_point_in p;
    const struct qv_lines lines = s->lines;
    const struct qv_lines payload = s->payload;
    QV_ASSERT(s->next == 0);
    int err = read_point(s, &p, msg);
    if (err != 0)
        return err;
    qv_buf_str(json, "\"vectors\":");
    if (p.vec_count == 1 && p.vecs[0].name.n == 0) {
        put_dense_schema(json, &p.vecs[0].vec, distance, datatype);
    } else {
        qv_buf_str(json, "{");
        put_named_schema(json, &p, distance, datatype);
    }
    s->lines = lines;
    s->payload = payload;
    s->next = 0;
    return json->failed ? qv_fail(msg, QV_ENOMEM, "no memory for a request") : 0;
}

/* ---- the whole ---- */

static bool is_json_name(const char *path)
{
    size_t n = strlen(path);
    return (n > 6 && strcmp(path + n - 6, ".jsonl") == 0) ||
           (n > 7 && strcmp(path + n - 7, ".ndjson") == 0);
}

static int open_vectors(struct qv_source *s, struct qv_errmsg *msg)
{
    if (!qv_vecfile_knows(s->config.path))
        return qv_fail(msg, QV_EINVAL,
                       "%s: unknown type; known by name: .fbin .u8bin .fvecs .bvecs .npy .idx "
                       "*-ubyte (these two also .gz) .jsonl .ndjson",
                       s->config.path);
    int err = qv_vecfile_open(s->config.path, &s->vectors, msg);
    if (err != 0)
        return err;
    if (s->vectors.type == QV_VECFILE_I32)
        return qv_fail(msg, QV_EINVAL, "%s: rows of i32; allowed: f32, f16, u8", s->config.path);
    s->row = qv_mem_try_calloc(s->vectors.dim, sizeof *s->row);
    if (s->row == NULL)
        return qv_fail(msg, QV_ENOMEM, "no memory for a row");
    s->total = s->vectors.rows;
    return 0;
}

/* ---- a folder ---- */

struct qv_str qv_source_create_body(const struct qv_source *s)
{
    return s->exported != NULL ? s->exported->create : (struct qv_str){"", 0};
}

static int exported_path(const struct qv_source *s, const char *name, char *out,
                         struct qv_errmsg *msg)
{
    int n = snprintf(out, SOURCE_PATH_MAX, "%s/%s", s->config.path, name);
    return n < 0 || n >= SOURCE_PATH_MAX
               ? qv_fail(msg, QV_EINVAL, "the path is longer than %d bytes", SOURCE_PATH_MAX)
               : 0;
}

static struct qv_str whole_value(struct qv_json *j)
{
    (void)qv_json_peek(j);
    const char *from = j->p;
    qv_json_skip(j);
    return (struct qv_str){from, (size_t)(j->p - from)};
}

static int read_about(struct qv_exported *e, struct qv_errmsg *msg)
{
    struct qv_json j;
    struct qv_str key;
    struct qv_str format = {"", 0};
    struct qv_errmsg why = {""};
    qv_json_init(&j, e->about, &e->arena, &why);
    qv_json_begin_object(&j);
    while (qv_json_next_key(&j, &key)) {
        if (qv_str_is(key, "format"))
            format = qv_json_string(&j);
        else if (qv_str_is(key, "vector"))
            e->vector = qv_json_string(&j);
        else if (qv_str_is(key, "rows"))
            e->rows = qv_json_u64(&j);
        else if (qv_str_is(key, "dim"))
            e->dim = qv_json_u32(&j);
        else if (qv_str_is(key, "create"))
            e->create = whole_value(&j);
        else
            qv_json_skip(&j);
    }
    if (j.err == 0 && !qv_str_is(format, "quiver/export/1"))
        qv_json_fail(&j, QV_EFORMAT, "format \"%.*s\"; allowed: quiver/export/1",
                     (int)(format.n < 100 ? format.n : 100), format.p);
    if (qv_json_finish(&j) != 0)
        return qv_fail(msg, QV_EINVAL, "%s: %.300s", e->about_path, why.text);
    return 0;
}

static int open_rows(struct qv_source *s, struct qv_errmsg *msg)
{
    struct qv_exported *e = s->exported;
    if (e->rows == 0)
        return 0;
    int err = qv_vecfile_open(e->vectors_path, &s->vectors, msg);
    if (err != 0)
        return err;
    if (s->vectors.rows != e->rows || s->vectors.dim != e->dim)
        return qv_fail(msg, QV_EINVAL, "%s: %u rows of %u; collection.json says %llu of %u",
                       e->vectors_path, s->vectors.rows, s->vectors.dim,
                       (unsigned long long)e->rows, e->dim);
    s->row = qv_mem_try_calloc(s->vectors.dim, sizeof *s->row);
    return s->row == NULL ? qv_fail(msg, QV_ENOMEM, "no memory for a row") : 0;
}

static int open_exported(struct qv_source *s, struct qv_errmsg *msg)
{
    struct qv_exported *e = s->exported = qv_mem_calloc(1, sizeof *e);
    qv_arena_init(&e->arena, ABOUT_ARENA_BYTES);
    s->is_json = true;
    int err = exported_path(s, "points.jsonl", e->lines_path, msg);
    if (err == 0)
        err = exported_path(s, "vectors.fbin", e->vectors_path, msg);
    if (err == 0)
        err = exported_path(s, "collection.json", e->about_path, msg);
    if (err == 0)
        err = qv_mapped_open(e->about_path, &e->about, msg);
    if (err == 0)
        err = read_about(e, msg);
    if (err == 0)
        err = open_rows(s, msg);
    if (err == 0)
        err = open_lines(e->lines_path, &s->lines, msg);
    s->total = s->lines.count;
    return err;
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int open_source(struct qv_source *s, struct qv_errmsg *msg)
{
    const struct qv_source_config *c = &s->config;
    int err;
    s->is_json = is_json_name(c->path);
    if (is_folder(c->path)) {
        err = open_exported(s, msg);
    } else if (s->is_json) {
        err = open_lines(c->path, &s->lines, msg);
        s->total = s->lines.count;
    } else {
        err = open_vectors(s, msg);
    }
    if (err != 0)
        return err;
    if (c->limit > 0 && c->limit < s->total)
        s->total = c->limit;
    if (s->total > UINT64_MAX - c->start_id)
        return qv_fail(msg, QV_EINVAL, "--start-id %llu: ids of %llu points would overflow",
                       (unsigned long long)c->start_id, (unsigned long long)s->total);
    if (c->payload == NULL)
        return 0;
    if (s->is_json)
        return qv_fail(msg, QV_EINVAL, "%s has payloads of its own: --payload is not allowed",
                       c->path);
    err = open_lines(c->payload, &s->payload, msg);
    if (err == 0 && s->payload.count < s->total)
        err = qv_fail(msg, QV_EINVAL, "%s: %llu lines; %llu are needed, one a vector", c->payload,
                      (unsigned long long)s->payload.count, (unsigned long long)s->total);
    return err;
}

int qv_source_open(const struct qv_source_config *config, struct qv_source *out,
                   struct qv_errmsg *msg)
{
    memset(out, 0, sizeof *out);
    out->config = *config;
    qv_arena_init(&out->arena, POINT_ARENA_BYTES);
    int err = open_source(out, msg);
    if (err != 0)
        qv_source_close(out);
    return err;
}

void qv_source_close(struct qv_source *s)
{
    qv_vecfile_close(&s->vectors);
    qv_mapped_close(&s->lines.map);
    qv_mapped_close(&s->payload.map);
    qv_mem_free(s->row);
    s->row = NULL;
    if (s->exported != NULL) {
        qv_mapped_close(&s->exported->about);
        qv_arena_close(&s->exported->arena);
        qv_mem_free(s->exported);
        s->exported = NULL;
    }
    qv_arena_close(&s->arena);
}

void qv_source_skip(struct qv_source *s, uint64_t n)
{
    struct qv_bytes line;
    QV_ASSERT(n <= s->total - s->next);
    for (uint64_t i = 0; s->is_json && i < n; i++)
        (void)next_line(&s->lines, &line);
    for (uint64_t i = 0; s->payload.map.n > 0 && i < n; i++)
        (void)next_line(&s->payload, &line);
    s->next += n;
}
