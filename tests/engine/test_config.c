/* config.json: what is read, and every setting that is refused by name. */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/families.h"

#define GEMMA3                                                                                              \
    "\"model_type\": \"gemma3_text\", \"hidden_size\": 96, \"num_hidden_layers\": 7, \"num_attention_heads\": 6," \
    "\"num_key_value_heads\": 3, \"head_dim\": 32, \"intermediate_size\": 192, \"vocab_size\": 311,"           \
    "\"max_position_embeddings\": 256, \"query_pre_attn_scalar\": 64, \"sliding_window\": 9,"                 \
    "\"rms_norm_eps\": 1e-6"
#define LLAMA                                                                                              \
    "\"model_type\": \"llama\", \"hidden_size\": 96, \"num_hidden_layers\": 2, \"num_attention_heads\": 6,"  \
    "\"intermediate_size\": 192, \"vocab_size\": 311, \"max_position_embeddings\": 256"

static rh_status read_config(rh_model_config *c, const char *text, rh_error *err)
{
    char path[] = "/tmp/rhumb-config-XXXXXX";
    const rh_family *family;
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    const rh_status status = rh_config_from_json(c, &family, path, err);
    unlink(path);
    return status;
}

static void good_configs(void **state)
{
    (void)state;
    rh_model_config c;
    rh_error err = {0};
    assert_int_equal(read_config(&c, "{" GEMMA3 "}", &err), RH_OK);
    assert_string_equal(c.family, "gemma3");
    assert_true(c.tied && c.qk_norm && c.post_norms && c.norm_plus_one);
    assert_true(fabs(c.embed_scale - sqrt(96)) < 1e-5 && fabs(c.attn_scale - 0.125) < 1e-7);
    for (int i = 0; i < 7; i++) assert_int_equal(c.local[i], i != 5); /* every sixth is global */
    assert_true(c.rope_theta == 1e6 && c.rope_theta_local == 1e4);
    assert_int_equal(read_config(&c, "{\"model_type\": \"gemma3\", \"text_config\": {" GEMMA3 "}}", &err), RH_OK);
    assert_int_equal(c.d_model, 96);
    assert_int_equal(read_config(&c, "{" LLAMA "}", &err), RH_OK);
    assert_int_equal(c.n_kv_heads, 6);
    assert_int_equal(c.head_dim, 16);
    assert_false(c.tied);
    assert_int_equal(c.local[0], 0);
}

static void bad_configs(void **state)
{
    (void)state;
    static const struct { const char *text; rh_status status; const char *message; } cases[] = {
        {"{}", RH_EFORMAT, "model_type"},
        {"[1]", RH_EFORMAT, "not a JSON object"},
        {"{\"model_type\": 3}", RH_EFORMAT, "model_type"},
        {"{\"model_type\": \"mamba\"}", RH_EUNSUPPORTED, "'mamba'"},
        {"{\"model_type\": \"llama\", \"hidden_size\": \"x\"}", RH_EFORMAT, "hidden_size"},
        {"{\"model_type\": \"llama\"}", RH_EFORMAT, "lacks \"hidden_size\""},
        {"{" LLAMA ", \"num_key_value_heads\": 4}", RH_EFORMAT, "not a multiple"},
        {"{" LLAMA ", \"num_key_value_heads\": -1}", RH_EFORMAT, "num_key_value_heads"},
        {"{" LLAMA ", \"head_dim\": 7}", RH_EFORMAT, "odd head_dim"},
        {"{" GEMMA3 ", \"mlp_bias\": true}", RH_EUNSUPPORTED, "mlp_bias"},
        {"{" LLAMA ", \"sliding_window\": 64}", RH_EUNSUPPORTED, "sliding_window"},
        {"{" LLAMA ", \"hidden_act\": \"relu\"}", RH_EUNSUPPORTED, "\"relu\""},
        {"{" LLAMA ", \"rms_norm_eps\": 0}", RH_EFORMAT, "norm epsilon"},
        {"{" LLAMA ", \"rope_theta\": -5}", RH_EFORMAT, "rope theta"},
        {"{" LLAMA ", \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4}}", RH_EUNSUPPORTED, "\"yarn\""},
        {"{" LLAMA ", \"rope_scaling\": {\"rope_type\": \"linear\"}}", RH_EFORMAT, "factor"},
        {"{" LLAMA ", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4,"
         "\"high_freq_factor\": 1, \"original_max_position_embeddings\": 64}}", RH_EFORMAT, "rope_scaling"},
        {"{" LLAMA ", \"head_dim\": 1e12}", RH_EFORMAT, "head_dim"},
        {"{\"model_type\": \"llama\", \"hidden_size\": 96, \"num_hidden_layers\": 100000, \"num_attention_heads\": 6,"
         "\"intermediate_size\": 192, \"vocab_size\": 311, \"max_position_embeddings\": 256}", RH_EFORMAT, "layers"},
        {"{" LLAMA ", \"quantization_config\": {\"load_in_4bit\": true}}", RH_EUNSUPPORTED, "quantization_config"},
        {"{" GEMMA3 ", \"layer_types\": [\"full_attention\"]}", RH_EFORMAT, "layer_types"},
        {"{" GEMMA3 ", \"layer_types\": [1,2,3,4,5,6,7]}", RH_EUNSUPPORTED, "layer type"},
        {"{" GEMMA3 ", \"use_bidirectional_attention\": true}", RH_EUNSUPPORTED, "use_bidirectional_attention"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_model_config c;
        rh_error err = {0};
        const rh_status status = read_config(&c, cases[i].text, &err);
        if (status != cases[i].status || !strstr(err.message, cases[i].message))
            fail_msg("case %zu: %s, '%s'", i, rh_status_name(status), err.message);
    }
}

static void rope_scaling(void **state)
{
    (void)state;
    rh_model_config c = {.head_dim = 4, .local_rope = true, .rope_theta = 100, .rope_theta_local = 100};
    float f[2];
    rh_config_inv_freq(f, &c, false);
    assert_true(f[0] == 1.0f && fabs(f[1] - 0.1) < 1e-7);
    c.rope_scaling.kind = RH_ROPE_LINEAR;
    c.rope_scaling.factor = 8;
    rh_config_inv_freq(f, &c, false);
    assert_true(f[0] == 0.125f);
    rh_config_inv_freq(f, &c, true); /* local layers are not scaled */
    assert_true(f[0] == 1.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(good_configs), cmocka_unit_test(bad_configs),
                                       cmocka_unit_test(rope_scaling)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
