#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

/* Bytes of the character that starts at p, 0 when it is malformed. RFC 3629, section 4: only the
 * second byte's range depends on the first. */
static size_t char_bytes(const uint8_t *p, const uint8_t *end)
{
    const uint8_t lead = p[0];
    uint8_t low = 0x80;
    uint8_t high = 0xBF;
    size_t n;

    if (lead < 0x80)
        return 1;
    if (lead >= 0xC2 && lead <= 0xDF) {
        n = 2;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
        n = 3;
        low = lead == 0xE0 ? 0xA0 : 0x80;
        high = lead == 0xED ? 0x9F : 0xBF;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        n = 4;
        low = lead == 0xF0 ? 0x90 : 0x80;
        high = lead == 0xF4 ? 0x8F : 0xBF;
    } else {
        return 0;
    }
    if ((size_t)(end - p) < n || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    }
    return n;
}

bool qv_utf8_valid(const void *bytes, size_t n)
{
    if (n == 0)
        return true;
    const uint8_t *p = bytes;
    const uint8_t *end = p + n;
    while (p < end) {
        uint64_t word;
        if ((size_t)(end - p) >= sizeof word) {
            memcpy(&word, p, sizeof word);
            if ((word & 0x8080808080808080u) == 0) {
                p += sizeof word;
                continue;
            }
        }
        size_t step = char_bytes(p, end);
        if (step == 0)
            return false;
        p += step;
    }
    return true;
}
