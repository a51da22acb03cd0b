/* axis.c - see axis.h. */
#include "probes/axis.h"

#include <math.h>
#include <stdlib.h>

static void add_unit(rh_axes *a, const rh_vector *v, int32_t i)
{
    const float *from = v->data + (size_t)i * (size_t)v->d;
    float *to = a->memory + (size_t)a->n * (size_t)v->d;
    double norm = rh_norm(from, v->d);
    if (!(norm > 0)) return;
    for (int32_t j = 0; j < v->d; j++) to[j] = (float)(from[j] / norm);
    a->items[a->n++] = (rh_axis){.layer = v->layers[i], .hook = v->hook, .d = v->d, .rank = 1, .basis = to};
}

rh_status rh_axes_make(rh_axes *out, const rh_value *v, rh_error *err)
{
    rh_axes a = {0};
    if (v->kind == RH_VALUE_SCALAR) return rh_fail(err, RH_EKIND, "a number has no direction to project on");
    int32_t n = v->kind == RH_VALUE_VECTOR ? v->vector->n_layers : v->n_layers;
    a.items = rh_calloc((size_t)n, sizeof *a.items);
    if (a.items && v->kind == RH_VALUE_VECTOR) a.memory = rh_calloc((size_t)n * (size_t)v->vector->d, sizeof *a.memory);
    if (!a.items || (v->kind == RH_VALUE_VECTOR && !a.memory)) {
        rh_axes_free(&a);
        return rh_fail_nomem(err);
    }
    for (int32_t i = 0; i < n; i++) {
        if (v->kind == RH_VALUE_VECTOR)
            add_unit(&a, v->vector, i);
        else if (v->span[i].rank > 0)
            a.items[a.n++] = (rh_axis){.layer = v->layers ? v->layers[i] : -1, .hook = v->hook, .d = v->span[i].d,
                                       .rank = v->span[i].rank, .span = true, .basis = v->span[i].basis};
    }
    *out = a;
    return RH_OK;
}

void rh_axes_free(rh_axes *a)
{
    free(a->items);
    free(a->memory);
    *a = (rh_axes){0};
}

double rh_axis_project(const rh_axis *a, const float *h)
{
    if (!a->span) return rh_dot(a->basis, h, a->d);
    double sum = 0;
    for (int32_t i = 0; i < a->rank; i++) {
        double p = rh_dot(a->basis + (size_t)i * (size_t)a->d, h, a->d);
        sum += p * p;
    }
    return sqrt(sum);
}

void rh_layers_text(rh_str *out, const int32_t *layers, int32_t n, rh_hook hook)
{
    if (n == 1 && layers[0] == -1) {
        rh_str_puts(out, "constant");
        return;
    }
    if (n == 1) {
        rh_str_printf(out, "%d", (int)layers[0]);
    } else if (layers[n - 1] - layers[0] == n - 1) {
        rh_str_printf(out, "%d..%d", (int)layers[0], (int)layers[n - 1]);
    } else {
        for (int32_t i = 0; i < n; i++) rh_str_printf(out, "%s%d", i ? ", " : "[", (int)layers[i]);
        rh_str_puts(out, "]");
    }
    rh_str_printf(out, ".%s", rh_hook_name(hook));
}
