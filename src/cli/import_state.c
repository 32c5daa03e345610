#include "cli/import_state.h"

#include "base/hash.h"
#include "wire/json_scan.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_BYTES_MAX 4096u
#define DIR_BYTES_MAX 3900u

static void add_file(struct qv_buf *b, const char *path)
{
    struct stat st = {0};
    char place[PATH_MAX];
    const char *real = path != NULL ? realpath(path, place) : NULL;
    qv_buf_str(b, real != NULL ? real : "");
    qv_buf_u8(b, 0);
    if (real != NULL && stat(real, &st) == 0) {
        qv_buf_u64(b, (uint64_t)st.st_size);
        qv_buf_u64(b, (uint64_t)st.st_mtim.tv_sec);
        qv_buf_u64(b, (uint64_t)st.st_mtim.tv_nsec);
    }
}

static uint64_t make_key(const struct qv_import_identity *id)
{
    struct qv_buf b;
    qv_buf_init(&b, 0);
    qv_buf_append(&b, id->base, strlen(id->base) + 1);
    qv_buf_append(&b, id->collection, strlen(id->collection) + 1);
    add_file(&b, id->file);
    add_file(&b, id->payload);
    qv_buf_u64(&b, id->start_id);
    qv_buf_u64(&b, id->limit);
    uint64_t key = qv_hash_64(b.data, b.len);
    qv_buf_close(&b);
    return key;
}

/* Makes the folder and its parents below `from`. */
static int make_dirs(char *dir, size_t from)
{
    for (char *p = dir + from + 1; *p != '\0'; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        int bad = mkdir(dir, 0700) != 0 && errno != EEXIST;
        *p = '/';
        if (bad)
            return QV_EIO;
    }
    return mkdir(dir, 0700) != 0 && errno != EEXIST ? QV_EIO : 0;
}

static int default_dir(char *out, size_t n, struct qv_errmsg *msg)
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    size_t root;
    int len;
    if (state != NULL && state[0] == '/') {
        root = strlen(state);
        len = snprintf(out, n, "%s/quiver", state);
    } else if (home != NULL && home[0] == '/') {
        root = strlen(home);
        len = snprintf(out, n, "%s/.local/state/quiver", home);
    } else {
        return qv_fail(msg, QV_EINVAL, "no HOME to keep the import's state in: give --state FILE");
    }
    if (len < 0 || (size_t)len >= n)
        return qv_fail(msg, QV_EINVAL, "HOME is too long");
    if (make_dirs(out, root > 1 ? root - 1 : 0) != 0)
        return qv_fail(msg, QV_EINVAL, "%s: %s; --state FILE names another place", out,
                       strerror(errno));
    return 0;
}

int qv_import_state_init(const struct qv_import_identity *id, const char *path,
                         struct qv_import_state *out, struct qv_errmsg *msg)
{
    char dir[DIR_BYTES_MAX];
    out->key = make_key(id);
    out->graph_later = false;
    if (path != NULL) {
        if (strlen(path) >= DIR_BYTES_MAX)
            return qv_fail(msg, QV_EINVAL, "--state: the path is too long");
        (void)snprintf(out->path, sizeof out->path, "%s", path);
        return 0;
    }
    int err = default_dir(dir, sizeof dir, msg);
    if (err == 0)
        (void)snprintf(out->path, sizeof out->path, "%s/import-%016llx.json", dir,
                       (unsigned long long)out->key);
    return err;
}

static int parse(struct qv_import_state *s, struct qv_bytes text, uint64_t *done,
                 struct qv_errmsg *msg)
{
    struct qv_arena arena;
    struct qv_json j;
    struct qv_str key;
    struct qv_errmsg why;
    uint64_t import = 0;
    bool has_done = false;
    qv_arena_init(&arena, 65536);
    qv_json_init(&j, text, &arena, &why);
    qv_json_begin_object(&j);
    while (qv_json_next_key(&j, &key)) {
        if (qv_str_is(key, "import")) {
            import = qv_json_u64(&j);
        } else if (qv_str_is(key, "done")) {
            *done = qv_json_u64(&j);
            has_done = true;
        } else if (qv_str_is(key, "graph_later")) {
            s->graph_later = qv_json_bool(&j);
        } else {
            qv_json_skip(&j);
        }
    }
    int err = qv_json_finish(&j);
    qv_arena_close(&arena);
    s->graph_later = s->graph_later && err == 0 && import == s->key;
    if (err != 0 || !has_done)
        return qv_fail(msg, QV_EINVAL, "%s: not a state of an import; remove it to begin again",
                       s->path);
    if (import != s->key)
        return qv_fail(msg, QV_EINVAL,
                       "%s: of another import (target, file or options changed); remove it to "
                       "begin again",
                       s->path);
    return 0;
}

int qv_import_state_load(struct qv_import_state *s, uint64_t *done, struct qv_errmsg *msg)
{
    char text[STATE_BYTES_MAX];
    *done = 0;
    s->graph_later = false;
    FILE *f = fopen(s->path, "rbe");
    if (f == NULL && errno == ENOENT)
        return 0;
    if (f == NULL)
        return qv_fail(msg, QV_EINVAL, "%s: %s", s->path, strerror(errno));
    size_t n = fread(text, 1, sizeof text, f);
    (void)fclose(f);
    return parse(s, (struct qv_bytes){(const uint8_t *)text, n}, done, msg);
}

int qv_import_state_save(const struct qv_import_state *s, uint64_t done, struct qv_errmsg *msg)
{
    char part[sizeof s->path + 8];
    (void)snprintf(part, sizeof part, "%s.part", s->path);
    FILE *f = fopen(part, "wbe");
    if (f == NULL)
        return qv_fail(msg, QV_EIO, "%s: %s", part, strerror(errno));
    int bad = fprintf(f, "{\"import\": %llu, \"done\": %llu, \"graph_later\": %s}\n",
                      (unsigned long long)s->key, (unsigned long long)done,
                      s->graph_later ? "true" : "false") < 0;
    bad |= fclose(f) != 0;
    if (bad || rename(part, s->path) != 0) {
        int err = qv_fail(msg, QV_EIO, "%s: %s", s->path, strerror(errno));
        (void)unlink(part);
        return err;
    }
    return 0;
}

void qv_import_state_remove(const struct qv_import_state *s)
{
    (void)unlink(s->path);
}
