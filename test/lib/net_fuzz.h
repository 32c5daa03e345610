/* Drives one server connection with bytes from a fuzzer: the first byte says how (see net_fuzz.c),
 * the rest is what the peer sends. */
#ifndef QV_TEST_NET_FUZZ_H
#define QV_TEST_NET_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* preface: sent first, whole. */
void net_fuzz_run(const char *preface, const uint8_t *data, size_t size);

#endif
