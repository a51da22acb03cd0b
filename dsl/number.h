/* number.h - numbers as text, always with a dot, whatever the locale. Knows nothing else. */
#ifndef RH_DSL_NUMBER_H
#define RH_DSL_NUMBER_H

#include "base/error.h"

enum { RH_NUMBER_TEXT = 32 };

/* text is a number of LANGUAGE.md §3, NUL-terminated. RH_EVALUE: it overflows, or is not zero
 * and underflows to it. */
rh_status rh_number_parse(double *out, const char *text);
void rh_number_show(char out[RH_NUMBER_TEXT], double x);  /* six digits, for people */
void rh_number_exact(char out[RH_NUMBER_TEXT], double x); /* the same double when read back */

#endif
