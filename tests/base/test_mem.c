#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static void refuses_overflow(void **state)
{
    (void)state;
    rh_arena *a = rh_arena_new();
    assert_non_null(a);
    assert_null(rh_calloc(SIZE_MAX / 2, 3));
    assert_null(rh_calloc_aligned(SIZE_MAX / 2, 3));
    assert_null(rh_calloc_aligned(SIZE_MAX, 1));
    assert_null(rh_realloc_array(NULL, SIZE_MAX / 2, 3));
    assert_null(rh_arena_alloc(a, SIZE_MAX / 2, 3));
    assert_null(rh_arena_alloc(a, SIZE_MAX, 1));
    assert_null(rh_strndup("x", SIZE_MAX));
    void *items = NULL;
    size_t capacity = 0;
    assert_false(rh_grow(&items, &capacity, SIZE_MAX, 1));
    assert_false(rh_grow(&items, &capacity, SIZE_MAX / 4, 8));
    assert_null(items);
    assert_int_equal(capacity, 0);
    rh_arena_free(a);
    rh_arena_free(NULL);
}

static void zeroes_and_aligns(void **state)
{
    (void)state;
    for (size_t n = 0; n < 300; n += 37) {
        unsigned char *p = rh_calloc_aligned(n, 1), *q = rh_calloc(n, 1);
        assert_non_null(p);
        assert_non_null(q); /* also of nothing */
        assert_int_equal((uintptr_t)p % 64, 0);
        for (size_t i = 0; i < n; i++) assert_int_equal(p[i] | q[i], 0);
        free(p);
        free(q);
    }
}

static void arrays_grow(void **state)
{
    (void)state;
    int *items = NULL;
    size_t capacity = 0;
    for (int i = 0; i < 1000; i++) {
        assert_true(RH_GROW(items, capacity, (size_t)i));
        items[i] = i;
    }
    for (int i = 0; i < 1000; i++) assert_int_equal(items[i], i);
    assert_true(capacity >= 1000 && capacity < 4000);
    free(items);
}

static void arena_gives_zeroed_aligned_blocks(void **state)
{
    (void)state;
    rh_arena *a = rh_arena_new();
    unsigned char *all[500];
    size_t sizes[500];
    for (size_t i = 0; i < 500; i++) {
        sizes[i] = i % 50 == 49 ? 40000 : i * 7 % 300;
        all[i] = rh_arena_alloc(a, sizes[i], 1);
        assert_non_null(all[i]);
        assert_int_equal((uintptr_t)all[i] % _Alignof(max_align_t), 0);
        for (size_t j = 0; j < sizes[i]; j++) assert_int_equal(all[i][j], 0);
        memset(all[i], (int)(i % 251), sizes[i]);
    }
    for (size_t i = 0; i < 500; i++) /* none lies in another */
        for (size_t j = 0; j < sizes[i]; j++) assert_int_equal(all[i][j], i % 251);
    assert_string_equal(rh_arena_strndup(a, "abcdef", 3), "abc");
    rh_arena_free(a);
}

static void strings_grow(void **state)
{
    (void)state;
    rh_str s = { 0 };
    rh_str_puts(&s, "a");
    rh_str_add(&s, "bc\0d", 4);
    rh_str_printf(&s, "%d %s", 12, "x");
    assert_false(s.failed);
    assert_int_equal(s.len, 9);
    assert_memory_equal(s.data, "abc\0d12 x", 10);
    for (int i = 0; i < 1000; i++) rh_str_printf(&s, "%03d", i);
    assert_int_equal(s.len, 3009);
    assert_int_equal(s.data[s.len], 0);
    rh_str_add(&s, "x", SIZE_MAX - 5); /* cannot be */
    assert_true(s.failed);
    assert_int_equal(s.len, 3009);
    rh_str_puts(&s, "more");
    assert_int_equal(s.len, 3009);
    rh_str_free(&s);
    assert_null(s.data);
    assert_false(s.failed);
    rh_str_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_overflow),
        cmocka_unit_test(zeroes_and_aligns),
        cmocka_unit_test(arrays_grow),
        cmocka_unit_test(arena_gives_zeroed_aligned_blocks),
        cmocka_unit_test(strings_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
