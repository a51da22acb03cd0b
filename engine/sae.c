#include "engine/sae.h"

#include <stdlib.h>

#include "base/mem.h"
#include "engine/sae_internal.h"

const char *rh_sae_format_name(rh_sae_format f)
{
    static const char *const names[] = { "Gemma Scope", "Gemma Scope 2", "SAELens", "Sparsify" };
    return names[f];
}

const char *rh_sae_kind_name(rh_sae_kind k)
{
    static const char *const names[] = { "standard", "topk", "jumprelu", "gated" };
    return names[k];
}

const char *rh_sae_norm_name(rh_sae_norm n)
{
    static const char *const names[] = { "none", "constant_norm_rescale", "layer_norm" };
    return names[n];
}

void rh_sae_count_bytes(rh_sae *s)
{
    rh_sae_facts *f = &s->facts;
    const rh_sae_matrix *all[] = { &s->encoder, &s->decoder, &s->skip };
    for (size_t i = 0; i < 3; i++) {
        const size_t bytes = (size_t)all[i]->rows * (size_t)all[i]->cols * (all[i]->dtype == RH_F32 ? 4 : 2);
        f->matrix_bytes += bytes;
        if (all[i]->turned || all[i]->unpacked || all[i]->own) f->encode_bytes += bytes;
        if (all[i]->own) f->owned += bytes;
        else if (all[i]->data) f->mapped += bytes;
    }
    /* b_enc and b_dec; a threshold; b_mag, r_mag and e^r_mag; norms */
    const int per_feature = 1 + f->has_threshold + (f->kind == RH_SAE_GATED ? 3 : 0);
    const size_t vectors = ((size_t)f->d_sae * (size_t)per_feature + (size_t)f->d_out) * sizeof(float);
    const size_t norms = f->rescale ? (size_t)f->d_sae * sizeof(float) : 0;
    f->encode_bytes += vectors + norms + (rh_sae_screened(f) ? rh_screen_bytes(f->d_sae, f->d_in) : 0);
    f->owned += (s->b_enc ? vectors : 0) + (s->norms ? norms : 0);
}

rh_status rh_sae_open(rh_sae **out, const char *path, rh_sae_use use, rh_error *err)
{
    rh_sae_place place = { 0 };
    rh_sae *s = rh_calloc(1, sizeof *s);
    if (!s) return rh_fail_nomem(err);
    s->use = use;
    s->facts.layer = -1;
    s->facts.prepend_bos = -1;
    rh_status status = rh_sae_find(&place, path, err);
    if (status) goto done;
    if (!(s->path = rh_strdup(place.weights))) status = rh_fail_nomem(err);
    if (!status) status = rh_sae_layouts_new(&s->layouts, err);
    if (!status) status = rh_sae_open_container(s, place.weights, err);
    if (!status) status = rh_sae_read_config(s, &place, err);
    if (!status) status = rh_sae_site_of_path(s, place.weights, err);
    if (!status) status = rh_sae_bind(s, use, err);
    if (status) goto done;
    s->facts.model = s->model ? s->model : "";
    s->facts.hook_name = s->hook_name ? s->hook_name : "";
    rh_sae_count_bytes(s);
    *out = s;
    s = NULL;
done:
    rh_sae_place_free(&place);
    rh_sae_free(s);
    return status;
}

void rh_sae_free(rh_sae *s)
{
    if (!s) return;
    rh_sae_matrix_free(&s->encoder);
    rh_sae_matrix_free(&s->decoder);
    rh_sae_matrix_free(&s->skip);
    free(s->b_enc);
    free(s->b_dec);
    free(s->threshold);
    free(s->b_mag);
    free(s->r_mag);
    free(s->gain);
    free(s->norms);
    rh_sae_layouts_free(s->layouts);
    rh_npz_close(s->npz);
    rh_safetensors_close(s->safetensors);
    free(s->path);
    free(s->model);
    free(s->hook_name);
    free(s);
}

const rh_sae_facts *rh_sae_about(const rh_sae *s) { return &s->facts; }
rh_sae_use rh_sae_opened_for(const rh_sae *s) { return s->use; }
const char *rh_sae_path(const rh_sae *s) { return s->path; }
const float *rh_sae_b_dec(const rh_sae *s) { return s->b_dec; }
float rh_sae_bias(const rh_sae *s, int32_t i) { return s->b_enc[i]; }
float rh_sae_threshold(const rh_sae *s, int32_t i) { return s->threshold ? s->threshold[i] : 0; }

rh_status rh_sae_check(const rh_sae *s, rh_error *err)
{
    if (!s->npz && !s->safetensors) return RH_OK; /* made here */
    return s->npz ? rh_npz_check(s->npz, err) : rh_safetensors_check(s->safetensors, err);
}

rh_status rh_sae_check_feature(const rh_sae *s, int64_t i, rh_error *err)
{
    if (i >= 0 && i < s->facts.d_sae) return RH_OK;
    return rh_fail(err, RH_EVALUE, "there is no feature %lld: '%s' has features 0..%d", (long long)i, s->path,
                   s->facts.d_sae - 1);
}

static rh_status row(float *out, const rh_sae *s, const rh_sae_matrix *m, int32_t i, rh_error *err)
{
    rh_sae_matrix_row(out, m, i);
    if (rh_sae_finite(out, (size_t)m->cols)) return RH_OK;
    return rh_fail(err, RH_EFORMAT, "'%s': tensor '%s' has a value that is not finite at feature %d", s->path, m->name, i);
}

rh_status rh_sae_decoder_row(float *out, const rh_sae *s, int32_t i, rh_error *err)
{
    return row(out, s, &s->decoder, i, err);
}

rh_status rh_sae_encoder_row(float *out, const rh_sae *s, int32_t i, rh_error *err)
{
    return row(out, s, &s->encoder, i, err);
}
