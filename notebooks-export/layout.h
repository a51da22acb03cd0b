/* layout.h - text on a terminal: wrapping by display width, columns, numbers, colour. Knows
 * columns; nothing of reports. */
#ifndef RH_EXPORT_LAYOUT_H
#define RH_EXPORT_LAYOUT_H

#include "notebooks-export/clean.h"
#include "notebooks-export/export.h"

/* A line of wrapped text: bytes [start, end), trailing spaces left out. */
typedef struct rh_line { size_t start, end; } rh_line;
typedef struct rh_lines { rh_line *items; size_t n, cap; } rh_lines; /* zero to start; free(items) */

/* Lines of clean text[0..n) of at most `width` columns (>= 2): at the line breaks of UAX #14, so also
 * between ideographs; a word longer than a line is cut. '\n' ends a line; "16.resid_post" stays whole. False: no memory. */
bool rh_wrap(rh_lines *out, const char *text, size_t n, int width);

/* Where text goes. */
typedef struct rh_pen { rh_str *out; int width; bool colour, unicode; } rh_pen;
rh_pen rh_pen_make(rh_str *out, const rh_terminal *t);
/* Release a string that went into p->out; had it no memory, then neither has the output. */
void rh_drop(const rh_pen *p, rh_str *s);

typedef enum rh_style { RH_PLAIN, RH_BOLD, RH_DIM, RH_BAD } rh_style;
/* Append text in a style, padded with spaces to `width` columns (0: none; negative: right-aligned in
 * -width). Text wider than that is not cut. */
void rh_put(const rh_pen *p, rh_style style, int width, const char *text);
void rh_spaces(const rh_pen *p, int n);
/* text, cut to `width` columns with an ellipsis. s is freed by the caller (rh_str_free). */
void rh_fit(rh_str *s, const rh_pen *p, const char *text, int width);
/* Words of clean text, wrapped in the pen's width behind `indent` columns; the first line starts behind
 * `used` columns that are there already. Ends with a newline. */
void rh_paragraph(const rh_pen *p, rh_style style, int used, int indent, const char *text);
void rh_end_line(const rh_pen *p); /* spaces in front of the newline are taken back */
void rh_heading(const rh_pen *p, const char *text);

/* Decimal for people, about three digits: "0.62", "72.1", "1834", "3.1e-05"; NaN is "–" ("-" in ASCII). */
enum { RH_NUMBER = 32 };
const char *rh_number(char out[RH_NUMBER], const rh_pen *p, double x);
const char *rh_percent(char out[RH_NUMBER], const rh_pen *p, double x);
/* x on a scale lo..hi (lo <= 0 <= hi) as a bar of at most `width` columns around its zero. */
void rh_bar(rh_str *out, const rh_pen *p, double x, double lo, double hi, int width);

#endif
