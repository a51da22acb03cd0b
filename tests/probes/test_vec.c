/* rh_probe_vec on the small model: norms, cosines to names, nearest tokens, spans, scalars. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stage.h"

static const char BOOK[] = "let rain = act(\"rain\")\nlet snow = act(\"snow\")\nlet both = span(rain, snow)\n"
                           "let one = unit(rain)\n";

static void close_to(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance)) fail_msg("%.9g, expected %.9g", got, want);
}

static rh_vec_report *look(stage *s, rh_model *m, const char *expr, const char *layers)
{
    rh_vec_report *r = NULL;
    rh_error err = {0};
    stage_open(s, m, BOOK, expr, layers, true);
    if (rh_probe_vec(&r, m, s->e, expr, 4, &err)) fail_msg("%s: %s", expr, err.message);
    return r;
}

static const rh_name_cosine *cosine_with(const rh_vec_report *r, const char *name, int32_t layer)
{
    for (int32_t i = 0; i < r->n_cosines; i++)
        if (!strcmp(r->cosines[i].name, name) && r->cosines[i].layer == layer) return &r->cosines[i];
    fail_msg("no cosine with %s", name);
    return NULL;
}

static void vectors(void **state)
{
    rh_model *m = *state;
    stage s;
    rh_vec_report *r = look(&s, m, "2*rain - 2*snow", "1");
    const rh_vector *v = s.e->value->vector;
    assert_int_equal(r->kind, RH_VALUE_VECTOR);
    assert_int_equal(r->n_layers, 1);
    assert_int_equal(r->layers[0], 1);
    close_to(r->norm[0], rh_norm(v->data, v->d), 1e-9);
    /* rain and one point the same way; a span has no cosine. */
    close_to(cosine_with(r, "rain", 1)->cosine, cosine_with(r, "one", 1)->cosine, 1e-6);
    close_to(cosine_with(r, "one", 1)->norm, 1, 1e-6);
    assert_int_equal(r->n_cosines, 3);
    assert_int_equal(r->n_geometry, 1);
    close_to(r->geometry[0].share[0] + r->geometry[0].share[1], 1, 1e-6);

    /* W_U·(γ⊙v), row by row. */
    float row[4096];
    assert_true(m->config.d_model <= 4096);
    assert_int_equal(r->n_nearest, 1);
    assert_int_equal(r->nearest[0].n_up, 4);
    double best = -INFINITY;
    for (int32_t id = 0; id < m->config.n_vocab; id++) {
        double score = 0;
        assert_int_equal(rh_model_unembed_row(row, m, id, NULL), RH_OK);
        for (int32_t j = 0; j < v->d; j++) score += (double)row[j] * m->final_norm_host[j] * v->data[j];
        if (score > best) best = score;
        if (id == r->nearest[0].up[0].id) close_to(r->nearest[0].up[0].after, score, 1e-3);
        if (id == r->nearest[0].down[3].id) close_to(r->nearest[0].down[3].after, score, 1e-3);
    }
    close_to(r->nearest[0].up[0].after, best, 1e-3);
    rh_vec_report_free(r);
    stage_close(&s);

    r = look(&s, m, "rain @ [0, 2]", NULL);
    assert_int_equal(r->n_layers, 2);
    assert_int_equal(r->n_nearest, 2);
    close_to(cosine_with(r, "rain", 2)->cosine, 1, 1e-6);
    rh_vec_report_free(r);
    stage_close(&s);
}

static void spans(void **state)
{
    stage s;
    rh_vec_report *r = look(&s, *state, "span(rain, snow, rain - 3*snow)", "1");
    assert_int_equal(r->kind, RH_VALUE_SPAN);
    assert_int_equal(r->span_rank, 2);
    assert_int_equal(r->span_given, 3);
    assert_non_null(strstr(r->notes, "dependent"));
    rh_vec_report_free(r);
    stage_close(&s);
    r = look(&s, *state, "both", "1");
    assert_int_equal(r->span_rank, 2);
    assert_string_equal(r->notes, "");
    rh_vec_report_free(r);
    stage_close(&s);
}

static void scalars(void **state)
{
    stage s;
    rh_vec_report *r = look(&s, *state, "3/2", NULL);
    assert_int_equal(r->kind, RH_VALUE_SCALAR);
    assert_int_equal(r->n_scalar, 1);
    assert_null(r->scalar_layers);
    close_to(r->scalar[0], 1.5, 0);
    rh_vec_report_free(r);
    stage_close(&s);
    r = look(&s, *state, "cos(rain, snow)", "1");
    assert_int_equal(r->n_scalar, 1);
    assert_true(fabs(r->scalar[0]) <= 1);
    rh_vec_report_free(r);
    stage_close(&s);
}

static void refusals(void **state)
{
    stage s;
    rh_vec_report *r = NULL;
    stage_open(&s, *state, NULL, "steer act(\"rain\")", "1", false);
    assert_int_equal(rh_probe_vec(&r, *state, s.e, "x", 4, NULL), RH_EKIND);
    stage_close(&s);
}

static int open_words(void **state)
{
    *state = stage_small_model("words.gguf");
    return 0;
}

static int close_words(void **state)
{
    rh_model_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(vectors), cmocka_unit_test(spans), cmocka_unit_test(scalars),
                                       cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, open_words, close_words);
}
