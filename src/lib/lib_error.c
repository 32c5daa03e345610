/* Codes, texts, ids and the sizes of structs: what every call at the library's face shares. */
#include "lib/lib_private.h"

#include "base/build_info.h"
#include "base/logger.h"
#include "base/qv_assert.h"
#include "wire/json_request.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The public numbers never change; ours may. */
#define PUBLIC_ERRORS(X)                                                                           \
    X(EINVAL, EINVAL)                                                                              \
    X(EINVAL, EBADREQ)                                                                             \
    X(EINVAL, EFORMAT)                                                                             \
    X(EINVAL, EVALIDATION)                                                                         \
    X(EINVAL, EMETHOD)                                                                             \
    X(EINVAL, EPROTO)                                                                              \
    X(EINVAL, EAUTH)                                                                               \
    X(EINVAL, EFORBIDDEN)                                                                          \
    X(EINVAL, EEOF)                                                                                \
    X(ENOTFOUND, ENOTFOUND)                                                                        \
    X(EEXISTS, EEXISTS)                                                                            \
    X(ETOOBIG, ETOOBIG)                                                                            \
    X(ELIMIT, ELIMIT)                                                                              \
    X(ENOTIMPL, ENOTIMPL)                                                                          \
    X(ETIMEOUT, ETIMEOUT)                                                                          \
    X(EBUSY, EBUSY)                                                                                \
    X(EUNAVAILABLE, ECANCELED)                                                                     \
    X(EUNAVAILABLE, ESTALE)                                                                        \
    X(EUNAVAILABLE, EUNAVAILABLE)                                                                  \
    X(EUNKNOWN, EUNKNOWN)                                                                          \
    X(ENOSPC, ENOSPC)                                                                              \
    X(ENOMEM, ENOMEM)                                                                              \
    X(EIO, EIO)                                                                                    \
    X(ECORRUPT, ECORRUPT)                                                                          \
    X(EINTERNAL, EINTERNAL)

static int public_code(int err)
{
    static const struct {
        int inside, outside;
    } codes[] = {
#define ROW(out, in) {QV_##in, QUIVER_##out},
        PUBLIC_ERRORS(ROW)
#undef ROW
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (codes[i].inside == err)
            return codes[i].outside;
    }
    return QUIVER_EINTERNAL;
}

const char *quiver_error_name(int err)
{
    static const char *const names[] = {
        "QUIVER_OK",       "QUIVER_EINVAL",       "QUIVER_ENOTFOUND", "QUIVER_EEXISTS",
        "QUIVER_ETOOBIG",  "QUIVER_ELIMIT",       "QUIVER_ENOTIMPL",  "QUIVER_EBUSY",
        "QUIVER_ETIMEOUT", "QUIVER_EUNAVAILABLE", "QUIVER_EUNKNOWN",  "QUIVER_ENOSPC",
        "QUIVER_ENOMEM",   "QUIVER_EIO",          "QUIVER_ECORRUPT",  "QUIVER_EINTERNAL"};
    const int n = (int)(sizeof names / sizeof names[0]);
    return err <= 0 && err > -n ? names[-err] : "unknown error";
}

const char *quiver_version(void)
{
    return QV_VERSION;
}

void quiver_set_log_level(int level)
{
    int inside = level <= 0 ? (int)QV_LOG_SILENT : level > 4 ? (int)QV_LOG_DEBUG : level - 1;
    qv_logger_set_level((enum qv_log_level)inside);
}

void qv_lib_clear(struct quiver_error *why)
{
    if (why != NULL)
        why->text[0] = '\0';
}

int qv_lib_fail(struct quiver_error *why, int err, const struct qv_errmsg *msg)
{
    if (err == 0)
        return 0;
    if (why != NULL) {
        const char *text = msg != NULL && msg->text[0] != '\0' ? msg->text : qv_err_text(err);
        (void)snprintf(why->text, sizeof why->text, "%s", text);
    }
    return public_code(err);
}

int qv_lib_refuse(struct quiver_error *why, int err, const char *fmt, ...)
{
    if (why != NULL) {
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(why->text, sizeof why->text, fmt, ap);
        va_end(ap);
    }
    return public_code(err);
}

int qv_lib_options(void *out, size_t bytes, const void *in, size_t bytes_min)
{
    size_t given = 0;
    QV_ASSERT(bytes >= bytes_min && bytes_min >= sizeof given);
    memset(out, 0, bytes);
    memcpy(&given, in, sizeof given);
    if (given < bytes_min || given > 4096)
        return QV_EINVAL;
    memcpy(out, in, given < bytes ? given : bytes);
    return 0;
}

/* ---- ids ---- */

int qv_lib_id_in(const struct quiver_id *in, struct qv_id *out)
{
    if (in->kind != QUIVER_ID_NUM && in->kind != QUIVER_ID_UUID)
        return QV_EINVAL;
    *out = (struct qv_id){
        .hi = in->kind == QUIVER_ID_UUID ? in->hi : 0, .lo = in->lo, .type = (uint8_t)in->kind};
    return 0;
}

struct quiver_id qv_lib_id_out(const struct qv_id *id)
{
    return (struct quiver_id){.hi = id->hi, .lo = id->lo, .kind = id->type};
}

_Static_assert((int)QUIVER_ID_NUM == (int)QV_ID_NUM, "the kinds are the same numbers");
_Static_assert((int)QUIVER_ID_UUID == (int)QV_ID_UUID, "the kinds are the same numbers");
_Static_assert(QUIVER_ID_TEXT_MAX == QV_ID_TEXT_MAX, "room for the same texts");
_Static_assert(sizeof(struct quiver_id) == 24, "part of the ABI");
_Static_assert(sizeof(struct quiver_column) == 24, "part of the ABI");

int quiver_id_parse(const char *text, struct quiver_id *out)
{
    struct qv_id id;
    if (text == NULL || out == NULL || qv_json_read_path_id(text, strlen(text), &id, NULL) != 0)
        return QUIVER_EINVAL;
    *out = qv_lib_id_out(&id);
    return 0;
}

size_t quiver_id_format(const struct quiver_id *id, char out[QUIVER_ID_TEXT_MAX])
{
    struct qv_id inside;
    out[0] = '\0';
    return qv_lib_id_in(id, &inside) == 0 ? qv_id_format(&inside, out) : 0;
}

int qv_lib_ids(struct qv_arena *a, const struct quiver_id *in, size_t count,
               const struct qv_id **out, struct qv_errmsg *msg)
{
    struct qv_id *ids = QV_ARENA_ARRAY(a, struct qv_id, count > 0 ? count : 1);
    if (ids == NULL)
        return qv_fail(msg, QV_ETOOBIG, "%zu ids are too many for one call", count);
    if (in == NULL && count > 0)
        return qv_fail(msg, QV_EINVAL, "ids: NULL");
    for (size_t i = 0; i < count; i++) {
        if (qv_lib_id_in(&in[i], &ids[i]) != 0)
            return qv_fail(msg, QV_EINVAL, "id %zu: kind %u is neither number nor UUID", i,
                           in[i].kind);
    }
    *out = ids;
    return 0;
}

int qv_lib_filter(struct qv_arena *a, const char *json, const struct qv_filter **out,
                  struct qv_errmsg *msg)
{
    struct qv_errmsg inner = {""};
    *out = NULL;
    if (json == NULL)
        return 0;
    struct qv_bytes body = {(const uint8_t *)json, strlen(json)};
    int err = qv_json_read_filter(body, a, out, &inner);
    if (err != 0)
        return qv_fail(msg, err, "filter: %s",
                       inner.text[0] != '\0' ? inner.text : qv_err_text(err));
    return 0;
}
