/* One process alone, and agreeing among several: the others are played by the test. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/comm.h"

static void alone(void **state)
{
    (void)state;
    rh_comm c = rh_comm_serial();
    double x[2] = {1.5, -2};
    char all[4] = "";
    assert_int_equal(c.size, 1);
    assert_int_equal(c.sum(c.self, x, 2, NULL), RH_OK);
    assert_true(x[0] == 1.5 && x[1] == -2);
    assert_int_equal(c.gather(c.self, "abc", 4, all, NULL), RH_OK);
    assert_string_equal(all, "abc");
    assert_int_equal(rh_comm_agree(&c, RH_OK, NULL), RH_OK);
    rh_error err;
    rh_fail(&err, RH_EIO, "mine");
    assert_int_equal(rh_comm_agree(&c, RH_EIO, &err), RH_EIO);
    assert_string_equal(err.message, "mine");
}

typedef struct others { double failed, root; rh_status broken; } others;

static rh_status sum_with(void *self, double *x, size_t n, rh_error *err)
{
    const others *o = self;
    if (o->broken) return rh_fail(err, o->broken, "the line is dead");
    assert_int_equal(n, 2);
    x[0] += o->failed;
    x[1] += o->root;
    return RH_OK;
}

static void agreeing(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        int rank; rh_status mine; others o;
        rh_status want; const char *message;
    } cases[] = {
        {"all well", 0, RH_OK, {0, 0, RH_OK}, RH_OK, ""},
        {"rank 0 hears of another", 0, RH_OK, {1, 0, RH_OK}, RH_ECANCELLED, "1 of 3 processes failed"},
        {"rank 0 failed and speaks", 0, RH_EIO, {0, 0, RH_OK}, RH_EIO, "mine"},
        {"rank 0 speaks, another is quiet", 1, RH_OK, {1, 1, RH_OK}, RH_ECANCELLED, ""},
        {"the same fault everywhere is said once", 1, RH_EIO, {2, 1, RH_OK}, RH_EIO, ""},
        {"only another failed: it speaks itself", 1, RH_EIO, {0, 0, RH_OK}, RH_EIO, "mine"},
        {"the line is dead", 1, RH_OK, {0, 0, RH_EIO}, RH_EIO, "the line is dead"},
        {"the line is dead, and mine came first", 1, RH_ENOMEM, {0, 0, RH_EIO}, RH_ENOMEM, "mine"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        others o = cases[i].o;
        rh_comm c = {.rank = cases[i].rank, .size = 3, .self = &o, .sum = sum_with};
        rh_error err = {0};
        if (cases[i].mine) rh_fail(&err, cases[i].mine, "mine");
        rh_status got = rh_comm_agree(&c, cases[i].mine, &err);
        if (got != cases[i].want || strcmp(err.message, cases[i].message))
            fail_msg("%s: %s, \"%s\"", cases[i].what, rh_status_name(got), err.message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(alone), cmocka_unit_test(agreeing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
