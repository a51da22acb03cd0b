/* Opening a folder, tokenizing and a chat prompt with each allocation failing in turn. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "folder_help.h"
#include "support/alloc_fail.h"

static rh_status job(void *data, rh_error *err)
{
    static const char text[] = "a<mask> e\xcc\x81 12<sep>\n\n";
    rh_tokenizer *t = NULL;
    rh_tokens k = { 0 };
    size_t begin, end;
    rh_status status = rh_tokenizer_from_folder(&t, ((scratch *)data)->dir, 0, err);
    if (!status) status = rh_tokenize(t, &k, text, sizeof text - 1, true, 0, err);
    if (!status && rh_tokenizer_chat(t))
        status = rh_chat_prompt(t, rh_tokenizer_chat(t), &k, NULL, text, sizeof text - 1, false, &begin, &end, err);
    rh_tokens_free(&k);
    rh_tokenizer_free(t);
    return status;
}

/* A folder of few tokens: what is read once for each is not worth a failure of its own. */
static void run(const char *json, const char *config)
{
    scratch s;
    scratch_open(&s);
    scratch_write(&s, "tokenizer.json", json, strlen(json));
    scratch_write(&s, "tokenizer_config.json", config, strlen(config));
    assert_in_range(alloc_fail_each(job, &s, 3000), 50, 3000);
    scratch_close(&s);
}

static void byte_level(void **state)
{
    (void)state;
    run("{\"normalizer\": {\"type\": \"NFC\"}, \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": ["
        "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"\\\\p{N}\"}, \"behavior\": \"Isolated\"}, {\"type\": \"ByteLevel\"}]}, "
        "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<b>\"}}, {\"Sequence\": {}}]}, "
        "\"added_tokens\": [{\"id\": 6, \"content\": \"<b>\", \"special\": true}, {\"id\": 7, \"content\": \"<mask>\", \"lstrip\": true},"
        "{\"id\": 8, \"content\": \"<|im_start|>\"}, {\"id\": 9, \"content\": \"<|im_end|>\"}], "
        "\"model\": {\"type\": \"BPE\", \"unk_token\": \"<u>\", \"vocab\": {\"<u>\": 0, \"a\": 1, \"1\": 2, \"2\": 3, \"12\": 4}, "
        "\"merges\": [\"1 2\"]}}",
        "{\"bos_token\": \"<b>\", \"chat_template\": \"<|im_start|>\"}");
}

static void characters(void **state)
{
    (void)state;
    run("{\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": \"\xe2\x96\x81\"}, "
        "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\xe2\x96\x81\"}]}, \"added_tokens\": ["
        "{\"id\": 0, \"content\": \"<u>\", \"special\": true}, {\"id\": 5, \"content\": \"<mask>\", \"lstrip\": true}], "
        "\"model\": {\"type\": \"BPE\", \"unk_token\": \"<u>\", \"byte_fallback\": true, \"vocab\": {\"<u>\": 0, \"\xe2\x96\x81\": 1, "
        "\"1\": 2, \"2\": 3, \"12\": 4, \"<0x0A>\": 6, \"\xe2\x96\x81\x31\x32\": 7}, \"merges\": [[\"1\", \"2\"], [\"\xe2\x96\x81\", \"12\"]]}}",
        "{\"chat_template\": \"{{ bos_token }}{{ '[INST] ' + content + ' [/INST]' }}{{ content + eos_token }}\"}");
}

static void sentencepiece(void **state)
{
    (void)state;
    scratch s;
    scratch_open(&s);
    copy_folder(&s, "gemma3", "gemma3");
    assert_in_range(alloc_fail_each(job, &s, 6000), 50, 6000);
    scratch_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(byte_level), cmocka_unit_test(characters), cmocka_unit_test(sentencepiece) };
    return cmocka_run_group_tests_name("folders without memory", tests, NULL, NULL);
}
