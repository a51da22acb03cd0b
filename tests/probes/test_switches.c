/* Counting what came on and went off: by hand on four tokens, ranks, and against dense encodings at random. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "probes/switches.h"

enum { M = 6 };

static void by_hand(void **state)
{
    (void)state;
    static const float before[4 * M] = {9, 0, 0, 0, 0, 0,  0, 2, 0, 0, 3, 0,  0, 0, 0, 0, 0, 0,  1, 0, 0, 4, 0, 0};
    static const float after[4 * M] = {0, 9, 0, 0, 0, 0,   0, 2, 5, 0, 0, 1,  0, 0, 5, 0, 0, 0,  0, 0, 0, 7, 0, 8};
    rh_sae_active b = {0}, a = {0};
    rh_switches s = {0};
    rh_feature_switch *list = NULL;
    int32_t n, total;
    assert_int_equal(rh_sae_active_from(&b, before, 4, M, NULL), RH_OK);
    assert_int_equal(rh_sae_active_from(&a, after, 4, M, NULL), RH_OK);
    assert_int_equal(rh_switches_new(&s, M, NULL), RH_OK);
    rh_switches_add(&s, &b, &a, 1); /* not the first token */
    assert_int_equal(s.tokens, 3);
    assert_true(s.active[0] == 4 && s.active[1] == 6);
    assert_int_equal(rh_switches_rank(&list, &n, &total, s.on, M, 2, NULL), RH_OK);
    assert_true(n == 2 && total == 2);
    assert_true(list[0].feature == 2 && list[0].tokens == 2 && list[0].most == 5 && list[0].sum == 10 && !list[0].label);
    assert_true(list[1].feature == 5 && list[1].tokens == 2 && list[1].most == 8 && list[1].sum == 9);
    free(list);
    assert_int_equal(rh_switches_rank(&list, &n, &total, s.off, M, 1, NULL), RH_OK);
    assert_true(n == 1 && total == 2 && list[0].feature == 4 && list[0].tokens == 1 && list[0].sum == 3);
    free(list);
    rh_switches_free(&s);
    rh_sae_active_free(&a);
    rh_sae_active_free(&b);
}

static void at_random(void **state)
{
    enum { N = 40, W = 30 };
    static float dense[2][N * W];
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        rh_sae_active e[2] = {{0}, {0}};
        rh_switches s = {0};
        for (uint64_t k = 0; k < 2; k++) {
            for (uint64_t i = 0; i < N * W; i++) dense[k][i] = rh_random_u64(seed, k, i) % 4 ? 0 : 1 + (float)(rh_random_u64(seed, k + 2, i) % 9);
            assert_int_equal(rh_sae_active_from(&e[k], dense[k], N, W, NULL), RH_OK);
        }
        assert_int_equal(rh_switches_new(&s, W, NULL), RH_OK);
        rh_switches_add(&s, &e[0], &e[1], 0);
        for (int i = 0; i < W; i++) {
            rh_switch on = {0}, off = {0};
            for (int t = 0; t < N; t++) {
                const float b = dense[0][t * W + i], a = dense[1][t * W + i];
                if (a > 0 && !(b > 0)) on.tokens++, on.sum += a, on.most = fmaxf(on.most, a);
                if (b > 0 && !(a > 0)) off.tokens++, off.sum += b, off.most = fmaxf(off.most, b);
            }
            assert_true(s.on[i].tokens == on.tokens && s.on[i].sum == on.sum && s.on[i].most == on.most);
            assert_true(s.off[i].tokens == off.tokens && s.off[i].sum == off.sum && s.off[i].most == off.most);
        }
        rh_switches_free(&s);
        for (int k = 0; k < 2; k++) rh_sae_active_free(&e[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_hand), cmocka_unit_test(at_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
