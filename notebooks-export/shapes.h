/* shapes.h - the few shapes that a scatter plot is made of. Knows SVG and numbers; nothing of reports. For
 * this room alone. A picture stands alone: white ground, no fonts or files from outside; text is escaped. */
#ifndef RH_EXPORT_SHAPES_H
#define RH_EXPORT_SHAPES_H

#include "base/mem.h"

void rh_shape_begin(rh_str *out, int width, int height, const char *title);
void rh_shape_end(rh_str *out);
/* style: SVG attributes, e.g. "stroke='#888'"; trusted. anchor: "start", "middle", "end". */
void rh_shape_text(rh_str *out, double x, double y, const char *anchor, const char *style, const char *text);
void rh_shape_line(rh_str *out, double x1, double y1, double x2, double y2, const char *style);
/* title: shown when pointed at; NULL: none. */
void rh_shape_circle(rh_str *out, double x, double y, double radius, const char *style, const char *title);

/* The round step (1, 2 or 5 times a power of ten) that divides a range into about n parts; 1 for an empty one. */
double rh_round_step(double range, int n);

#endif
