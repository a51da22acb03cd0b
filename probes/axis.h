/* axis.h - what a hidden state is projected on: a value of the language made into unit
 * vectors, one a layer. Knows values; runs nothing. */
#ifndef RH_PROBES_AXIS_H
#define RH_PROBES_AXIS_H

#include "dsl/program.h"

typedef struct rh_axis {
    int32_t layer;          /* -1: a constant */
    rh_hook hook;
    int32_t d, rank;
    bool span;
    const float *basis;     /* [rank, d] orthonormal: û = v/‖v‖, or the span's basis */
} rh_axis;

/* Layers where the value is the zero vector have no axis. Owner: rh_axes_free; spans' bases are
 * borrowed from the value. */
typedef struct rh_axes { rh_axis *items; int32_t n; float *memory; } rh_axes;
rh_status rh_axes_make(rh_axes *out, const rh_value *v, rh_error *err); /* RH_EKIND: a scalar */
void rh_axes_free(rh_axes *a);

/* h·û; for a span ‖B h‖, the length of h's part inside it (never negative). h [d]. */
double rh_axis_project(const rh_axis *a, const float *h);

/* "16.resid_post", "14..18.resid_post", "[3, 7].resid_post", "constant". */
void rh_layers_text(rh_str *out, const int32_t *layers, int32_t n, rh_hook hook);

#endif
