/* diagnose.c: figures that need no model. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "probes/diagnose.h"

/* ---- the first position that an action can change -------------------------------------------------- */

enum { N_PROMPT = 5, N_ALL = 9 };
#define TERM(k) {.kind = RH_MASK_##k}
#define NOT(k) {.kind = RH_MASK_##k, .negated = true}
#define OPEN INT32_MAX

static const int32_t two_four[] = {2, 4};
static const int32_t six[] = {6};

static void first_changed(void **state)
{
    (void)state;
    static const struct { const char *name; rh_mask_term terms[3]; int32_t n, want; } cases[] = {
        {"no mask", {{0}}, 0, 0},
        {"all", {TERM(ALL)}, 1, 0},
        {"prompt", {TERM(PROMPT)}, 1, 0},
        {"last", {TERM(LAST)}, 1, 4},
        {"generated", {{.kind = RH_MASK_GENERATED, .hi = OPEN}}, 1, 5},
        {"last, generated", {TERM(LAST), {.kind = RH_MASK_GENERATED, .hi = OPEN}}, 2, 4},
        {"generated 2..", {{.kind = RH_MASK_GENERATED, .lo = 2, .hi = OPEN}}, 1, 7},
        {"generated 3..3", {{.kind = RH_MASK_GENERATED, .lo = 3, .hi = 3}}, 1, 8},
        {"generated 4..: the text is too short", {{.kind = RH_MASK_GENERATED, .lo = 4, .hi = OPEN}}, 1, -1},
        {"tokens 3..4", {{.kind = RH_MASK_TOKENS, .lo = 3, .hi = 4}}, 1, 3},
        {"tokens 6..", {{.kind = RH_MASK_TOKENS, .lo = 6, .hi = OPEN}}, 1, 6},
        {"a text at 2 and 4", {{.kind = RH_MASK_LIST, .positions = two_four, .n = 2}}, 1, 2},
        {"special: without a tokenizer there are no control tokens", {TERM(SPECIAL)}, 1, -1},
        {"not prompt", {NOT(PROMPT)}, 1, 5},
        {"all, not tokens 0..1", {TERM(ALL), {.kind = RH_MASK_TOKENS, .hi = 1, .negated = true}}, 2, 2},
        {"generated, not at 6", {{.kind = RH_MASK_TOKENS, .lo = 6, .hi = OPEN}, {.kind = RH_MASK_LIST, .positions = six, .n = 1, .negated = true}}, 2, 7},
        {"prompt, not prompt", {TERM(PROMPT), NOT(PROMPT)}, 2, -1},
    };
    static const int32_t ids[N_ALL] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_action a = {.mask = {cases[i].terms, cases[i].n}};
        int32_t got = rh_first_changed(&a, 1, N_PROMPT, ids, N_ALL, NULL);
        if (got != cases[i].want) fail_msg("%s: %d, expected %d", cases[i].name, (int)got, (int)cases[i].want);
    }
    /* Several actions: the earliest. None: nothing. */
    rh_mask_term last = TERM(LAST), late = {.kind = RH_MASK_GENERATED, .lo = 1, .hi = OPEN};
    rh_action both[] = {{.mask = {&late, 1}}, {.mask = {&last, 1}}};
    assert_int_equal(rh_first_changed(both, 2, N_PROMPT, ids, N_ALL, NULL), 4);
    assert_int_equal(rh_first_changed(both, 1, N_PROMPT, ids, N_ALL, NULL), 6);
    assert_int_equal(rh_first_changed(both, 0, N_PROMPT, ids, N_ALL, NULL), -1);
}

/* ---- 3-grams ---------------------------------------------------------------------------------------- */

static void repeated(void **state)
{
    (void)state;
    static const struct { int32_t ids[12]; int32_t n; double want; } cases[] = {
        {{0}, 0, 0},
        {{1, 1}, 2, 0},
        {{1, 2, 3}, 3, 0},
        {{1, 1, 1, 1}, 4, 1 / 2.},                            /* 111 111 */
        {{1, 2, 3, 4, 5, 6}, 6, 0},
        {{1, 2, 3, 1, 2, 3}, 6, 1 / 4.},                      /* 123 231 312 123 */
        {{1, 2, 1, 2, 1, 2, 1, 2}, 8, 4 / 6.},                /* 121 212 and again */
        {{7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7}, 12, 9 / 10.},
        {{3, 2, 1, -1, 3, 2, 1, -1}, 8, 2 / 6.},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double got;
        assert_int_equal(rh_repeated_3grams(&got, cases[i].ids, cases[i].n, NULL), RH_OK);
        if (fabs(got - cases[i].want) > 1e-15) fail_msg("case %zu: %g, expected %g", i, got, cases[i].want);
    }
    /* Against the slow definition. */
    for (uint64_t round = 0; round < 200; round++) {
        int32_t ids[60], n = 3 + (int32_t)(rh_random_u64(1, round, 0) % 57), seen = 0;
        double got;
        for (int32_t i = 0; i < n; i++) ids[i] = (int32_t)(rh_random_u64(2, round, (uint64_t)i) % 4);
        for (int32_t i = 0; i + 2 < n; i++) {
            bool before = false;
            for (int32_t j = 0; j < i; j++) before = before || !memcmp(ids + i, ids + j, 3 * sizeof *ids);
            seen += before;
        }
        assert_int_equal(rh_repeated_3grams(&got, ids, n, NULL), RH_OK);
        assert_true(fabs(got - (double)seen / (n - 2)) < 1e-12);
    }
}

static void collapse(void **state)
{
    (void)state;
    /* ln 49152 = 10.80: limits 4.32, unsteered + 1.08, 6.48 */
    static const struct { int32_t n; double repeated, surprisal, unsteered; bool loops, garbled; } cases[] = {
        {64, 0.02, 1.5, 1, false, false}, {64, 0.5, 1.5, 1, false, false}, {64, 0.51, 1.5, 1, true, false},
        {64, 0.02, 4.3, 1, false, false}, {64, 0.02, 4.4, 1, false, true}, {64, 0.9, 9, 1, true, true},
        {64, 0.02, 4.4, NAN, false, true}, {64, 0.02, 4.4, 4.2, false, false}, {64, 0.02, 5.3, 4.2, false, true},
        {64, 0.02, 6.4, 6.4, false, false}, {64, 0.02, 7.8, 7.8, false, true},
        {7, 0.9, 9, 1, false, false}, {8, 0.9, 9, 1, true, true}, {0, 0, NAN, NAN, false, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_steer_run run = {.n_ids = cases[i].n, .repeated = cases[i].repeated, .surprisal = cases[i].surprisal};
        rh_judge_collapse(&run, cases[i].unsteered, 49152);
        assert_int_equal(run.loops, cases[i].loops);
        assert_int_equal(run.garbled, cases[i].garbled);
        assert_int_equal(run.collapsed, cases[i].loops || cases[i].garbled);
    }
}

/* ---- changes of logits, medians ---------------------------------------------------------------------- */

static void top_changes(void **state)
{
    (void)state;
    static const float x[] = {0, 3, -1, 3, NAN, 5, -7, 0.5f, -1};
    static const struct { int32_t top; int sign; int32_t want[5], n; } cases[] = {
        {3, 1, {5, 1, 3}, 3}, {9, 1, {5, 1, 3, 7}, 4}, {1, 1, {5}, 1}, {0, 1, {0}, 0},
        {2, -1, {6, 2}, 2}, {5, -1, {6, 2, 8}, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t got[9], n = -1;
        rh_top_changes(got, &n, x, 9, cases[i].top, cases[i].sign);
        assert_int_equal(n, cases[i].n);
        for (int32_t k = 0; k < n; k++) assert_int_equal(got[k], cases[i].want[k]);
    }
}

static void medians(void **state)
{
    (void)state;
    double odd[] = {5, 1, 3}, even[] = {4, 1, 3, 2}, one[] = {7};
    assert_true(rh_median(odd, 3) == 3);
    assert_true(rh_median(even, 4) == 2.5);
    assert_true(rh_median(one, 1) == 7);
    assert_true(isnan(rh_median(one, 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(first_changed), cmocka_unit_test(repeated),
                                       cmocka_unit_test(collapse), cmocka_unit_test(top_changes),
                                       cmocka_unit_test(medians)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
