/* GGUF models of tests/data/models with a name in them changed: keys that nobody knows and tensors that
 * the keys do not ask for are refused by name. What right ones compute stands in test_tiny_models.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "golden.h"
#include "support/scratch.h"

static void wrong_names(void **state)
{
    static const struct {
        const char *model, *find, *put;
        rh_status status;
        const char *message;
    } cases[] = {
        {"llama-bias", "llama.rope.freq_base", "llama.rope.freq_bass", RH_EUNSUPPORTED, "\"llama.rope.freq_bass\""},
        {"llama-bias", "blk.1.attn_k.bias", "blk.1.attn_x.bias", RH_EFORMAT, "lacks the tensor blk.1.attn_k.bias"},
        {"llama-bias", "blk.1.ffn_down.bias", "blk.1.ffn_down.bios", RH_EFORMAT, "lacks the tensor blk.1.ffn_down.bias"},
        /* the first layer tells whether there are biases */
        {"llama-bias", "blk.0.attn_q.bias", "blk.0.attn_x.bias", RH_EUNSUPPORTED, "blk.0.attn_k.bias, which"},
        {"llama-bias", "blk.0.attn_output.bias", "blk.0.attn_output.bios", RH_EUNSUPPORTED, "blk.1.attn_output.bias, which"},
        {"mistral", "llama.attention.sliding_window", "llama.attention.clamping_limit", RH_EUNSUPPORTED, "clamping_limit"},
        {"mistral", "llama.feed_forward_length", "llama.feed_forward_lengty", RH_ENAME, "feed_forward_length"},
        {"qwen2", "blk.0.attn_v.bias", "blk.0.attn_x.bias", RH_EFORMAT, "lacks the tensor blk.0.attn_v.bias"},
        {"qwen2", "qwen2.context_length", "qwen2.expert_count_x", RH_ENAME, "qwen2.context_length"},
        {"qwen2", "qwen2.rope.freq_base", "qwen2.logit_scale_xx", RH_EUNSUPPORTED, "\"qwen2.logit_scale_xx\""},
    };
    (void)state;
    scratch dir;
    scratch_open(&dir);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[512], *bytes = NULL;
        size_t n = 0;
        rh_error err = {0};
        rh_model *m = NULL;
        snprintf(path, sizeof path, RH_TEST_DATA "/models/%s/model.gguf", cases[i].model);
        assert_int_equal(rh_read_file(&bytes, &n, path, 1 << 20, NULL), RH_OK);
        assert_true(golden_change(bytes, n, "", cases[i].find, cases[i].put));
        scratch_write(&dir, "model.gguf", bytes, n);
        free(bytes);
        snprintf(path, sizeof path, "%s/model.gguf", dir.dir);
        const rh_status status = rh_model_open_light(&m, path, NULL, &err);
        if (status != cases[i].status || !strstr(err.message, cases[i].message))
            fail_msg("%s -> %s: %s: %s", cases[i].find, cases[i].put, rh_status_name(status), err.message);
        rh_model_free(m);
    }
    scratch_close(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(wrong_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
