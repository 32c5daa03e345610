#include "cli/export_sink.h"

#include "core/limits.h"
#include "wire/json_scan.h"
#include "wire/json_write.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_ARENA_BYTES ((size_t)1 << 30)
#define STATE_BYTES_MAX 4096u
#define FBIN_HEAD_BYTES 8u

struct qv_str qv_export_raw(struct qv_json *j)
{
    (void)qv_json_peek(j); /* past white space */
    const char *from = j->p;
    qv_json_skip(j);
    return (struct qv_str){from, (size_t)(j->p - from)};
}

static int fail_io(const char *path, struct qv_errmsg *msg)
{
    return qv_fail(msg, qv_err_from_errno(errno), "%s: %s", path, strerror(errno));
}

/* ---- paths ---- */

static int part_path(const struct qv_export_sink *s, const char *name, char *out,
                     struct qv_errmsg *msg)
{
    int n = snprintf(out, QV_EXPORT_PATH_MAX, "%s%s", s->path, name);
    return n < 0 || n >= QV_EXPORT_PATH_MAX
               ? qv_fail(msg, QV_EINVAL, "the path is longer than %d bytes", QV_EXPORT_PATH_MAX)
               : 0;
}

/* The folder and those above it. */
static int make_folders(const char *dir, struct qv_errmsg *msg)
{
    char path[QV_EXPORT_PATH_MAX];
    int n = snprintf(path, sizeof path, "%s", dir);
    if (n < 0 || n >= (int)sizeof path)
        return qv_fail(msg, QV_EINVAL, "the path is longer than %d bytes", QV_EXPORT_PATH_MAX);
    for (char *p = path + 1; *p != '\0'; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            return fail_io(path, msg);
        *p = '/';
    }
    return mkdir(path, 0777) != 0 && errno != EEXIST ? fail_io(path, msg) : 0;
}

static int choose_paths(struct qv_export_sink *s, struct qv_errmsg *msg)
{
    struct stat st;
    size_t n = strlen(s->path);
    bool exists = stat(s->path, &st) == 0;
    bool slash = n > 0 && s->path[n - 1] == '/';
    s->is_dir = slash || (exists && S_ISDIR(st.st_mode));
    if (!s->is_dir && (n < 7 || strcmp(s->path + n - 6, ".jsonl") != 0))
        return qv_fail(msg, QV_EINVAL,
                       "'%.200s' is not allowed: FILE.jsonl, or a folder (one that exists, or a "
                       "name with '/' at its end)",
                       s->path);
    int err = s->is_dir && !exists ? make_folders(s->path, msg) : 0;
    if (err == 0)
        err = part_path(s, s->is_dir ? "/points.jsonl.part" : ".part", s->lines_path, msg);
    if (err == 0)
        err = part_path(s, s->is_dir ? "/vectors.fbin.part" : ".part", s->rows_path, msg);
    if (err == 0)
        err = part_path(s, s->is_dir ? "/export.state" : ".state", s->state_path, msg);
    return err;
}

/* lines_path without .part. */
static void final_path(const char *part, char out[QV_EXPORT_PATH_MAX])
{
    (void)snprintf(out, QV_EXPORT_PATH_MAX, "%.*s", (int)(strlen(part) - 5), part);
}

static int check_free(const struct qv_export_sink *s, struct qv_errmsg *msg)
{
    char path[QV_EXPORT_PATH_MAX];
    struct stat st;
    final_path(s->lines_path, path);
    if (stat(path, &st) == 0)
        return qv_fail(msg, QV_EEXISTS, "%s exists already; --overwrite replaces it", path);
    return 0;
}

/* ---- state ---- */

static void take_text(struct qv_str s, char *out, size_t n)
{
    (void)snprintf(out, n, "%.*s", (int)(s.n < n ? s.n : n - 1), s.p);
}

static void read_state_fields(struct qv_json *j, struct qv_export_sink *s, uint64_t *key)
{
    struct qv_str name;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &name)) {
        if (qv_str_is(name, "key"))
            *key = qv_json_u64(j);
        else if (qv_str_is(name, "points"))
            s->points = qv_json_u64(j);
        else if (qv_str_is(name, "rows"))
            s->rows = qv_json_u64(j);
        else if (qv_str_is(name, "dim"))
            s->dim = qv_json_u32(j);
        else if (qv_str_is(name, "line_bytes"))
            s->line_bytes = qv_json_u64(j);
        else if (qv_str_is(name, "next"))
            take_text(qv_json_string(j), s->next, sizeof s->next);
        else if (qv_str_is(name, "vector")) {
            take_text(qv_json_string(j), s->vector, sizeof s->vector);
            s->has_vector = true;
        } else
            qv_json_skip(j);
    }
}

/* *found false: there is none. */
static int load_state(struct qv_export_sink *s, bool *found, struct qv_errmsg *msg)
{
    char text[STATE_BYTES_MAX];
    struct qv_json j;
    uint64_t key = 0;
    *found = false;
    FILE *f = fopen(s->state_path, "re");
    if (f == NULL)
        return errno == ENOENT ? 0 : fail_io(s->state_path, msg);
    size_t n = fread(text, 1, sizeof text, f);
    (void)fclose(f);
    qv_json_init(&j, (struct qv_bytes){(const uint8_t *)text, n}, &s->arena, NULL);
    read_state_fields(&j, s, &key);
    if (qv_json_finish(&j) != 0 || s->dim > QV_DIM_MAX || s->rows > s->points)
        return qv_fail(msg, QV_EINVAL, "%s is damaged: begin again without --resume",
                       s->state_path);
    if (key != s->key)
        return qv_fail(msg, QV_EINVAL,
                       "%s is of another export (server, collection, filter or vector)",
                       s->state_path);
    *found = true;
    return 0;
}

int qv_export_sink_save(struct qv_export_sink *s, struct qv_errmsg *msg)
{
    char path[QV_EXPORT_PATH_MAX + 8];
    struct qv_buf b;
    if (fflush(s->lines) != 0)
        return fail_io(s->lines_path, msg);
    if (s->vectors != NULL && fflush(s->vectors) != 0)
        return fail_io(s->rows_path, msg);
    qv_buf_init(&b, STATE_BYTES_MAX);
    qv_buf_printf(&b, "{\"key\":%llu,\"points\":%llu,\"rows\":%llu,\"dim\":%u,\"line_bytes\":%llu",
                  (unsigned long long)s->key, (unsigned long long)s->points,
                  (unsigned long long)s->rows, s->dim, (unsigned long long)s->line_bytes);
    qv_buf_str(&b, ",\"next\":");
    qv_json_write_text(&b, s->next);
    if (s->has_vector) {
        qv_buf_str(&b, ",\"vector\":");
        qv_json_write_text(&b, s->vector);
    }
    qv_buf_str(&b, "}\n");
    (void)snprintf(path, sizeof path, "%s.new", s->state_path);
    FILE *f = fopen(path, "we");
    bool bad = f == NULL || b.failed || fwrite(b.data, 1, b.len, f) != b.len;
    bad = (f != NULL && fclose(f) != 0) || bad;
    bad = bad || rename(path, s->state_path) != 0;
    qv_buf_close(&b);
    return bad ? fail_io(path, msg) : 0;
}

/* ---- open ---- */

/* The file, cut to what the state counts; a shorter one lost something since. */
static FILE *open_part(const char *path, bool resume, uint64_t bytes, struct qv_errmsg *msg)
{
    struct stat st;
    FILE *f = fopen(path, resume ? "r+e" : "we");
    if (f == NULL) {
        (void)fail_io(path, msg);
        return NULL;
    }
    if (!resume)
        return f;
    bool good = fstat(fileno(f), &st) == 0 && (uint64_t)st.st_size >= bytes;
    if (good && (ftruncate(fileno(f), (off_t)bytes) != 0 || fseeko(f, 0, SEEK_END) != 0)) {
        (void)fail_io(path, msg);
        (void)fclose(f);
        return NULL;
    }
    if (!good) {
        (void)qv_fail(msg, QV_EINVAL, "%s is shorter than it was: begin again without --resume",
                      path);
        (void)fclose(f);
        return NULL;
    }
    return f;
}

int qv_export_sink_open(struct qv_export_sink *s, bool resume, bool overwrite,
                        struct qv_errmsg *msg)
{
    bool found = false;
    qv_arena_init(&s->arena, PAGE_ARENA_BYTES);
    int err = choose_paths(s, msg);
    if (err == 0 && !overwrite)
        err = check_free(s, msg);
    if (err == 0 && resume)
        err = load_state(s, &found, msg);
    if (err != 0)
        return err;
    if (!found && s->using_ != NULL) {
        (void)snprintf(s->vector, sizeof s->vector, "%s", s->using_);
        s->has_vector = true;
    }
    s->lines = open_part(s->lines_path, found, s->line_bytes, msg);
    if (s->lines == NULL)
        return QV_EIO;
    s->bytes = s->line_bytes + s->rows * s->dim * sizeof(float);
    if (!s->is_dir)
        return 0;
    bool rows = found && s->rows > 0;
    s->vectors =
        open_part(s->rows_path, rows, FBIN_HEAD_BYTES + s->rows * s->dim * sizeof(float), msg);
    return s->vectors == NULL ? QV_EIO : 0;
}

/* ---- points ---- */

struct record {
    struct qv_str id, payload;
    struct qv_str whole; /* the vector as it stands: bare, or a map */
    const float *row;    /* of vectors.fbin */
    uint32_t dim;
    struct qv_buf others; /* the map without that one, its members */
};

/* Is [ followed by a number, so that it is one dense vector? */
static bool is_dense(struct qv_json *j)
{
    if (qv_json_peek(j) != QV_JSON_ARRAY)
        return false;
    struct qv_json_mark at = qv_json_mark(j);
    qv_json_begin_array(j);
    bool dense = qv_json_next_item(j) && qv_json_peek(j) == QV_JSON_NUMBER;
    if (j->err == 0)
        qv_json_restore(j, at);
    return dense;
}

static bool is_main(struct qv_export_sink *s, struct qv_str name)
{
    if (!s->has_vector && name.n < sizeof s->vector) {
        take_text(name, s->vector, sizeof s->vector);
        s->has_vector = true;
    }
    return s->has_vector && name.n == strlen(s->vector) && memcmp(name.p, s->vector, name.n) == 0;
}

static void read_named(struct qv_export_sink *s, struct qv_json *j, struct record *r)
{
    struct qv_str name;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &name)) {
        if (is_dense(j) && is_main(s, name)) {
            r->row = qv_json_floats(j, QV_DIM_MAX, &r->dim);
            continue;
        }
        struct qv_str raw = qv_export_raw(j);
        if (r->others.len > 0)
            qv_buf_str(&r->others, ",");
        qv_json_write_str(&r->others, name);
        qv_buf_str(&r->others, ":");
        qv_buf_append(&r->others, raw.p, raw.n);
    }
}

static void read_vector(struct qv_export_sink *s, struct qv_json *j, struct record *r)
{
    if (qv_json_null(j))
        return;
    if (s->is_dir && qv_json_peek(j) == QV_JSON_OBJECT)
        read_named(s, j, r);
    else if (s->is_dir && is_dense(j) && is_main(s, (struct qv_str){"", 0}))
        r->row = qv_json_floats(j, QV_DIM_MAX, &r->dim);
    else
        r->whole = qv_export_raw(j);
}

/* White space between tokens may hold line ends; a line must not. */
static void append_line_part(struct qv_buf *b, struct qv_str s)
{
    size_t at = b->len;
    qv_buf_append(b, s.p, s.n);
    for (size_t i = at; !b->failed && i < b->len; i++) {
        if (b->data[i] == '\n' || b->data[i] == '\r')
            b->data[i] = ' ';
    }
}

static void write_line(const struct qv_export_sink *s, const struct record *r, struct qv_buf *b)
{
    qv_buf_str(b, "{\"id\":");
    append_line_part(b, r->id);
    if (r->row != NULL)
        qv_buf_printf(b, ",\"row\":%llu", (unsigned long long)s->rows);
    if (r->whole.n > 0) {
        qv_buf_str(b, ",\"vector\":");
        append_line_part(b, r->whole);
    } else if (r->others.len > 0 || r->row == NULL) {
        qv_buf_str(b, ",\"vector\":{");
        append_line_part(b, (struct qv_str){(const char *)r->others.data, r->others.len});
        qv_buf_str(b, "}");
    }
    if (r->payload.n > 0) {
        qv_buf_str(b, ",\"payload\":");
        append_line_part(b, r->payload);
    }
    qv_buf_str(b, "}\n");
}

static int put_row(struct qv_export_sink *s, const struct record *r, struct qv_errmsg *msg)
{
    if (s->rows == 0) {
        uint32_t head[2] = {0, r->dim}; /* the count comes at the end */
        s->dim = r->dim;
        if (fwrite(head, sizeof head, 1, s->vectors) != 1)
            return fail_io(s->rows_path, msg);
    }
    if (r->dim != s->dim)
        return qv_fail(msg, QV_EPROTO, "a vector of %u elements among those of %u", r->dim, s->dim);
    if (s->rows == UINT32_MAX)
        return qv_fail(msg, QV_ELIMIT, ".fbin holds %u rows at most; export to FILE.jsonl",
                       UINT32_MAX);
    if (fwrite(r->row, sizeof *r->row, r->dim, s->vectors) != r->dim)
        return fail_io(s->rows_path, msg);
    return 0;
}

static int put_record(struct qv_export_sink *s, const struct record *r, struct qv_errmsg *msg)
{
    struct qv_buf b;
    int err = 0;
    if (r->id.n == 0)
        return qv_fail(msg, QV_EPROTO, "a point without an id");
    qv_buf_init(&b, 0);
    write_line(s, r, &b);
    if (b.failed)
        err = qv_fail(msg, QV_ENOMEM, "no memory for a line");
    else if (r->row != NULL)
        err = put_row(s, r, msg);
    if (err == 0 && fwrite(b.data, 1, b.len, s->lines) != b.len)
        err = fail_io(s->lines_path, msg);
    if (err == 0) {
        s->points++;
        s->rows += r->row != NULL;
        s->line_bytes += b.len;
        s->bytes += b.len + (r->row != NULL ? r->dim * sizeof(float) : 0);
    }
    qv_buf_close(&b);
    return err;
}

static int read_record(struct qv_export_sink *s, struct qv_json *j, struct qv_errmsg *msg)
{
    struct qv_str key;
    struct record r = {.row = NULL};
    qv_buf_init(&r.others, 0);
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "id"))
            r.id = qv_export_raw(j);
        else if (qv_str_is(key, "vector"))
            read_vector(s, j, &r);
        else if (qv_str_is(key, "payload") && !qv_json_null(j))
            r.payload = qv_export_raw(j);
        else if (!qv_str_is(key, "payload"))
            qv_json_skip(j);
    }
    int err = j->err != 0 ? 0 : put_record(s, &r, msg); /* the scanner's error is told by finish */
    qv_buf_close(&r.others);
    return err;
}

int qv_export_sink_put(struct qv_export_sink *s, struct qv_bytes answer, const char *next,
                       struct qv_errmsg *msg)
{
    struct qv_json j;
    int err = 0;
    qv_arena_reset(&s->arena);
    qv_json_init(&j, answer, &s->arena, msg);
    qv_json_begin_object(&j);
    while (err == 0 && qv_json_find_key(&j, "result")) {
        qv_json_begin_array(&j);
        while (err == 0 && qv_json_next_item(&j))
            err = read_record(s, &j, msg);
    }
    struct qv_errmsg first = *msg;
    int scan = qv_json_finish(&j);
    if (err != 0)
        *msg = first;
    else if (scan != 0)
        err = QV_EPROTO;
    if (err == 0)
        (void)snprintf(s->next, sizeof s->next, "%s", next);
    return err;
}

/* ---- the end ---- */

struct echo { /* of the collection, as it stands */
    struct qv_str params, hnsw, optimizer, quantization, schema;
};

static void read_config(struct qv_json *j, struct echo *e)
{
    struct qv_str key;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "params"))
            e->params = qv_export_raw(j);
        else if (qv_str_is(key, "hnsw_config"))
            e->hnsw = qv_export_raw(j);
        else if (qv_str_is(key, "optimizer_config"))
            e->optimizer = qv_export_raw(j);
        else if (qv_str_is(key, "quantization_config"))
            e->quantization = qv_export_raw(j);
        else
            qv_json_skip(j);
    }
}

static int read_echo(struct qv_export_sink *s, struct qv_bytes answer, struct echo *e,
                     struct qv_errmsg *msg)
{
    struct qv_json j;
    struct qv_str key;
    qv_arena_reset(&s->arena);
    qv_json_init(&j, answer, &s->arena, msg);
    qv_json_begin_object(&j);
    while (qv_json_find_key(&j, "result")) {
        qv_json_begin_object(&j);
        while (qv_json_next_key(&j, &key)) {
            if (qv_str_is(key, "config"))
                read_config(&j, e);
            else if (qv_str_is(key, "payload_schema"))
                e->schema = qv_export_raw(&j);
            else
                qv_json_skip(&j);
        }
    }
    int err = qv_json_finish(&j);
    if (err == 0 && e->params.n < 3)
        err = qv_fail(msg, QV_EPROTO, "the server does not say what the collection is");
    return err == 0 ? 0 : QV_EPROTO;
}

static void put_member(struct qv_buf *b, const char *name, struct qv_str raw)
{
    if (raw.n == 0 || qv_str_is(raw, "null"))
        return;
    qv_buf_printf(b, ",\"%s\":", name);
    qv_buf_append(b, raw.p, raw.n);
}

static void write_collection(const struct qv_export_sink *s, const char *name, const struct echo *e,
                             struct qv_buf *b)
{
    qv_buf_str(b, "{\"format\":\"quiver/export/1\",\"collection\":");
    qv_json_write_text(b, name);
    qv_buf_printf(b, ",\"points\":%llu,\"rows\":%llu,\"dim\":%u,\"vector\":",
                  (unsigned long long)s->points, (unsigned long long)s->rows, s->dim);
    qv_json_write_text(b, s->vector);
    qv_buf_str(b, ",\"create\":");
    qv_buf_append(b, e->params.p, e->params.n - 1); /* without its } */
    put_member(b, "hnsw_config", e->hnsw);
    put_member(b, "optimizers_config", e->optimizer);
    put_member(b, "quantization_config", e->quantization);
    qv_buf_str(b, "}");
    put_member(b, "payload_schema", e->schema);
    qv_buf_str(b, "}\n");
}

static int finish_file(FILE **f, const char *part, bool keep, struct qv_errmsg *msg)
{
    char path[QV_EXPORT_PATH_MAX];
    FILE *file = *f;
    *f = NULL;
    bool bad = fflush(file) != 0 || fsync(fileno(file)) != 0;
    bad = fclose(file) != 0 || bad;
    if (bad)
        return fail_io(part, msg);
    final_path(part, path);
    if (!keep)
        return unlink(part) != 0 ? fail_io(part, msg) : 0;
    return rename(part, path) != 0 ? fail_io(path, msg) : 0;
}

static int write_collection_file(struct qv_export_sink *s, const char *name,
                                 struct qv_bytes collection, struct qv_errmsg *msg)
{
    char path[QV_EXPORT_PATH_MAX];
    struct echo e = {{NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}};
    struct qv_buf b;
    int err = read_echo(s, collection, &e, msg);
    if (err == 0)
        err = part_path(s, "/collection.json.part", path, msg);
    if (err != 0)
        return err;
    qv_buf_init(&b, 0);
    write_collection(s, name, &e, &b);
    FILE *f = fopen(path, "we");
    if (f == NULL || b.failed || fwrite(b.data, 1, b.len, f) != b.len)
        err = fail_io(path, msg);
    qv_buf_close(&b);
    if (f != NULL && err != 0)
        (void)fclose(f);
    return err == 0 ? finish_file(&f, path, true, msg) : err;
}

/* points.jsonl comes last: with it the export is there. */
int qv_export_sink_finish(struct qv_export_sink *s, const char *name, struct qv_bytes collection,
                          struct qv_errmsg *msg)
{
    int err = 0;
    if (s->is_dir) {
        const uint32_t count = (uint32_t)s->rows;
        char old[QV_EXPORT_PATH_MAX];
        final_path(s->rows_path, old);
        (void)unlink(old); /* of an export that is being replaced */
        if (s->rows > 0 && (fseeko(s->vectors, 0, SEEK_SET) != 0 ||
                            fwrite(&count, sizeof count, 1, s->vectors) != 1))
            return fail_io(s->rows_path, msg);
        err = finish_file(&s->vectors, s->rows_path, s->rows > 0, msg);
        if (err == 0)
            err = write_collection_file(s, name, collection, msg);
    }
    if (err == 0)
        err = finish_file(&s->lines, s->lines_path, true, msg);
    if (err == 0)
        (void)unlink(s->state_path);
    return err;
}

void qv_export_sink_close(struct qv_export_sink *s)
{
    if (s->lines != NULL)
        (void)fclose(s->lines);
    if (s->vectors != NULL)
        (void)fclose(s->vectors);
    s->lines = s->vectors = NULL;
    qv_arena_close(&s->arena);
}
