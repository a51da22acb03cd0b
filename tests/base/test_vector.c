#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "rhumb.h"

static void hooks(void **state)
{
    (void)state;
    for (int i = 0; i < RH_N_HOOKS; i++) {
        const char *name = rh_hook_name((rh_hook)i);
        rh_hook back = RH_N_HOOKS;
        assert_true(rh_hook_parse(&back, name, strlen(name)));
        assert_int_equal(back, i);
    }
    static const char *const wrong[] = { "", "resid", "resid_postx", "RESID_POST", "mlp_" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        rh_hook hook = RH_N_HOOKS;
        assert_false(rh_hook_parse(&hook, wrong[i], strlen(wrong[i])));
        assert_int_equal(hook, RH_N_HOOKS);
    }
    assert_string_equal(rh_hook_name(RH_RESID_POST), "resid_post");
    assert_string_equal(rh_hook_name((rh_hook)77), "?");
}

static void makes(void **state)
{
    (void)state;
    static const struct {
        int32_t d, n, layers[3];
        rh_status status;
    } cases[] = {
        { 4, 1, { 0 }, RH_OK },         { 4, 1, { -1 }, RH_OK },
        { 4, 3, { 2, 5, 9 }, RH_OK },   { 4, 3, { 2, 5, 5 }, RH_ESITE },
        { 4, 2, { 5, 2 }, RH_ESITE },   { 4, 2, { -1, 2 }, RH_ESITE },
        { 4, 1, { -2 }, RH_ESITE },     { 0, 1, { 1 }, RH_ESITE },
        { -4, 1, { 1 }, RH_ESITE },     { 4, 0, { 1 }, RH_ESITE },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_vector *v = NULL;
        rh_error e;
        assert_int_equal(rh_vector_new(&v, cases[i].d, RH_MLP_OUT, cases[i].layers, cases[i].n, &e),
                         cases[i].status);
        assert_int_equal(v != NULL, cases[i].status == RH_OK);
        if (v) {
            assert_int_equal(v->hook, RH_MLP_OUT);
            for (int32_t j = 0; j < v->d * v->n_layers; j++) assert_true(v->data[j] == 0);
        }
        rh_vector_free(v);
    }
    assert_int_equal(rh_vector_new(&(rh_vector *){ NULL }, 1, (rh_hook)9, (int32_t[]){ 0 }, 1, NULL),
                     RH_ESITE);
}

static void views(void **state)
{
    (void)state;
    const int32_t layers[] = { 2, 5, 9 }, anywhere = -1;
    rh_vector *family = NULL, *constant = NULL;
    assert_int_equal(rh_vector_new(&family, 4, RH_RESID_POST, layers, 3, NULL), RH_OK);
    assert_int_equal(rh_vector_new(&constant, 4, RH_RESID_POST, &anywhere, 1, NULL), RH_OK);
    for (int32_t layer = -1; layer < 12; layer++) {
        rh_vector_view view = rh_vector_at(family, layer);
        const float *expected = layer == 2 ? family->data
                                : layer == 5 ? family->data + 4
                                : layer == 9 ? family->data + 8
                                             : NULL;
        assert_ptr_equal(view.data, expected);
        assert_int_equal(view.layer, layer);
        assert_int_equal(view.d, 4);
        assert_ptr_equal(rh_vector_at(constant, layer).data, constant->data);
    }
    assert_null(rh_vector_at(NULL, 3).data);
    rh_vector_free(family);
    rh_vector_free(constant);
    rh_vector_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hooks),
        cmocka_unit_test(makes),
        cmocka_unit_test(views),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
