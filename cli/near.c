/* near.c - `rhumb near SAE EXPR`: the features whose rows lie nearest to a vector, and the vector as a
 * sum of a few of them. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "algebra/algebra.h"
#include "cli/cli.h"
#include "cli/expression.h"
#include "cli/forecast.h"
#include "cli/models.h"
#include "cli/text.h"
#include "engine/sae.h"
#include "probes/decompose.h"

typedef struct near_flags {
    cli_expression_flags expression;
    const char *model;
    int32_t top, decompose;
    bool sign;
    cli_forecast_flags forecast;
} near_flags;

static const near_flags DEFAULTS = {.top = 20, .forecast = CLI_FORECAST_DEFAULTS};

typedef struct matches { rh_sae_match *items; int32_t n; } matches;

/* The vector where the SAE writes; borrowed from v. */
static rh_status at_site(const float **out, const rh_vector *v, const rh_sae *s, rh_error *err)
{
    const rh_sae_facts *f = rh_sae_about(s);
    if (v->d != f->d_out)
        return rh_fail(err, RH_ESITE, "the vector has width %d, the SAE's decoder rows have %d", v->d, f->d_out);
    if (v->layers[0] < 0) {
        *out = v->data;
        return RH_OK;
    }
    if (f->hook_out_known && v->hook != f->hook_out)
        return rh_fail(err, RH_ESITE, "the vector lives at %s, the SAE writes at %s", rh_hook_name(v->hook),
                       rh_hook_name(f->hook_out));
    if (f->layer < 0 && v->n_layers == 1) *out = v->data;
    else if (f->layer < 0)
        return rh_hinted(rh_fail(err, RH_ESITE, "the vector has %d layers, and the SAE does not say which is its own", v->n_layers),
                         err, "select one with @");
    else *out = rh_vector_at(v, f->layer).data;
    if (*out) return RH_OK;
    return rh_hinted(rh_fail(err, RH_ESITE, "the vector lives at layer %d, the SAE at layer %d", v->layers[0], f->layer), err,
                     "free(…) forgets a layer");
}

static void rows_text(rh_str *out, const char *title, const matches *m)
{
    rh_str_printf(out, "%-16s cosine    norm\n", title);
    for (int32_t i = 0; i < m->n; i++)
        rh_str_printf(out, "  %12d  %+.4f  %6.4g\n", m->items[i].index, m->items[i].cosine, m->items[i].norm);
}

static json_t *rows_json(const matches *m)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < m->n; i++)
        json_array_append_new(list, json_pack("{s:i, s:f, s:f}", "feature", m->items[i].index, "cosine", m->items[i].cosine,
                                              "norm", m->items[i].norm));
    return list;
}

static void sum_text(rh_str *out, const rh_decomposition *d)
{
    rh_str_puts(out, "\nsum of decoder rows    left   coefficient\n");
    for (int32_t i = 0; i < d->n; i++) {
        rh_str_printf(out, "  %12d  %10.1f %%", d->feature[i], 100 * d->residual[i] / d->norm);
        if (d->coefficient[i] != 0) rh_str_printf(out, "  %12.6g\n", d->coefficient[i]);
        else rh_str_puts(out, "  needless since\n");
    }
}

static json_t *sum_json(const rh_decomposition *d)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < d->n; i++)
        json_array_append_new(list, json_pack("{s:i, s:f, s:f}", "feature", d->feature[i], "coefficient", d->coefficient[i],
                                              "residual", d->residual[i]));
    return list;
}

/* What was asked for; sum NULL: not that. */
typedef struct answer {
    const char *expr;
    double norm;
    matches decoder, encoder;
    const rh_decomposition *sum;
} answer;

static json_t *answer_json(const answer *a)
{
    json_t *o = json_pack("{s:o, s:f, s:o}", "expression", cli_json_text(a->expr, strlen(a->expr)), "norm", a->norm, "decoder",
                          rows_json(&a->decoder));
    if (o && a->encoder.items) json_object_set_new(o, "encoder", rows_json(&a->encoder));
    if (o && a->sum) json_object_set_new(o, "decomposition", sum_json(a->sum));
    return o;
}

static void answer_text(rh_str *out, const answer *a)
{
    rows_text(out, "decoder row", &a->decoder);
    if (a->encoder.items) {
        rh_str_puts(out, "\n");
        rows_text(out, "encoder row", &a->encoder);
    }
    if (a->sum) sum_text(out, a->sum);
}

static rh_status find(matches *out, rh_backend *be, const rh_sae *s, bool encoder, const float *v, const near_flags *f, rh_error *err)
{
    out->items = rh_calloc((size_t)f->top, sizeof *out->items);
    if (!out->items) return rh_fail_nomem(err);
    return rh_sae_near(out->items, &out->n, s, encoder, v, f->top, f->sign, be, err);
}

/* Where the SAE is: it says so itself, or the vector has the one layer. */
static rh_status site_of(int32_t *layer, rh_hook *hook, const rh_sae *s, const rh_vector *v, rh_error *err)
{
    const rh_sae_facts *f = rh_sae_about(s);
    *layer = f->layer >= 0 ? f->layer : v->layers[0];
    *hook = f->hook_out_known ? f->hook_out : v->layers[0] >= 0 ? v->hook : RH_RESID_POST;
    if (*layer >= 0) return RH_OK;
    return rh_hinted(rh_fail(err, RH_ESITE, "neither '%.200s' nor its path says for which layer it is", rh_sae_path(s)), err,
                     "place the expression there: (…) @ 20");
}

/* Printed once all of it is there. */
static rh_status print(cli *c, const answer *a, const cli_expression *e, const rh_model *m, const rh_sae *s, const float *v,
                       const near_flags *f, const char *path, rh_error *err)
{
    rh_str out = {0};
    int32_t layer = -1;
    rh_hook hook = RH_RESID_POST;
    json_t *o = c->common.json ? answer_json(a) : NULL;
    rh_status status = c->common.json && !o ? rh_fail_nomem(err) : RH_OK;
    if (!o) {
        answer_text(&out, a);
        if (f->forecast.on) rh_str_puts(&out, "\n");
    }
    if (f->forecast.on && !status) status = site_of(&layer, &hook, s, e->evaluation->value->vector, err);
    if (f->forecast.on && !status) status = cli_forecast(&out, o, c, e, m, path, layer, hook, v, a->expr, f->top, &f->forecast, err);
    cli_clear_bar(c);
    if (!status && o) return cli_print_json(c, o, err);
    if (!status) return cli_print_str(c, &out, err);
    json_decref(o);
    rh_str_free(&out);
    return status;
}

static rh_status show(cli *c, const rh_sae *s, const cli_expression *e, const rh_model *m, const char *path, const char *expr,
                      const near_flags *f, rh_error *err)
{
    const rh_sae_facts *k = rh_sae_about(s);
    const rh_value *value = e->evaluation->value;
    const float *v = NULL;
    answer a = {.expr = expr};
    rh_decomposition sum = {0};
    const rh_settings settings = cli_settings(c);
    if (!value || value->kind != RH_VALUE_VECTOR)
        return rh_fail(err, RH_EKIND, "near takes a vector, and this is %s",
                       !value ? "an action" : value->kind == RH_VALUE_SCALAR ? "a scalar" : "a span");
    RH_TRY(at_site(&v, value->vector, s, err));
    a.norm = rh_norm(v, k->d_out);
    rh_backend *be = NULL;
    rh_status status = rh_backend_for(&be, &settings, err);
    if (!status) status = find(&a.decoder, be, s, false, v, f, err);
    /* A transcoder reads at another site than it writes. */
    if (!status && !k->transcoder) status = find(&a.encoder, be, s, true, v, f, err);
    if (!status && f->decompose) status = rh_decompose(&sum, s, v, f->decompose, f->sign, &settings, err);
    if (f->decompose) a.sum = &sum;
    if (!status) status = rh_sae_check(s, err);
    if (!status) status = print(c, &a, e, m, s, v, f, path, err);
    rh_decomposition_free(&sum);
    rh_backend_free(be);
    free(a.decoder.items);
    free(a.encoder.items);
    return status;
}

/* A forecast runs the model: the one given, or the book's. */
static rh_status open_model(rh_model **out, cli *c, const near_flags *f, rh_error *err)
{
    if (f->model) return cli_open_model(out, c, f->model, false, err);
    if (!f->forecast.on) return RH_OK;
    RH_TRY(cli_open_book_model(out, c, &f->expression, err));
    if (*out) return RH_OK;
    return rh_hinted(cli_wrong(c, err, "--forecast steers a model, and none is given"), err, "-m MODEL, or a book with a line  model \"…\"");
}

static rh_status run(cli *c, const cli_args *args, const void *flags, rh_error *err)
{
    near_flags f = *(const near_flags *)flags;
    f.forecast.no_cache = f.expression.no_cache;
    const char *expr = args->items[1];
    char layer[16];
    rh_sae *s = NULL;
    rh_model *m = NULL;
    cli_expression e = {0};
    rh_status status = cli_forecast_check(c, &f.forecast, err);
    if (!status) status = rh_sae_open(&s, args->items[0], RH_SAE_ROWS, err);
    /* What floats is taken where the SAE is; --layer means resid_post, so at another hook EXPR says it itself. */
    if (!status && !f.expression.layer && rh_sae_about(s)->layer >= 0 &&
        (!rh_sae_about(s)->hook_out_known || rh_sae_about(s)->hook_out == RH_RESID_POST)) {
        snprintf(layer, sizeof layer, "%d", rh_sae_about(s)->layer);
        f.expression.layer = layer;
        f.expression.width = rh_sae_about(s)->d_out;
    }
    if (!status) status = open_model(&m, c, &f, err);
    if (!status) status = cli_expression_open(&e, c, m, &f.expression, expr, true, false, false, err);
    if (!status) status = cli_expression_eval(&e, c, &f.expression, err);
    if (!status) status = show(c, s, &e, m, args->items[0], expr, &f, err);
    cli_expression_close(&e);
    rh_model_free(m);
    rh_sae_free(s);
    return status;
}

#define AT(field) offsetof(near_flags, field)
static const cli_option OPTIONS[] = {
    {"model", 'm', CLI_TEXT, AT(model), "MODEL", "needed only if EXPR is computed from one; the book may name it", 0, 0, NULL},
    CLI_EXPRESSION_OPTIONS(near_flags, expression),
    {"top", 'n', CLI_INT, AT(top), "N", "how many rows to show of each matrix (default 20)", 1, 1000, NULL},
    {"decompose", 0, CLI_INT, AT(decompose), "K", "write EXPR as a sum of at most K decoder rows, and show what is left of it "
     "after each", 1, 512, NULL},
    {"signed", 0, CLI_FLAG, AT(sign), NULL, "rank by the cosine's size: opposite rows are near, too, and sums may take them away",
     0, 0, NULL},
    CLI_FORECAST_OPTIONS(near_flags, forecast),
};

const cli_verb CLI_NEAR = {
    .name = "near", .brief = "the features of an SAE nearest to a vector", .arguments = "SAE EXPR",
    .about = "Ranks an SAE's decoder rows (what a feature writes) and encoder rows (what it answers to) by their cosine with "
             "EXPR. What has no layer of its own is taken at the SAE's. No model is opened if EXPR needs none. --decompose chooses rows by orthogonal matching "
             "pursuit: the one nearest to what is left, then all coefficients anew, none below 0 unless --signed. --forecast says which "
             "features steering with EXPR will switch, from W_enc·EXPR and what the prompt's tokens lack to their thresholds, and holds it "
             "against the text that the steered model then writes.",
    .examples = "  rhumb near layer_20/width_16k/average_l0_91 'load(\"city.safetensors\")'\n"
                "  rhumb near sae-16 'dim(\"rain.csv\")' -m smollm2 --top 5\n"
                "  rhumb near sae-16 'dim(\"rain.csv\")' -m smollm2 --decompose 8\n"
                "  rhumb near sae-16 'dim(\"rain.csv\")' -m smollm2 --forecast --strength 0.2resid --chat -p 'Name a city.'\n",
    .options = OPTIONS, .n_options = CLI_COUNT(OPTIONS), .flags_size = sizeof(near_flags), .defaults = &DEFAULTS,
    .min_args = 2, .max_args = 2, .run = run};
