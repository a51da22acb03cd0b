/* lines.h - what every report as text must be. */
#ifndef RH_TEST_LINES_H
#define RH_TEST_LINES_H

#include "base/mem.h"

/* UTF-8 without control characters, no line wider than that; ASCII unless unicode. */
void check_lines(const rh_str *s, int width, bool unicode);
/* How often `what` stands in text. */
int occurrences(const char *text, const char *what);

#endif
