/* number.c - strtod and snprintf under the "C" locale of this thread only. */
#include "dsl/number.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_zero(const char *text)
{
    for (; *text && *text != 'e' && *text != 'E'; text++)
        if (*text != '0' && *text != '.') return false;
    return true;
}

rh_status rh_number_parse(double *out, const char *text)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c) return RH_ENOMEM;
    locale_t old = uselocale(c);
    double x = strtod(text, NULL);
    uselocale(old);
    freelocale(c);
    if (!isfinite(x) || (x == 0 && !is_zero(text))) return RH_EVALUE;
    *out = x;
    return RH_OK;
}

static void format(char out[RH_NUMBER_TEXT], int digits, double x)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    locale_t old = c ? uselocale(c) : (locale_t)0;
    snprintf(out, RH_NUMBER_TEXT, "%.*g", digits, x == 0 ? 0.0 : x); /* no "-0" */
    if (!c) return;
    uselocale(old);
    freelocale(c);
}

void rh_number_show(char out[RH_NUMBER_TEXT], double x) { format(out, 6, x); }

void rh_number_exact(char out[RH_NUMBER_TEXT], double x)
{
    double back;
    for (int digits = 15; digits <= 17; digits++) {
        format(out, digits, x);
        const char *text = out[0] == '-' ? out + 1 : out;
        if (rh_number_parse(&back, text) == RH_OK && (out[0] == '-' ? -back : back) == x) return;
    }
}
