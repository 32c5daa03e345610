#include "core/datetime.h"

struct reader {
    const char *p;
    const char *end;
};

static bool take(struct reader *r, char c)
{
    if (r->p == r->end || *r->p != c)
        return false;
    r->p++;
    return true;
}

static bool is_digit(const struct reader *r)
{
    return r->p < r->end && *r->p >= '0' && *r->p <= '9';
}

/* Between `least` and `most` digits; a number in [lo, hi]? */
static bool take_number(struct reader *r, int least, int most, int lo, int hi, int *out)
{
    int n = 0;
    int v = 0;
    for (; n < most && is_digit(r); n++)
        v = v * 10 + (*r->p++ - '0');
    *out = v;
    return n >= least && v >= lo && v <= hi;
}

/* Days from 1970-01-01 to a day of the proleptic Gregorian calendar: whole eras of 400 years, and
 * years that begin in March, so that the leap day is their last. */
static int64_t days_from_civil(int year, int month, int day)
{
    const int64_t y = month <= 2 ? year - 1 : year;
    const int64_t era = (y >= 0 ? y : y - 399) / 400;
    const int64_t year_of_era = y - era * 400;
    const int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    const int64_t day_of_era =
        year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

static bool take_date(struct reader *r, int64_t *days)
{
    int year;
    int month;
    int day;
    if (!take_number(r, 4, 4, 0, 9999, &year) || !take(r, '-') ||
        !take_number(r, 1, 2, 1, 12, &month) || !take(r, '-') ||
        !take_number(r, 1, 2, 1, days_in_month(year, month), &day))
        return false;
    *days = days_from_civil(year, month, day);
    return true;
}

/* Behind the point: at least one digit, all of them read, six of them kept. */
static bool take_fraction(struct reader *r, int64_t *micros)
{
    int64_t unit = 100000;
    if (!is_digit(r))
        return false;
    for (; is_digit(r); r->p++, unit /= 10)
        *micros += unit * (*r->p - '0');
    return true;
}

static bool take_utc(struct reader *r)
{
    if (r->end - r->p < 3 || (r->p[0] | 32) != 'u' || (r->p[1] | 32) != 't' ||
        (r->p[2] | 32) != 'c')
        return false;
    r->p += 3;
    return true;
}

/* Seconds east of Greenwich. */
static bool take_zone(struct reader *r, int64_t *east)
{
    int hours;
    int minutes = 0;
    *east = 0;
    if (take(r, 'Z') || take(r, 'z') || take_utc(r))
        return true;
    const bool west = r->p < r->end && *r->p == '-';
    if (!take(r, '-') && !take(r, '+'))
        return false;
    if (!take_number(r, 2, 2, 0, 23, &hours))
        return false;
    if ((take(r, ':') || is_digit(r)) && !take_number(r, 2, 2, 0, 59, &minutes))
        return false;
    *east = (west ? -1 : 1) * (hours * 3600 + minutes * 60);
    return true;
}

/* Microseconds from midnight of that day in UTC. */
static bool take_clock(struct reader *r, int64_t *micros)
{
    int hour;
    int minute;
    int second = 0;
    int64_t fraction = 0;
    int64_t east = 0;
    if (!take_number(r, 1, 2, 0, 23, &hour) || !take(r, ':') ||
        !take_number(r, 1, 2, 0, 59, &minute))
        return false;
    if (take(r, ':')) {
        if (!take_number(r, 1, 2, 0, 60, &second))
            return false;
        if (take(r, '.') && !take_fraction(r, &fraction))
            return false;
        if (r->p < r->end) {
            while (take(r, ' '))
                ;
            if (!take_zone(r, &east))
                return false;
        }
    }
    *micros = (hour * 3600 + minute * 60 + second - east) * 1000000 + fraction;
    return true;
}

bool qv_datetime_parse(struct qv_str s, int64_t *micros)
{
    struct reader r = {s.p, s.p + s.n};
    int64_t days;
    int64_t within = 0;
    *micros = 0;
    if (s.n == 0 || !take_date(&r, &days))
        return false;
    if (r.p < r.end &&
        !((take(&r, 'T') || take(&r, 't') || take(&r, ' ')) && take_clock(&r, &within)))
        return false;
    *micros = days * 86400 * 1000000 + within;
    return r.p == r.end;
}
