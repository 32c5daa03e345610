#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    const char *text;
    enum qv_err_class class;
    unsigned number;
} err_table[] = {
#define X(name, number, class, text) {"QV_" #name, text, QV_CLASS_##class, number},
    QV_ERRORS(X)
#undef X
};

#define ERR_COUNT ((int)(sizeof err_table / sizeof err_table[0]))

static int err_index(int err)
{
    int i = err - QV_ERR_BASE - 1;
    return i >= 0 && i < ERR_COUNT ? i : -1;
}

const char *qv_err_name(int err)
{
    int i = err_index(err);
    return err == QV_OK ? "QV_OK" : i < 0 ? "QV_UNKNOWN" : err_table[i].name;
}

const char *qv_err_text(int err)
{
    int i = err_index(err);
    return err == QV_OK ? "ok" : i < 0 ? "unknown error" : err_table[i].text;
}

enum qv_err_class qv_err_class(int err)
{
    int i = err_index(err);
    return err == QV_OK ? QV_CLASS_OK : i < 0 ? QV_CLASS_FATAL : err_table[i].class;
}

unsigned qv_err_number(int err)
{
    int i = err_index(err == QV_OK || err_index(err) >= 0 ? err : QV_EINTERNAL);
    return err == QV_OK ? 0 : err_table[i].number;
}

int qv_err_from_number(unsigned number, unsigned class)
{
    if (number == 0)
        return QV_OK;
    for (int i = 0; i < ERR_COUNT; i++) {
        if (err_table[i].number == number)
            return QV_ERR_BASE + 1 + i;
    }
    return class == QV_CLASS_TRANSIENT   ? QV_EUNKNOWN
           : class == QV_CLASS_PERMANENT ? QV_EPROTO
                                         : QV_EINTERNAL;
}

int qv_err_from_errno(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return QV_ENOSPC;
    case ENOENT:
        return QV_ENOTFOUND;
    case EEXIST:
        return QV_EEXISTS;
    case ENOMEM:
        return QV_ENOMEM;
    default:
        return QV_EIO;
    }
}

int(qv_fail)(struct qv_errmsg *msg, int err, const char *fmt, ...)
{
    if (msg == NULL)
        return err;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(msg->text, sizeof msg->text, fmt, ap);
    va_end(ap);
    if (n >= (int)sizeof msg->text) {
        size_t end = sizeof msg->text - 1;
        while (end > 0 && ((unsigned char)msg->text[end - 1] & 0xC0) == 0x80)
            end--;
        if (end > 0 && ((unsigned char)msg->text[end - 1] & 0xC0) == 0xC0)
            end--;
        msg->text[end] = '\0';
    }
    return err;
}
