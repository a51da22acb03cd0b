/* NF4 checkpoints that are wrong: tests/data/models/llama-nf4 with a few bytes of it changed, and what
 * is said of it. What right ones compute stands in test_tiny_models.c. Quantising while loading. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "golden.h"
#include "support/scratch.h"

#define FOLDER RH_TEST_DATA "/models/"

static void copy_to(scratch *dir, const char *from, const char *name)
{
    char *bytes = NULL;
    size_t n = 0;
    assert_int_equal(rh_read_file(&bytes, &n, from, 1 << 20, NULL), RH_OK);
    scratch_write(dir, name, bytes, n);
    free(bytes);
}

static void wrong_checkpoints(void **state)
{
    static const struct {
        const char *after, *find, *put;
        rh_status status;
        const char *message;
    } cases[] = {
        {"", "\"quant_type\": \"nf4\"", "\"quant_type\": \"fp4\"", RH_EUNSUPPORTED, "says quant_type 'fp4'"},
        {"", "\"blocksize\": 64", "\"blocksize\": -4", RH_EFORMAT, "\"blocksize\" is no number from 1 to 1048576"},
        {"", "\"blocksize\": 64", "\"blocksize\": 32", RH_EFORMAT, "elements, and"},
        {"\"blocksize\"", "\"shape\"", "\"shope\"", RH_EFORMAT, "gives no shape of two numbers"},
        {"\"blocksize\"", "\"shape\": [32", "\"shape\": [64", RH_EFORMAT, "takes U8 of"},
        {"\"blocksize\"", "\"shape\": [32", "\"shape\": [-2", RH_EFORMAT, "\"shape\" is no number from 1"},
        {"", "{\"quant_type\"", "[\"quant_type\"", RH_EFORMAT, "is not valid JSON"},
        {"", "weight.absmax", "weight.absmux", RH_EFORMAT, "is quantised, but there is no tensor"},
        {"", "weight.quant_map", "weight.quint_map", RH_EFORMAT, "is quantised, but there is no tensor"},
        {"", "bitsandbytes__nf4", "bitsandbytes__fp4", RH_EUNSUPPORTED, "quantised to fp4"},
        {"weight.absmax", "\"F32\"", "\"I32\"", RH_EFORMAT, "is of type I32, and F32 is wanted"},
        {"", "\xb1\x39\x32\xbf", "\xb1\x39\x32\x3f", RH_EUNSUPPORTED, "value 1 of"}, /* -0.69619 */
    };
    (void)state;
    scratch dir;
    scratch_open(&dir);
    copy_to(&dir, FOLDER "llama-nf4/config.json", "config.json");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *bytes = NULL;
        size_t n = 0;
        rh_error err = {0};
        rh_model *m = NULL;
        assert_int_equal(rh_read_file(&bytes, &n, FOLDER "llama-nf4/model.safetensors", 1 << 20, NULL), RH_OK);
        assert_true(golden_change(bytes, n, cases[i].after, cases[i].find, cases[i].put));
        scratch_write(&dir, "model.safetensors", bytes, n);
        free(bytes);
        const rh_status status = rh_model_open_light(&m, dir.dir, NULL, &err);
        if (status != cases[i].status || !strstr(err.message, cases[i].message))
            fail_msg("%s -> %s: %s: %s", cases[i].find, cases[i].put, rh_status_name(status), err.message);
        rh_model_free(m);
    }
    scratch_close(&dir);
}

/* q8 and nf4 of the same checkpoint are other models to the cache, and only the layers' matrices change. */
static void quantised_while_loading(void **state)
{
    static const struct { const char *quantize; rh_dtype dtype; } cases[] = {{NULL, RH_F32}, {"q8", RH_Q8_0}, {"nf4", RH_NF4}};
    char prints[3][65];
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const rh_settings settings = {.quantize = cases[i].quantize, .threads = 2};
        rh_error err = {0};
        rh_model *m = NULL;
        if (rh_model_open(&m, FOLDER "gemma3-f32", &settings, &err)) fail_msg("%s", err.message);
        memcpy(prints[i], m->fingerprint, sizeof prints[i]);
        assert_int_equal(m->made.n > 0, i > 0 && rh_row_bytes(cases[i].dtype, 32) > 0);
        for (size_t k = 0; k < m->made.n; k++) {
            const rh_made *made = &m->made.items[k];
            assert_int_equal(made->tensor.dtype, cases[i].dtype);
            assert_non_null(made->tensor.data);
            assert_null(strstr(made->tensor.name, "embed"));
        }
        rh_model_free(m);
    }
    assert_string_not_equal(prints[0], prints[1]);
    const rh_settings settings = {.quantize = "q5"};
    rh_error err = {0};
    rh_model *m = NULL;
    assert_int_equal(rh_model_open(&m, FOLDER "gemma3-f32", &settings, &err), RH_EVALUE);
    assert_string_equal(err.message, "weights cannot be quantised to 'q5'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_checkpoints),
        cmocka_unit_test(quantised_while_loading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
