/* Configuration: built-in defaults, then a YAML file, then the environment, then flags; the later
 * wins. An unknown key is a warning; a bad value is one line that names key, value and what is
 * allowed, and QV_EINVAL (exit code 2). */
#ifndef QV_APP_SETTINGS_H
#define QV_APP_SETTINGS_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct qv_settings {
#define STRING(field, key, def, help) char *field;
#define NUMBER(field, key, def, min, max, help) uint64_t field;
#define SECONDS(field, key, def, min, max, help) uint64_t field; /* ms */
#define SWITCH(field, key, def, help) bool field;
#include "app/settings.def"
#undef STRING
#undef NUMBER
#undef SECONDS
#undef SWITCH
};

void qv_settings_init(struct qv_settings *s); /* defaults */
void qv_settings_close(struct qv_settings *s);

/* One value by key. QV_ENOTFOUND: no such key (msg says so); QV_EINVAL. */
QV_MUST_USE int qv_settings_set(struct qv_settings *s, const char *key, const char *value,
                                struct qv_errmsg *msg);
/* The file: path, or NULL for config/config.yaml, which need not be there. */
QV_MUST_USE int qv_settings_load_file(struct qv_settings *s, const char *path,
                                      struct qv_errmsg *msg);
/* QDRANT__SECTION__KEY, then QUIVER__SECTION__KEY. environ: NULL-terminated "NAME=value". */
QV_MUST_USE int qv_settings_load_env(struct qv_settings *s, char *const *environment,
                                     struct qv_errmsg *msg);
/* docs/configuration.md: where settings come from, and a table of all of them. */
void qv_settings_write_docs(struct qv_buf *b);

#endif
