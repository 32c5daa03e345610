#include "server/api_status.h"

#include "base/utf8.h"
#include "net/grpc.h"

#include <stdio.h>
#include <string.h>

static const struct {
    int err;
    struct qv_api_status status;
} statuses[] = {
    {QV_EINVAL, {400, QV_GRPC_INVALID_ARGUMENT, "Wrong input: ", ""}},
    {QV_EBADREQ, {400, QV_GRPC_INVALID_ARGUMENT, "Bad request: ", ""}},
    {QV_ELIMIT, {400, QV_GRPC_INVALID_ARGUMENT, "Bad request: ", ""}},
    {QV_EFORMAT, {400, QV_GRPC_INVALID_ARGUMENT, "Format error in JSON body: ", ""}},
    {QV_EVALIDATION, {422, QV_GRPC_INVALID_ARGUMENT, "Validation error in JSON body: [", "]"}},
    {QV_EAUTH, {401, QV_GRPC_UNAUTHENTICATED, "", ""}},
    {QV_EFORBIDDEN, {403, QV_GRPC_PERMISSION_DENIED, "Forbidden: ", ""}},
    {QV_ENOTFOUND, {404, QV_GRPC_NOT_FOUND, "Not found: ", ""}},
    {QV_EEXISTS, {409, QV_GRPC_ALREADY_EXISTS, "Wrong input: ", ""}},
    {QV_ETOOBIG, {413, QV_GRPC_RESOURCE_EXHAUSTED, "Payload too large: ", ""}},
    {QV_ENOTIMPL, {501, QV_GRPC_UNIMPLEMENTED, "", ""}},
    {QV_EMETHOD, {405, QV_GRPC_FAILED_PRECONDITION, "", ""}},
    {QV_ETIMEOUT, {408, QV_GRPC_DEADLINE_EXCEEDED, "Timeout: ", ""}},
    {QV_ECANCELED, {408, QV_GRPC_CANCELLED, "Timeout: ", ""}},
    {QV_EBUSY, {429, QV_GRPC_RESOURCE_EXHAUSTED, "Rate limiting exceeded: ", ""}},
    {QV_EUNAVAILABLE, {503, QV_GRPC_UNAVAILABLE, "Service unavailable: ", ""}},
    {QV_EUNKNOWN, {503, QV_GRPC_UNAVAILABLE, "Service unavailable: ", ""}},
    {QV_ESTALE, {503, QV_GRPC_UNAVAILABLE, "Service unavailable: ", ""}},
    {QV_ENOSPC, {507, QV_GRPC_RESOURCE_EXHAUSTED, "Storage full: ", ""}},
    {QV_ENOMEM, {503, QV_GRPC_RESOURCE_EXHAUSTED, "Service unavailable: ", ""}},
    {QV_ECORRUPT, {500, QV_GRPC_DATA_LOSS, "Service internal error: ", ""}},
};

struct qv_api_status qv_api_status(int err)
{
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        if (statuses[i].err == err)
            return statuses[i].status;
    }
    return (struct qv_api_status){500, QV_GRPC_INTERNAL, "Service internal error: ", ""};
}

/* A name that was cut in a text may leave half a character: what is no UTF-8 becomes '?'. */
static void mend_utf8(char *text)
{
    size_t n = strlen(text);
    for (size_t at = 0; at < n && !qv_utf8_valid(text + at, n - at);) {
        size_t good = 1;
        while (good < 4 && good < n - at && !qv_utf8_valid(text + at, good))
            good++;
        if (qv_utf8_valid(text + at, good))
            at += good;
        else
            text[at++] = '?';
    }
}

void qv_api_status_text(int err, const struct qv_errmsg *msg, char *out, size_t n)
{
    struct qv_api_status s = qv_api_status(err);
    const char *text = msg != NULL && msg->text[0] != '\0' ? msg->text : qv_err_text(err);
    snprintf(out, n, "%s%s%s", s.prefix, text, s.suffix);
    mend_utf8(out);
}
