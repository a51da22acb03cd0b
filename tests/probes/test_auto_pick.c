/* The frontier, the knee and Wilson's interval, by tables. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "probes/auto_pick.h"

enum { MOST = 6 };
typedef struct knee_case {
    const char *what;
    int32_t n;
    struct { double value, cost; bool healthy; } points[MOST];
    double least;
    int32_t knee;
    unsigned frontier; /* bit i: point i */
} knee_case;

static void knees(void **state)
{
    (void)state;
    static const knee_case cases[] = {
        {"nothing", 0, {{0, 0, false}}, 0, -1, 0},
        {"all too weak", 2, {{0.1, 0, true}, {0.2, 1, true}}, 0.25, -1, 0},
        {"the strongest is broken", 3, {{1, 0.2, true}, {2, 0.4, true}, {9, 3, false}}, 0, 1, 3},
        {"dear for little more", 3, {{1, 0.1, true}, {3, 0.3, true}, {3.2, 3, true}}, 0, 1, 7},
        {"dominated by one as good and cheaper", 3, {{2, 1, true}, {2, 0.5, true}, {1, 0.7, true}}, 0, 1, 2},
        {"equal points are both on it, the first is taken", 2, {{2, 1, true}, {2, 1, true}}, 0, 0, 3},
        {"free", 2, {{1, 0, true}, {2, 0, true}}, 0, 1, 2},
        {"no number", 2, {{NAN, 0, true}, {1, NAN, true}}, 0, -1, 0},
        {"a broken one dominates nothing", 2, {{1, 1, true}, {5, 0, false}}, 0, 0, 1},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        rh_knee_point points[MOST], *list[MOST];
        for (int32_t i = 0; i < cases[c].n; i++) {
            points[i] = (rh_knee_point){.value = cases[c].points[i].value, .cost = cases[c].points[i].cost,
                                        .healthy = cases[c].points[i].healthy};
            list[i] = &points[i];
        }
        int32_t knee = rh_knee(list, cases[c].n, cases[c].least);
        if (knee != cases[c].knee) fail_msg("%s: %d, expected %d", cases[c].what, (int)knee, (int)cases[c].knee);
        for (int32_t i = 0; i < cases[c].n; i++)
            if (points[i].frontier != ((cases[c].frontier >> i & 1) != 0)) fail_msg("%s: frontier of %d", cases[c].what, (int)i);
    }
}

/* Values of Newcombe (1998), table I, and the ends. */
static void intervals(void **state)
{
    (void)state;
    static const struct { int64_t k, n; double lo, hi; } cases[] = {
        {81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0, 0.1611}, {1, 29, 0.0061, 0.1718},
        {20, 20, 0.8389, 1},       {0, 0, 0, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double lo, hi;
        rh_wilson(&lo, &hi, cases[i].k, cases[i].n);
        if (fabs(lo - cases[i].lo) > 6e-5 || fabs(hi - cases[i].hi) > 6e-5)
            fail_msg("%d of %d: %.5f %.5f", (int)cases[i].k, (int)cases[i].n, lo, hi);
    }
}

/* Fisher's tea: 3 of 4 and 1 of 4. Then values counted by hand. */
static void luck(void **state)
{
    (void)state;
    static const struct { int64_t k, n, l, m; double want; } cases[] = {
        {3, 4, 1, 4, 17.0 / 70}, {1, 24, 0, 72, 0.25}, {2, 2, 0, 2, 1.0 / 6}, {0, 5, 3, 5, 1}, {4, 4, 4, 4, 1}, {1, 0, 0, 5, 1},
        {1, 5, 0, 0, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double got = rh_luck(cases[i].k, cases[i].n, cases[i].l, cases[i].m);
        if (fabs(got - cases[i].want) > 1e-9) fail_msg("case %zu: %.9f, expected %.9f", i, got, cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(knees), cmocka_unit_test(intervals), cmocka_unit_test(luck)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
