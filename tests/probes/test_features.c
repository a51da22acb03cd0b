/* What a steering run says of features, against encodings made here of states read here. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "probes/experiment.h"
#include "stage.h"
#include "support/make_sae.h"
#include "support/scratch.h"

enum { D = 32, M = 40, FEATURE = 3 };
static const char PROMPT[] = "the rain in the city";

/* Of words.gguf, 3 layers of 32. */
static const made_sae kinds[] = {
    {.architecture = "topk", .more = ", \"k\": 6", .hook = "blocks.1.hook_resid_post", .d_in = D, .d_out = D, .d_sae = M, .seed = 4},
    {.architecture = "jumprelu", .normalize = "layer_norm", .hook = "blocks.1.hook_resid_post", .d_in = D, .d_out = D, .d_sae = M, .seed = 5},
    {.architecture = "transcoder", .hook = "blocks.1.hook_mlp_in", .out = "blocks.1.hook_mlp_out", .d_in = D, .d_out = D, .d_sae = M, .seed = 6},
};

typedef struct place { scratch dir; char folder[620], book[700]; rh_sae *sae; rh_sae_coder *coder; } place;

static void open_place(place *p, const made_sae *kind, const rh_model *m, const char *more)
{
    rh_error err = {0};
    scratch_open(&p->dir);
    snprintf(p->folder, sizeof p->folder, "%s", scratch_path(&p->dir, "sae"));
    make_sae(p->folder, kind);
    snprintf(p->book, sizeof p->book, "sae s = \"%s\"\n%s\n", p->folder, more);
    if (rh_sae_open(&p->sae, p->folder, RH_SAE_ENCODE, &err)) fail_msg("%s", err.message);
    assert_int_equal(rh_sae_coder_new(&p->coder, p->sae, m->backend, &err), RH_OK);
}

static void close_place(place *p)
{
    rh_sae_coder_free(p->coder);
    rh_sae_free(p->sae);
    made_sae_remove(p->folder);
    scratch_close(&p->dir);
}

/* Dense features [n, M] of prompt and text, read with the actions at `strength`, or without any (NaN). */
static float *encode(stage *s, const place *p, const rh_steer_run *run, double strength, int32_t *n)
{
    const rh_prompt_options po = {0};
    const rh_sae_facts *k = rh_sae_about(p->sae);
    rh_prompt prompt = {0};
    rh_actions a = {0};
    rh_sae_active active = {0};
    assert_int_equal(rh_prompt_make(&prompt, s->m, PROMPT, strlen(PROMPT), &po, NULL), RH_OK);
    *n = prompt.n + run->n_ids;
    int32_t *ids = calloc((size_t)*n, sizeof *ids);
    memcpy(ids, prompt.ids, (size_t)prompt.n * sizeof *ids);
    memcpy(ids + prompt.n, run->ids, (size_t)run->n_ids * sizeof *ids);
    if (!isnan(strength)) assert_int_equal(rh_actions_bind(&a, s->e, &prompt, strength, &s->diags, NULL), RH_OK);
    float *x = calloc((size_t)*n * D, sizeof *x), *f = calloc((size_t)*n * M, sizeof *f);
    const rh_capture c = {.layer = k->layer, .hook = k->hook, .n = *n, .out = x};
    const rh_reading r = {.ids = ids, .n = *n, .n_prompt = prompt.n, .actions = a.items, .n_actions = a.n, .captures = &c, .n_captures = 1};
    assert_int_equal(rh_read(s->m, &r, 1, NULL), RH_OK);
    assert_int_equal(rh_sae_encode(&active, p->coder, x, *n, NULL), RH_OK);
    rh_sae_active_dense(f, &active, 0, *n, M);
    rh_sae_active_free(&active);
    rh_actions_free(&a);
    rh_prompt_free(&prompt);
    free(ids);
    free(x);
    return f;
}

static void check_list(const rh_feature_switch *list, int32_t n, int32_t total, const float *without, const float *with, int32_t n_tokens)
{
    int32_t any = 0;
    for (int32_t i = 0; i < M; i++) {
        int32_t tokens = 0;
        double sum = 0, most = 0;
        for (int32_t t = 1; t < n_tokens; t++)
            if (with[t * M + i] > 0 && !(without[t * M + i] > 0)) {
                tokens++;
                sum += with[t * M + i];
                most = fmax(most, with[t * M + i]);
            }
        any += tokens > 0;
        for (int32_t j = 0; j < n; j++)
            if (list[j].feature == i) assert_true(list[j].tokens == tokens && fabs(list[j].sum - sum) < 1e-4 * sum && fabs(list[j].most - most) < 1e-4 * most);
    }
    assert_int_equal(total, any);
    for (int32_t j = 1; j < n; j++) assert_true(list[j].sum <= list[j - 1].sum);
}

static void switched(void **state)
{
    rh_model *m = *state;
    static const double strengths[] = {1, -3};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        place p;
        stage s, watch, scaled;
        open_place(&p, &kinds[k], m, "");
        stage_open(&s, m, p.book, "4*s[3]", NULL, false);
        stage_open(&watch, m, p.book, "s[3]", NULL, true);
        stage_open(&scaled, m, p.book, "2*s[3]", NULL, true);
        const rh_evaluation *watches[] = {watch.e, scaled.e};
        const char *labels[] = {"s[3]", "2*s[3]"};
        rh_steer_options o = stage_options(6);
        o.concepts = s.concepts;
        o.top_features = 5;
        o.strengths = strengths;
        o.n_strengths = 2;
        o.watches = watches;
        o.watch_labels = labels;
        o.n_watches = 2;
        rh_steer_report *r = stage_steer(&s, PROMPT, &o);
        const rh_sae_facts *facts = rh_sae_about(p.sae);
        assert_int_equal(r->runs[0].n_switches, 0);
        for (int32_t i = 0; i < 3; i++) {
            int32_t n;
            float *with = encode(&s, &p, &r->runs[i], i ? strengths[i - 1] : NAN, &n), *without = encode(&s, &p, &r->runs[i], NAN, &n);
            const rh_watch_track *w = &r->runs[i].watches[0];
            assert_true(w->activation && !r->runs[i].watches[1].activation && w->lo == 0 && w->n == n && w->layer == 1 && w->hook == facts->hook);
            for (int32_t t = 0; t < n; t++)
                if (fabs(w->tokens[t].value - with[t * M + FEATURE]) > 1e-4 * (1 + with[t * M + FEATURE])) fail_msg("kind %zu, token %d: %g, not %g", k, (int)t, w->tokens[t].value, with[t * M + FEATURE]);
            if (i && facts->transcoder) assert_int_equal(r->runs[i].n_switches, 0); /* it acts behind what the SAE reads */
            if (i && !facts->transcoder) {
                const rh_sae_switches *x = &r->runs[i].switches[0];
                assert_int_equal(r->runs[i].n_switches, 1);
                assert_string_equal(x->name, "s");
                assert_true(x->layer == 1 && x->hook == facts->hook && x->n_tokens == n - 1 && x->n_on <= 5 && x->total_on > 0);
                check_list(x->on, x->n_on, x->total_on, without, with, n);
                check_list(x->off, x->n_off, x->total_off, with, without, n);
            }
            free(with);
            free(without);
        }
        rh_steer_report_free(r);
        stage_close(&scaled);
        stage_close(&watch);
        stage_close(&s);
        close_place(&p);
    }
}

/* A clamped feature is at its amount wherever it is clamped; and what is not asked for is not looked at. */
static void clamped(void **state)
{
    rh_model *m = *state;
    place p;
    stage s, watch;
    open_place(&p, &kinds[1], m, "let f = s[3]");
    stage_open(&s, m, p.book, "clamp f at 0", NULL, false);
    stage_open(&watch, m, p.book, "f", NULL, true);
    const rh_evaluation *watches[] = {watch.e};
    const char *labels[] = {"f"};
    rh_steer_options o = stage_options(4);
    o.concepts = s.concepts;
    o.watches = watches;
    o.watch_labels = labels;
    o.n_watches = 1;
    rh_steer_report *r = stage_steer(&s, PROMPT, &o);
    double before = 0;
    assert_int_equal(r->n_runs, 2);
    for (int32_t i = 1; i < r->runs[0].watches[0].n; i++) before += r->runs[0].watches[0].tokens[i].value;
    assert_true(before > 0);
    assert_int_equal(r->runs[1].n_switches, 0);
    rh_steer_report_free(r);
    stage_close(&watch);
    stage_close(&s);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(switched), cmocka_unit_test(clamped)};
    return cmocka_run_group_tests(tests, open_small, close_small);
}
