/* The products that reach their levels, all of them, in order, and none else: ragged shapes, levels with a gain, products
 * that lie on their level, and NaN, which is found, as on a CPU. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/device.h"
#include "kernels/help.h"

typedef struct shape { int32_t n, rows; double share; } shape; /* share: of products that are low */

static const shape shapes[] = { { 1, 1, 0 }, { 1, 31, 0.5 }, { 3, 4096, 0.99 }, { 2, 4097, 0 }, { 5, 9001, 0.9 }, { 2, 700, 1 } };

static double level_of(const float *base, const float *gain, const float *floors, int32_t t, int32_t r)
{
    return gain ? base[r] + (double)gain[r] * floors[t] : base[r];
}

static void compare(const rh_cuda_screen_args *a, const float *p, const float *base, const float *gain, const float *floors, const int64_t *start)
{
    const size_t all = (size_t)start[a->n];
    int32_t *row = must_malloc(all * 4);
    float *value = must_malloc(all * 4);
    host_of(row, a->row, all * 4);
    host_of(value, a->value, all * 4);
    for (int32_t t = 0; t < a->n; t++) {
        int64_t at = start[t];
        for (int32_t r = 0; r < a->rows; r++) {
            const float product = p[(size_t)t * (size_t)a->rows + (size_t)r];
            if (product < level_of(base, gain, floors, t, r)) continue;
            if (at == start[t + 1] || row[at] != r || memcmp(&value[at], &product, 4)) fail_msg("%d x %d: row %d of %d", a->n, a->rows, r, t);
            at++;
        }
        assert_int_equal(at, start[t + 1]);
    }
    free(row), free(value);
}

static void check(const shape *s, bool with_gain, uint64_t *seed)
{
    const size_t n = (size_t)s->n, rows = (size_t)s->rows;
    float *p = must_malloc(n * rows * 4), *base = must_malloc(rows * 4), *gain = must_malloc(rows * 4), *floors = must_malloc(n * 4);
    int32_t *count = must_malloc(n * 4);
    int64_t *start = must_malloc((n + 1) * 8);
    random_floats(seed, base, rows);
    random_floats(seed, floors, n);
    for (size_t r = 0; r < rows; r++) gain[r] = (float)random_unit(seed);
    for (size_t i = 0; i < n * rows; i++) {
        const float level = (float)level_of(base, with_gain ? gain : NULL, floors, (int32_t)(i / rows), (int32_t)(i % rows));
        p[i] = random_unit(seed) < s->share ? level - 1 : random_u32(seed) % 4 ? level + 1 : level;
        if (random_u32(seed) % 50 == 0) p[i] = NAN;
    }
    rh_cuda_screen_args a = { .p = device_of(p, n * rows * 4), .base = device_of(base, rows * 4), .n = s->n, .rows = s->rows };
    if (with_gain) a.gain = device_of(gain, rows * 4), a.floor = device_of(floors, n * 4);
    a.count = device_filled(0xA5, n * 4);
    launched(rh_cuda_screen, &a);
    host_of(count, a.count, n * 4);
    for (size_t t = 0; t < n; t++) start[t + 1] = start[t] + count[t];
    a.start = device_of(start, n * 8);
    a.row = device_filled(0xA5, (size_t)start[n] * 4);
    a.value = device_filled(0xA5, (size_t)start[n] * 4);
    launched(rh_cuda_screen, &a);
    compare(&a, p, base, with_gain ? gain : NULL, floors, start);
    const void *used[] = { a.p, a.base, a.gain, a.floor, a.count, a.start, a.row, a.value };
    for (int i = 0; i < LENGTH(used); i++) device_free((void *)(uintptr_t)used[i]);
    free(p), free(base), free(gain), free(floors), free(count), free(start);
}

static void all_shapes(void **state)
{
    (void)state;
    uint64_t seed = 12;
    for (int i = 0; i < LENGTH(shapes); i++)
        for (int gain = 0; gain < 2; gain++) check(&shapes[i], gain, &seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(all_shapes) };
    return cmocka_run_group_tests_name("screen", tests, NULL, NULL);
}
