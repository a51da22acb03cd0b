/* Tensors by the names their publishers give them: found, checked against each other, and read. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/sae_internal.h"

rh_status rh_sae_open_container(rh_sae *s, const char *path, rh_error *err)
{
    const size_t n = strlen(path);
    if (n >= 4 && !strcmp(path + n - 4, ".npz")) return rh_npz_open(&s->npz, path, err);
    return rh_safetensors_open(&s->safetensors, path, err);
}

/* ---- one tensor, from either container ------------------------------------------------------ */

typedef struct raw {
    const char *name;
    const uint8_t *data;  /* NULL: deflated */
    int width;            /* 8: float64, in npz alone */
    rh_dtype dtype;       /* F32, F16, BF16; of float64 what it becomes: F32 */
    int32_t n_dims;
    int64_t shape[2];
    bool fortran;
    rh_npz_array array;   /* of npz */
} raw;

static rh_status raw_of_npz(raw *out, rh_sae *s, int32_t i, rh_error *err)
{
    rh_npz_array a;
    RH_TRY(rh_npz_array_at(&a, s->npz, i, err));
    *out = (raw){ .name = a.name, .data = a.data, .width = a.info.width, .dtype = a.info.width == 2 ? RH_F16 : RH_F32,
                  .n_dims = a.info.n_dims, .shape = { a.info.shape[0], a.info.shape[1] },
                  .fortran = a.info.fortran && a.info.n_dims == 2, .array = a };
    return RH_OK;
}

static rh_status raw_of_safetensors(raw *out, const rh_sae *s, const rh_tensor *t, rh_error *err)
{
    if (t->dtype != RH_F32 && t->dtype != RH_F16 && t->dtype != RH_BF16)
        return rh_fail(err, RH_EUNSUPPORTED, "'%s': tensor '%s' is stored as %s; F32, F16 and BF16 can be read", s->path,
                       t->name, t->raw_type);
    if (t->n_dims < 1 || t->n_dims > 2)
        return rh_fail(err, RH_EUNSUPPORTED, "'%s': tensor '%s' has %d dimensions; 1 or 2 were expected", s->path, t->name,
                       t->n_dims);
    *out = (raw){ .name = t->name, .data = t->data, .width = t->dtype == RH_F32 ? 4 : 2, .dtype = t->dtype,
                  .n_dims = t->n_dims, .shape = { t->shape[0], t->n_dims == 2 ? t->shape[1] : 1 } };
    return RH_OK;
}

/* The first of up to two names that is there; out->name NULL if none is. */
static rh_status find(raw *out, rh_sae *s, const char *name, const char *other, rh_error *err)
{
    const char *names[] = { name, other };
    *out = (raw){ 0 };
    for (int k = 0; k < 2 && names[k]; k++) {
        if (s->npz) {
            int32_t i = rh_npz_find(s->npz, names[k]);
            if (i >= 0) return raw_of_npz(out, s, i, err);
        } else {
            const rh_tensor *t = rh_safetensors_find(s->safetensors, names[k]);
            if (t) return raw_of_safetensors(out, s, t, err);
        }
    }
    return RH_OK;
}

static rh_status missing(const rh_sae *s, const char *name, rh_error *err)
{
    rh_str there = { 0 };
    const int64_t n = s->npz ? rh_npz_n(s->npz) : rh_safetensors_n(s->safetensors);
    for (int64_t i = 0; i < n && i < 12; i++)
        rh_str_printf(&there, "%s%s", i ? ", " : "", s->npz ? rh_npz_name(s->npz, (int32_t)i)
                                                            : rh_safetensors_tensor(s->safetensors, i)->name);
    rh_fail(err, RH_EFORMAT, "'%s' has no tensor '%s'", s->path, name);
    rh_hint(err, n ? "it has %.400s" : "it is empty%s", n && there.data ? there.data : "");
    rh_str_free(&there);
    return RH_EFORMAT;
}

/* The items as float32 of their own, in the order of the file. */
static rh_status items(void **out, rh_sae *s, const raw *r, bool widen, rh_error *err)
{
    const size_t n = (size_t)r->shape[0] * (size_t)r->shape[1];
    void *unpacked = NULL;
    *out = NULL;
    if (!r->data) RH_TRY(rh_npz_unpack(&unpacked, s->npz, &r->array, err));
    const uint8_t *from = r->data ? r->data : unpacked;
    if (unpacked && r->width != 8 && !(widen && r->width == 2)) {
        *out = unpacked;
        return RH_OK;
    }
    float *x = rh_alloc_pages(n ? n * sizeof *x : 1);
    for (size_t i = 0; x && r->width == 8 && i < n; i++) {
        double d;
        memcpy(&d, from + 8 * i, 8);
        x[i] = (float)d;
    }
    if (x && r->width != 8) rh_dequantize_row(x, from, r->dtype, (int64_t)n);
    free(unpacked);
    *out = x;
    return x ? RH_OK : rh_fail_nomem(err);
}

/* ---- vectors and matrices ------------------------------------------------------------------- */

/* out [n] or NULL if it is not read, or not there and not needed. */
static rh_status vector(float **out, rh_sae *s, const char *name, const char *other, int32_t n, bool needed, bool read,
                        rh_error *err)
{
    raw r;
    void *x = NULL;
    RH_TRY(find(&r, s, name, other, err));
    if (!r.name) return needed ? missing(s, name, err) : RH_OK;
    if (r.n_dims != 1 || r.shape[0] != n)
        return rh_fail(err, RH_EFORMAT, r.n_dims == 1 ? "'%s': tensor '%s' has shape [%lld]; [%d] was expected"
                                                      : "'%s': tensor '%s' is a matrix of %lld rows; [%d] was expected",
                       s->path, r.name, (long long)r.shape[0], n);
    if (!read) return RH_OK;
    RH_TRY(items(&x, s, &r, true, err));
    if (!rh_sae_finite(x, (size_t)n)) {
        free(x);
        return rh_fail(err, RH_EFORMAT, "'%s': tensor '%s' has a value that is not finite", s->path, r.name);
    }
    *out = x;
    return RH_OK;
}

/* m becomes [rows, cols] over a tensor that stores it so, or, turned, as [cols, rows]. rows or cols 0: taken
 * from the file. */
static rh_status matrix(rh_sae_matrix *m, rh_sae *s, const raw *r, int32_t rows, int32_t cols, bool turned, bool read,
                        rh_error *err)
{
    void *own = NULL;
    const int64_t have_rows = r->shape[turned], have_cols = r->shape[!turned];
    if (r->n_dims != 2 || have_rows < 1 || have_cols < 1 || have_rows > INT32_MAX || have_cols > INT32_MAX)
        return rh_fail(err, RH_EFORMAT, "'%s': tensor '%s' is no matrix", s->path, r->name);
    if ((rows && have_rows != rows) || (cols && have_cols != cols))
        return rh_fail(err, RH_EFORMAT, "'%s': tensor '%s' has shape [%lld, %lld]; [%d, %d] was expected", s->path, r->name,
                       (long long)r->shape[0], (long long)r->shape[1],
                       (int)(turned ? (cols ? cols : have_cols) : (rows ? rows : have_rows)),
                       (int)(turned ? (rows ? rows : have_rows) : (cols ? cols : have_cols)));
    if (read && (!r->data || r->width == 8)) RH_TRY(items(&own, s, r, false, err));
    *m = (rh_sae_matrix){ .name = r->name, .data = own ? own : read ? r->data : NULL, .own = own, .dtype = r->dtype,
                          .rows = (int32_t)have_rows, .cols = (int32_t)have_cols, .turned = turned != r->fortran,
                          .unpacked = !r->data || r->width == 8 };
    return RH_OK;
}

static rh_status encoder(rh_sae *s, bool read, rh_error *err)
{
    rh_sae_facts *f = &s->facts;
    const int32_t d_in = f->d_in, d_sae = f->d_sae; /* as the configuration says, or 0 */
    raw r;
    RH_TRY(find(&r, s, "W_enc", "w_enc", err));
    const bool turned = r.name != NULL; /* [d_in, d_sae]; a torch Linear is [d_sae, d_in] */
    if (!r.name) RH_TRY(find(&r, s, "encoder.weight", NULL, err));
    if (!r.name) return missing(s, f->format == RH_SAE_SPARSIFY ? "encoder.weight" : "W_enc", err);
    RH_TRY(matrix(&s->encoder, s, &r, d_sae, d_in, turned, read, err));
    f->d_in = s->encoder.cols;
    f->d_sae = s->encoder.rows;
    return RH_OK;
}

static rh_status decoder(rh_sae *s, bool read, rh_error *err)
{
    rh_sae_facts *f = &s->facts;
    raw r;
    RH_TRY(find(&r, s, "W_dec", "w_dec", err));
    const bool linear = !r.name;
    if (linear) RH_TRY(find(&r, s, "decoder.weight", NULL, err));
    if (!r.name) return missing(s, "W_dec", err);
    RH_TRY(matrix(&s->decoder, s, &r, f->d_sae, f->transcoder ? 0 : f->d_in, linear, read, err));
    f->d_out = s->decoder.cols;
    f->dtype = s->decoder.dtype;
    return RH_OK;
}

static rh_status skip(rh_sae *s, bool read, rh_error *err)
{
    rh_sae_facts *f = &s->facts;
    raw r;
    RH_TRY(find(&r, s, "affine_skip_connection", NULL, err)); /* [d_in, d_out] */
    const bool turned = r.name != NULL;
    if (!r.name) RH_TRY(find(&r, s, "W_skip", NULL, err));    /* [d_out, d_in] */
    if (!r.name) return RH_OK;
    f->skip = true;
    return matrix(&s->skip, s, &r, f->d_out, f->d_in, turned, read, err);
}

/* Written for a while by SAELens, and harmless if it is 1. */
static rh_status scaling_factor(rh_sae *s, rh_error *err)
{
    float *x = NULL;
    bool one = true;
    raw r;
    RH_TRY(find(&r, s, "scaling_factor", "finetuning_scaling_factor", err));
    if (!r.name) return RH_OK;
    RH_TRY(vector(&x, s, r.name, NULL, s->facts.d_sae, true, true, err));
    for (int32_t i = 0; i < s->facts.d_sae; i++) one &= fabsf(x[i] - 1) <= 1e-5f;
    free(x);
    return one ? RH_OK : rh_fail(err, RH_EUNSUPPORTED, "'%s' has finetuned scaling factors, which are not known", s->path);
}

static rh_status thresholds(rh_sae *s, bool read, rh_error *err)
{
    const int32_t m = s->facts.d_sae;
    raw r;
    RH_TRY(find(&r, s, "log_threshold", NULL, err));
    s->facts.has_threshold = true;
    if (!r.name) return vector(&s->threshold, s, "threshold", NULL, m, true, read, err);
    RH_TRY(vector(&s->threshold, s, "log_threshold", NULL, m, true, read, err));
    for (int32_t i = 0; s->threshold && i < m; i++) s->threshold[i] = expf(s->threshold[i]);
    return RH_OK;
}

static rh_status biases(rh_sae *s, bool read, rh_error *err)
{
    const rh_sae_facts *f = &s->facts;
    const int32_t m = f->d_sae;
    const bool needed = f->format != RH_SAE_SPARSIFY, gated = f->kind == RH_SAE_GATED;
    RH_TRY(vector(&s->b_enc, s, gated ? "b_gate" : needed ? "b_enc" : "encoder.bias", gated || needed ? NULL : "b_enc", m,
                  needed, read, err));
    RH_TRY(vector(&s->b_dec, s, "b_dec", "decoder.bias", f->d_out, needed, read, err));
    if (read && !s->b_enc && !(s->b_enc = rh_calloc((size_t)m, sizeof(float)))) return rh_fail_nomem(err);
    if (read && !s->b_dec && !(s->b_dec = rh_calloc((size_t)f->d_out, sizeof(float)))) return rh_fail_nomem(err);
    if (!gated) return RH_OK;
    RH_TRY(vector(&s->b_mag, s, "b_mag", NULL, m, true, read, err));
    RH_TRY(vector(&s->r_mag, s, "r_mag", NULL, m, true, read, err));
    if (!read) return RH_OK;
    if (!(s->gain = rh_calloc((size_t)m, sizeof *s->gain))) return rh_fail_nomem(err);
    for (int32_t i = 0; i < m; i++) s->gain[i] = expf(s->r_mag[i]);
    return RH_OK;
}

/* ‖W_dec[i]‖; also the moment when all of W_dec is seen. */
static rh_status norms(rh_sae *s, rh_error *err)
{
    const int32_t d = s->facts.d_out;
    float *row = rh_calloc((size_t)d, sizeof *row);
    s->norms = rh_calloc((size_t)s->facts.d_sae, sizeof *s->norms);
    rh_status status = row && s->norms ? RH_OK : rh_fail_nomem(err);
    for (int32_t i = 0; !status && i < s->facts.d_sae; i++) {
        double sum = 0;
        status = rh_sae_decoder_row(row, s, i, err);
        for (int32_t j = 0; j < d; j++) sum += (double)row[j] * row[j];
        s->norms[i] = (float)sqrt(sum);
        if (!status && s->norms[i] == 0)
            status = rh_fail(err, RH_EFORMAT, "'%s': feature %d has a decoder row of zeros, and activations in its units",
                             s->path, i);
    }
    free(row);
    return status;
}

static rh_status check_k(const rh_sae *s, rh_error *err)
{
    const rh_sae_facts *f = &s->facts;
    if (f->kind != RH_SAE_TOPK || (f->k >= 1 && f->k <= f->d_sae)) return RH_OK;
    if (!f->k) return rh_fail(err, RH_EFORMAT, "'%s': its configuration says topk, but not k", s->path);
    return rh_fail(err, RH_EFORMAT, "'%s': k is %d, but there are %d features", s->path, f->k, f->d_sae);
}

rh_status rh_sae_bind(rh_sae *s, rh_sae_use use, rh_error *err)
{
    rh_sae_facts *f = &s->facts;
    const bool read = use != RH_SAE_FACTS;
    RH_TRY(encoder(s, read, err));
    RH_TRY(decoder(s, read, err));
    RH_TRY(skip(s, read, err));
    if (f->subtract_b_dec && f->d_in != f->d_out)
        return rh_fail(err, RH_EFORMAT, "'%s': b_dec [%d] cannot be subtracted from an input of %d", s->path, f->d_out, f->d_in);
    RH_TRY(biases(s, read, err));
    if (f->kind == RH_SAE_JUMPRELU) RH_TRY(thresholds(s, read, err));
    RH_TRY(check_k(s, err));
    if (f->format == RH_SAE_SAELENS) RH_TRY(scaling_factor(s, err));
    if (f->norm == RH_SAE_NORM_LAYER && f->d_in < 2)
        return rh_fail(err, RH_EFORMAT, "'%s': one number cannot be normalised as a layer", s->path);
    if (use != RH_SAE_ENCODE) return RH_OK;
    RH_TRY(rh_sae_matrix_lay_out(&s->encoder, s->path, err));
    if (s->decoder.turned) RH_TRY(rh_sae_matrix_lay_out(&s->decoder, s->path, err));
    if (f->skip) RH_TRY(rh_sae_matrix_lay_out(&s->skip, s->path, err));
    return f->rescale ? norms(s, err) : RH_OK;
}
