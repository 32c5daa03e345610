/* The grammar of a JSON number, and what it scans into. Internal to json_*.c.
 *
 * mant holds the first 19 significant digits, exp10 the power of ten they are to be multiplied
 * with: a number of more digits is cut (inexact), never wrong by more than one part in 10^18. */
#ifndef QV_WIRE_JSON_NUMBER_H
#define QV_WIRE_JSON_NUMBER_H

#include "wire/json_scan.h"

struct json_num {
    uint64_t mant;
    int32_t exp10;
    bool neg;
    bool is_int;  /* neither fraction nor exponent */
    bool inexact; /* digits were cut off */
    const char *start;
    const char *end; /* behind the number; where scanning failed: the offending place */
};

/* p < end. False when no well-formed number starts at p. */
bool qv_json_scan_number(const char *p, const char *end, struct json_num *out);

#endif
