/* The list of a step: what is put in comes out, equal lists are equal, and removing closes the gap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda/commands.h"

static int one(void *stream, const void *args)
{
    (void)stream;
    return *(const int *)args;
}
static int other(void *stream, const void *args)
{
    (void)stream;
    return -*(const int *)args;
}

static void *add(rh_cuda_commands *l, rh_cuda_launcher launch, size_t bytes, int fill)
{
    uint8_t *a = rh_cuda_commands_add(l, launch, "one", bytes);
    assert_non_null(a);
    assert_int_equal((uintptr_t)a % 16, 0);
    for (size_t i = 0; i < bytes; i++) assert_int_equal(a[i], 0);
    memset(a, fill, bytes);
    return a;
}

static void arguments_are_kept(void **state)
{
    rh_cuda_commands l = {0};
    (void)state;
    for (int i = 0; i < 300; i++) add(&l, i % 2 ? one : other, (size_t)(1 + i * 7 % 90), i);
    assert_int_equal(l.n, 300);
    for (int i = 0; i < 300; i++) {
        const uint8_t *a = rh_cuda_arguments(&l, (size_t)i);
        assert_ptr_equal(l.items[i].launch, i % 2 ? one : other);
        assert_int_equal(l.items[i].bytes, 1 + i * 7 % 90);
        for (size_t k = 0; k < l.items[i].bytes; k++) assert_int_equal(a[k], (uint8_t)i);
    }
    rh_cuda_commands_free(&l);
}

static void lists_are_compared_by_byte(void **state)
{
    enum { N = 12 };
    rh_cuda_commands a = {0}, b = {0};
    (void)state;
    for (int change = -1; change < N; change++)
        for (int what = 0; what < 3; what++) {
            rh_cuda_commands_clear(&a);
            rh_cuda_commands_clear(&b);
            for (int i = 0; i < N; i++) {
                add(&a, one, 24, i);
                uint8_t *p = add(&b, i == change && what == 1 ? other : one, i == change && what == 2 ? 25 : 24, i);
                if (i == change && what == 0) p[23] ^= 1;
            }
            assert_int_equal(rh_cuda_commands_equal(&a, &b), change < 0);
            if (change < 0) assert_int_equal(rh_cuda_commands_hash(&a), rh_cuda_commands_hash(&b));
            if (change >= 0 && what == 0) assert_int_not_equal(rh_cuda_commands_hash(&a), rh_cuda_commands_hash(&b));
        }
    add(&b, one, 24, 1);
    assert_false(rh_cuda_commands_equal(&a, &b));
    assert_true(rh_cuda_commands_copy(&a, &b));
    assert_true(rh_cuda_commands_equal(&a, &b));
    rh_cuda_commands_free(&a);
    rh_cuda_commands_free(&b);
}

/* A list from which commands were taken is the list that never had them. */
static void removing_leaves_no_trace(void **state)
{
    rh_cuda_commands a = {0}, b = {0};
    (void)state;
    for (int i = 0; i < 20; i++) {
        add(&a, one, (size_t)(10 + i), i);
        if (i % 3) add(&b, one, (size_t)(10 + i), i);
    }
    for (size_t i = 20; i-- > 0;)
        if (i % 3 == 0) rh_cuda_commands_remove(&a, i);
    assert_true(rh_cuda_commands_equal(&a, &b));
    for (size_t i = 0; i < a.n; i++) assert_int_equal(*(uint8_t *)rh_cuda_arguments(&a, i), *(uint8_t *)rh_cuda_arguments(&b, i));
    rh_cuda_commands_free(&a);
    rh_cuda_commands_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(arguments_are_kept), cmocka_unit_test(lists_are_compared_by_byte),
                                       cmocka_unit_test(removing_leaves_no_trace)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
