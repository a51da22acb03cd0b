/* svg.h - the few shapes that pictures are drawn with, as SVG 1.1: no script, no font but the viewer's
 * sans-serif. Knows numbers and text; nothing of reports. Each appends to out. */
#ifndef RH_EXPORT_SVG_H
#define RH_EXPORT_SVG_H

#include "base/mem.h"

/* style: attributes, in single quotes: "stroke='#888'"; "" for none. */
void rh_svg_open(rh_str *out, int width, int height, const char *title); /* white ground */
void rh_svg_close(rh_str *out);
void rh_svg_text(rh_str *out, double x, double y, const char *anchor, const char *style, const char *text);
void rh_svg_line(rh_str *out, double x1, double y1, double x2, double y2, const char *style);
void rh_svg_rect(rh_str *out, double x, double y, double width, double height, const char *style);
void rh_svg_circle(rh_str *out, double x, double y, double r, const char *style, const char *title); /* title may be NULL */

/* Text inside an element or attribute: markup escaped, bad UTF-8 repaired, controls blank. */
void rh_svg_escape(rh_str *out, const char *s);

/* 1, 2 or 5 times a power of ten, so that `span` has about n steps. */
double rh_svg_step(double span, int n);

#endif
