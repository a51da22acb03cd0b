#include "notebooks-export/sae_export.h"

#include <string.h>

#include "notebooks-export/clean.h"
#include "notebooks-export/json.h"

rh_status rh_export_sae_eval_text(rh_str *out, const rh_sae_eval *e, const char *name, const rh_terminal *t, rh_error *err)
{
    rh_clean(out, name, strlen(name), RH_CLEAN_LINE, t->unicode);
    rh_str_printf(out, " at layer %d, %s", (int)e->layer, rh_hook_name(e->hook_in));
    if (e->hook_out != e->hook_in) rh_str_printf(out, " to %s", rh_hook_name(e->hook_out));
    rh_str_printf(out, ", over %lld tokens; the first position of each text is left out\n\n", (long long)e->fit.tokens);
    rh_str_printf(out, "FVU          %.4f   of the variance is not explained\n", e->fit.fvu);
    rh_str_printf(out, "L0           %.1f   features are active at a token\n", e->fit.l0);
    rh_str_printf(out, "dead         %.1f %%   of the features are active nowhere here\n", 100 * e->fit.dead);
    rh_str_printf(out, "recovered    %.1f %%   of the loss that zeros cost\n\n", 100 * e->recovered);
    rh_str_printf(out, "loss over %lld predictions: %.4f nats as it is, %.4f with the reconstruction, %.4f with zeros\n", (long long)e->predictions,
                  e->clean, e->spliced, e->zero);
    if (!out->failed) return RH_OK;
    rh_str_free(out);
    return rh_fail_nomem(err);
}

rh_status rh_export_sae_eval_json(rh_str *out, const rh_sae_eval *e, const char *name, rh_error *err)
{
    rh_json j = {false};
    json_t *o = rh_json_object(&j), *loss = rh_json_object(&j);
    rh_json_text(&j, o, "sae", name);
    rh_json_integer(&j, o, "layer", e->layer);
    rh_json_text(&j, o, "hook", rh_hook_name(e->hook_in));
    rh_json_text(&j, o, "hook_out", rh_hook_name(e->hook_out));
    rh_json_integer(&j, o, "tokens", e->fit.tokens);
    rh_json_number(&j, o, "fvu", e->fit.fvu);
    rh_json_number(&j, o, "l0", e->fit.l0);
    rh_json_number(&j, o, "dead", e->fit.dead);
    rh_json_integer(&j, loss, "predictions", e->predictions);
    rh_json_number(&j, loss, "clean", e->clean);
    rh_json_number(&j, loss, "spliced", e->spliced);
    rh_json_number(&j, loss, "zero", e->zero);
    rh_json_number(&j, loss, "recovered", e->recovered);
    rh_json_set(&j, o, "loss", loss);
    return rh_json_finish(out, o, &j, err);
}
