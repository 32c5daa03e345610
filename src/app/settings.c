#include "app/settings.h"

#include "base/logger.h"
#include "base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#define KEY_BYTES_MAX 256
#define YAML_DEPTH_MAX 16

enum kind { KIND_STRING, KIND_NUMBER, KIND_SECONDS, KIND_SWITCH };

static const struct setting {
    const char *key;
    enum kind kind;
    size_t offset;
    const char *text; /* default of a string */
    uint64_t number, min, max;
    const char *help;
} table[] = {
#define STRING(field, key, def, help)                                                              \
    {key, KIND_STRING, offsetof(struct qv_settings, field), def, 0, 0, 0, help},
#define NUMBER(field, key, def, min, max, help)                                                    \
    {key, KIND_NUMBER, offsetof(struct qv_settings, field), NULL, def, min, max, help},
#define SECONDS(field, key, def, min, max, help)                                                   \
    {key, KIND_SECONDS, offsetof(struct qv_settings, field), NULL, def, min, max, help},
#define SWITCH(field, key, def, help)                                                              \
    {key, KIND_SWITCH, offsetof(struct qv_settings, field), NULL, def, 0, 1, help},
#include "app/settings.def"
#undef STRING
#undef NUMBER
#undef SECONDS
#undef SWITCH
};

#define COUNT (sizeof table / sizeof table[0])

/* Sections that the API's servers know and this node has no use for: taken without a warning. */
static const char *const known_elsewhere[] = {"telemetry_disabled", "cluster.", "tls.",
                                              "service.",           "storage.", "gpu.",
                                              "inference.",         "logger."};

static void *field_of(struct qv_settings *s, const struct setting *t)
{
    return (char *)s + t->offset;
}

void qv_settings_init(struct qv_settings *s)
{
    memset(s, 0, sizeof *s);
    for (size_t i = 0; i < COUNT; i++) {
        const struct setting *t = &table[i];
        if (t->kind == KIND_STRING)
            *(char **)field_of(s, t) = qv_mem_strdup(t->text);
        else if (t->kind == KIND_NUMBER || t->kind == KIND_SECONDS)
            *(uint64_t *)field_of(s, t) = t->number;
        else
            *(bool *)field_of(s, t) = t->number != 0;
    }
}

void qv_settings_close(struct qv_settings *s)
{
    for (size_t i = 0; i < COUNT; i++) {
        if (table[i].kind == KIND_STRING)
            qv_mem_free(*(char **)field_of(s, &table[i]));
    }
    memset(s, 0, sizeof *s);
}

static int set_number(void *field, const struct setting *t, const char *value,
                      struct qv_errmsg *msg)
{
    char *end;
    errno = 0;
    unsigned long long v = strtoull(value, &end, 10);
    if (!isdigit((unsigned char)value[0]) || *end != '\0' || errno != 0 || v < t->min || v > t->max)
        return qv_fail(msg, QV_EINVAL,
                       "%s: '%.100s' is not allowed: a whole number from %llu to "
                       "%llu is",
                       t->key, value, (unsigned long long)t->min, (unsigned long long)t->max);
    *(uint64_t *)field = v;
    return 0;
}

/* Seconds with a fraction, kept as milliseconds. */
static int set_seconds(void *field, const struct setting *t, const char *value,
                       struct qv_errmsg *msg)
{
    char *end;
    double v = strtod(value, &end);
    bool plain = value[strspn(value, "0123456789.")] == '\0' && isdigit((unsigned char)value[0]);
    if (!plain || *end != '\0' || v * 1000 < (double)t->min || v * 1000 > (double)t->max)
        return qv_fail(msg, QV_EINVAL, "%s: '%.100s' is not allowed: seconds from %g to %g are",
                       t->key, value, (double)t->min / 1000, (double)t->max / 1000);
    *(uint64_t *)field = (uint64_t)(v * 1000 + 0.5);
    return 0;
}

static int set_switch(bool *field, const struct setting *t, const char *value,
                      struct qv_errmsg *msg)
{
    if (strcasecmp(value, "true") == 0 || strcmp(value, "1") == 0)
        *field = true;
    else if (strcasecmp(value, "false") == 0 || strcmp(value, "0") == 0)
        *field = false;
    else
        return qv_fail(msg, QV_EINVAL, "%s: '%.100s' is not allowed: true or false is", t->key,
                       value);
    return 0;
}

/* Texts of which only some are allowed. */
static int check_words(const char *key, const char *value, struct qv_errmsg *msg)
{
    enum qv_log_level level;
    char lower[16];
    size_t n = 0;
    if (strcmp(key, "cluster.role") == 0 && strcmp(value, "all") != 0 &&
        strcmp(value, "proxy") != 0 && strcmp(value, "shard") != 0)
        return qv_fail(msg, QV_EINVAL,
                       "cluster.role: '%.100s' is not allowed: all, proxy or shard is", value);
    if (strcmp(key, "log_level") != 0)
        return 0;
    for (; value[n] != '\0' && n < sizeof lower - 1; n++)
        lower[n] = (char)tolower((unsigned char)value[n]);
    lower[n] = '\0';
    if (qv_logger_parse_level(lower, &level) != 0)
        return qv_fail(msg, QV_EINVAL,
                       "log_level: '%.100s' is not allowed: ERROR, WARN, INFO or DEBUG is", value);
    return 0;
}

int qv_settings_set(struct qv_settings *s, const char *key, const char *value,
                    struct qv_errmsg *msg)
{
    for (size_t i = 0; i < COUNT; i++) {
        const struct setting *t = &table[i];
        if (strcmp(t->key, key) != 0)
            continue;
        if (t->kind == KIND_NUMBER)
            return set_number(field_of(s, t), t, value, msg);
        if (t->kind == KIND_SECONDS)
            return set_seconds(field_of(s, t), t, value, msg);
        if (t->kind == KIND_SWITCH)
            return set_switch(field_of(s, t), t, value, msg);
        if (value[0] == '\0' && t->text[0] != '\0')
            return qv_fail(msg, QV_EINVAL, "%s: '' is not allowed: leave it out for %s", t->key,
                           t->text);
        int err = check_words(key, value, msg);
        if (err != 0)
            return err;
        char **field = field_of(s, t);
        qv_mem_free(*field);
        *field = qv_mem_strdup(value);
        return 0;
    }
    return qv_fail(msg, QV_ENOTFOUND, "unknown setting '%.200s'", key);
}

/* From a file or the environment: an unknown key warns. */
static int set_or_warn(struct qv_settings *s, const char *key, const char *value, const char *where,
                       struct qv_errmsg *msg)
{
    int err = qv_settings_set(s, key, value, msg);
    if (err != QV_ENOTFOUND)
        return err;
    for (size_t i = 0; i < sizeof known_elsewhere / sizeof known_elsewhere[0]; i++) {
        if (strncmp(key, known_elsewhere[i], strlen(known_elsewhere[i])) == 0) {
            QV_WARN("config", "%s: '%s' has no effect in this version", where, key);
            return 0;
        }
    }
    QV_WARN("config", "%s: unknown setting '%s' is ignored", where, key);
    return 0;
}

/* ---- YAML: nested mappings of scalars ---- */

struct yaml_walk {
    struct qv_settings *s;
    yaml_parser_t parser;
    const char *path;
    struct qv_errmsg *msg;
};

static int yaml_bad(struct yaml_walk *w, const char *why, size_t line)
{
    return qv_fail(w->msg, QV_EINVAL, "%s, line %zu: %s", w->path, line + 1, why);
}

static int yaml_next(struct yaml_walk *w, yaml_event_t *e)
{
    if (yaml_parser_parse(&w->parser, e))
        return 0;
    return yaml_bad(w, w->parser.problem != NULL ? w->parser.problem : "can't be read",
                    w->parser.problem_mark.line);
}

static int yaml_skip(struct yaml_walk *w)
{
    int depth = 1;
    while (depth > 0) {
        yaml_event_t e;
        int err = yaml_next(w, &e);
        if (err != 0)
            return err;
        depth += e.type == YAML_SEQUENCE_START_EVENT || e.type == YAML_MAPPING_START_EVENT;
        depth -= e.type == YAML_SEQUENCE_END_EVENT || e.type == YAML_MAPPING_END_EVENT;
        yaml_event_delete(&e);
    }
    return 0;
}

static int yaml_mapping(struct yaml_walk *w, const char *prefix, int depth);

static int yaml_value(struct yaml_walk *w, const char *key, int depth)
{
    yaml_event_t e;
    int err = yaml_next(w, &e);
    if (err != 0)
        return err;
    if (e.type == YAML_SCALAR_EVENT) {
        const char *value = (const char *)e.data.scalar.value;
        bool null = e.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
                    (strcmp(value, "null") == 0 || strcmp(value, "~") == 0 || value[0] == '\0');
        err = null ? 0 : set_or_warn(w->s, key, value, w->path, w->msg);
    } else if (e.type == YAML_MAPPING_START_EVENT) {
        err = depth >= YAML_DEPTH_MAX ? yaml_bad(w, "nested too deeply", e.start_mark.line)
                                      : yaml_mapping(w, key, depth + 1);
    } else if (e.type == YAML_SEQUENCE_START_EVENT) {
        QV_WARN("config", "%s: '%s' is a list and is ignored", w->path, key);
        err = yaml_skip(w);
    } else {
        err = yaml_bad(w, "a value is missing", e.start_mark.line);
    }
    yaml_event_delete(&e);
    return err;
}

static int yaml_mapping(struct yaml_walk *w, const char *prefix, int depth)
{
    for (;;) {
        yaml_event_t e;
        char key[KEY_BYTES_MAX] = "";
        int err = yaml_next(w, &e);
        if (err != 0)
            return err;
        if (e.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&e);
            return 0;
        }
        int n = -1;
        if (e.type == YAML_SCALAR_EVENT)
            n = snprintf(key, sizeof key, "%s%s%s", prefix, prefix[0] ? "." : "",
                         (const char *)e.data.scalar.value);
        if (n < 0 || n >= (int)sizeof key)
            err = yaml_bad(w, "a key is no short text", e.start_mark.line);
        yaml_event_delete(&e);
        if (err == 0)
            err = yaml_value(w, key, depth);
        if (err != 0)
            return err;
    }
}

static int yaml_document(struct yaml_walk *w)
{
    for (;;) {
        yaml_event_t e;
        int err = yaml_next(w, &e);
        if (err != 0)
            return err;
        yaml_event_type_t type = e.type;
        size_t line = e.start_mark.line;
        bool empty = type == YAML_SCALAR_EVENT && e.data.scalar.length == 0;
        yaml_event_delete(&e);
        if (type == YAML_STREAM_END_EVENT)
            return 0;
        if (type == YAML_MAPPING_START_EVENT)
            err = yaml_mapping(w, "", 0);
        else if (type == YAML_SEQUENCE_START_EVENT || (type == YAML_SCALAR_EVENT && !empty))
            err = yaml_bad(w, "sections and keys are expected", line);
        if (err != 0)
            return err;
    }
}

int qv_settings_load_file(struct qv_settings *s, const char *path, struct qv_errmsg *msg)
{
    struct yaml_walk w = {.s = s, .path = path != NULL ? path : "config/config.yaml", .msg = msg};
    FILE *f = fopen(w.path, "rb");
    if (f == NULL && path == NULL && errno == ENOENT)
        return 0;
    if (f == NULL)
        return qv_fail(msg, QV_EINVAL, "%s: %s", w.path, strerror(errno));
    if (!yaml_parser_initialize(&w.parser)) {
        (void)fclose(f);
        return qv_fail(msg, QV_ENOMEM, "no memory to read %s", w.path);
    }
    yaml_parser_set_input_file(&w.parser, f);
    int err = yaml_document(&w);
    yaml_parser_delete(&w.parser);
    (void)fclose(f);
    return err;
}

/* ---- environment ---- */

static int load_prefix(struct qv_settings *s, char *const *environment, const char *prefix,
                       struct qv_errmsg *msg)
{
    size_t n = strlen(prefix);
    for (; *environment != NULL; environment++) {
        const char *eq = strchr(*environment, '=');
        char key[KEY_BYTES_MAX];
        size_t out = 0;
        if (eq == NULL || strncmp(*environment, prefix, n) != 0)
            continue;
        for (const char *p = *environment + n; p < eq && out < sizeof key - 1; p++) {
            if (p[0] == '_' && p[1] == '_' && p + 1 < eq) {
                key[out++] = '.';
                p++;
            } else {
                key[out++] = (char)tolower((unsigned char)*p);
            }
        }
        key[out] = '\0';
        int err = set_or_warn(s, key, eq + 1, "environment", msg);
        if (err != 0)
            return err;
    }
    return 0;
}

int qv_settings_load_env(struct qv_settings *s, char *const *environment, struct qv_errmsg *msg)
{
    int err = load_prefix(s, environment, "QDRANT__", msg);
    return err != 0 ? err : load_prefix(s, environment, "QUIVER__", msg);
}

void qv_settings_write_docs(struct qv_buf *b)
{
    qv_buf_str(b,
               "# Configuration\n\n"
               "A node runs without any. Settings come from, weakest first: built-in defaults; "
               "`config/config.yaml` below\nthe working directory, or `--config-path FILE`; the "
               "environment, `QDRANT__SECTION__KEY` and then\n`QUIVER__SECTION__KEY`; flags of "
               "`quiver serve` (`--set KEY=VALUE` sets any of them).\n\n"
               "An unknown key is a warning. A bad value ends the start with one line that names "
               "key, value and what is\nallowed, and exit code 2. This page comes from "
               "`src/app/settings.def` (`quiver help settings`).\n\n"
               "```yaml\nservice:\n  http_port: 6333\n  api_key: SECRET\nstorage:\n  "
               "storage_path: /var/lib/quiver\n```\n\n"
               "In the environment the keys are capitals, with `__` for each point: "
               "`storage.log.segment_mb` is\n`QUIVER__STORAGE__LOG__SEGMENT_MB`. Flags of their "
               "own have `service.host` (`--host`),\n`service.http_port` (`--http-port`), "
               "`service.grpc_port` (`--grpc-port`) and `storage.storage_path`\n"
               "(`--storage-path`); `--role` sets `cluster.role` and `cluster.enabled`. Keys that "
               "Qdrant has and this version\ndoes not are unknown "
               "keys.\n\n"
               "| key | default | allowed | what it is |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < COUNT; i++) {
        const struct setting *t = &table[i];
        if (t->kind == KIND_STRING)
            qv_buf_printf(b, "| `%s` | `%s` | text | %s |\n", t->key, t->text, t->help);
        else if (t->kind == KIND_NUMBER)
            qv_buf_printf(b, "| `%s` | %llu | %llu to %llu | %s |\n", t->key,
                          (unsigned long long)t->number, (unsigned long long)t->min,
                          (unsigned long long)t->max, t->help);
        else if (t->kind == KIND_SECONDS)
            qv_buf_printf(b, "| `%s` | %g | %g to %g | %s |\n", t->key, (double)t->number / 1000,
                          (double)t->min / 1000, (double)t->max / 1000, t->help);
        else
            qv_buf_printf(b, "| `%s` | %s | true, false | %s |\n", t->key,
                          t->number ? "true" : "false", t->help);
    }
}
