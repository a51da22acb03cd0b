/* units.c - reading strengths with a unit, and the figures that units stand for. */
#include "probes/units.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algebra/algebra.h"
#include "concepts/prompt.h"
#include "probes/diagnose.h"
#include "probes/experiment.h"

enum { MAX_NUMBER = 48, GROUP = 16 };

const char *rh_unit_name(rh_unit unit)
{
    static const char *const names[] = {[RH_UNIT_X] = "x", [RH_UNIT_RESID] = "resid", [RH_UNIT_SIGMA] = "sigma",
                                         [RH_UNIT_MAXACT] = "maxact"};
    return names[unit];
}

/* ---- parsing ---------------------------------------------------------------------------------- */

static rh_status not_a_strength(const char *text, size_t n, rh_error *err)
{
    rh_fail(err, RH_EVALUE, "'%.*s' is not a strength", (int)(n < 60 ? n : 60), text);
    rh_hint(err, "a number, then x (the default), resid, sigma or maxact: 1.5, 0.2resid, 4sigma, 1.5maxact");
    return RH_EVALUE;
}

rh_status rh_strength_parse(rh_strength *out, const char *text, size_t n, rh_error *err)
{
    char number[MAX_NUMBER], *end;
    while (n && text[0] == ' ') text++, n--;
    while (n && text[n - 1] == ' ') n--;
    size_t digits = 0;
    while (digits < n && strchr("+-.0123456789eE", text[digits]) && text[digits]) digits++;
    if (!digits || digits >= sizeof number) return not_a_strength(text, n, err);
    memcpy(number, text, digits);
    number[digits] = 0;
    rh_strength s = {.value = strtod(number, &end)};
    if (*end || !isfinite(s.value)) return not_a_strength(text, n, err);
    text += digits;
    n -= digits;
    if (n) {
        int unit = RH_UNIT_X;
        while (unit <= RH_UNIT_MAXACT && (strlen(rh_unit_name((rh_unit)unit)) != n || memcmp(rh_unit_name((rh_unit)unit), text, n)))
            unit++;
        if (unit > RH_UNIT_MAXACT) return not_a_strength(text - digits, n + digits, err);
        s.unit = (rh_unit)unit;
    }
    *out = s;
    return RH_OK;
}

rh_status rh_strength_list(rh_strength **items, size_t *n, size_t *cap, const char *text, rh_error *err)
{
    for (;;) {
        size_t len = strcspn(text, ",");
        if (!rh_grow((void **)items, cap, *n, sizeof **items)) return rh_fail_nomem(err);
        RH_TRY(rh_strength_parse(&(*items)[*n], text, len, err));
        ++*n;
        if (!text[len]) return RH_OK;
        text += len + 1;
    }
}

rh_status rh_strength_factor(double *out, rh_strength s, double norm, const rh_unit_figures *figures, rh_error *err)
{
    double unit = s.unit == RH_UNIT_RESID ? figures->resid : s.unit == RH_UNIT_SIGMA ? figures->sigma : figures->maxact;
    if (s.unit == RH_UNIT_X) {
        *out = s.value;
        return RH_OK;
    }
    if (!(norm > 0)) return rh_fail(err, RH_EVALUE, "the vector is zero, so no strength in %s can be met", rh_unit_name(s.unit));
    if (!(unit > 0) || !isfinite(unit))
        return rh_fail(err, RH_EVALUE, "a strength in %s is not defined here: its unit would be %g", rh_unit_name(s.unit), unit);
    *out = s.value * unit / norm;
    return RH_OK;
}

/* ---- median ‖h‖ ------------------------------------------------------------------------------- */

typedef struct norms { double *items; size_t n, cap; } norms;

/* ‖h‖ of one prompt's tokens at every site, into sites[n_sites]. */
static rh_status add_norms(norms *sites, const rh_model *m, const int32_t *layers, int32_t n_sites, rh_hook hook,
                           const rh_prompt *p, rh_error *err)
{
    int32_t d = rh_model_width(m, hook);
    size_t rows = (size_t)p->n * (size_t)d;
    float *states = rh_calloc((size_t)n_sites * rows, sizeof *states);
    rh_capture *captures = rh_calloc((size_t)n_sites, sizeof *captures);
    rh_status status = states && captures ? RH_OK : rh_fail_nomem(err);
    for (int32_t i = 0; !status && i < n_sites; i++)
        captures[i] = (rh_capture){.layer = layers[i], .hook = hook, .n = p->n, .out = states + (size_t)i * rows};
    if (!status) {
        rh_reading r = {.ids = p->ids, .n = p->n, .n_prompt = p->n, .captures = captures, .n_captures = n_sites};
        status = rh_read(m, &r, 1, err);
    }
    for (int32_t i = 0; !status && i < n_sites; i++)
        for (int32_t t = p->n > 1; !status && t < p->n; t++) {
            if (!RH_GROW(sites[i].items, sites[i].cap, sites[i].n))
                status = rh_fail_nomem(err);
            else
                sites[i].items[sites[i].n++] = rh_norm(captures[i].out + (size_t)t * (size_t)d, d);
        }
    free(captures);
    free(states);
    return status;
}

rh_status rh_median_norms(double *out, const rh_model *m, const int32_t *layers, int32_t n_sites, rh_hook hook,
                          const char *const *prompts, int32_t n_prompts, const rh_prompt_options *o, rh_error *err)
{
    norms *sites = rh_calloc((size_t)n_sites, sizeof *sites);
    rh_status status = sites ? RH_OK : rh_fail_nomem(err);
    for (int32_t i = 0; !status && i < n_prompts; i++) {
        rh_prompt p = {0};
        status = rh_prompt_make(&p, m, prompts[i], strlen(prompts[i]), o, err);
        if (!status && p.n > 0) status = add_norms(sites, m, layers, n_sites, hook, &p, err);
        rh_prompt_free(&p);
    }
    for (int32_t i = 0; sites && i < n_sites; i++) {
        if (!status) out[i] = rh_median(sites[i].items, (int32_t)sites[i].n);
        free(sites[i].items);
    }
    free(sites);
    return status;
}

/* ---- deviation of the pairs ------------------------------------------------------------------- */

/* The source as it was written: what metadata.c of concepts/ says of it. */
static rh_status find_source(rh_atom_spec *spec, json_t *root, rh_error *err)
{
    static const char *const kinds[] = {"dim", "pca", "lda", "logreg"};
    static const rh_atom_kind values[] = {RH_ATOM_DIM, RH_ATOM_PCA, RH_ATOM_LDA, RH_ATOM_LOGREG};
    static const char *const places[] = {"last", "text_last", "mean", "all", "marked"};
    const json_t *found = NULL, *source;
    size_t i;
    int n = 0;
    json_array_foreach(json_object_get(root, "sources"), i, source) {
        const char *kind = json_string_value(json_object_get(source, "kind"));
        for (size_t k = 0; kind && k < 4; k++)
            if (!strcmp(kind, kinds[k])) {
                spec->kind = values[k];
                found = source;
                n++;
            }
    }
    if (n != 1) {
        rh_fail(err, RH_EVALUE, n ? "sigma is defined for one file of pairs, and this vector is made of %d"
                                  : "sigma is the pairs' deviation, and this vector is made of no pairs (%d files)", n);
        rh_hint(err, "use 1x or 0.2resid");
        return RH_EVALUE;
    }
    const json_t *o = json_object_get(found, "options");
    const char *at = json_string_value(json_object_get(o, "at"));
    spec->text = json_string_value(json_object_get(found, "path"));
    spec->prefix = json_string_value(json_object_get(o, "prefix"));
    if (!spec->prefix) spec->prefix = "";
    spec->positive = json_string_value(json_object_get(o, "positive"));
    spec->negative = json_string_value(json_object_get(o, "negative"));
    spec->chat = json_is_true(json_object_get(o, "chat"));
    for (int k = 0; at && k < 5; k++)
        if (!strcmp(at, places[k])) spec->at = (rh_at)k;
    if (!spec->text) return rh_fail(err, RH_EVALUE, "the file of pairs has no name");
    spec->text_len = strlen(spec->text);
    return RH_OK;
}

/* Sums of one class: Σ x, Σ x². Projections are of the order of ‖h‖, so doubles lose nothing that shows. */
typedef struct spread { double n, sum, squares; } spread;

static double deviations(const spread *s) { return s->n > 0 ? s->squares - s->sum * s->sum / s->n : 0; }

/* Rows [0, n <= GROUP): the mean of h·u over the positions read. */
static rh_status add_rows(spread classes[2], const rh_model *m, const rh_atom_spec *spec, const rh_text_row *rows,
                          int32_t n, int32_t layer, rh_hook hook, const float *u, rh_error *err)
{
    rh_text_prompt texts[GROUP];
    rh_capture captures[GROUP] = {{0}};
    rh_reading readings[GROUP] = {{0}};
    int32_t d = rh_model_width(m, hook);
    rh_status status = RH_OK;
    memset(texts, 0, sizeof texts);
    for (int32_t i = 0; !status && i < n; i++) {
        status = rh_text_prompt_make(&texts[i], m, spec, &rows[i], false, err);
        if (status) break;
        float *h = rh_calloc((size_t)texts[i].n_positions, (size_t)d * sizeof *h);
        if (!h) status = rh_fail_nomem(err);
        captures[i] = (rh_capture){.layer = layer, .hook = hook, .positions = texts[i].positions,
                                   .n = texts[i].n_positions, .out = h};
        readings[i] = (rh_reading){.ids = texts[i].prompt.ids, .n = texts[i].prompt.n, .n_prompt = texts[i].prompt.n,
                                   .captures = &captures[i], .n_captures = 1};
    }
    if (!status) status = rh_read(m, readings, n, err);
    for (int32_t i = 0; i < n; i++) {
        double x = 0;
        for (int32_t k = 0; !status && k < captures[i].n; k++)
            x += rh_dot(captures[i].out + (size_t)k * (size_t)d, u, d) / captures[i].n;
        spread *c = &classes[rows[i].positive];
        c->n += 1;
        c->sum += x;
        c->squares += x * x;
        free(captures[i].out);
        rh_text_prompt_free(&texts[i]);
    }
    return status;
}

rh_status rh_pairs_sigma(double *out, const rh_model *m, const char *metadata, int32_t layer, rh_hook hook,
                         const float *u, rh_error *err)
{
    rh_atom_spec spec = {0};
    rh_pairs pairs = {0};
    spread classes[2] = {{0}};
    json_t *root = json_loads(metadata, 0, NULL);
    if (!root) return rh_fail_nomem(err);
    rh_status status = find_source(&spec, root, err);
    if (!status)
        status = rh_pairs_read(&pairs, spec.text, spec.positive, spec.negative, spec.at == RH_AT_MARKED, err);
    for (size_t i = 0; !status && i < pairs.n; i += GROUP) {
        int32_t n = pairs.n - i < GROUP ? (int32_t)(pairs.n - i) : GROUP;
        status = add_rows(classes, m, &spec, pairs.rows + i, n, layer, hook, u, err);
    }
    double n = classes[0].n + classes[1].n;
    if (!status && n < 3) status = rh_fail(err, RH_EVALUE, "sigma needs at least three texts");
    if (!status) *out = sqrt(fmax(0, deviations(&classes[0]) + deviations(&classes[1])) / (n - 2));
    rh_pairs_free(&pairs);
    json_decref(root);
    return status;
}
