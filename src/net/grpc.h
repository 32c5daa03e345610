/* gRPC over HTTP/2, the parts that are only bytes: the 5-byte message prefix, grpc-timeout,
 * percent-encoded grpc-message, statuses. Pure functions, shared by server and client.
 * Source: the protocol description "gRPC over HTTP2" (PROTOCOL-HTTP2.md). */
#ifndef QV_NET_GRPC_H
#define QV_NET_GRPC_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum qv_grpc_status {
    QV_GRPC_OK = 0,
    QV_GRPC_CANCELLED = 1,
    QV_GRPC_UNKNOWN = 2,
    QV_GRPC_INVALID_ARGUMENT = 3,
    QV_GRPC_DEADLINE_EXCEEDED = 4,
    QV_GRPC_NOT_FOUND = 5,
    QV_GRPC_ALREADY_EXISTS = 6,
    QV_GRPC_PERMISSION_DENIED = 7,
    QV_GRPC_RESOURCE_EXHAUSTED = 8,
    QV_GRPC_FAILED_PRECONDITION = 9,
    QV_GRPC_ABORTED = 10,
    QV_GRPC_OUT_OF_RANGE = 11,
    QV_GRPC_UNIMPLEMENTED = 12,
    QV_GRPC_INTERNAL = 13,
    QV_GRPC_UNAVAILABLE = 14,
    QV_GRPC_DATA_LOSS = 15,
    QV_GRPC_UNAUTHENTICATED = 16
};

#define QV_GRPC_PREFIX_BYTES 5u

/* Writes the prefix of a message. message_bytes must fit in 32 bits (asserted). */
void qv_grpc_put_prefix(uint8_t out[QV_GRPC_PREFIX_BYTES], size_t message_bytes, bool packed);

/* Cuts the one message out of a complete unary body: *out borrows from it.
 * QV_ENOTIMPL the compressed flag is set; QV_ETOOBIG the prefix announces more than limit;
 * QV_EPROTO none, a part of one, more than one, or an unknown flag. */
int qv_grpc_unframe(struct qv_bytes body, size_t limit, struct qv_bytes *out) QV_MUST_USE;

/* grpc-timeout: 1 to 8 digits and one of H M S m u n. QV_EBADREQ for anything else. */
int qv_grpc_parse_timeout(const char *text, uint64_t *out_ns) QV_MUST_USE;
/* The same the other way, rounded up; at most 10 bytes and the NUL. */
void qv_grpc_format_timeout(uint64_t ns, char out[16]);

/* grpc-message: everything but printable ASCII, and '%', as %XX. Adds to b. */
void qv_grpc_encode_message(struct qv_buf *b, const char *text, size_t n);
/* Lenient, as the protocol asks: a broken escape stays as it is. out has room for n + 1. */
void qv_grpc_decode_message(const char *in, size_t n, char *out);

/* application/grpc, application/grpc+proto, with or without parameters; not grpc-web. */
bool qv_grpc_is_content_type(const char *value);

/* What a client makes of an answer that has no grpc-status. */
enum qv_grpc_status qv_grpc_from_http(int http_status);

/* "NOT_FOUND"; "UNKNOWN" for a number that is none. */
const char *qv_grpc_status_name(int status);

#endif
