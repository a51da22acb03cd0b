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
    assert_int_equal(read_config(&c, "{" LLAMA ", \"partial_rotary_factor\": 1.0, \"num_local_experts\": 0, \"rope_parameters\":"
                                 "{\"rope_theta\": 77, \"rope_type\": \"default\"}, \"layer_types\": [\"full_attention\","
                                 "\"full_attention\"], \"attention_bias\": true, \"some_new_key\": 3}", &err), RH_OK);
    assert_true(c.rope_theta == 77 && c.rope_theta_local == 77 && c.qkv_bias && c.o_bias && !c.mlp_bias);
    assert_int_equal(read_config(&c, "{" LLAMA "}", &err), RH_OK);
    assert_int_equal(c.n_kv_heads, 6);
    assert_int_equal(c.head_dim, 16);
    assert_false(c.tied);
    assert_int_equal(c.local[0], 0);
}

/* What the hub's files say: all of it passes, and means what transformers makes of it. */
#define EVERY "\"attention_dropout\": 0.0, \"initializer_range\": 0.02, \"use_cache\": true, \"torch_dtype\": \"bfloat16\","     \
              "\"transformers_version\": \"4.51.3\", \"_attn_implementation_autoset\": true, \"_name_or_path\": \"x\","       \
              "\"bos_token_id\": 1, \"eos_token_id\": [1, 2], \"pad_token_id\": null, \"unsloth_fixed\": true,"
#define GEMMA2_9B "{" EVERY "\"model_type\": \"gemma2\", \"attention_bias\": false, \"attn_logit_softcapping\": 50.0,"          \
    "\"cache_implementation\": \"hybrid\", \"final_logit_softcapping\": 30.0, \"head_dim\": 256, \"hidden_act\":"               \
    "\"gelu_pytorch_tanh\", \"hidden_activation\": \"gelu_pytorch_tanh\", \"hidden_size\": 3584, \"intermediate_size\": 14336," \
    "\"max_position_embeddings\": 8192, \"num_attention_heads\": 16, \"num_hidden_layers\": 42, \"num_key_value_heads\": 8,"     \
    "\"query_pre_attn_scalar\": 256, \"rms_norm_eps\": 1e-06, \"rope_theta\": 10000.0, \"sliding_window\": 4096,"               \
    "\"sliding_window_size\": 4096, \"vocab_size\": 256000}"
#define GEMMA3_1B "{" EVERY "\"model_type\": \"gemma3_text\", \"attention_bias\": false, \"attn_logit_softcapping\": null,"    \
    "\"final_logit_softcapping\": null, \"cache_implementation\": \"hybrid\", \"head_dim\": 256, \"hidden_activation\":"        \
    "\"gelu_pytorch_tanh\", \"hidden_size\": 1152, \"intermediate_size\": 6912, \"max_position_embeddings\": 32768,"           \
    "\"num_attention_heads\": 4, \"num_hidden_layers\": 26, \"num_key_value_heads\": 1, \"query_pre_attn_scalar\": 256,"       \
    "\"rms_norm_eps\": 1e-06, \"rope_local_base_freq\": 10000, \"rope_scaling\": null, \"rope_theta\": 1000000,"              \
    "\"sliding_window\": 512, \"sliding_window_pattern\": 6, \"vocab_size\": 262144}"
#define GEMMA3_IMAGE(text) "{" EVERY "\"model_type\": \"gemma3\", \"boi_token_index\": 255999, \"eoi_token_index\": 256000,"   \
    "\"image_token_index\": 262144, \"mm_tokens_per_image\": 256, \"vision_config\": {\"hidden_size\": 1152},"                \
    "\"text_config\": {\"model_type\": \"gemma3_text\", \"rope_scaling\": {\"factor\": 8.0, \"rope_type\": \"linear\"},"    \
    "\"sliding_window\": 1024, " text "}}"
#define LLAMA32_1B "{" EVERY "\"model_type\": \"llama\", \"attention_bias\": false, \"head_dim\": 64, \"hidden_act\": \"silu\","  \
    "\"hidden_size\": 2048, \"intermediate_size\": 8192, \"max_position_embeddings\": 131072, \"mlp_bias\": false,"           \
    "\"num_attention_heads\": 32, \"num_hidden_layers\": 16, \"num_key_value_heads\": 8, \"pretraining_tp\": 1,"             \
    "\"rms_norm_eps\": 1e-05, \"rope_scaling\": {\"factor\": 32.0, \"high_freq_factor\": 4.0, \"low_freq_factor\": 1.0,"      \
    "\"original_max_position_embeddings\": 8192, \"rope_type\": \"llama3\"}, \"rope_theta\": 500000.0,"                       \
    "\"tie_word_embeddings\": true, \"vocab_size\": 128256}"
#define SMOLLM2 "{" EVERY "\"model_type\": \"llama\", \"attention_bias\": false, \"hidden_act\": \"silu\", \"hidden_size\": 576,"  \
    "\"intermediate_size\": 1536, \"is_llama_config\": true, \"max_position_embeddings\": 8192, \"mlp_bias\": false,"         \
    "\"num_attention_heads\": 9, \"num_hidden_layers\": 30, \"num_key_value_heads\": 3, \"pretraining_tp\": 1,"              \
    "\"rms_norm_eps\": 1e-05, \"rope_interleaved\": false, \"rope_scaling\": null, \"rope_theta\": 100000,"                   \
    "\"tie_word_embeddings\": true, \"transformers.js_config\": {\"kv_cache_dtype\": {\"q4f16\": \"float16\"}},"              \
    "\"vocab_size\": 49152}"
#define MISTRAL_7B(window) "{" EVERY "\"model_type\": \"mistral\", \"hidden_act\": \"silu\", \"hidden_size\": 4096,"         \
    "\"intermediate_size\": 14336, \"max_position_embeddings\": 32768, \"num_attention_heads\": 32,"                          \
    "\"num_hidden_layers\": 32, \"num_key_value_heads\": 8, \"rms_norm_eps\": 1e-05, \"rope_theta\": 10000.0,"                \
    "\"sliding_window\": " window ", \"tie_word_embeddings\": false, \"vocab_size\": 32000}"
#define QWEN2_7B(use) "{" EVERY "\"model_type\": \"qwen2\", \"hidden_act\": \"silu\", \"hidden_size\": 3584, \"use_mrope\": false," \
    "\"intermediate_size\": 18944, \"max_position_embeddings\": 32768, \"max_window_layers\": 20,"                            \
    "\"num_attention_heads\": 28, \"num_hidden_layers\": 28, \"num_key_value_heads\": 4, \"rms_norm_eps\": 1e-06,"           \
    "\"rope_theta\": 1000000.0, \"sliding_window\": 131072, \"use_sliding_window\": " use ", \"vocab_size\": 152064}"

static void published_configs(void **state)
{
    (void)state;
    static const struct {
        const char *text, *family;
        int32_t d_model, n_heads, n_kv_heads, head_dim, n_vocab, window, n_local;
        double scalar; /* under the root of the attention's scale */
        bool tied, qkv_bias;
        int rope;
    } cases[] = {
        {GEMMA2_9B, "gemma2", 3584, 16, 8, 256, 256000, 4096, 21, 256, true, false, RH_ROPE_NONE},
        {GEMMA3_1B, "gemma3", 1152, 4, 1, 256, 262144, 512, 22, 256, true, false, RH_ROPE_NONE},
        {GEMMA3_IMAGE("\"hidden_size\": 2560, \"intermediate_size\": 10240, \"num_hidden_layers\": 34"), "gemma3", 2560,
         8, 4, 256, 262208, 1024, 29, 256, true, false, RH_ROPE_LINEAR},
        {GEMMA3_IMAGE("\"hidden_size\": 5376, \"intermediate_size\": 21504, \"num_hidden_layers\": 62, \"head_dim\": 128,"
                      "\"num_attention_heads\": 32, \"num_key_value_heads\": 16, \"query_pre_attn_scalar\": 168"),
         "gemma3", 5376, 32, 16, 128, 262208, 1024, 52, 168, true, false, RH_ROPE_LINEAR},
        {LLAMA32_1B, "llama", 2048, 32, 8, 64, 128256, 0, 0, 64, true, false, RH_ROPE_LLAMA3},
        {SMOLLM2, "llama", 576, 9, 3, 64, 49152, 0, 0, 64, true, false, RH_ROPE_NONE},
        {MISTRAL_7B("4096"), "mistral", 4096, 32, 8, 128, 32000, 4096, 32, 128, false, false, RH_ROPE_NONE},
        {MISTRAL_7B("null"), "mistral", 4096, 32, 8, 128, 32000, 0, 0, 128, false, false, RH_ROPE_NONE},
        {QWEN2_7B("false"), "qwen2", 3584, 28, 4, 128, 152064, 0, 0, 128, false, true, RH_ROPE_NONE},
        {QWEN2_7B("true"), "qwen2", 3584, 28, 4, 128, 152064, 131072, 8, 128, false, true, RH_ROPE_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_model_config c;
        rh_error err = {0};
        int32_t n_local = 0;
        if (read_config(&c, cases[i].text, &err)) fail_msg("case %zu: '%s'", i, err.message);
        for (int32_t l = 0; l < c.n_layers; l++) n_local += c.local[l];
        assert_string_equal(c.family, cases[i].family);
        assert_int_equal(c.d_model, cases[i].d_model);
        assert_int_equal(c.n_heads, cases[i].n_heads);
        assert_int_equal(c.n_kv_heads, cases[i].n_kv_heads);
        assert_int_equal(c.head_dim, cases[i].head_dim);
        assert_int_equal(c.n_vocab, cases[i].n_vocab);
        assert_int_equal(c.window, cases[i].window);
        assert_int_equal(n_local, cases[i].n_local);
        assert_true(fabs(c.attn_scale - 1 / sqrt(cases[i].scalar)) < 1e-7);
        assert_int_equal(c.tied, cases[i].tied);
        assert_int_equal(c.qkv_bias, cases[i].qkv_bias);
        assert_int_equal(c.rope_scaling.kind, cases[i].rope);
    }
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
        {"{" GEMMA3 ", \"attn_logit_softcapping\": 50}", RH_EUNSUPPORTED, "attn_logit_softcapping"},
        {"{" GEMMA3 ", \"rope_parameters\": {\"rope_type\": \"default\"}}", RH_EFORMAT, "rope_parameters"},
        {"{" GEMMA3 ", \"rope_parameters\": {\"sliding_attention\": {\"rope_type\": \"linear\", \"factor\": 2}}}",
         RH_EUNSUPPORTED, "sliding_attention by \"linear\""},
        {"{\"model_type\": \"gemma3\"}", RH_EFORMAT, "text_config"},
        {"{\"model_type\": \"gemma3\", \"text_config\": {\"model_type\": \"llama\"}}", RH_EUNSUPPORTED, "'llama'"},
        {"{\"model_type\": \"gemma3\", \"text_config\": {" GEMMA3 ", \"final_logit_softcapping\": 30}}", RH_EUNSUPPORTED,
         "final_logit_softcapping"},
        {"{" LLAMA ", \"final_logit_softcapping\": 30}", RH_EUNSUPPORTED, "final_logit_softcapping"},
        {"{" LLAMA ", \"query_pre_attn_scalar\": 16}", RH_EUNSUPPORTED, "query_pre_attn_scalar"},
        {"{" LLAMA ", \"attention_multiplier\": 0.5}", RH_EUNSUPPORTED, "attention_multiplier"},
        {"{" LLAMA ", \"num_local_experts\": 8}", RH_EUNSUPPORTED, "num_local_experts"},
        {"{" LLAMA ", \"qk_layernorm\": true}", RH_EUNSUPPORTED, "qk_layernorm"},
        {"{" LLAMA ", \"partial_rotary_factor\": 0.5}", RH_EUNSUPPORTED, "partial_rotary_factor"},
        {"{" LLAMA ", \"layer_types\": [\"full_attention\", \"sliding_attention\"]}", RH_EUNSUPPORTED, "layer_types"},
        {"{" LLAMA ", \"rope_parameters\": {\"rope_type\": \"longrope\", \"factor\": 4}}", RH_EUNSUPPORTED, "\"longrope\""},
        {"{" LLAMA ", \"rope_parameters\": {\"rope_type\": \"default\", \"partial_rotary_factor\": 0.25}}", RH_EUNSUPPORTED,
         "partial_rotary_factor"},
        {"{" LLAMA ", \"rope_parameters\": {\"full_attention\": {\"rope_type\": \"default\"}}}", RH_EFORMAT, "rope_parameters"},
        {"{" LLAMA ", \"rope_scaling\": {\"type\": \"default\", \"mrope_section\": [1, 2]}}", RH_EUNSUPPORTED, "mrope_section"},
        {"{" LLAMA ", \"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2}}", RH_EUNSUPPORTED, "\"dynamic\""},
        {"{" LLAMA ", \"quantization\": {\"bits\": 4}}", RH_EUNSUPPORTED, "MLX"},
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(good_configs), cmocka_unit_test(published_configs),
                                       cmocka_unit_test(bad_configs),
                                       cmocka_unit_test(rope_scaling)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
