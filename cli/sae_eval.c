/* sae_eval.c - `rhumb sae eval MODEL SAE --corpus FILE…`. */
#include <stdlib.h>

#include "cli/models.h"
#include "cli/sae.h"
#include "notebooks-export/sae_export.h"
#include "probes/sae_eval.h"

enum { TOKENS = 50000, LOSS_TOKENS = 10000, CONTEXT = 256 };

/* Where it belongs, if only --site says so; what it says itself must agree. */
static rh_status place(rh_sae_eval_options *o, cli *c, const rh_sae *s, const rh_model *m, const char *site, rh_error *err)
{
    const rh_sae_facts *f = rh_sae_about(s);
    o->hook = RH_RESID_POST;
    o->layer = -1;
    if (site) RH_TRY(cli_sae_site(&o->layer, &o->hook, c, site, err));
    if (f->layer < 0 && o->layer < 0)
        return rh_hinted(cli_wrong(c, err, "neither '%.200s' nor its path says for which layer it is", rh_sae_path(s)), err, "--site %d",
                         (int)m->config.n_layers / 2);
    if (f->layer >= 0 && o->layer >= 0 && f->layer != o->layer)
        return rh_hinted(rh_fail(err, RH_ESITE, "'%.200s' belongs to layer %d, not to layer %d", rh_sae_path(s), (int)f->layer, (int)o->layer), err,
                         "leave --site out: the file says its layer");
    if (f->layer >= m->config.n_layers)
        return rh_fail(err, RH_ESITE, "'%.200s' is for layer %d, but %.80s has layers 0..%d", rh_sae_path(s), (int)f->layer, m->name, (int)m->config.n_layers - 1);
    return RH_OK;
}

static rh_status show(cli *c, const rh_sae_eval *e, const char *name, rh_error *err)
{
    rh_str out = {0};
    const rh_terminal t = cli_terminal(c);
    RH_TRY(c->common.json ? rh_export_sae_eval_json(&out, e, name, err) : rh_export_sae_eval_text(&out, e, name, &t, err));
    return cli_print_str(c, &out, err);
}

rh_status cli_sae_eval(cli *c, const cli_args *args, const cli_sae_flags *f, rh_error *err)
{
    rh_sae_eval_options o = {.context = f->context ? f->context : CONTEXT, .tokens = f->tokens > 0 ? (int64_t)f->tokens : TOKENS,
                             .progress = cli_progress, .progress_data = c};
    const char **corpus = NULL;
    rh_sae *s = NULL;
    rh_model *m = NULL;
    rh_sae_eval e;
    if (args->n < 3) return cli_wrong(c, err, "sae eval needs a model and an SAE");
    RH_TRY(cli_sae_corpus(&corpus, &o.n_corpus, c, args, 3, f, err));
    o.corpus = corpus;
    o.loss_tokens = o.tokens < LOSS_TOKENS ? o.tokens : LOSS_TOKENS;
    rh_status status = rh_sae_open(&s, args->items[2], RH_SAE_ENCODE, err);
    if (!status) status = cli_open_model(&m, c, args->items[1], false, err);
    if (!status && !f->context && o.context > m->config.n_ctx) o.context = m->config.n_ctx;
    if (!status) status = place(&o, c, s, m, f->site, err);
    if (!status) status = rh_sae_evaluate(&e, m, s, &o, err);
    cli_clear_bar(c);
    if (!status) status = rh_sae_check(s, err);
    if (!status) status = show(c, &e, args->items[2], err);
    rh_model_free(m);
    rh_sae_free(s);
    free(corpus);
    return status;
}
