/* From our error codes to the API's: HTTP status and text prefix, gRPC status. One table. */
#ifndef QV_SERVER_API_STATUS_H
#define QV_SERVER_API_STATUS_H

#include "base/err.h"

struct qv_api_status {
    int http;
    int grpc;
    const char *prefix; /* before the text; "" where the text is whole */
    const char *suffix;
};

struct qv_api_status qv_api_status(int err);
/* The whole text of an error: prefix, msg (or the code's default text), suffix. Always UTF-8. */
void qv_api_status_text(int err, const struct qv_errmsg *msg, char *out, size_t n);

#endif
