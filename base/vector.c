/* rh_vector and the names of hooks: the small values of rhumb.h. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static const char *const hook_names[RH_N_HOOKS] = {
    [RH_RESID_PRE] = "resid_pre", [RH_ATTN_Z] = "attn_z",   [RH_ATTN_OUT] = "attn_out",
    [RH_MLP_IN] = "mlp_in",       [RH_MLP_OUT] = "mlp_out", [RH_RESID_POST] = "resid_post",
};

const char *rh_hook_name(rh_hook hook)
{
    return (int)hook >= 0 && (int)hook < RH_N_HOOKS ? hook_names[hook] : "?";
}

bool rh_hook_parse(rh_hook *out, const char *name, size_t len)
{
    for (int i = 0; i < RH_N_HOOKS; i++) {
        if (strlen(hook_names[i]) != len || memcmp(hook_names[i], name, len)) continue;
        *out = (rh_hook)i;
        return true;
    }
    return false;
}

rh_status rh_vector_new(rh_vector **out, int32_t d, rh_hook hook, const int32_t *layers,
                        int32_t n_layers, rh_error *err)
{
    if (d < 1) return rh_fail(err, RH_ESITE, "a vector needs a width of at least 1, not %d", (int)d);
    if ((int)hook < 0 || (int)hook >= RH_N_HOOKS)
        return rh_fail(err, RH_ESITE, "no hook has the number %d", (int)hook);
    if (n_layers < 1 || !layers)
        return rh_fail(err, RH_ESITE, "a vector needs at least one layer");
    for (int32_t i = 0; i < n_layers; i++) {
        bool constant = n_layers == 1 && layers[0] == -1;
        if (!constant && (layers[i] < 0 || (i && layers[i] <= layers[i - 1])))
            return rh_fail(err, RH_ESITE, "layers of a vector ascend from 0, without repeats; found %d",
                           (int)layers[i]);
    }
    rh_vector *v = rh_calloc(1, sizeof *v);
    if (!v) return rh_fail_nomem(err);
    v->d = d;
    v->hook = hook;
    v->n_layers = n_layers;
    v->layers = rh_calloc((size_t)n_layers, sizeof *v->layers);
    if ((size_t)d <= SIZE_MAX / sizeof *v->data)
        v->data = rh_calloc((size_t)n_layers, (size_t)d * sizeof *v->data);
    if (!v->layers || !v->data) {
        rh_vector_free(v);
        return rh_fail_nomem(err);
    }
    memcpy(v->layers, layers, (size_t)n_layers * sizeof *layers);
    *out = v;
    return RH_OK;
}

rh_vector_view rh_vector_at(const rh_vector *v, int32_t layer)
{
    rh_vector_view view = { NULL, v ? v->d : 0, layer };
    if (!v) return view;
    if (v->n_layers == 1 && v->layers[0] == -1) {
        view.data = v->data;
        return view;
    }
    for (int32_t low = 0, high = v->n_layers; low < high;) {
        int32_t middle = low + (high - low) / 2;
        if (v->layers[middle] == layer) {
            view.data = v->data + (size_t)middle * (size_t)v->d;
            break;
        }
        if (v->layers[middle] < layer) low = middle + 1;
        else high = middle;
    }
    return view;
}

void rh_vector_free(rh_vector *v)
{
    if (!v) return;
    free(v->layers);
    free(v->data);
    free(v);
}
