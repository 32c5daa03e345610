/* Progress on stderr: a bar that is drawn over itself on a terminal, otherwise a plain line every
 * few seconds. Shows what is done of what, the rates over the last seconds, and what time is left.
 * One thread. */
#ifndef QV_CLI_PROGRESS_H
#define QV_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct qv_progress {
    const char *label; /* borrowed */
    const char *unit;  /* "vectors"; borrowed */
    uint64_t total;    /* 0: not known */
    uint64_t start_done, done, bytes;
    uint64_t start_ns, drawn_ns;
    struct qv_progress_mark {
        uint64_t ns, done, bytes;
    } marks[2]; /* the rates are since the older one, 2 to 4 s ago */
    double rate, bytes_rate;
    bool terminal, drawn;
};

/* done: where it starts (a resumed job). */
void qv_progress_init(struct qv_progress *p, const char *label, const char *unit, uint64_t done,
                      uint64_t total);
/* bytes: moved since the start. Draws when it is time. */
void qv_progress_update(struct qv_progress *p, uint64_t done, uint64_t bytes);
void qv_progress_finish(struct qv_progress *p); /* a last line, if any was drawn */

uint64_t qv_progress_now_ns(void); /* monotonic */

#endif
