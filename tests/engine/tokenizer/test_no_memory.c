/* Opening, tokenizing and a chat prompt with each allocation failing in turn. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "help.h"
#include "support/alloc_fail.h"
#include "tiny.h"

typedef struct job_data {
    const char *path;
    rh_chat chat;
} job_data;

static rh_status job(void *data, rh_error *err)
{
    static const char text[] = "abc  <u> abcd <x> \xc3\xa9 12\n\n";
    const job_data *d = data;
    rh_gguf *g = NULL;
    rh_tokenizer *t = NULL;
    rh_tokens k = { 0 };
    size_t begin, end;
    rh_status status;
    if ((status = rh_gguf_open(&g, d->path, err))) goto done;
    if ((status = rh_tokenizer_from_gguf(&t, g, err))) goto done;
    if ((status = rh_tokenize(t, &k, text, sizeof text - 1, true, 0, err))) goto done;
    if (d->chat) status = rh_chat_prompt(t, d->chat, &k, NULL, text, sizeof text - 1, false, &begin, &end, err);
done:
    rh_tokens_free(&k);
    rh_tokenizer_free(t);
    rh_gguf_close(g);
    return status;
}

static void run(void (*make)(tiny_vocab *v), const char *begin, const char *end, rh_chat chat, bool llama3)
{
    static tiny_vocab v;
    scratch s;
    scratch_open(&s);
    make(&v);
    v.chat_template = chat == RH_CHAT_MISTRAL ? "{{ bos_token }}{{ ' [INST] ' + content + ' [/INST]' }}{{ content + eos_token }}"
                                              : "'<|im_start|>system\nab<|im_end|>' <start_of_turn>";
    tiny_add(&v, begin, 3, 0);
    tiny_add(&v, end, 3, 0);
    if (llama3) v.pre = "llama-bpe";
    rh_str bytes = tiny_vocab_bytes(&v);
    job_data d = { scratch_write(&s, "tiny.gguf", bytes.data, bytes.len), chat };
    assert_in_range(alloc_fail_each(job, &d, 500), 10, 5000);
    rh_str_free(&bytes);
    scratch_close(&s);
}

static void byte_level(void **state)
{
    (void)state;
    run(tiny_byte_level, "<|im_start|>", "<|im_end|>", RH_CHAT_CHATML, false);
    run(tiny_byte_level, "<a>", "<b>", RH_CHAT_NONE, true);
}

static void sentencepiece(void **state)
{
    (void)state;
    run(tiny_sentencepiece, "<start_of_turn>", "<end_of_turn>", RH_CHAT_GEMMA, false);
    run(tiny_sentencepiece, "[INST]", "[/INST]", RH_CHAT_MISTRAL, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(byte_level), cmocka_unit_test(sentencepiece) };
    return cmocka_run_group_tests_name("tokenizer without memory", tests, NULL, NULL);
}
