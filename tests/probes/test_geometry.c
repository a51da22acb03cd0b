/* geometry.c and axis.c on vectors whose answers are known. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "probes/axis.h"
#include "probes/geometry.h"

static rh_vector *vector(int32_t layer, const float *data, int32_t d)
{
    rh_vector *v = NULL;
    assert_int_equal(rh_vector_new(&v, d, RH_RESID_POST, &layer, 1, NULL), RH_OK);
    memcpy(v->data, data, (size_t)d * sizeof *data);
    return v;
}

static void close_to(double got, double want)
{
    if (!(fabs(got - want) <= 1e-6)) fail_msg("%.9g, expected %.9g", got, want);
}

/* Geometry frees itself only with its report. */
static void release(rh_geometry *g)
{
    rh_vec_report *r = rh_calloc(1, sizeof *r);
    assert_non_null(r);
    r->geometry = rh_calloc(1, sizeof *r->geometry);
    assert_non_null(r->geometry);
    r->geometry[0] = *g;
    r->n_geometry = 1;
    rh_vec_report_free(r);
}

/* v = 2a - b + 0c with a = (1,0,0), b = (0,-2,0) constant, c = (0,0,4): v = (2,2,0). */
static void shares_and_cosines(void **state)
{
    (void)state;
    static const float a_[] = {1, 0, 0}, b_[] = {0, -2, 0}, c_[] = {0, 0, 4}, v_[] = {2, 2, 0};
    rh_vector *a = vector(5, a_, 3), *b = vector(-1, b_, 3), *c = vector(5, c_, 3), *v = vector(5, v_, 3);
    rh_part parts[] = {{"a", 2, a}, {"b", -1, b}, {"c", 0, c}};
    rh_geometry g = {0};
    assert_int_equal(rh_geometry_make(&g, "2*a - b + 0*c", parts, 3, v, 5, NULL), RH_OK);
    static const double share[] = {0.5, 0.5, 0, 1}, norm[] = {1, 2, 4, 2.8284271247};
    assert_int_equal(g.n, 4);
    assert_string_equal(g.labels[1], "b");
    assert_string_equal(g.labels[3], "result");
    for (int i = 0; i < 4; i++) {
        close_to(g.share[i], share[i]);
        close_to(g.norm[i], norm[i]);
        close_to(g.cosine[i * 4 + i], 1);
    }
    close_to(g.share[0] + g.share[1] + g.share[2], 1);
    close_to(g.cosine[0 * 4 + 3], sqrt(0.5));
    close_to(g.cosine[1 * 4 + 3], -sqrt(0.5));
    close_to(g.cosine[3 * 4 + 2], 0);
    close_to(g.coefficient[1], -1);
    release(&g);

    /* A part that is elsewhere. */
    rh_geometry bad = {0};
    rh_vector *far = vector(6, a_, 3);
    rh_part elsewhere[] = {{"far", 1, far}};
    rh_error err = {0};
    assert_int_equal(rh_geometry_make(&bad, "far", elsewhere, 1, v, 5, &err), RH_ESITE);
    assert_non_null(strstr(err.message, "'far'"));
    release(&bad);

    /* Nothing to share. */
    memset(v->data, 0, 3 * sizeof *v->data);
    rh_geometry zero = {0};
    assert_int_equal(rh_geometry_make(&zero, "0", parts, 3, v, 5, NULL), RH_OK);
    assert_true(isnan(zero.share[0]) && isnan(zero.share[3]));
    close_to(zero.cosine[3], 0);
    release(&zero);
    rh_vector_free(a);
    rh_vector_free(b);
    rh_vector_free(c);
    rh_vector_free(v);
    rh_vector_free(far);
}

static void axes(void **state)
{
    (void)state;
    static const int32_t layers[] = {2, 3, 4};
    static const float h[] = {10, 20, -5};
    rh_vector *family = NULL;
    assert_int_equal(rh_vector_new(&family, 3, RH_RESID_POST, layers, 3, NULL), RH_OK);
    family->data[0] = 3;      /* layer 2: (3,4,0); layer 3: zero; layer 4: (0,0,-2) */
    family->data[1] = 4;
    family->data[8] = -2;
    rh_value value = {.kind = RH_VALUE_VECTOR, .vector = family};
    rh_axes a = {0};
    assert_int_equal(rh_axes_make(&a, &value, NULL), RH_OK);
    assert_int_equal(a.n, 2);
    assert_int_equal(a.items[0].layer, 2);
    assert_int_equal(a.items[1].layer, 4);
    close_to(rh_axis_project(&a.items[0], h), 22); /* (3*10 + 4*20) / 5 */
    close_to(rh_axis_project(&a.items[1], h), 5);
    rh_axes_free(&a);

    float basis[] = {1, 0, 0, 0, 1, 0};
    int32_t layer = 2;
    rh_span span = {3, 2, basis};
    rh_value plane = {.kind = RH_VALUE_SPAN, .n_layers = 1, .layers = &layer, .hook = RH_RESID_POST, .span = &span};
    assert_int_equal(rh_axes_make(&a, &plane, NULL), RH_OK);
    close_to(rh_axis_project(&a.items[0], h), sqrt(500));
    rh_axes_free(&a);
    span.rank = 0;
    assert_int_equal(rh_axes_make(&a, &plane, NULL), RH_OK);
    assert_int_equal(a.n, 0);
    rh_axes_free(&a);

    rh_value scalar = {.kind = RH_VALUE_SCALAR};
    assert_int_equal(rh_axes_make(&a, &scalar, NULL), RH_EKIND);
    rh_vector_free(family);
}

static void site_texts(void **state)
{
    (void)state;
    static const struct { int32_t layers[4]; int32_t n; rh_hook hook; const char *want; } cases[] = {
        {{16}, 1, RH_RESID_POST, "16.resid_post"}, {{-1}, 1, RH_RESID_POST, "constant"},
        {{14, 15, 16}, 3, RH_MLP_OUT, "14..16.mlp_out"}, {{3, 7}, 2, RH_RESID_PRE, "[3, 7].resid_pre"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_str s = {0};
        rh_layers_text(&s, cases[i].layers, cases[i].n, cases[i].hook);
        assert_string_equal(s.data, cases[i].want);
        rh_str_free(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shares_and_cosines), cmocka_unit_test(axes),
                                       cmocka_unit_test(site_texts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
