/* Penalties, filters and draws against what their definitions give. */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/sampler.h"

enum { V = 6, DRAWS = 40000 };
static const float logits[V] = {1.0f, 3.0f, 2.0f, -1.0f, 3.0f, 0.0f};
static const int32_t history[] = {1, 1, 4, 2};

typedef struct { const char *what; rh_sampling set; int32_t n_history, expected; } greedy_case;
#define BASE .top_p = 1, .repetition = 1, .penalty_last = -1

static void greedy(void **state)
{
    (void)state;
    static const greedy_case cases[] = {
        {"ties go to the lower id", {BASE}, 4, 1},
        {"top-k 1 is greedy", {.temperature = 5, .top_k = 1, BASE}, 4, 1},
        {"presence", {.top_p = 1, .repetition = 1, .penalty_last = -1, .presence = 2.5}, 4, 0},
        {"frequency counts: 1 twice, 4 once", {.top_p = 1, .repetition = 1, .penalty_last = -1, .frequency = 0.5}, 4, 4},
        {"repetition divides what is positive", {.top_p = 1, .repetition = 4, .penalty_last = -1}, 4, 0},
        {"the window forgets 1", {.top_p = 1, .repetition = 4, .penalty_last = 2}, 4, 1},
        {"window 0 penalizes nothing", {.top_p = 1, .repetition = 4, .penalty_last = 0}, 4, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_sampler *s = NULL;
        print_message("%s\n", cases[i].what);
        assert_int_equal(rh_sampler_new(&s, &cases[i].set, V, NULL), RH_OK);
        for (uint64_t draw = 0; draw < 3; draw++) /* nothing stays behind between picks */
            assert_int_equal(rh_sampler_pick(s, logits, history, cases[i].n_history, draw), cases[i].expected);
        rh_sampler_free(s);
    }
}

typedef struct { const char *what; rh_sampling set; double p[V]; } draw_case;

static void draws_follow_the_distribution(void **state)
{
    (void)state;
    static const draw_case cases[] = {
        {"temperature 1", {.temperature = 1, .seed = 5, BASE}, {-1, -1, -1, -1, -1, -1}},
        {"top-k 2", {.temperature = 1, .seed = 6, .top_k = 2, BASE}, {0, 0.5, 0, 0, 0.5, 0}},
        {"top-p stops once the mass is reached", {.temperature = 1, .seed = 7, .top_p = 0.7, .repetition = 1,
         .penalty_last = -1}, {0, 0.5, 0, 0, 0.5, 0}},
        {"min-p", {.temperature = 1, .seed = 8, .min_p = 0.3, .top_p = 1, .repetition = 1, .penalty_last = -1},
         {0, 0.4223, 0.1554, 0, 0.4223, 0}},
    };
    double z = 0;
    for (int i = 0; i < V; i++) z += exp(logits[i]);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        int counts[V] = {0};
        rh_sampler *s = NULL;
        print_message("%s\n", cases[c].what);
        assert_int_equal(rh_sampler_new(&s, &cases[c].set, V, NULL), RH_OK);
        for (uint64_t draw = 0; draw < DRAWS; draw++) counts[rh_sampler_pick(s, logits, NULL, 0, draw)]++;
        for (int i = 0; i < V; i++) {
            const double p = cases[c].p[0] < 0 ? exp(logits[i]) / z : cases[c].p[i];
            assert_true(fabs(counts[i] / (double)DRAWS - p) < 5 * sqrt(p * (1 - p) / DRAWS) + 1e-12);
        }
        const int32_t again = rh_sampler_pick(s, logits, NULL, 0, 17);
        assert_int_equal(rh_sampler_pick(s, logits, NULL, 0, 17), again);
        rh_sampler_free(s);
    }
}

static void bad_settings_are_refused(void **state)
{
    (void)state;
    static const rh_sampling bad[] = {{.temperature = -1, BASE}, {.temperature = NAN, BASE}, {.top_p = 1.5, .repetition = 1},
                                      {.min_p = -0.1, BASE}, {.top_p = 1, .repetition = 0}, {.top_k = -3, BASE}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rh_error err;
        assert_int_equal(rh_sampling_check(&bad[i], &err), RH_EVALUE);
    }
    const rh_sampling fine = rh_sampling_default();
    assert_int_equal(rh_sampling_check(&fine, NULL), RH_OK);
}

static void divergences(void **state)
{
    (void)state;
    const float p[3] = {0, 0, -INFINITY}, q[3] = {0, -1, 4};
    double z = 1 + exp(-1) + exp(4);
    assert_true(fabs(rh_log_sum_exp(q, 3) - log(z)) < 1e-12);
    assert_true(fabs(rh_kl(p, q, 3) - (0.5 * (log(0.5) + log(z)) + 0.5 * (log(0.5) + 1 + log(z)))) < 1e-12);
    assert_true(rh_kl(q, q, 3) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(greedy), cmocka_unit_test(draws_follow_the_distribution),
                                       cmocka_unit_test(bad_settings_are_refused), cmocka_unit_test(divergences)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
