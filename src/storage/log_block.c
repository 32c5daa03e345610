#include "storage/log_internal.h"

#include "base/hash.h"

#include <stdio.h>

void log_segment_header_make(struct log_segment_header *h, uint64_t log_id, uint64_t seq,
                             uint64_t salt, uint64_t segment_bytes)
{
    memset(h, 0, sizeof *h);
    memcpy(h->magic, LOG_MAGIC, sizeof h->magic);
    h->format = LOG_FORMAT;
    h->header_bytes = LOG_PAGE;
    h->log_id = log_id;
    h->seq = seq;
    h->salt = salt;
    h->segment_bytes = segment_bytes;
    h->crc = qv_hash_crc32c(0, h, offsetof(struct log_segment_header, crc));
    QV_ASSERT(log_segment_header_check(h, seq) == NULL);
}

const char *log_segment_header_check(const struct log_segment_header *h, uint64_t seq)
{
    if (memcmp(h->magic, LOG_MAGIC, sizeof h->magic) != 0)
        return "no magic";
    if (h->crc != qv_hash_crc32c(0, h, offsetof(struct log_segment_header, crc)))
        return "header checksum";
    if (h->format != LOG_FORMAT || h->header_bytes != LOG_PAGE)
        return "unknown format version";
    if (h->seq != seq)
        return "header of another segment";
    if (h->segment_bytes % LOG_PAGE != 0 || h->segment_bytes < 2 * LOG_PAGE ||
        h->segment_bytes > LOG_SEGMENT_BYTES_MAX)
        return "segment size";
    return NULL;
}

static uint32_t block_header_crc(const struct log_block_header *h)
{
    return qv_hash_crc32c(0, (const uint8_t *)h + 8, sizeof *h - 8);
}

static uint32_t block_body_crc(const uint8_t *block, uint32_t bytes)
{
    return qv_hash_crc32c(0, block + sizeof(struct log_block_header),
                          (size_t)log_round_page(bytes) - sizeof(struct log_block_header));
}

void log_block_seal(uint8_t *block)
{
    struct log_block_header *h = (struct log_block_header *)(void *)block;
    QV_ASSERT(h->bytes >= sizeof *h && h->lsn % LOG_PAGE == 0 && h->durable <= h->lsn);
    memset(block + h->bytes, 0, (size_t)log_round_page(h->bytes) - h->bytes);
    h->magic = LOG_BLOCK_MAGIC;
    h->zero = 0;
    h->body_crc = block_body_crc(block, h->bytes);
    h->header_crc = block_header_crc(h);
}

bool log_block_header_valid(const struct log_block_header *h, uint64_t salt, uint64_t room)
{
    return h->magic == LOG_BLOCK_MAGIC && h->salt == salt && h->header_crc == block_header_crc(h) &&
           h->bytes >= sizeof *h && log_round_page(h->bytes) <= room && h->lsn % LOG_PAGE == 0 &&
           h->durable <= h->lsn && h->lsn <= UINT64_MAX / 2;
}

bool log_block_body_valid(const uint8_t *block)
{
    const struct log_block_header *h = (const struct log_block_header *)(const void *)block;
    return h->body_crc == block_body_crc(block, h->bytes);
}

bool log_block_next(const uint8_t *block, size_t *pos, struct qv_log_record *rec,
                    struct qv_bytes *change, int *err)
{
    const struct log_block_header *h = (const struct log_block_header *)(const void *)block;
    struct log_record_header r;
    *err = 0;
    if (*pos == 0)
        *pos = sizeof *h;
    if (*pos == h->bytes)
        return false;
    QV_ASSERT(*pos < h->bytes);
    size_t left = h->bytes - *pos;
    *err = QV_ECORRUPT;
    if (left < sizeof r)
        return false;
    memcpy(&r, block + *pos, sizeof r);
    if (r.change_bytes > QV_RECORD_BYTES_MAX || log_record_bytes(r.change_bytes) > left)
        return false;
    *err = 0;
    *rec = (struct qv_log_record){
        .shard = r.shard,
        .generation = r.generation,
        .version = {.clock = r.clock, .writer = r.writer},
        .prev_clock = r.prev_clock,
        .type = r.type,
    };
    change->p = block + *pos + sizeof r;
    change->n = r.change_bytes;
    *pos += log_record_bytes(r.change_bytes);
    return true;
}

void log_segment_name(char out[LOG_NAME_BYTES], uint64_t seq)
{
    snprintf(out, LOG_NAME_BYTES, "%016llx.qlog", (unsigned long long)seq);
}

void log_spare_name(char out[LOG_NAME_BYTES], uint64_t n)
{
    snprintf(out, LOG_NAME_BYTES, "spare-%llu.qlog", (unsigned long long)(n % 100000000));
}

char log_name_parse(const char *name, uint64_t *n)
{
    char again[LOG_NAME_BYTES];
    uint64_t v = 0;
    size_t len = strlen(name);
    if (len >= sizeof again)
        return 0;
    bool spare = strncmp(name, "spare-", 6) == 0;
    for (const char *p = name + (spare ? 6 : 0); *p != '\0' && *p != '.'; p++) {
        if (*p >= '0' && *p <= '9')
            v = spare ? v * 10 + (uint64_t)(*p - '0') : v << 4 | (uint64_t)(*p - '0');
        else if (!spare && *p >= 'a' && *p <= 'f')
            v = v << 4 | (uint64_t)(*p - 'a' + 10);
        else
            return 0;
    }
    if (spare)
        log_spare_name(again, v);
    else
        log_segment_name(again, v);
    *n = v;
    return strcmp(name, again) != 0 ? 0 : spare ? 'p' : 's';
}

int log_path(char out[LOG_PATH_BYTES], const char *dir, const char *name)
{
    int n = snprintf(out, LOG_PATH_BYTES, "%s/%s", dir, name);
    return n > 0 && n < LOG_PATH_BYTES ? 0 : QV_ETOOBIG;
}
