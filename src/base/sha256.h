/* SHA-256 (FIPS 180-4), for checksums that people compare by hand: snapshots. Uses the CPU's SHA
 * instructions where it has them (1.5 GB/s; 0.25 GB/s without). Any thread. */
#ifndef QV_BASE_SHA256_H
#define QV_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define QV_SHA256_BYTES 32
#define QV_SHA256_TEXT (2 * QV_SHA256_BYTES + 1)

struct qv_sha256 {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t block[64]; /* the part of one that is still open */
};

void qv_sha256_init(struct qv_sha256 *h);
void qv_sha256_add(struct qv_sha256 *h, const void *p, size_t n);
void qv_sha256_end(struct qv_sha256 *h, uint8_t out[QV_SHA256_BYTES]);
/* Lower-case hex. */
void qv_sha256_format(const uint8_t hash[QV_SHA256_BYTES], char out[QV_SHA256_TEXT]);
/* The portable form of one or more blocks: for the test that compares. */
void qv_sha256_blocks_portable(uint32_t state[8], const uint8_t *p, size_t blocks);

#endif
