/* Small texts of HTTP answers. Pure functions, private to net. */
#ifndef QV_NET_STATUS_H
#define QV_NET_STATUS_H

#include <stddef.h>
#include <stdint.h>

#define QV_STATUS_U64_BYTES 20u

const char *qv_status_reason(int http_status); /* "OK"; "Unknown" for one that isn't listed */
/* Decimal, without a NUL; gives the length. */
size_t qv_status_format_u64(uint64_t v, char out[QV_STATUS_U64_BYTES]);

#endif
