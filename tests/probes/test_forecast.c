/* A forecast against thresholds computed here from W_enc·v and the prompt's own states, and its fact against the text
 * read again. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "probes/experiment.h"
#include "probes/forecast.h"
#include "stage.h"
#include "support/make_sae.h"
#include "support/scratch.h"

enum { D = 32, M = 40, TOP = 40 };
static const char PROMPT[] = "the rain in the city of snow";
static const made_sae jump = {.architecture = "jumprelu", .hook = "blocks.1.hook_resid_post", .d_in = D, .d_out = D, .d_sae = M, .seed = 5};
static const made_sae topk = {.architecture = "topk", .more = ", \"k\": 6", .hook = "blocks.1.hook_resid_post", .d_in = D, .d_out = D, .d_sae = M, .seed = 4};

typedef struct place { scratch dir; char folder[620]; rh_sae *sae; float v[D]; } place;

static void open_place(place *p, const made_sae *kind)
{
    rh_error err = {0};
    scratch_open(&p->dir);
    snprintf(p->folder, sizeof p->folder, "%s", scratch_path(&p->dir, "sae"));
    make_sae(p->folder, kind);
    if (rh_sae_open(&p->sae, p->folder, RH_SAE_ENCODE, &err)) fail_msg("%s", err.message);
    for (int i = 0; i < D; i++) p->v[i] = (float)rh_random_normal(8, 0, (uint64_t)i);
}

static void close_place(place *p)
{
    rh_sae_free(p->sae);
    made_sae_remove(p->folder);
    scratch_close(&p->dir);
}

/* States [n, D] at 1.resid_post of prompt and text, unsteered. */
static float *states(const rh_model *m, const char *text, int32_t *n)
{
    const rh_prompt_options o = {0};
    rh_prompt p = {0};
    assert_int_equal(rh_prompt_make(&p, m, text, strlen(text), &o, NULL), RH_OK);
    float *x = calloc((size_t)p.n * D, sizeof *x);
    const rh_capture c = {.layer = 1, .hook = RH_RESID_POST, .n = p.n, .out = x};
    const rh_reading r = {.ids = p.ids, .n = p.n, .n_prompt = p.n, .captures = &c, .n_captures = 1};
    assert_int_equal(rh_read(m, &r, 1, NULL), RH_OK);
    *n = p.n;
    rh_prompt_free(&p);
    return x;
}

static const rh_forecast_feature *find(const rh_forecast_list *l, int32_t i)
{
    for (int32_t k = 0; k < l->n_said; k++) if (l->said[k].feature == i) return &l->said[k];
    return NULL;
}

/* jumprelu: on where p + s·W_enc·v passes the threshold that p does not. */
static void thresholds(void **state)
{
    rh_model *m = *state;
    const double strength = 0.7;
    place p;
    int32_t n, on = 0, off = 0;
    float row[D];
    rh_forecast *f = NULL;
    rh_forecast_options o = {.strength = strength, .generate = {.sampling = rh_sampling_default(), .max_tokens = 12}, .top = TOP};
    open_place(&p, &jump);
    float *x = states(m, PROMPT, &n);
    assert_int_equal(rh_forecast_make(&f, m, p.sae, 1, RH_RESID_POST, p.v, "v", PROMPT, &o, NULL), RH_OK);
    assert_int_equal(f->n_prompt, n - 1);
    assert_int_equal(f->n_generated, 12);
    for (int32_t i = 0; i < M; i++) {
        int32_t came = 0, went = 0;
        double push = 0;
        assert_int_equal(rh_sae_encoder_row(row, p.sae, i, NULL), RH_OK);
        for (int j = 0; j < D; j++) push += strength * row[j] * p.v[j];
        for (int32_t t = 1; t < n; t++) {
            double pre = rh_sae_bias(p.sae, i);
            for (int j = 0; j < D; j++) pre += (double)row[j] * (x[t * D + j] - rh_sae_b_dec(p.sae)[j]);
            const bool before = pre > rh_sae_threshold(p.sae, i), after = pre + push > rh_sae_threshold(p.sae, i);
            came += after && !before;
            went += before && !after;
        }
        const double shares[2] = {(double)came / (n - 1), (double)went / (n - 1)};
        on += shares[0] >= RH_FORECAST_SHARE;
        off += shares[1] >= RH_FORECAST_SHARE;
        for (int k = 0; k < 2; k++) {
            const rh_forecast_feature *said = find(k ? &f->off : &f->on, i);
            if ((said != NULL) != (shares[k] >= RH_FORECAST_SHARE)) fail_msg("feature %d, %s", (int)i, k ? "off" : "on");
            if (said) assert_true(fabs(said->forecast - shares[k]) < 1e-9 && fabs(said->push - push) < 1e-4);
        }
    }
    assert_true(on > 2 && off > 2 && f->on.forecast == on && f->off.forecast == off);
    free(x);
    rh_forecast_free(f);
    close_place(&p);
}

/* The fact over the text, and how both lists hang together. */
static void fact(void **state)
{
    rh_model *m = *state;
    place p;
    rh_forecast *f = NULL;
    rh_sae_coder *coder = NULL;
    rh_forecast_options o = {.strength = 1, .generate = {.sampling = rh_sampling_default(), .max_tokens = 10}, .top = TOP};
    open_place(&p, &topk);
    assert_int_equal(rh_forecast_make(&f, m, p.sae, 1, RH_RESID_POST, p.v, "v", PROMPT, &o, NULL), RH_OK);
    /* the same run by steer's own report, which reads the text once more */
    char book[700];
    stage s;
    rh_steer_options so = stage_options(10);
    float *shown = calloc(D, sizeof *shown);
    memcpy(shown, p.v, sizeof p.v);
    snprintf(book, sizeof book, "sae s = \"%s\"\nlet f = s[3]\n", p.folder);
    stage_open(&s, m, book, "f", NULL, false);
    memcpy(s.e->actions[0].value.vector->data, shown, D * sizeof *shown); /* our v in place of the row */
    so.concepts = s.concepts;
    so.top_features = M;
    rh_steer_report *r = stage_steer(&s, PROMPT, &so);
    assert_string_equal(r->runs[1].text, f->text);
    assert_int_equal(r->runs[1].n_ids, f->n_generated);
    const rh_sae_switches *w = &r->runs[1].switches[0];
    for (int32_t k = 0; k < f->on.n_said + f->on.n_missed; k++) { /* over the whole sequence: forecast and fact together */
        const rh_forecast_feature *x = k < f->on.n_said ? &f->on.said[k] : &f->on.missed[k - f->on.n_said];
        const double tokens = x->forecast * f->n_prompt + x->fact * f->n_generated;
        bool found = false;
        for (int32_t i = 0; i < w->n_on; i++)
            if (w->on[i].feature == x->feature) {
                found = true;
                assert_true(fabs(w->on[i].tokens - tokens) < 1e-6);
            }
        assert_true(found);
        assert_true(k < f->on.n_said ? x->forecast >= RH_FORECAST_SHARE : x->forecast < RH_FORECAST_SHARE && x->fact >= RH_FORECAST_SHARE);
    }
    int32_t both = 0;
    for (int32_t k = 0; k < f->on.n_said; k++) both += f->on.said[k].fact >= RH_FORECAST_SHARE;
    assert_true(f->on.n_said == f->on.forecast && f->on.n_missed == f->on.fact - f->on.both && f->on.both == both);
    assert_true(f->on.forecast > 0 && fabs(rh_forecast_precision(&f->on) - (double)both / f->on.forecast) < 1e-12);
    assert_true(fabs(rh_forecast_recall(&f->on) - (double)both / f->on.fact) < 1e-12);
    rh_steer_report_free(r);
    stage_close(&s);
    free(shown);
    rh_sae_coder_free(coder);
    rh_forecast_free(f);
    close_place(&p);
}

static void refused(void **state)
{
    rh_model *m = *state;
    static const made_sae transcoder = {.architecture = "transcoder", .hook = "blocks.1.hook_mlp_in", .out = "blocks.1.hook_mlp_out",
                                        .d_in = D, .d_out = D, .d_sae = M, .seed = 6};
    rh_forecast_options o = {.strength = 1, .generate = {.sampling = rh_sampling_default(), .max_tokens = 2}, .top = 3};
    rh_forecast *f = NULL;
    rh_error err = {0};
    place p;
    open_place(&p, &transcoder);
    assert_int_equal(rh_forecast_make(&f, m, p.sae, 1, RH_MLP_OUT, p.v, "v", PROMPT, &o, &err), RH_EUNSUPPORTED);
    close_place(&p);
    open_place(&p, &jump);
    assert_int_equal(rh_forecast_make(&f, m, p.sae, 1, RH_RESID_POST, p.v, "v", "rain", &o, &err), RH_EVALUE);
    assert_non_null(strstr(err.message, "a prompt of two tokens"));
    o.strength = NAN;
    assert_int_equal(rh_forecast_make(&f, m, p.sae, 1, RH_RESID_POST, p.v, "v", PROMPT, &o, &err), RH_EVALUE);
    close_place(&p);
}

static int open_small(void **state)
{
    *state = stage_small_model("words.gguf");
    return 0;
}

static int close_small(void **state)
{
    rh_model_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(thresholds), cmocka_unit_test(fact), cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, open_small, close_small);
}
