/* Rows parted into codes and heads, against a slow twin that puts every byte of every block where kernels.h says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda/layout.h"

static void sizes_agree_with_files(void **state)
{
    (void)state;
    for (int t = 0; t < RH_N_DTYPES; t++) {
        const rh_cuda_layout *l = rh_cuda_layout_of((rh_dtype)t);
        const rh_dtype_info *info = rh_dtype_get((rh_dtype)t);
        assert_int_equal(l->block, info->block);
        assert_int_equal(l->bytes, info->bytes);
        assert_true(l->at + l->codes <= l->bytes);
        if (l->block > 1) assert_int_equal(l->codes % 16, 0);
    }
}

/* No byte is lost or moved within its part, and padding is zero. */
static void one_row(rh_dtype t, int32_t blocks)
{
    const rh_cuda_layout *l = rh_cuda_layout_of(t);
    const rh_cuda_matrix m = rh_cuda_matrix_of(t, 3, blocks * l->block);
    const size_t n = rh_row_bytes(t, m.cols), head = (size_t)(l->bytes - l->codes);
    uint8_t *row = malloc(n), *packed = malloc((size_t)m.row_bytes), *expected = calloc((size_t)m.row_bytes, 1);
    assert_int_equal(m.row_bytes % 16, 0);
    assert_int_equal(m.heads % 16, 0);
    assert_true((size_t)m.row_bytes >= n && (size_t)m.row_bytes < n + 32);
    for (size_t i = 0; i < n; i++) row[i] = (uint8_t)(i * 37 + 11);
    memset(packed, 0xA5, (size_t)m.row_bytes);
    rh_cuda_pack_row(packed, row, &m);
    for (size_t i = 0; i < n; i++) {
        const size_t b = i / (size_t)l->bytes, k = i % (size_t)l->bytes, at = (size_t)l->at, codes = (size_t)l->codes;
        if (k >= at && k < at + codes) expected[b * codes + k - at] = row[i];
        else expected[(size_t)m.heads + b * head + (k < at ? k : k - codes)] = row[i];
    }
    assert_memory_equal(packed, expected, (size_t)m.row_bytes);
    free(row);
    free(packed);
    free(expected);
}

static void rows_are_parted(void **state)
{
    (void)state;
    for (int t = 0; t < RH_N_DTYPES; t++)
        for (int32_t blocks = 1; blocks <= 21; blocks += 5) one_row((rh_dtype)t, blocks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sizes_agree_with_files), cmocka_unit_test(rows_are_parted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
