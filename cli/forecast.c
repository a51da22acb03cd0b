#include "cli/forecast.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algebra/algebra.h"
#include "cli/fit.h"
#include "notebooks-export/forecast_export.h"
#include "probes/units.h"

rh_status cli_forecast_check(cli *c, const cli_forecast_flags *f, rh_error *err)
{
    if (!f->on && (f->prompt || f->strength)) return cli_wrong(c, err, "--prompt and --strength belong to --forecast");
    if (f->on && (!f->prompt || !*f->prompt))
        return rh_hinted(cli_wrong(c, err, "--forecast needs a prompt"), err, "-p 'Name a city.': its tokens' states say what is near a threshold");
    return RH_OK;
}

/* As steer counts it, for one vector. */
static rh_status factor(double *out, cli *c, const cli_expression *e, const rh_model *m, const rh_sae *s, int32_t layer, rh_hook hook,
                        const float *v, const cli_forecast_flags *f, const rh_prompt_options *o, rh_error *err)
{
    const double norm = rh_norm(v, rh_sae_about(s)->d_out);
    rh_strength strength = {.value = 1};
    rh_unit_figures figures = {NAN, NAN, NAN};
    rh_status status = f->strength ? rh_strength_parse(&strength, f->strength, strlen(f->strength), err) : RH_OK;
    if (status == RH_EVALUE) c->wrong_usage = true;
    if (status) return status;
    if (strength.unit == RH_UNIT_SIGMA) return cli_wrong(c, err, "--forecast takes no strength in sigma");
    if (strength.unit == RH_UNIT_RESID) RH_TRY(rh_median_norms(&figures.resid, m, &layer, 1, hook, &f->prompt, 1, o, err));
    if (strength.unit == RH_UNIT_MAXACT) {
        const rh_eval_feature *of = &e->evaluation->of_feature;
        double most;
        if (!of->spec)
            return rh_hinted(rh_fail(err, RH_EVALUE, "a strength in maxact needs one feature, times a number"), err, "s[3] with a book that names the SAE s");
        RH_TRY(rh_feature_max_act(&most, e->concepts, of->spec, err));
        figures.maxact = rh_sae_about(s)->rescale ? most : most * norm / fabs(of->scale);
    }
    return rh_strength_factor(out, strength, norm, &figures, err);
}

static bool on_step(void *data, const rh_generation *g, int32_t n)
{
    (void)n;
    return cli_progress(data, "generating", g[0].n_ids, 0);
}

static rh_status make(rh_forecast **out, cli *c, const cli_expression *e, const rh_model *m, const rh_sae *s, const char *name, int32_t layer, rh_hook hook,
                      const float *v, const char *expr, int32_t top, const cli_forecast_flags *f, rh_error *err)
{
    int32_t stops[RH_MAX_STOPS];
    rh_feature_notes *notes = NULL;
    rh_forecast_options o = {.top = top};
    cli_prompt_options(&o.prompt, &f->how);
    /* As steer decodes unless told otherwise. */
    o.generate = (rh_generate_options){.sampling = {.top_p = 1, .repetition = 1.1, .penalty_last = -1, .seed = c->common.seed},
                                       .max_tokens = f->max_tokens, .on_step = on_step, .on_step_data = c, .stop_ids = stops};
    const rh_chat chat = o.prompt.template_ != RH_CHAT_NONE ? o.prompt.template_ : rh_tokenizer_chat(m->tokenizer);
    o.generate.n_stop_ids = rh_model_stops(m, chat, stops);
    RH_TRY(factor(&o.strength, c, e, m, s, layer, hook, v, f, &o.prompt, err));
    if (!f->no_cache) RH_TRY(cli_check_fit(c, m, s, name, layer, hook, err));
    RH_TRY(rh_feature_notes_open(&notes, c->cache_dir, s, err));
    o.notes = notes;
    rh_status status = rh_forecast_make(out, m, s, layer, hook, v, expr, f->prompt, &o, err);
    cli_clear_bar(c);
    rh_feature_notes_free(notes);
    return status;
}

rh_status cli_forecast(rh_str *text, json_t *json, cli *c, const cli_expression *e, const rh_model *m, const char *sae, int32_t layer,
                       rh_hook hook, const float *v, const char *expr, int32_t top, const cli_forecast_flags *f, rh_error *err)
{
    rh_forecast *r = NULL;
    rh_sae *s = NULL;
    rh_str line = {0};
    rh_terminal t = cli_terminal(c);
    if (!m->tokenizer) return rh_fail(err, RH_EUNSUPPORTED, "the model '%s' has no tokenizer, so it cannot read a prompt", m->name);
    rh_status status = rh_sae_open(&s, sae, RH_SAE_ENCODE, err);
    if (!status) status = make(&r, c, e, m, s, sae, layer, hook, v, expr, top, f, err);
    if (!status && !json) status = rh_export_forecast_text(text, r, &t, err);
    if (!status && json) status = rh_export_forecast_json(&line, r, err);
    if (!status && json) {
        json_t *o = json_loadb(line.data, line.len, 0, NULL);
        if (json_object_set_new(json, "forecast", o)) status = rh_fail_nomem(err);
    }
    rh_str_free(&line);
    rh_forecast_free(r);
    rh_sae_free(s);
    return status;
}
