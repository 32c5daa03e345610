/* Times from anywhere: what is read lies within four digits of years, and is the same when it is
 * read again with a space for the T.
 * covers: src/core/datetime.c
 * options: -max_len=64 */
#include "core/datetime.h"

#include "base/qv_assert.h"

#define DAY 86400000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char copy[64];
    int64_t t;
    int64_t again;
    if (size > sizeof copy || !qv_datetime_parse((struct qv_str){(const char *)data, size}, &t))
        return 0;
    QV_ASSERT(t >= -62167219200000000 - DAY && t < 253402300800000000 + DAY);
    memcpy(copy, data, size);
    for (size_t i = 0; i < size; i++)
        copy[i] = copy[i] == 'T' || copy[i] == 't'
                      ? (i > 0 && (copy[i - 1] | 32) == 'u' ? 'T' : ' ')
                      : copy[i];
    QV_ASSERT(qv_datetime_parse((struct qv_str){copy, size}, &again) && again == t);
    return 0;
}
