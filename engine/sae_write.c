/* An SAE as SAELens saves one: sae_weights.safetensors and cfg.json. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "engine/sae_internal.h"

enum { COLUMNS = 64 }; /* of W_enc turned together */

/* ---- the configuration ---------------------------------------------------------------------- */

static rh_status architecture(const char **out, const rh_sae_facts *f, rh_error *err)
{
    *out = NULL;
    if (!f->transcoder && !f->skip) *out = rh_sae_kind_name(f->kind);
    else if (f->kind == RH_SAE_STANDARD) *out = f->skip ? "skip_transcoder" : "transcoder";
    else if (f->kind == RH_SAE_JUMPRELU) *out = f->skip ? "jumprelu_skip_transcoder" : "jumprelu_transcoder";
    if (*out) return RH_OK;
    return rh_fail(err, RH_EUNSUPPORTED, "SAELens has no %s transcoders to save it as", rh_sae_kind_name(f->kind));
}

static json_t *hook_text(bool known, rh_hook hook, int32_t layer)
{
    static const char *const names[RH_N_HOOKS] = { "hook_resid_pre", "attn.hook_z", "hook_attn_out", "hook_mlp_in",
                                                   "hook_mlp_out", "hook_resid_post" };
    char text[64];
    if (!known || layer < 0) return NULL;
    snprintf(text, sizeof text, "blocks.%d.%s", layer, names[hook]);
    return json_string(text);
}

static void put(json_t *o, const char *key, json_t *value)
{
    if (value) json_object_set_new(o, key, value);
}

static json_t *config(const rh_sae *s, const char *name)
{
    const rh_sae_facts *f = &s->facts;
    const bool z = f->format == RH_SAE_SAELENS ? s->whole_heads : f->hook_known && f->hook == RH_ATTN_Z;
    json_t *meta = json_object(), *o = json_object();
    json_t *hook = hook_text(f->hook_known, f->hook, f->layer);
    if (!hook && f->hook_name[0]) hook = json_string(f->hook_name);
    put(meta, "sae_lens_version", json_string("6.0.0"));
    put(meta, "hook_name", hook);
    if (f->transcoder) put(meta, "hook_name_out", hook_text(f->hook_out_known, f->hook_out, f->layer));
    if (f->model[0]) put(meta, "model_name", json_string(f->model));
    if (f->prepend_bos >= 0) put(meta, "prepend_bos", json_boolean(f->prepend_bos));
    put(o, "architecture", json_string(name));
    put(o, "d_in", json_integer(f->d_in));
    if (f->transcoder) put(o, "d_out", json_integer(f->d_out));
    put(o, "d_sae", json_integer(f->d_sae));
    put(o, "dtype", json_string("float32"));
    put(o, "device", json_string("cpu"));
    put(o, "apply_b_dec_to_input", json_boolean(f->subtract_b_dec));
    put(o, "normalize_activations", json_string(rh_sae_norm_name(f->norm)));
    put(o, "reshape_activations", json_string(z ? "hook_z" : "none"));
    if (f->kind == RH_SAE_TOPK) {
        put(o, "k", json_integer(f->k));
        put(o, "rescale_acts_by_decoder_norm", json_boolean(f->rescale));
    }
    put(o, "metadata", meta);
    return o;
}

/* ---- the weights ---------------------------------------------------------------------------- */

/* What goes into the file, in its order. */
typedef struct piece {
    rh_safetensors_entry entry;
    const float *vector;         /* or */
    const rh_sae_matrix *matrix;
    bool columns;                /* the matrix's columns are written as rows */
} piece;

static int32_t list(piece out[8], const rh_sae *s)
{
    const int64_t m = s->facts.d_sae, d_in = s->facts.d_in, d_out = s->facts.d_out;
    const bool gated = s->facts.kind == RH_SAE_GATED;
    int32_t n = 0;
    out[n++] = (piece){ { "W_enc", RH_F32, 2, { d_in, m } }, NULL, &s->encoder, true };
    out[n++] = (piece){ { "W_dec", RH_F32, 2, { m, d_out } }, NULL, &s->decoder, false };
    if (s->facts.skip) out[n++] = (piece){ { "W_skip", RH_F32, 2, { d_out, d_in } }, NULL, &s->skip, false };
    out[n++] = (piece){ { gated ? "b_gate" : "b_enc", RH_F32, 1, { m } }, s->b_enc, NULL, false };
    out[n++] = (piece){ { "b_dec", RH_F32, 1, { d_out } }, s->b_dec, NULL, false };
    if (s->threshold) out[n++] = (piece){ { "threshold", RH_F32, 1, { m } }, s->threshold, NULL, false };
    if (gated) out[n++] = (piece){ { "b_mag", RH_F32, 1, { m } }, s->b_mag, NULL, false };
    if (gated) out[n++] = (piece){ { "r_mag", RH_F32, 1, { m } }, s->r_mag, NULL, false };
    return n;
}

static rh_status put_matrix(rh_st_writer *w, const rh_sae *s, const piece *p, float *block, rh_error *err)
{
    const rh_sae_matrix *m = p->matrix;
    const int32_t rows = p->columns ? m->cols : m->rows, width = p->columns ? m->rows : m->cols;
    const int32_t step = p->columns ? COLUMNS : 1;
    for (int32_t r = 0; r < rows; r += step) {
        const int32_t n = rows - r < step ? rows - r : step;
        const size_t floats = (size_t)n * (size_t)width;
        if (p->columns) rh_sae_matrix_columns(block, m, r, n);
        else rh_sae_matrix_row(block, m, r);
        if (!rh_sae_finite(block, floats))
            return rh_fail(err, RH_EFORMAT, "'%s': tensor '%s' has a value that is not finite", s->path, m->name);
        RH_TRY(rh_st_writer_put(w, block, floats * sizeof *block, err));
    }
    return RH_OK;
}

/* meta: the configuration, for a file that stands alone; or NULL. */
static rh_status write_weights(const char *path, const rh_sae *s, const char *meta, rh_error *err)
{
    piece pieces[8] = { 0 };
    rh_safetensors_entry entries[8];
    const char *const pairs[][2] = { { "sae", meta } };
    const int32_t n = list(pieces, s);
    const size_t m = (size_t)s->facts.d_sae, d_in = (size_t)s->facts.d_in, d_out = (size_t)s->facts.d_out;
    rh_st_writer *w = NULL;
    float *block = rh_calloc(COLUMNS * m + d_in + d_out, sizeof *block);
    for (int32_t i = 0; i < n; i++) entries[i] = pieces[i].entry;
    rh_status status = block ? rh_st_writer_open(&w, path, entries, n, pairs, meta ? 1 : 0, err) : rh_fail_nomem(err);
    for (int32_t i = 0; !status && i < n; i++)
        status = pieces[i].matrix ? put_matrix(w, s, &pieces[i], block, err)
                                  : rh_st_writer_put(w, pieces[i].vector, (size_t)entries[i].shape[0] * sizeof(float), err);
    free(block);
    if (!status) status = rh_sae_check(s, err);
    if (!status) return rh_st_writer_commit(w, err);
    rh_st_writer_discard(w);
    return status;
}

static rh_status write_text(const char *dir, const char *name, const char *text, rh_error *err)
{
    rh_writer w = { 0 };
    char *path = rh_path_join(dir, name);
    if (!path) return rh_fail_nomem(err);
    rh_status status = rh_writer_open(&w, path, err);
    if (!status) status = rh_writer_put(&w, text, strlen(text), err);
    if (!status) status = rh_writer_commit(&w, err);
    else rh_writer_discard(&w);
    free(path);
    return status;
}

static rh_status write_folder(const char *dir, const rh_sae *s, const char *cfg, rh_error *err)
{
    char *weights = rh_path_join(dir, "sae_weights.safetensors");
    rh_status status = weights ? rh_make_dirs(dir, err) : rh_fail_nomem(err);
    if (!status) status = write_weights(weights, s, NULL, err);
    if (!status) status = write_text(dir, "cfg.json", cfg, err);
    free(weights);
    return status;
}

rh_status rh_sae_write(const char *path, const rh_sae *s, rh_error *err)
{
    const char *name;
    const size_t n = strlen(path);
    RH_TRY(architecture(&name, &s->facts, err));
    json_t *o = config(s, name);
    char *cfg = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (!cfg) return rh_fail_nomem(err);
    const bool file = n > 12 && !strcmp(path + n - 12, ".safetensors") && !rh_is_dir(path);
    rh_status status = file ? write_weights(path, s, cfg, err) : write_folder(path, s, cfg, err);
    free(cfg);
    return status;
}
