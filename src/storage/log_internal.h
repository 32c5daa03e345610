/* The log's format and its inner state. Byte-exact tables: docs/formats.md.
 *
 * A segment file `<seq, 16 hex digits>.qlog` is a 4096-byte header and then blocks. A block is what
 * one group commit writes: 64 bytes of header, records, zeros up to a multiple of 4096. The
 * stream's position (lsn) of a block's first byte is in its header, so within a segment lsn -
 * offset is constant. A file `spare-<n>.qlog` is no part of the log, whatever is in it.
 *
 * Invariants
 *  1. A file gets its segment name only after its header (with a fresh random salt) is synced; it
 * gets a spare name, durably, before that header is overwritten. So a bad header under a segment
 * name is damage, and blocks of an earlier use (another salt) never parse.
 *  2. Each place of a segment is written once between two salts. After a failed write or sync
 * nothing more is written to that segment, and after a restart nothing to any segment that was
 * there.
 *  3. One write is in flight, and the next begins after its sync. `durable` in a block header was
 *     true when the block was written: everything below was synced, in this or an earlier segment.
 *  4. Of two segments that hold the same lsn the later one counts: a segment ends where the first
 *     block of any later one begins.
 *  5. Let D be the largest `durable` of any readable block header, of any checkpoint, and the first
 *     lsn of any later segment. A bad block at lsn < D was durable once: damage. At or above D it
 * was being written when the process stopped: the log ends there. Nobody was told otherwise: an
 *     acknowledgement at lsn x means that the block ending at x was synced; if a later block was
 *     begun, its header says so, and if none was, nothing but x's own block can tell.
 *  6. After an open, everything below its end is synced in segments that are complete: what lies
 *     above D is copied into the new segment before that gets its name.
 *  7. `newest` names the newest segment before that takes records, and a segment goes only when a
 *     block behind it is durable. So a missing newest segment, or a missing one before it while it
 *     holds no block, is damage. A file is as long as its header says before it gets its name: one
 *     that is shorter was cut. */
#ifndef QV_STORAGE_LOG_INTERNAL_H
#define QV_STORAGE_LOG_INTERNAL_H

#include "storage/log.h"

#include "base/qv_assert.h"

#define LOG_PAGE 4096u
#define LOG_MAGIC "QVLOGSEG"
#define LOG_FORMAT 1u
#define LOG_BLOCK_MAGIC 0x424C5651u /* "QVLB" */
#define LOG_FIRST_LSN ((qv_lsn)LOG_PAGE)
#define LOG_SEGMENT_BYTES_MAX ((uint64_t)1 << 32)
#define LOG_NAME_BYTES 32
#define LOG_PATH_BYTES 4096

enum { LOG_FLAG_OPEN = 1, LOG_FLAG_CLOSE = 2 };

struct log_segment_header {
    char magic[8];
    uint32_t format;
    uint32_t header_bytes;
    uint64_t log_id;
    uint64_t seq;
    uint64_t salt;
    uint64_t segment_bytes;
    uint8_t zero[12];
    uint32_t crc; /* of the 60 bytes before */
};
QV_STATIC_ASSERT(sizeof(struct log_segment_header) == 64, "format");

struct log_block_header {
    uint32_t magic;
    uint32_t header_crc; /* of the 56 bytes behind */
    uint64_t salt;
    uint64_t lsn;
    uint64_t durable;
    uint64_t clock;
    uint32_t bytes; /* header and records, without the padding */
    uint32_t records;
    uint32_t prev_crc; /* body_crc of the block before in the segment; the first: header's crc */
    uint32_t body_crc; /* of everything behind this header, padding included */
    uint32_t flags;
    uint32_t zero;
};
QV_STATIC_ASSERT(sizeof(struct log_block_header) == 64, "format");

/* Followed by change_bytes and zeros up to a multiple of 8. */
struct log_record_header {
    uint32_t change_bytes;
    uint32_t shard;
    uint32_t generation;
    uint32_t writer;
    uint64_t clock;
    uint64_t prev_clock;
    uint8_t type;
    uint8_t zero[7];
};
QV_STATIC_ASSERT(sizeof(struct log_record_header) == 40, "format");

/* File `newest`, replaced as a whole when a segment got its name and before it takes records: which
 * segments must be there, so that one that is missing is noticed though nothing behind it says so.
 */
#define LOG_NEWEST_NAME "newest"
#define LOG_NEWEST_MAGIC "QVLOGNEW"
struct log_newest {
    char magic[8];
    uint32_t format;
    uint32_t zero;
    uint64_t log_id;
    uint64_t seq;     /* the newest segment */
    uint64_t current; /* the one that took records then; 0: none but seq */
    uint32_t zero2;
    uint32_t crc; /* of the 44 bytes before */
};
QV_STATIC_ASSERT(sizeof(struct log_newest) == 48, "format");

static inline uint64_t log_round_page(uint64_t n)
{
    return (n + LOG_PAGE - 1) / LOG_PAGE * LOG_PAGE;
}
static inline size_t log_record_bytes(size_t change_bytes)
{
    return sizeof(struct log_record_header) + (change_bytes + 7) / 8 * 8;
}

/* ---- log_block.c: bytes <-> structs, no I/O ---- */

void log_segment_header_make(struct log_segment_header *h, uint64_t log_id, uint64_t seq,
                             uint64_t salt, uint64_t segment_bytes);
/* NULL when right, otherwise why not. seq as the file's name says. */
const char *log_segment_header_check(const struct log_segment_header *h, uint64_t seq);
/* Fills magic, checksums and zeros up to the page behind the block; bytes, records, lsn, durable,
 * clock, flags, salt, prev_crc are set. */
void log_block_seal(uint8_t *block);
/* Is there a block header of this salt whose block fits into `room`? */
bool log_block_header_valid(const struct log_block_header *h, uint64_t salt, uint64_t room);
bool log_block_body_valid(const uint8_t *block);
/* The record at *pos of a block whose body is valid; false at the end. QV_ECORRUPT through *err. */
bool log_block_next(const uint8_t *block, size_t *pos, struct qv_log_record *rec,
                    struct qv_bytes *change, int *err);

/* ---- names ---- */

void log_segment_name(char out[LOG_NAME_BYTES], uint64_t seq);
void log_spare_name(char out[LOG_NAME_BYTES], uint64_t n);
/* Which kind of file is it? 's' segment, 'p' spare, 0 neither. *n: seq or number. */
char log_name_parse(const char *name, uint64_t *n);
int log_path(char out[LOG_PATH_BYTES], const char *dir, const char *name);

/* ---- log_scan.c: what is on the disk ---- */

struct log_block_at {
    qv_lsn lsn;
    uint64_t offset;
    uint32_t bytes;
    uint32_t prev_crc;
    uint32_t body_crc;
    uint32_t flags;
};

struct log_segment_scan {
    uint64_t seq;
    uint64_t file_bytes;
    uint64_t salt;
    uint32_t header_crc;
    uint64_t cut_bytes; /* by which the file is shorter than its header says */
    bool header_bad;
    bool scanned;  /* blocks are known; older ones than needed are not looked at */
    bool has_base; /* holds at least one readable block header */
    qv_lsn base;   /* lsn of its first place */
    qv_lsn limit;  /* where a later segment takes over; UINT64_MAX: nowhere */
    struct log_block_at *blocks;
    size_t block_n, block_cap;
};

struct log_scan {
    struct qv_disk *disk;
    const char *dir;
    const struct qv_log_config *config;
    struct log_segment_scan *segments; /* by seq */
    size_t segment_n, segment_cap;
    uint64_t *spares;
    size_t spare_n, spare_cap;
    uint64_t log_id; /* of the newest readable header; 0: none */
    qv_lsn durable;  /* D of invariant 5 */
    uint64_t clock;
    qv_lsn begin, end;
    bool ended;               /* a bad place at or above D was met: nothing behind it counts */
    struct log_newest newest; /* seq 0: no note of it */
    bool newest_bad;
    uint64_t records;
    uint64_t damages;
    struct qv_buf block; /* the one being read */
};

/* Reads names and headers. Blocks. */
QV_MUST_USE int log_scan_open(struct log_scan *s, struct qv_disk *disk, const char *dir,
                              const struct qv_log_config *config, struct qv_errmsg *msg);
/* Reads blocks, calls on_record and on_damage, finds the end. */
QV_MUST_USE int log_scan_replay(struct log_scan *s, struct qv_errmsg *msg);
/* Reads one block whole into s->block and verifies it; QV_ECORRUPT (not reported) when it is bad.
 */
QV_MUST_USE int log_scan_read(struct log_scan *s, struct qv_file *f, const struct log_block_at *b,
                              struct qv_errmsg *msg);
void log_scan_close(struct log_scan *s);

/* ---- the running log ---- */

struct log_group {
    uint8_t *buf;
    size_t cap;
    size_t used; /* header included */
    uint32_t records;
    uint32_t flags;
    qv_lsn lsn;
    bool retried; /* its first segment failed: it may be on the disk */
    struct qv_log_waiter *waiters, *waiters_tail;
    struct log_group *next;
};

struct log_segment {
    uint64_t seq;
    qv_lsn end;  /* everything below is all it holds */
    bool failed; /* never written again: unlinked, not recycled */
};

struct log_open_segment {
    struct qv_file *file;
    uint64_t seq;
    uint64_t spare; /* number of its name before it is published */
    uint64_t salt;
    uint64_t offset; /* of the next block */
    uint64_t bytes;  /* of the file */
    uint32_t prev_crc;
};

enum log_next_state { LOG_NEXT_NONE, LOG_NEXT_READY, LOG_NEXT_FAILED };
enum log_care { LOG_CARE_NONE, LOG_CARE_PREPARE, LOG_CARE_RECYCLE };

struct qv_log {
    struct qv_env *env;
    char *dir;
    uint64_t log_id;
    uint64_t segment_bytes;
    size_t group_bytes;
    unsigned spare_max;

    struct log_group *groups; /* all of them */
    unsigned group_count;
    struct log_group *free;
    struct log_group *open; /* takes records; NULL: none */
    struct log_group *sealed, *sealed_tail;
    struct log_group *writing;
    bool starved;

    qv_lsn next_lsn; /* of the next group */
    qv_lsn durable;
    qv_lsn released;
    qv_lsn replay_from; /* of the open: nothing below was needed then; 0: unknown */
    uint64_t clock;
    uint64_t clock_durable;
    int error;
    struct qv_errmsg stop_msg; /* why */
    uint64_t stopped_ns;
    bool unsettled; /* the last block holds records and nothing behind it testifies for them */
    bool closing;
    bool close_written;
    bool close_posted;
    bool prepare_needed; /* a group waits for the next segment: its failure stops the log */

    struct log_open_segment current; /* file NULL: none that can be written */
    struct log_open_segment next;
    enum log_next_state next_state;
    uint64_t seq_last;
    uint64_t noted; /* `newest` says this segment or, after a failed try, a later one */
    struct log_segment *segments; /* full or failed, oldest first */
    size_t segment_n, segment_cap;
    uint64_t *spares;
    size_t spare_n, spare_cap;
    uint64_t spare_next; /* number of the next spare file */

    struct qv_job write_job;
    int write_err;
    struct qv_errmsg write_msg;
    uint64_t write_ns;

    /* The background job: prepares the next segment, or recycles one that was released. */
    struct qv_job care_job;
    enum log_care care;
    int care_err;
    struct qv_errmsg care_msg;
    uint64_t care_current;                /* PREPARE: the segment that takes records */
    struct log_open_segment care_segment; /* PREPARE: what it made */
    struct log_segment care_old;          /* RECYCLE: what it takes */
    uint64_t care_spare; /* PREPARE: the spare it reuses; RECYCLE: the one it makes; or NO_SPARE */

    struct qv_log_waiter *ready, *ready_tail; /* answered by the task */
    struct qv_task ready_task;
    bool ready_posted;
    struct qv_task close_task;
    void (*room_fn)(void *arg);
    void *room_arg;
    void (*close_fn)(void *arg, int err);
    void *close_arg;
    struct qv_log_stats stats;
};

/* log.c: does whatever can be done now; called after every event. */
void log_step(struct qv_log *log);
void log_free(struct qv_log *log);
/* A stopped log has a segment to write to. */
void log_resumed(struct qv_log *log);

/* log_segment.c. Blocking: */
#define LOG_NO_SPARE UINT64_MAX
/* Makes a segment file of s's seq, salt and bytes under its spare name and writes its header.
 * reused: from the file of that name, otherwise a new one. */
QV_MUST_USE int log_segment_make(struct qv_log *log, struct log_open_segment *s, bool reused,
                                 struct qv_errmsg *msg);
/* Syncs it, gives it its name, durably, and notes it as the newest. current: the segment that takes
 * records until then; 0: none. */
QV_MUST_USE int log_segment_publish(struct qv_log *log, const struct log_open_segment *s,
                                    uint64_t current, struct qv_errmsg *msg);
/* Bookkeeping, on the owner: */
void log_segment_add(struct qv_log *log, struct log_segment s);
void log_spare_add(struct qv_log *log, uint64_t n);
uint64_t log_spare_take(struct qv_log *log); /* LOG_NO_SPARE: none */
/* Starts the background job; errors come back through log_step. */
void log_care_prepare(struct qv_log *log);
bool log_care_recycle(struct qv_log *log); /* false: nothing is released */

#endif
