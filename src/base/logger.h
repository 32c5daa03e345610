/* Structured log lines on stderr: time, level, module, text. Thread-safe; one write per line,
 * one line per write: control characters in it become '?'.
 * The level is process-wide state, set at start and by POST /logger; nothing reads it to decide
 * anything else. */
#ifndef QV_BASE_LOGGER_H
#define QV_BASE_LOGGER_H

/* SILENT is for tests that plant the faults themselves; errors are counted all the same. */
enum qv_log_level { QV_LOG_SILENT = -1, QV_LOG_ERROR, QV_LOG_WARN, QV_LOG_INFO, QV_LOG_DEBUG };

void qv_logger_set_level(enum qv_log_level level);
enum qv_log_level qv_logger_level(void);
int qv_logger_parse_level(const char *name, enum qv_log_level *out); /* any case; QV_EINVAL */
const char *qv_logger_level_name(enum qv_log_level level);           /* "info" */
unsigned long qv_logger_error_count(void); /* error lines so far: a checker reads it */

void qv_logger_write(enum qv_log_level level, const char *module, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define QV_ERROR(module, ...) qv_logger_write(QV_LOG_ERROR, module, __VA_ARGS__)
#define QV_WARN(module, ...) qv_logger_write(QV_LOG_WARN, module, __VA_ARGS__)
#define QV_INFO(module, ...) qv_logger_write(QV_LOG_INFO, module, __VA_ARGS__)
#define QV_DEBUG(module, ...)                                                                      \
    do {                                                                                           \
        if (qv_logger_level() >= QV_LOG_DEBUG)                                                     \
            qv_logger_write(QV_LOG_DEBUG, module, __VA_ARGS__);                                    \
    } while (0)

#endif
