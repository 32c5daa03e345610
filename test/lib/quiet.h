/* For suites that plant the faults themselves: what the log says of them is noise, unless
 * QV_VERBOSE is set. Only the log is silenced: stderr belongs to the sanitizers and to failed
 * assertions. */
#ifndef QV_TEST_QUIET_H
#define QV_TEST_QUIET_H

#include "base/logger.h"

#include <stdlib.h>

static inline void quiet_log(void)
{
    if (getenv("QV_VERBOSE") == NULL)
        qv_logger_set_level(QV_LOG_SILENT);
}

#endif
