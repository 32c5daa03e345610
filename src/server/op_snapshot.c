#include "server/op_snapshot.h"

#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "node/snapshots.h"
#include "server/edge.h"
#include "server/fetch.h"
#include "wire/json_request.h"
#include "wire/multipart.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- before the body (loop thread) ---- */

void qv_op_prepare_snapshot(struct qv_edge *edge, struct qv_call *call, bool upload)
{
    const struct qv_edge_config *settings = qv_edge_settings(edge);
    char dir[QV_SNAPSHOT_PATH_MAX];
    struct qv_errmsg msg = {""};
    call->timeout_ms = settings->snapshot_timeout_ms;
    if (!upload || qv_node_snapshot_dir(qv_edge_node(edge)) == NULL)
        return;
    int err = qv_node_snapshot_tmp(qv_edge_node(edge), dir, &msg);
    if (err == 0)
        err = qv_call_spool(call, dir, settings->snapshot_bytes_max);
    if (err != 0) /* in memory then, within the limit of bodies: the operation says what is wrong */
        QV_WARN("snapshot", "an upload can't go to %s: %s", dir, qv_err_text(err));
}

/* ---- REST ---- */

static bool is_param(struct qv_call *call, const char *name, const char **value, int *err,
                     struct qv_errmsg *msg)
{
    *err = qv_call_query_param(call, name, value);
    if (*err == QV_ENOTFOUND) {
        *err = 0;
        return false;
    }
    if (*err == QV_EBADREQ)
        qv_fail(msg, *err, "the value of %s is malformed", name);
    return *err == 0;
}

static int decode_params(struct qv_op *op)
{
    struct qv_snapshot_req *req = &op->req.snapshot;
    const char *value;
    int err;
    req->wait = true;
    if (is_param(op->call, "wait", &value, &err, &op->msg))
        req->wait = strcmp(value, "false") != 0; /* what it may be is checked with all the others */
    if (err == 0 && op->kind == QV_OP_SNAPSHOT_UPLOAD &&
        is_param(op->call, "checksum", &value, &err, &op->msg))
        req->checksum = qv_str_of(value);
    if (err == 0 && op->kind == QV_OP_SNAPSHOT_UPLOAD &&
        is_param(op->call, "priority", &value, &err, &op->msg) &&
        !qv_json_is_priority(qv_str_of(value)))
        return qv_fail(&op->msg, QV_EBADREQ,
                       "unknown variant `%.60s`, expected one of `no_sync`, `snapshot`, `replica`",
                       value);
    return err;
}

/* Whether there is a shard of that number is for the node to say. */
static int read_shard(struct qv_op *op)
{
    const int shown = (int)(op->rest.n < 20 ? op->rest.n : 20);
    uint64_t number = 0;
    for (size_t i = 0; i < op->rest.n; i++) {
        if (op->rest.p[i] < '0' || op->rest.p[i] > '9')
            return qv_fail(&op->msg, QV_EBADREQ, "`%.*s` is no number of a shard", shown,
                           op->rest.p);
        number = number * 10 + (uint64_t)(op->rest.p[i] - '0');
        if (number > UINT32_MAX)
            return qv_fail(&op->msg, QV_ENOTFOUND, "Shard %.*s not found", shown, op->rest.p);
    }
    op->req.snapshot.scope.number = (uint32_t)number;
    return 0;
}

/* /snapshots.. has no collection; /collections/{}/shards/{}/snapshots.. names a shard. */
static int decode_scope(struct qv_op *op)
{
    struct qv_snapshot_req *req = &op->req.snapshot;
    const char *p = op->call->path;
    while (*p == '/')
        p++;
    bool full = strncmp(p, "snapshots", strlen("snapshots")) == 0;
    for (size_t i = 0; i < 2 && !full; i++) { /* behind collections/{} */
        p += strcspn(p, "/?");
        p += strspn(p, "/");
    }
    req->scope.shard = !full && strncmp(p, "shards/", strlen("shards/")) == 0;
    req->scope.collection = full ? (struct qv_str){"", 0} : op->collection;
    req->name = full ? op->collection : req->scope.shard ? op->third : op->rest;
    return req->scope.shard ? read_shard(op) : 0;
}

int qv_op_decode_snapshot(struct qv_op *op)
{
    int err = decode_scope(op);
    if (err == 0)
        err = decode_params(op);
    if (err == 0 && op->kind == QV_OP_SNAPSHOT_RECOVER)
        err = qv_json_read_recover(op->call->body, &op->call->arena, &op->req.snapshot, &op->msg);
    return err;
}

/* ---- file:// ---- */

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool unescape(const char *from, char *out, size_t room)
{
    size_t n = 0;
    for (; *from != '\0'; from++) {
        char c = *from;
        if (c == '%') {
            int high = hex(from[1]);
            int low = high < 0 ? -1 : hex(from[2]);
            if (low < 0 || (high == 0 && low == 0))
                return false;
            c = (char)(high * 16 + low);
            from += 2;
        }
        if (n + 1 >= room)
            return false;
        out[n++] = c;
    }
    out[n] = '\0';
    return true;
}

/* Does path lie below dir, every link followed? One that is not there does when its directory does:
 * whoever asks learns nothing of the file system outside. */
static bool is_inside(const char *dir, const char *path)
{
    char real_dir[PATH_MAX];
    char real[PATH_MAX];
    char parent[PATH_MAX];
    if (realpath(dir, real_dir) == NULL || strlen(path) >= sizeof parent)
        return false;
    if (realpath(path, real) == NULL) {
        snprintf(parent, sizeof parent, "%s", path);
        *strrchr(parent, '/') = '\0';
        if (realpath(parent, real) == NULL)
            return false;
        return strncmp(real, real_dir, strlen(real_dir)) == 0 &&
               (real[strlen(real_dir)] == '/' || real[strlen(real_dir)] == '\0');
    }
    return strncmp(real, real_dir, strlen(real_dir)) == 0 && real[strlen(real_dir)] == '/';
}

static int locate_file(struct qv_op *op, const char *location, char *out)
{
    const char *path = location + strlen("file://");
    const char *dir = qv_node_snapshot_dir(qv_edge_node(op->edge));
    struct stat st;
    if (dir == NULL)
        return qv_fail(&op->msg, QV_EUNAVAILABLE, "this node has no directory for snapshots");
    if (strncmp(path, "localhost/", strlen("localhost/")) == 0)
        path += strlen("localhost");
    if (path[0] != '/')
        return qv_fail(&op->msg, QV_EBADREQ,
                       "Invalid snapshot URI, file path must be absolute or on localhost");
    if (!unescape(path, out, QV_SNAPSHOT_PATH_MAX))
        return qv_fail(&op->msg, QV_EBADREQ,
                       "Invalid snapshot URI: it has a wrong escape or is too long");
    if (!is_inside(dir, out))
        return qv_fail(&op->msg, QV_EFORBIDDEN,
                       "Snapshot file \"%.200s\" must be inside snapshots directory", out);
    if (stat(out, &st) != 0 || !S_ISREG(st.st_mode))
        return qv_fail(&op->msg, QV_EBADREQ, "Snapshot file \"%.200s\" does not exist", out);
    return 0;
}

/* ---- tasks ---- */

/* What a task needs when its call may be answered before it ends. */
struct work {
    struct qv_edge *edge;
    struct qv_op *op; /* NULL: answered, it was not to wait */
    enum qv_op_kind kind;
    struct qv_snapshot_scope scope; /* collection: a copy */
    char *checksum, *url, *api_key;
    char path[QV_SNAPSHOT_PATH_MAX];
    bool remove;
    int fd;
    struct qv_multipart_part part;
    struct qv_job job;
    struct qv_task task;
    struct qv_fetch fetch;
    struct qv_errmsg msg;
    int err;
};

static char *copy_of(struct qv_str s)
{
    if (s.p == NULL)
        return NULL;
    char *out = qv_mem_calloc(1, s.n + 1);
    if (s.n > 0)
        memcpy(out, s.p, s.n);
    return out;
}

static void work_free(struct work *w)
{
    qv_mem_free((void *)(uintptr_t)w->scope.collection.p);
    qv_mem_free(w->checksum);
    qv_mem_free(w->url);
    qv_mem_free(w->api_key);
    qv_mem_free(w);
}

static struct work *work_create(struct qv_op *op)
{
    const struct qv_snapshot_req *req = &op->req.snapshot;
    struct work *w = qv_mem_calloc(1, sizeof *w);
    w->edge = op->edge;
    w->op = op;
    w->kind = op->kind;
    w->scope.shard = req->scope.shard;
    w->scope.number = req->scope.number;
    w->scope.collection = (struct qv_str){copy_of(req->scope.collection), req->scope.collection.n};
    w->checksum = copy_of(req->checksum);
    w->api_key = copy_of(req->api_key);
    w->fd = -1;
    return w;
}

/* wait=false: answered as soon as it is known that it can begin. */
static void answer_early(struct work *w)
{
    struct qv_op *op = w->op;
    if (op->req.snapshot.wait)
        return;
    w->op = NULL;
    op->accepted = true;
    qv_op_answer(op, 0);
}

/* The file is open before its name goes: it is read as long as somebody does. */
static int open_made(struct work *w, const struct qv_snapshot_desc *made, struct qv_op *op)
{
    struct qv_node *n = qv_edge_node(w->edge);
    char path[QV_SNAPSHOT_PATH_MAX];
    struct qv_str name = qv_str_of(made->name);
    int err = qv_node_snapshot_path(n, &w->scope, name, path, &op->msg);
    if (err != 0)
        return err;
    op->out.snapshot.fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (op->out.snapshot.fd < 0)
        return qv_fail(&op->msg, qv_err_from_errno(errno), "%s: %s", path, strerror(errno));
    if (w->kind == QV_OP_SNAPSHOT_STREAM)
        err = qv_node_snapshot_delete(n, &w->scope, name, &op->msg);
    if (err != 0)
        close(op->out.snapshot.fd);
    return err;
}

static void task_done(void *arg, int err, const struct qv_snapshot_desc *made,
                      const struct qv_errmsg *msg)
{
    struct work *w = arg;
    struct qv_op *op = w->op;
    if (op != NULL) {
        op->msg = *msg;
        if (err == 0 && made != NULL) {
            op->out.snapshot.made = qv_arena_dup(&op->call->arena, made, sizeof *made);
            if (op->out.snapshot.made == NULL)
                err = QV_ETOOBIG;
        }
        if (err == 0 && w->kind == QV_OP_SNAPSHOT_STREAM)
            err = open_made(w, made, op);
        qv_op_answer(op, err);
    }
    work_free(w);
}

static void create_task(struct qv_task *task)
{
    struct work *w = task->arg;
    const struct qv_snapshot_create_req req = {.scope = w->scope, .done = task_done, .arg = w};
    answer_early(w);
    qv_node_snapshot_create(qv_edge_node(w->edge), &req);
}

static void close_fd(int fd)
{
    close(fd);
}

static void recover_task(struct qv_task *task)
{
    struct work *w = task->arg;
    const struct qv_snapshot_recover_req req = {.collection = w->scope.collection,
                                                .shard = w->scope.shard,
                                                .number = w->scope.number,
                                                .path = w->fd < 0 ? w->path : NULL,
                                                .fd = w->fd,
                                                .close_fd = close_fd,
                                                .offset = w->part.offset,
                                                .bytes = w->part.bytes,
                                                .remove = w->remove,
                                                .checksum = w->checksum,
                                                .done = task_done,
                                                .arg = w};
    if (w->err != 0)
        task_done(w, w->err, NULL, &w->msg);
    else
        qv_node_snapshot_recover(qv_edge_node(w->edge), &req);
}

static void post(struct work *w, void (*run)(struct qv_task *task))
{
    w->task = (struct qv_task){.run = run, .arg = w};
    qv_env_post(qv_node_env(qv_edge_node(w->edge)), &w->task);
}

/* ---- recover ---- */

static void fetched(struct qv_fetch *f, int err)
{
    struct work *w = f->arg;
    w->err = err;
    w->msg = f->msg;
    post(w, recover_task);
}

static int start_fetch(struct work *w)
{
    struct qv_node *n = qv_edge_node(w->edge);
    const struct qv_edge_config *settings = qv_edge_settings(w->edge);
    char dir[QV_SNAPSHOT_PATH_MAX];
    int err = qv_node_snapshot_tmp(n, dir, &w->msg);
    if (err != 0)
        return err;
    /* Not by w alone: an earlier one at its address may still be removing its file. */
    const unsigned long long now = qv_env_mono_ns(qv_node_env(n));
    int k = snprintf(w->path, sizeof w->path, "%s/download-%llx-%p", dir, now, (void *)w);
    if (k < 0 || k >= (int)sizeof w->path)
        return qv_fail(&w->msg, QV_ETOOBIG, "storage.snapshots_path is too long");
    w->remove = true;
    w->fetch.url = w->url;
    w->fetch.api_key = w->api_key;
    w->fetch.path = w->path;
    w->fetch.bytes_max = settings->snapshot_bytes_max;
    w->fetch.timeout_s = settings->snapshot_timeout_ms / 1000;
    w->fetch.under_way = qv_edge_fetches(w->edge);
    w->fetch.stop = qv_edge_stopping(w->edge);
    w->fetch.done = fetched;
    w->fetch.arg = w;
    err = qv_fetch_start(&w->fetch);
    if (err != 0)
        w->msg = w->fetch.msg;
    return err;
}

static bool has_control(struct qv_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] < 0x21 && s.p[i] != ' ')
            return true;
    }
    return false;
}

static void run_recover(struct qv_op *op)
{
    const struct qv_snapshot_req *req = &op->req.snapshot;
    struct work *w = work_create(op);
    int err = 0;
    w->url = copy_of(req->location);
    bool http = strncmp(w->url, "http://", 7) == 0 || strncmp(w->url, "https://", 8) == 0;
    bool file = strncmp(w->url, "file://", 7) == 0;
    if (has_control(req->location) || has_control(req->api_key) ||
        strlen(w->url) != req->location.n)
        err = qv_fail(&op->msg, QV_EBADREQ, "location and api_key can't hold control characters");
    else if (!http && !file)
        err = qv_fail(&op->msg, QV_EBADREQ,
                      "Invalid snapshot location: file://, http:// and https:// are known");
    else if (file)
        err = locate_file(op, w->url, w->path);
    else
        err = qv_node_check_name(req->scope.collection, &op->msg);
    if (err != 0) {
        work_free(w);
        qv_op_answer(op, err);
        return;
    }
    answer_early(w); /* the request is gone then */
    if (http)
        w->err = start_fetch(w);
    if (!http || w->err != 0)
        post(w, recover_task);
}

/* ---- upload ---- */

static int read_spool(void *arg, uint64_t offset, void *p, size_t n, struct qv_errmsg *msg)
{
    struct work *w = arg;
    for (size_t done = 0; done < n;) {
        ssize_t k = pread(w->fd, (char *)p + done, n - done, (off_t)(offset + done));
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return qv_fail(msg, QV_EIO, "reading the upload: %s", k < 0 ? strerror(errno) : "cut");
        done += (size_t)k;
    }
    return 0;
}

static void find_part(struct qv_job *job, unsigned worker)
{
    struct work *w = job->arg;
    struct qv_op *op = w->op;
    struct qv_multipart_source src = {.read = read_spool, .arg = w, .bytes = op->call->spool_bytes};
    (void)worker;
    w->err = qv_multipart_find(&src, qv_call_header(op->call, "content-type"), "snapshot", &w->part,
                               &w->msg);
    if (w->err == 0 && w->part.bytes == 0)
        w->err = qv_fail(&w->msg, QV_EINVAL, "the snapshot is empty");
}

static void part_found(struct qv_job *job)
{
    struct work *w = job->arg;
    if (w->err != 0) {
        close(w->fd);
        w->fd = -1;
    } else {
        answer_early(w);
    }
    recover_task(&(struct qv_task){.arg = w});
}

static void run_upload(struct qv_op *op)
{
    struct work *w;
    int err = 0;
    if (op->call->spool_fd < 0)
        err = qv_fail(&op->msg, QV_EUNAVAILABLE, "there is no place for uploads");
    if (err == 0)
        err = qv_node_check_name(op->req.snapshot.scope.collection, &op->msg);
    if (err != 0) {
        qv_op_answer(op, err);
        return;
    }
    w = work_create(op);
    w->fd = fcntl(op->call->spool_fd, F_DUPFD_CLOEXEC, 3);
    w->job = (struct qv_job){.run = find_part, .done = part_found, .arg = w};
    if (w->fd < 0)
        err = qv_fail(&op->msg, QV_EUNAVAILABLE, "the upload: %s", strerror(errno));
    else if (qv_env_submit(qv_node_env(qv_edge_node(op->edge)), QV_JOB_IO, &w->job) != 0)
        err = qv_fail(&op->msg, QV_EBUSY, "too many requests are waiting");
    if (err != 0) {
        if (w->fd >= 0)
            close(w->fd);
        work_free(w);
        qv_op_answer(op, err);
    }
}

/* ---- dispatch (worker) ---- */

static int run_list(struct qv_op *op)
{
    struct qv_snapshot_desc *list = NULL;
    int err = qv_node_snapshot_list(qv_edge_node(op->edge), &op->req.snapshot.scope,
                                    &op->call->arena, &list, &op->out.snapshots.count, &op->msg);
    op->out.snapshots.list = list;
    return err;
}

static int run_get(struct qv_op *op)
{
    char path[QV_SNAPSHOT_PATH_MAX];
    int err = qv_node_snapshot_path(qv_edge_node(op->edge), &op->req.snapshot.scope,
                                    op->req.snapshot.name, path, &op->msg);
    if (err != 0)
        return err;
    op->out.snapshot.fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (op->out.snapshot.fd < 0)
        return qv_fail(&op->msg, qv_err_from_errno(errno), "%s: %s", path, strerror(errno));
    return 0;
}

/* A collection is meant by its aliases too. */
static void resolve(struct qv_op *op)
{
    struct qv_str *name = &op->req.snapshot.scope.collection;
    const struct qv_collection *c = name->n > 0 ? qv_topology_find(op->topology, *name) : NULL;
    if (c != NULL)
        *name = c->name;
}

void qv_op_run_snapshot(struct qv_op *op)
{
    int err = 0;
    resolve(op);
    switch (op->kind) {
    case QV_OP_SNAPSHOT_LIST:
        err = run_list(op);
        break;
    case QV_OP_SNAPSHOT_DELETE:
        err = qv_node_snapshot_delete(qv_edge_node(op->edge), &op->req.snapshot.scope,
                                      op->req.snapshot.name, &op->msg);
        op->out.done = true;
        break;
    case QV_OP_SNAPSHOT_GET:
        err = run_get(op);
        break;
    case QV_OP_SNAPSHOT_CREATE:
    case QV_OP_SNAPSHOT_STREAM:
        post(work_create(op), create_task);
        return;
    case QV_OP_SNAPSHOT_RECOVER:
        run_recover(op);
        return;
    case QV_OP_SNAPSHOT_UPLOAD:
        run_upload(op);
        return;
    default:
        QV_UNREACHABLE();
    }
    qv_op_answer(op, err);
}

/* ---- downloads ---- */

void qv_op_answer_snapshot_file(struct qv_op *op)
{
    struct stat st = {0};
    char disposition[QV_SNAPSHOT_NAME_MAX + 40];
    const char *name = op->out.snapshot.made != NULL ? op->out.snapshot.made->name : "";
    int shown = op->out.snapshot.made != NULL ? (int)strlen(name) : (int)op->req.snapshot.name.n;
    if (op->out.snapshot.made == NULL)
        name = op->req.snapshot.name.p;
    bool plain = shown < QV_SNAPSHOT_NAME_MAX;
    for (int i = 0; i < shown && plain; i++)
        plain = name[i] >= 0x20 && name[i] < 0x7F && name[i] != '"' && name[i] != '\\';
    snprintf(disposition, sizeof disposition, "attachment; filename=\"%.*s\"", plain ? shown : 8,
             plain ? name : "snapshot");
    const struct qv_net_header header = {"content-disposition", disposition};
    if (fstat(op->out.snapshot.fd, &st) != 0)
        st.st_size = 0;
    const struct qv_net_file file = {op->out.snapshot.fd, 0, (uint64_t)st.st_size};
    qv_call_reply_file(op->call, 200, "application/octet-stream", &header, 1, &file);
}
