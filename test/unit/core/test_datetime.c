/* Times: 20,000 random ones written in every form and read back, what is refused, and bytes that
 * are nothing. The calendar is the C library's (timegm). */
#include "suite.h"

#include "base/rng.h"
#include "core/datetime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SEED 20230208u

static bool reads(const char *text, int64_t *micros)
{
    return qv_datetime_parse(qv_str_of(text), micros);
}

/* One of the ways to write down `t` microseconds; *written what of them can be read back. */
static void write_time(struct qv_rng *rng, int64_t t, char out[96], int64_t *written)
{
    static const char *const utc[] = {"Z", "z", "", " UTC", "+00:00", "-0000", "+00", "utc"};
    const int64_t micro = ((t % 1000000) + 1000000) % 1000000;
    int64_t seconds = (t - micro) / 1000000;
    const int east = qv_rng_below(rng, 2) ? ((int)qv_rng_below(rng, 2879) - 1439) * 60 : 0;
    const int shown = abs(east) / 60;
    char fraction[24] = "";
    char zone[16];
    struct tm tm;
    time_t local = (time_t)(seconds + east);
    gmtime_r(&local, &tm);
    *written = t;
    if (qv_rng_below(rng, 4) == 0)
        *written = t - micro;
    else
        snprintf(fraction, sizeof fraction, ".%06d%s", (int)micro,
                 qv_rng_below(rng, 2) ? "999" : "");
    if (east == 0)
        snprintf(zone, sizeof zone, "%s", utc[qv_rng_below(rng, 8)]);
    else
        snprintf(zone, sizeof zone, "%s%c%02d%s%02d", qv_rng_below(rng, 4) ? "" : " ",
                 east < 0 ? '-' : '+', shown / 60, qv_rng_below(rng, 2) ? ":" : "", shown % 60);
    snprintf(out, 96, "%04d-%02d-%02d%c%02d:%02d:%02d%s%s", tm.tm_year + 1900, tm.tm_mon + 1,
             tm.tm_mday, "Tt "[qv_rng_below(rng, 3)], tm.tm_hour, tm.tm_min, tm.tm_sec, fraction,
             zone);
}

static void test_written_and_read(void **state)
{
    (void)state;
    struct qv_rng rng;
    qv_rng_init(&rng, SEED);
    printf("seed %u\n", SEED);
    for (int i = 0; i < 20000; i++) {
        char text[96];
        int64_t want;
        int64_t got;
        /* years 1 to 9998 */
        int64_t t = (int64_t)qv_rng_below(&rng, 315500000000000000u) - 62130000000000000;
        write_time(&rng, t, text, &want);
        if (!reads(text, &got) || got != want)
            fail_msg("%s: %lld, want %lld", text, (long long)got, (long long)want);
    }
}

static void test_forms(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t micros;
    } rows[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01", 0},
        {"1970-01-01T00:00", 0},
        {"1970-01-01 00:00", 0},
        {"1970-1-1 0:0:0", 0},
        {"1970-01-01T00:00:00.5Z", 500000},
        {"1970-01-01T00:00:00.0000019Z", 1},
        {"1969-12-31T23:59:59.9999999Z", -1},
        {"1970-01-01T00:00:00+01:30", -5400000000},
        {"1970-01-01T00:00:00 -02", 7200000000},
        {"2023-02-08T10:49:00Z", 1675853340000000},
        {"2023-02-08T11:49:00+01:00", 1675853340000000},
        {"2000-02-29", 951782400000000},
        {"2016-12-31T23:59:60Z", 1483228800000000},
        {"0000-01-01", -62167219200000000},
        {"9999-12-31T23:59:59.999999Z", 253402300799999999},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t got;
        if (!reads(rows[i].text, &got) || got != rows[i].micros)
            fail_msg("%s: %lld, want %lld", rows[i].text, (long long)got,
                     (long long)rows[i].micros);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {"",
                                       "yesterday",
                                       "2023",
                                       "2023-02",
                                       "2023-02-",
                                       "2023-00-08",
                                       "2023-13-08",
                                       "2023-02-29",
                                       "1900-02-29",
                                       "2023-02-00",
                                       "2023-04-31",
                                       "2023-02-08T",
                                       "2023-02-08 ",
                                       "2023-02-08Z",
                                       "2023-02-08T10",
                                       "2023-02-08T10:",
                                       "2023-02-08T24:00:00Z",
                                       "2023-02-08T10:60:00Z",
                                       "2023-02-08T10:49:61Z",
                                       "2023-02-08T10:49:00.Z",
                                       "2023-02-08T10:49:00+",
                                       "20230208",
                                       "2023-02-08T10:49:00+1",
                                       "2023-02-08T10:49:00+01:",
                                       "2023-02-08T10:49:00+01:6",
                                       "2023-02-08T10:49:00+24:00",
                                       "2023-02-08T10:49:00+01:60",
                                       "2023-02-08T10:49Z",
                                       "2023-02-08T10:49:00ZZ",
                                       "2023-02-08T10:49:00Z ",
                                       " 2023-02-08",
                                       "23-02-08",
                                       "+2023-02-08",
                                       "2023/02/08",
                                       "2023-02-08_10:49:00",
                                       "2023-02-08  10:49:00",
                                       "-023-02-08",
                                       "2023-02-08T10:49:00 ",
                                       "2023-02-08T10:49:00 CET",
                                       "12023-02-08"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t got;
        if (reads(rows[i], &got))
            fail_msg("'%s' was read as %lld", rows[i], (long long)got);
    }
}

/* Never beyond the text's end, whatever stands there. */
static void test_bytes(void **state)
{
    (void)state;
    static const char alphabet[] = "0123456789-:T Zz.+uUtTcC\0\xff";
    struct qv_rng rng;
    qv_rng_init(&rng, SEED + 1);
    for (int i = 0; i < 100000; i++) {
        char seed[] = "2023-02-08T10:49:00.123456+01:00";
        int64_t got;
        const size_t n = (size_t)qv_rng_below(&rng, sizeof seed);
        char *text = malloc(n + 1);
        assert_non_null(text);
        for (uint64_t k = qv_rng_below(&rng, 4); k > 0; k--)
            seed[qv_rng_below(&rng, sizeof seed - 1)] =
                alphabet[qv_rng_below(&rng, sizeof alphabet - 1)];
        memcpy(text, seed, n);
        if (qv_datetime_parse((struct qv_str){text, n}, &got))
            assert_true(n >= 8);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_and_read),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bytes),
    };
    return RUN_SUITE(tests);
}
