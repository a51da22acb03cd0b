#include "probes/sae_seat.h"

#include "concepts/feature_notes.h"

static rh_status place(rh_seat *out, const rh_sae *s, const char *path, const rh_model *m, int32_t layer, rh_error *err)
{
    const int32_t own = rh_sae_about(s)->layer, n = m->config.n_layers;
    out->layer = layer >= 0 ? layer : own;
    if (out->layer < 0)
        return rh_hinted(rh_fail(err, RH_ESITE, "neither '%.200s' nor its path says for which layer it is", path), err, "say it with --layer");
    if (own >= 0 && own != out->layer)
        return rh_hinted(rh_fail(err, RH_ESITE, "'%.200s' belongs to layer %d, not to layer %d", path, (int)own, (int)layer), err, "leave --layer out");
    if (out->layer < n) return RH_OK;
    return rh_hinted(rh_fail(err, RH_ESITE, "'%.200s' is for layer %d, but %.80s has layers 0..%d", path, (int)out->layer, m->name, (int)n - 1), err,
                     "it was trained on another model");
}

static rh_status width(const rh_sae *s, const char *path, const rh_model *m, rh_hook hook, bool reads, rh_error *err)
{
    const rh_sae_facts *f = rh_sae_about(s);
    const int32_t d = reads ? f->d_in : f->d_out, have = rh_model_width(m, hook);
    if (d == have) return RH_OK;
    return rh_hinted(rh_fail(err, RH_ESITE, "'%.200s' %s rows of %d numbers, but %s of %.80s is %d wide", path, reads ? "reads" : "writes", (int)d,
                             rh_hook_name(hook), m->name, (int)have), err, "it was trained on another model, or at another hook");
}

rh_status rh_sae_seat(rh_seat *out, const rh_sae *s, const char *path, const rh_model *m, int32_t layer, bool force, rh_error *err)
{
    const rh_sae_facts *f = rh_sae_about(s);
    RH_TRY(place(out, s, path, m, layer, err));
    if (!f->hook_known && !f->transcoder && f->hook_name[0])
        return rh_fail(err, RH_ESITE, "'%.200s' was trained at '%.80s', which is no hook of Rhumb's", path, f->hook_name);
    rh_sae_hooks(&out->in, &out->out, s, RH_RESID_POST);
    RH_TRY(width(s, path, m, out->in, true, err));
    RH_TRY(width(s, path, m, out->out, false, err));
    if (force || !f->model[0] || rh_model_names_agree(f->model, m->name)) return RH_OK;
    return rh_hinted(rh_fail(err, RH_EMODEL, "'%.200s' was trained on %.80s, and this is %.80s: its features may mean nothing here", path, f->model, m->name),
                     err, "--force-model reads it all the same");
}

/* SmolLM2's BOS is <|im_start|>, which its texts never began with: behind it a token keeps a norm five times its own. */
int32_t rh_feature_bos(const rh_model *m)
{
    const rh_tokenizer *t = m->tokenizer;
    if (!t) return -1;
    const int32_t bos = rh_tokenizer_bos(t), separator = rh_tokenizer_adds_bos(t) ? -1 : rh_tokenizer_find(t, "<|endoftext|>");
    return separator >= 0 ? separator : bos;
}

rh_status rh_feature_ids(rh_tokens *out, const rh_model *m, const char *text, size_t len, rh_error *err)
{
    if (!m->tokenizer) return rh_fail(err, RH_EUNSUPPORTED, "%.80s has no tokenizer, and texts need one", m->name);
    const int32_t bos = rh_feature_bos(m);
    if (bos >= 0) RH_TRY(rh_tokens_push(out, (rh_token){.id = bos}, err));
    return rh_tokenize(m->tokenizer, out, text, len, false, 0, err);
}
