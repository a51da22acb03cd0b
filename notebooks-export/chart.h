/* chart.h - curves over the layers as an SVG picture. Knows numbers and labels; nothing of reports. */
#ifndef RH_EXPORT_CHART_H
#define RH_EXPORT_CHART_H

#include "base/mem.h"

typedef struct rh_curve {
    const char *label;
    const double *y;    /* [n]; a NaN is a gap */
    int colour;         /* 0, 1, 2, … */
    bool dashed;
} rh_curve;

typedef struct rh_chart {
    const char *title, *x_label, *y_label;
    const double *x; int32_t n;  /* ascending */
    const rh_curve *curves; int32_t n_curves;
    double marked;      /* an x to mark; NaN: none */
} rh_chart;

/* Appends the whole document. */
void rh_chart_svg(rh_str *out, const rh_chart *c);

#endif
