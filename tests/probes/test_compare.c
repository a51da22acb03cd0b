/* compare.c against its definition: every run alone in a session of its own, sums in plain loops. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "probes/auto.h"
#include "probes/compare.h"
#include "stage.h"

static const char *const PROMPTS[] = {"ab", "the cab", "a"};
enum { N_PROMPTS = 3, MAX = 64 };

/* Mean state at `layer` over prompts, after steering with the vectors given. out [d] */
static void mean_state(double *out, const rh_model *m, const rh_vector *const *v, int32_t n_v, float strength, int32_t layer, bool last)
{
    int32_t d = m->config.d_model, taken = 0;
    rh_action actions[4];
    float *h = rh_calloc(MAX, (size_t)d * sizeof *h);
    assert_non_null(h);
    memset(out, 0, (size_t)d * sizeof *out);
    for (int32_t i = 0; i < n_v; i++)
        actions[i] = (rh_action){.kind = RH_STEER, .layer = v[i]->layers[0], .hook = v[i]->hook, .v = v[i]->data, .rank = 1, .strength = strength};
    for (int32_t p = 0; p < N_PROMPTS; p++) {
        rh_prompt prompt = {0};
        rh_prompt_options o = {0};
        rh_session *s = NULL;
        int32_t seq;
        assert_int_equal(rh_prompt_make(&prompt, m, PROMPTS[p], strlen(PROMPTS[p]), &o, NULL), RH_OK);
        assert_true(prompt.n <= MAX);
        assert_int_equal(rh_session_new(&s, m, 1, MAX, NULL), RH_OK);
        assert_int_equal(rh_session_add(s, &seq, prompt.n, actions, n_v, NULL), RH_OK);
        rh_capture capture = {.layer = layer, .hook = RH_RESID_POST, .n = prompt.n, .out = h};
        rh_step_input in = {.seq = seq, .ids = prompt.ids, .n = prompt.n, .captures = &capture, .n_captures = 1};
        assert_int_equal(rh_session_step(s, &in, 1, NULL), RH_OK);
        for (int32_t t = last ? prompt.n - 1 : prompt.n > 1; t < prompt.n; t++, taken++)
            for (int32_t j = 0; j < d; j++) out[j] += h[(size_t)t * (size_t)d + (size_t)j];
        rh_session_free(s);
        rh_prompt_free(&prompt);
    }
    for (int32_t j = 0; j < d; j++) out[j] /= taken;
    free(h);
}

static double dot(const double *a, const double *b, int32_t d)
{
    double s = 0;
    for (int32_t j = 0; j < d; j++) s += a[j] * b[j];
    return s;
}

static void close_to(double got, double want, const char *what, int32_t layer)
{
    if (!(fabs(got - want) <= 1e-4 * (1 + fabs(want)))) fail_msg("%s at layer %d: %.9g, expected %.9g", what, (int)layer, got, want);
}

/* One layer of a report of two vectors. */
static void check_layer(const rh_compare_report *r, int32_t l, const rh_model *m, const rh_vector *const v[2], float strength)
{
    int32_t d = m->config.d_model, layer = r->layers[l];
    const rh_vector *const swapped[] = {v[1]};
    double *x = rh_calloc(5, (size_t)d * sizeof *x);
    assert_non_null(x);
    double *none = x, *a = x + d, *b = x + 2 * d, *both = x + 3 * d, *sum = x + 4 * d;
    mean_state(none, m, NULL, 0, 0, layer, r->last);
    mean_state(a, m, v, 1, strength, layer, r->last);
    mean_state(b, m, swapped, 1, strength, layer, r->last);
    mean_state(both, m, v, 2, strength, layer, r->last);
    for (int32_t j = 0; j < d; j++) {
        a[j] -= none[j];
        b[j] -= none[j];
        both[j] -= none[j];
        sum[j] = a[j] + b[j];
    }
    double na = sqrt(dot(a, a, d)), nb = sqrt(dot(b, b, d)), ns = sqrt(dot(sum, sum, d)), nboth = sqrt(dot(both, both, d));
    close_to(r->effect_norm[l * 2], na, "norm of a", layer);
    close_to(r->effect_norm[l * 2 + 1], nb, "norm of b", layer);
    close_to(r->effect_cosine[l * 4 + 1], dot(a, b, d) / na / nb, "cosine", layer);
    close_to(r->effect_cosine[l * 4 + 3], 1, "cosine to itself", layer);
    close_to(r->pairs[0].cosine[l], dot(both, sum, d) / nboth / ns, "additivity", layer);
    close_to(r->pairs[0].ratio[l], nboth / ns, "ratio", layer);
    for (int32_t to = 0; to < 2; to++) {
        double along = 0;
        for (int32_t j = 0; j < d; j++) along += a[j] * v[to]->data[j];
        close_to(r->moved[l * 4 + to], along / rh_norm(v[to]->data, d), "moved", layer);
    }
    free(x);
}

static const rh_value *value(stage *s, rh_model *m, const char *expr)
{
    stage_open(s, m, NULL, expr, NULL, true);
    assert_non_null(s->e->value);
    return s->e->value;
}

static void against_the_definition(void **state)
{
    (void)state;
    static const struct { const char *a, *b; float strength; bool last; } cases[] = {
        {"4*random(1) @ 0", "3*random(2) @ 0", 1, false},
        {"4*random(1) @ 0", "3*random(2) @ 0", 2.5f, true},
        {"4*random(1) @ 0", "2*random(1) @ 0.resid_pre", 1, false},
    };
    rh_model *m = stage_small_model("words.gguf");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        stage s[2];
        const rh_value *v[] = {value(&s[0], m, cases[i].a), value(&s[1], m, cases[i].b)};
        const char *const labels[] = {cases[i].a, cases[i].b};
        const rh_vector *const vectors[] = {v[0]->vector, v[1]->vector};
        rh_compare_options o = {.prompts = PROMPTS, .n_prompts = N_PROMPTS, .strength = cases[i].strength, .last = cases[i].last};
        rh_compare_report *r = NULL;
        assert_int_equal(rh_probe_compare(&r, m, v, labels, 2, &o, NULL), RH_OK);
        assert_int_equal(r->n_pairs, 1);
        assert_int_equal(r->layers[0], 1);
        assert_int_equal(r->n_layers, m->config.n_layers - 1);
        for (int32_t l = 0; l < r->n_layers; l++) check_layer(r, l, m, vectors, cases[i].strength);
        rh_compare_report_free(r);
        stage_close(&s[0]);
        stage_close(&s[1]);
    }
    rh_model_free(m);
}

static void refusals(void **state)
{
    (void)state;
    static const struct { const char *a, *b; int32_t n; rh_status status; const char *message; } cases[] = {
        {"random(1) @ 0", "random(2) @ 0", 1, RH_ELIMIT, "compare takes 2 to 12 expressions, not 1"},
        {"random(1) @ 0", "1 + 1", 2, RH_EKIND, "'1 + 1' is a scalar, and vectors are compared"},
        {"random(1) @ 0", "span(random(1), random(2)) @ 0", 2, RH_EKIND, "'span(random(1), random(2)) @ 0' is a span, and vectors are compared"},
        {"random(1) @ 0", "random(2) @ LAST", 2, RH_ESITE, "no layer lies above the last that is steered, so there is no effect to measure"},
    };
    rh_model *m = stage_small_model("words.gguf");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        stage s[2];
        rh_str b = {0};
        const char *last = strstr(cases[i].b, "LAST");
        if (last) rh_str_printf(&b, "%.*s%d", (int)(last - cases[i].b), cases[i].b, (int)m->config.n_layers - 1);
        else rh_str_puts(&b, cases[i].b);
        const rh_value *v[] = {value(&s[0], m, cases[i].a), value(&s[1], m, b.data)};
        const char *const labels[] = {cases[i].a, b.data};
        rh_compare_options o = {.strength = 1};
        rh_compare_report *r = NULL;
        rh_error err = {0};
        assert_int_equal(rh_probe_compare(&r, m, v, labels, cases[i].n, &o, &err), cases[i].status);
        assert_string_equal(err.message, cases[i].message);
        assert_null(r);
        stage_close(&s[0]);
        stage_close(&s[1]);
        rh_str_free(&b);
    }
    rh_model_free(m);
}

/* Answers yes `left` times. */
static bool stop_after(void *data, const char *label, int64_t done, int64_t total)
{
    int *left = data;
    assert_string_equal(label, "comparing");
    assert_true(done <= total);
    return (*left)-- > 0;
}

static void stopped(void **state)
{
    (void)state;
    static const char *const prompts[] = {"the cab", "ab"};
    rh_model *m = stage_small_model("words.gguf");
    stage s[2];
    const rh_value *v[] = {value(&s[0], m, "random(1) @ 0"), value(&s[1], m, "random(2) @ 0")};
    const char *const labels[] = {"a", "b"};
    int left = 0;
    rh_compare_options o = {.prompts = prompts, .n_prompts = 2, .strength = 1, .progress = stop_after, .progress_data = &left};
    rh_compare_report *r = NULL;
    rh_error err = {0};
    assert_int_equal(rh_probe_compare(&r, m, v, labels, 2, &o, &err), RH_ECANCELLED);
    assert_string_equal(err.message, "stopped after 0 of 8 runs");
    assert_null(r);
    left = 1; /* one batch holds all; what is answered behind it does not count */
    assert_int_equal(rh_probe_compare(&r, m, v, labels, 2, &o, &err), RH_OK);
    assert_int_equal(left, -1);
    rh_compare_report_free(r);
    stage_close(&s[0]);
    stage_close(&s[1]);
    rh_model_free(m);
}

/* Built-in prompts are those of the search, for chats and to be continued. */
static void built_in(void **state)
{
    (void)state;
    rh_model *m = stage_small_model("words.gguf");
    stage s[2];
    const rh_value *v[] = {value(&s[0], m, "random(1) @ 0"), value(&s[1], m, "random(2) @ 0")};
    const char *const labels[] = {"a", "b"};
    for (int chat = 0; chat < 2; chat++) {
        int32_t n = 0;
        const char *const *texts = rh_auto_prompts(&n, chat);
        rh_compare_options o = {.strength = 1, .prompt = {.chat = chat}};
        rh_compare_report *r = NULL;
        rh_error err = {0};
        if (rh_probe_compare(&r, m, v, labels, 2, &o, &err)) fail_msg("%s", err.message);
        assert_int_equal(r->n_prompts, n);
        for (int32_t i = 0; i < n; i++) assert_string_equal(r->prompts[i], texts[i]);
        rh_compare_report_free(r);
    }
    stage_close(&s[0]);
    stage_close(&s[1]);
    rh_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(against_the_definition), cmocka_unit_test(refusals), cmocka_unit_test(stopped),
                                       cmocka_unit_test(built_in)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
