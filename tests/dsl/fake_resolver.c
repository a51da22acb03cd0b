#include "fake_resolver.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"

static const int32_t L31[] = {31}, L20[] = {20}, L77[] = {77}, L14_18[] = {14, 15, 16, 17, 18}, L3_7[] = {3, 7};

static const rh_atom_model SMALL = {"small", "0123456789abcdef"}, LARGE = {"large", "fedcba9876543210"};

static const struct {
    const char *name;
    rh_place_kind place;
    rh_hook hook;
    int32_t n;
    const int32_t *layers;
    int32_t d;
    const rh_atom_model *model;
} FILES[] = {
    {"sf.safetensors", RH_PLACE_PINNED, RH_RESID_POST, 1, L31, FAKE_D, NULL},
    {"rain20.safetensors", RH_PLACE_PINNED, RH_RESID_POST, 1, L20, FAKE_D, NULL},
    {"other20.safetensors", RH_PLACE_PINNED, RH_RESID_POST, 1, L20, FAKE_D, NULL},
    {"attn.safetensors", RH_PLACE_PINNED, RH_ATTN_OUT, 1, L20, FAKE_D, NULL},
    {"z.safetensors", RH_PLACE_PINNED, RH_ATTN_Z, 1, L20, FAKE_Z, NULL},
    {"fam.safetensors", RH_PLACE_FAMILY, RH_RESID_POST, 5, L14_18, FAKE_D, NULL},
    {"fam2.gguf", RH_PLACE_FAMILY, RH_RESID_POST, 2, L3_7, FAKE_D, NULL},
    {"const.npy", RH_PLACE_CONSTANT, RH_RESID_POST, 0, NULL, FAKE_D, NULL},
    {"narrow.npy", RH_PLACE_CONSTANT, RH_RESID_POST, 0, NULL, 8, NULL},
    {"zero.npy", RH_PLACE_CONSTANT, RH_RESID_POST, 0, NULL, FAKE_D, NULL},
    {"huge.npy", RH_PLACE_CONSTANT, RH_RESID_POST, 0, NULL, FAKE_D, NULL},
    {"wide31.safetensors", RH_PLACE_PINNED, RH_RESID_POST, 1, L31, 99, NULL},
    {"small.safetensors", RH_PLACE_PINNED, RH_RESID_POST, 1, L20, FAKE_D, &SMALL},
    {"small.npy", RH_PLACE_CONSTANT, RH_RESID_POST, 0, NULL, FAKE_D, &SMALL},
    {"large.safetensors", RH_PLACE_PINNED, RH_RESID_POST, 1, L20, FAKE_D, &LARGE},
    {"deep.safetensors", RH_PLACE_PINNED, RH_RESID_POST, 1, L77, FAKE_D, NULL},
};

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static rh_status describe_load(const rh_atom_spec *spec, rh_atom_info *out, rh_error *err)
{
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++)
        if (strcmp(FILES[i].name, base_name(spec->text)) == 0) {
            *out = (rh_atom_info){FILES[i].place, FILES[i].hook, FILES[i].n, FILES[i].layers, FILES[i].d, FILES[i].model};
            return RH_OK;
        }
    return rh_fail(err, RH_EIO, "cannot open '%s': No such file or directory", spec->text);
}

/* 131072 features at layer 31 or where the @ says, of resid_post or attn_z. */
static rh_status describe_sae(const rh_atom_spec *spec, rh_atom_info *out, rh_error *err)
{
    static const int32_t layers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 31};
    if (strcmp(base_name(spec->text), "params.npz") != 0) return rh_fail(err, RH_EIO, "there is no sparse autoencoder '%s'", spec->text);
    if (spec->layer > 20 && spec->layer != 31) return rh_fail(err, RH_ESITE, "'params.npz' belongs to layer 31, not to layer %d", (int)spec->layer);
    if (spec->feature > 131071) return rh_fail(err, RH_EVALUE, "there is no feature %d: 'params.npz' has features 0..131071", (int)spec->feature);
    bool z = spec->has_hook && spec->hook == RH_ATTN_Z;
    *out = (rh_atom_info){RH_PLACE_PINNED, z ? RH_ATTN_Z : RH_RESID_POST, 1, layers + (spec->layer < 0 || spec->layer == 31 ? 21 : spec->layer),
                          z ? FAKE_Z : FAKE_D, NULL};
    return RH_OK;
}

static rh_status describe(void *self, const rh_atom_spec *spec, rh_atom_info *out, rh_error *err)
{
    fake_resolver *f = self;
    f->describes++;
    *out = (rh_atom_info){.place = RH_PLACE_FLOATING};
    if (spec->kind == RH_ATOM_LOAD) return describe_load(spec, out, err);
    if (spec->kind == RH_ATOM_SAE) return describe_sae(spec, out, err);
    if (spec->kind == RH_ATOM_MAX_ACT) {
        if (spec->feature == 4) {
            rh_fail(err, RH_EVALUE, "nothing says how large feature 4 of 's' becomes");
            rh_hint(err, "measure it");
            return RH_EVALUE;
        }
        return describe_sae(spec, out, err);
    }
    if (spec->kind == RH_ATOM_RANDOM) {
        out->place = RH_PLACE_CONSTANT;
        return RH_OK;
    }
    if (f->resolver.n_layers == 0) {
        rh_fail(err, RH_EMODEL, "this needs a model");
        rh_hint(err, "name one with -m");
        return RH_EMODEL;
    }
    if (spec->kind == RH_ATOM_DIM && strcmp(base_name(spec->text), "missing.csv") == 0) {
        rh_fail(err, RH_EIO, "cannot open 'missing.csv': No such file or directory");
        rh_hint(err, "paths are relative to the book");
        return RH_EIO;
    }
    if (spec->kind == RH_ATOM_PCA && strcmp(base_name(spec->text), "labels.csv") == 0) {
        rh_fail(err, RH_EVALUE, "'labels.csv' has no pairs, and pca takes differences of pairs");
        rh_hint(err, "dim, lda and logreg take texts with labels");
        return RH_EVALUE;
    }
    if (spec->kind == RH_ATOM_TOKEN || spec->kind == RH_ATOM_UNEMBED) {
        if (spec->at != RH_AT_MEAN && strcmp(spec->text, "San Francisco") == 0) {
            rh_fail(err, RH_EVALUE, "'San Francisco' is 2 tokens: [San][ Francisco]");
            rh_hint(err, "at=mean averages their rows");
            return RH_EVALUE;
        }
        out->place = RH_PLACE_CONSTANT;
        out->d = FAKE_D;
    }
    return RH_OK;
}

/* Feature 120353 is San Francisco, and two are about rain. */
static rh_status find_feature(void *self, const rh_atom_spec *spec, const char *label, size_t len, int32_t *feature, rh_error *err)
{
    (void)self;
    if (len == 13 && !memcmp(label, "san francisco", len)) {
        *feature = 120353;
        return RH_OK;
    }
    if (len == 4 && !memcmp(label, "rain", len)) {
        rh_fail(err, RH_ENAME, "2 features of '%s' have this label", spec->name);
        rh_hint(err, "%s[3], %s[17]", spec->name, spec->name);
        return RH_ENAME;
    }
    return rh_fail(err, RH_ENAME, "no feature of '%s' has this label", spec->name);
}

static rh_status acting_sae(void *self, const rh_atom_spec *spec, const struct rh_sae **out, rh_error *err)
{
    if (spec->feature == 5) return rh_fail(err, RH_EUNSUPPORTED, "this SAE does not act");
    *out = self;
    return RH_OK;
}

static uint64_t seed_of(const rh_atom_spec *spec)
{
    uint64_t h = (uint64_t)spec->kind * 1000003u + (uint64_t)spec->at * 101 + spec->chat + spec->seed * 7919 + (uint64_t)spec->feature * 104729;
    const char *texts[5] = {base_name(spec->text), spec->prefix, spec->positive, spec->negative, spec->name};
    h = h * 31 + spec->no_center * 3 + (uint64_t)(spec->shrink * 1000) * 5 + (uint64_t)(spec->l2 * 1000) * 7 + (uint64_t)(spec->quantile * 1000) * 11;
    for (int i = 0; i < 5; i++)
        for (const char *t = texts[i] ? texts[i] : "-"; *t; t++) h = h * 31 + (unsigned char)*t;
    return h;
}

void fake_vector(float *out, const rh_atom_spec *spec, rh_hook hook, int32_t layer, int32_t d)
{
    const char *name = base_name(spec->text);
    uint64_t stream = (uint64_t)(layer + 1) * 16 + (uint64_t)hook;
    for (int32_t j = 0; j < d; j++) {
        out[j] = (float)rh_random_normal(seed_of(spec), stream, (uint64_t)j);
        if (strcmp(name, "zero.npy") == 0) out[j] = 0;
        if (strcmp(name, "huge.npy") == 0) out[j] = 3e38f;
        if (strcmp(name, "nan.csv") == 0) out[j] = NAN;
        if (rh_atom_is_scalar(spec->kind)) out[j] = 10 + fabsf(out[j]);
        if (spec->kind == RH_ATOM_RESID_NORM && spec->quantile == 0.25) out[j] = INFINITY;
    }
}

static rh_status compute(void *self, const rh_atom_request *requests, int32_t n, int32_t *culprit, rh_error *err)
{
    fake_resolver *f = self;
    f->computes++;
    f->n_requests = n;
    *culprit = -1;
    if (f->fail_memory) return rh_fail_nomem(err);
    if (f->cancel) return rh_fail(err, RH_ECANCELLED, "interrupted");
    for (int32_t i = 0; i < n; i++) {
        const rh_atom_request *r = &requests[i];
        if (i < FAKE_REQUESTS) {
            snprintf(f->requests[i].text, sizeof f->requests[i].text, "%s", base_name(r->spec->text));
            f->requests[i].hook = r->hook;
            f->requests[i].n_layers = r->n_layers;
            f->requests[i].first = r->layers[0];
            f->requests[i].last = r->layers[r->n_layers - 1];
            f->requests[i].d = r->d;
        }
        if (strcmp(base_name(r->spec->text), "bad.csv") == 0) {
            *culprit = i;
            rh_status code = rh_fail(err, RH_EFORMAT, "a row has 3 fields, and the header 2");
            rh_place(err, "bad.csv", 3, 0);
            return code;
        }
        for (int32_t l = 0; l < r->n_layers; l++) fake_vector(r->out + (size_t)l * r->d, r->spec, r->hook, r->layers[l], r->d);
    }
    return RH_OK;
}

static rh_status survey(void *self, const rh_atom_request *requests, int32_t n, rh_atom_survey *each, rh_plan_survey *all,
                        rh_error *err)
{
    (void)self;
    (void)err;
    for (int32_t i = 0; i < n; i++) {
        rh_atom_kind kind = requests[i].spec->kind;
        if (kind != RH_ATOM_DIM && (kind < RH_ATOM_PCA || kind > RH_ATOM_LOGREG)) continue;
        each[i] = (rh_atom_survey){.prompts = 32, .distinct = 24, .tokens = 240, .read = 32};
        snprintf(each[i].sample, sizeof each[i].sample, "The mayor of [San Francisco]");
        all->prompts += 32;
        all->distinct += 24;
        all->tokens += 240;
        all->shared_tokens += 100;
        all->seconds = 0.42;
        for (int32_t l = 0; l < requests[i].n_layers; l++)
            if (requests[i].layers[l] > all->deepest) all->deepest = requests[i].layers[l];
    }
    return RH_OK;
}

void fake_init(fake_resolver *f)
{
    *f = (fake_resolver){0};
    f->resolver = (rh_resolver){.self = f, .n_layers = FAKE_LAYERS, .model_name = "fake", .describe = describe, .compute = compute, .survey = survey,
                                .find_feature = find_feature, .acting_sae = acting_sae};
    for (int h = 0; h < RH_N_HOOKS; h++) f->resolver.width[h] = h == RH_ATTN_Z ? FAKE_Z : FAKE_D;
}

void fake_no_model(fake_resolver *f)
{
    fake_init(f);
    f->resolver.n_layers = 0;
    f->resolver.model_name = NULL;
    memset(f->resolver.width, 0, sizeof f->resolver.width);
}
