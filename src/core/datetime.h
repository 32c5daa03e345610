/* Points in time as payloads and filters write them: RFC 3339 and the looser forms that the API's
 * servers take beside it.
 *
 *   time   := date [ ('T' | 't' | ' ') clock ]
 *   date   := YYYY '-' M[M] '-' D[D]                        the proleptic Gregorian calendar
 *   clock  := H[H] ':' M[M] [ ':' S[S] [ '.' digits ] [ ' '* zone ] ]
 *   zone   := 'Z' | 'z' | "UTC" (any case) | ('+' | '-') HH [ [':'] MM ]      none: UTC
 *
 * The fraction is cut (towards the past) to microseconds. Second 60 is the first of the next
 * minute. Nothing may stand before or behind. Any thread; no allocation. */
#ifndef QV_CORE_DATETIME_H
#define QV_CORE_DATETIME_H

#include "core/doc.h"

/* Seconds since 1970 that can be told in microseconds: about 262,000 years each way. */
#define QV_DATETIME_SECONDS_MAX 8210266876799

/* Microseconds since 1970-01-01T00:00:00Z; false: s is no time. */
QV_MUST_USE bool qv_datetime_parse(struct qv_str s, int64_t *micros);

#endif
