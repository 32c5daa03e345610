/* What `quiver doctor` looks at: each look adds findings, one a line of its answer. One thread. */
#ifndef QV_CLI_DOCTOR_LOOK_H
#define QV_CLI_DOCTOR_LOOK_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum qv_doctor_level { QV_DOCTOR_OK, QV_DOCTOR_WARN, QV_DOCTOR_FAIL };

struct qv_doctor_finding {
    const char *name; /* static */
    enum qv_doctor_level level;
    char text[200];   /* what is */
    char advice[300]; /* what to do; "" when it is well */
};

#define QV_DOCTOR_FINDINGS_MAX 48u

struct qv_doctor {
    /* given */
    const char *root; /* "" or a folder that holds proc/ and sys/ (tests) */
    const char *dir;  /* where the data is, or will be; exists */
    uint32_t ports[2];
    /* told */
    struct qv_doctor_finding findings[QV_DOCTOR_FINDINGS_MAX];
    uint32_t count;
};

void qv_doctor_add(struct qv_doctor *d, const char *name, enum qv_doctor_level level,
                   const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Of the finding added last. */
void qv_doctor_advise(struct qv_doctor *d, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The system: limits, memory, processor, clock, ports. */
void qv_doctor_look_limits(struct qv_doctor *d);
void qv_doctor_look_memory(struct qv_doctor *d);
void qv_doctor_look_cpu(struct qv_doctor *d);
void qv_doctor_look_clock(struct qv_doctor *d);
void qv_doctor_look_ports(struct qv_doctor *d);
/* The disk under dir: its file system, room, and how long a sync takes. Writes a file of 4 MiB
 * there, for less than two seconds, and removes it. */
void qv_doctor_look_disk(struct qv_doctor *d);

/* The first bytes of root + path, NUL-terminated, without the line's end; false: can't be read. */
bool qv_doctor_read(const struct qv_doctor *d, const char *path, char *out, size_t n);
/* The number in "NAME: 123 kB" of root + path; false: not there. */
bool qv_doctor_read_field(const struct qv_doctor *d, const char *path, const char *name,
                          uint64_t *out);

#endif
