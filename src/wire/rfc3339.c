// SPDX-License-Identifier: Apache-2.0
/* Timestamps ("2024-02-29T12:00:00.5Z") and durations ("1.5s") as proto JSON has them. */
#include "base/clock.h"
#include "wire/internal.h"

#include <inttypes.h>

#define SECONDS_MIN  INT64_C(-62135596800) /* the year 1 */
#define SECONDS_MAX  INT64_C(253402300799) /* the end of 9999 */
#define DURATION_MAX INT64_C(315576000000) /* 10,000 years */

/* Takes `count` digits. */
static bool take_number(struct slice *in, int count, int *number)
{
    const char *text = in->data;

    if (in->len < (size_t)count)
        return false;
    *number = 0;
    for (int i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *number = *number * 10 + (text[i] - '0');
    }
    *in = slice(text + count, in->len - (size_t)count);
    return true;
}

static bool take_char(struct slice *in, char c)
{
    const char *text = in->data;

    if (in->len == 0 || *text != c)
        return false;
    *in = slice(text + 1, in->len - 1);
    return true;
}

/* Takes "." and 1 to 9 digits, if there is a ".". */
static bool take_fraction(struct slice *in, int32_t *nanos)
{
    int digits = 0, digit;

    *nanos = 0;
    if (!take_char(in, '.'))
        return true;
    for (; digits < 9 && take_number(in, 1, &digit); digits++)
        *nanos = *nanos * 10 + digit;
    if (digits == 0)
        return false;
    for (; digits < 9; digits++)
        *nanos *= 10;
    return true;
}

/* Days from 1970-01-01 to that day of the Gregorian calendar. Years begin in March here, so that
 * the leap day is the last of its year. */
static int64_t days_from_date(int year, int month, int day)
{
    int y = month > 2 ? year : year - 1, m = month > 2 ? month - 3 : month + 9;

    return INT64_C(365) * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

static bool date_valid(int year, int month, int day)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    if (year < 1 || month < 1 || month > 12 || day < 1)
        return false;
    return day <= lengths[month - 1] + (month == 2 && leap);
}

/* Takes "Z", "+01:30" or "-01:30". */
static bool take_offset(struct slice *in, int *seconds)
{
    int hours, minutes, sign = 1;

    *seconds = 0;
    if (take_char(in, 'Z'))
        return true;
    if (take_char(in, '-'))
        sign = -1;
    else if (!take_char(in, '+'))
        return false;
    if (!take_number(in, 2, &hours) || !take_char(in, ':') || !take_number(in, 2, &minutes))
        return false;
    *seconds = sign * (hours * 3600 + minutes * 60);
    return hours < 24 && minutes < 60;
}

bool wire_parse_timestamp(struct slice text, int64_t *seconds, int32_t *nanos)
{
    int year, month, day, hour, minute, second, offset;
    int32_t fraction;
    int64_t result;

    if (!take_number(&text, 4, &year) || !take_char(&text, '-') || !take_number(&text, 2, &month) ||
        !take_char(&text, '-') || !take_number(&text, 2, &day) || !take_char(&text, 'T') ||
        !take_number(&text, 2, &hour) || !take_char(&text, ':') ||
        !take_number(&text, 2, &minute) || !take_char(&text, ':') ||
        !take_number(&text, 2, &second) || !take_fraction(&text, &fraction) ||
        !take_offset(&text, &offset) || text.len > 0)
        return false;
    if (!date_valid(year, month, day) || hour > 23 || minute > 59 || second > 59)
        return false;
    result = days_from_date(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
    if (result < SECONDS_MIN || result > SECONDS_MAX)
        return false;
    *seconds = result;
    *nanos = fraction;
    return true;
}

bool wire_parse_duration(struct slice text, int64_t *seconds, int32_t *nanos)
{
    bool negative = take_char(&text, '-');
    int64_t result = 0;
    int32_t fraction;
    int digit, digits = 0;

    for (; digits < 12 && take_number(&text, 1, &digit); digits++)
        result = result * 10 + digit;
    if (digits == 0 || !take_fraction(&text, &fraction) || !take_char(&text, 's') || text.len > 0)
        return false;
    if (result > DURATION_MAX || (result == DURATION_MAX && fraction > 0))
        return false;
    *seconds = negative ? -result : result;
    *nanos = negative ? -fraction : fraction;
    return true;
}

static void put_fraction(struct buf *out, int32_t nanos)
{
    if (nanos == 0)
        return;
    if (nanos % 1000000 == 0)
        buf_printf(out, ".%03d", nanos / 1000000);
    else if (nanos % 1000 == 0)
        buf_printf(out, ".%06d", nanos / 1000);
    else
        buf_printf(out, ".%09d", nanos);
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* Nanos outside of their range are carried, and times outside of theirs become its ends. */
void wire_put_json_timestamp(struct buf *out, int64_t seconds, int32_t nanos)
{
    int64_t days, day, era, year;
    int second, month;

    seconds = clamp(seconds, SECONDS_MIN, SECONDS_MAX) + nanos / NS_PER_S;
    nanos %= (int32_t)NS_PER_S;
    if (nanos < 0) {
        seconds--;
        nanos += (int32_t)NS_PER_S;
    }
    seconds = clamp(seconds, SECONDS_MIN, SECONDS_MAX);
    second = (int)(((seconds % 86400) + 86400) % 86400);
    days = (seconds - second) / 86400 + 719468; /* since 1 March of the year 0 */
    era = days / 146097;
    day = days % 146097;
    year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    day -= 365 * year + year / 4 - year / 100;
    month = (int)(5 * day + 2) / 153;
    day -= (153 * month + 2) / 5 - 1;
    year += era * 400 + (month >= 10);
    month += month < 10 ? 3 : -9;
    buf_printf(out, "\"%04" PRId64 "-%02d-%02" PRId64 "T%02d:%02d:%02d", year, month, day,
               second / 3600, second / 60 % 60, second % 60);
    put_fraction(out, nanos);
    buf_append_str(out, "Z\"");
}

void wire_put_json_duration(struct buf *out, int64_t seconds, int32_t nanos)
{
    bool negative;

    seconds = clamp(seconds, -DURATION_MAX, DURATION_MAX) + nanos / NS_PER_S;
    nanos %= (int32_t)NS_PER_S;
    if (seconds > 0 && nanos < 0) {
        seconds--;
        nanos += (int32_t)NS_PER_S;
    } else if (seconds < 0 && nanos > 0) {
        seconds++;
        nanos -= (int32_t)NS_PER_S;
    }
    negative = seconds < 0 || nanos < 0;
    buf_printf(out, "\"%s%" PRId64, negative ? "-" : "", negative ? -seconds : seconds);
    put_fraction(out, negative ? -nanos : nanos);
    buf_append_str(out, "s\"");
}
