#include "base/logger.h"

#include "base/err.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

static atomic_int logger_level = QV_LOG_INFO;
static atomic_ulong logger_errors;

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void qv_logger_set_level(enum qv_log_level level)
{
    atomic_store_explicit(&logger_level, (int)level, memory_order_relaxed);
}

enum qv_log_level qv_logger_level(void)
{
    return (enum qv_log_level)atomic_load_explicit(&logger_level, memory_order_relaxed);
}

int qv_logger_parse_level(const char *name, enum qv_log_level *out)
{
    for (int i = 0; i < 4; i++) {
        if (strcasecmp(name, level_names[i]) == 0) {
            *out = (enum qv_log_level)i;
            return 0;
        }
    }
    return QV_EINVAL;
}

const char *qv_logger_level_name(enum qv_log_level level)
{
    return level < 0 ? "silent" : level_names[level];
}

unsigned long qv_logger_error_count(void)
{
    return atomic_load_explicit(&logger_errors, memory_order_relaxed);
}

void qv_logger_write(enum qv_log_level level, const char *module, const char *fmt, ...)
{
    if (level == QV_LOG_ERROR)
        atomic_fetch_add_explicit(&logger_errors, 1, memory_order_relaxed);
    if (level > qv_logger_level())
        return;
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    char line[1024];
    int n = snprintf(line, sizeof line,
                     "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %-5s %s: ", tm.tm_year + 1900,
                     tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                     now.tv_nsec / 1000000, level_names[level], module);
    va_list ap;
    va_start(ap, fmt);
    int m = vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, ap);
    va_end(ap);
    size_t len = (size_t)n + (m < 0 ? 0 : (size_t)m);
    if (len > sizeof line - 2)
        len = sizeof line - 2;
    for (size_t i = (size_t)n; i < len; i++) { /* names come from outside: they write no lines */
        unsigned char c = (unsigned char)line[i];
        if (c < 0x20 || c == 0x7F)
            line[i] = '?';
    }
    line[len++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, len);
    (void)ignored;
}
