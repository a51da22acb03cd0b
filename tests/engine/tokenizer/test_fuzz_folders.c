/* Folders whose files have bytes changed at random: an error with a message, or a tokenizer that works. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rng.h"
#include "folder_help.h"

static void try_texts(const rh_tokenizer *t)
{
    static const char *const texts[] = { "a  b\r\n12 <mask> don't", "\xc3\xa9 e\xcc\x81 \xf0\x9f\x98\x80<|im_end|>", "" };
    rh_str back = { 0 };
    for (int i = 0; i < 6; i++) {
        rh_tokens k = { 0 };
        rh_error err;
        size_t begin, end;
        const char *text = texts[i / 2];
        if (rh_tokenize(t, &k, text, strlen(text), i % 2, 0, &err) == RH_OK)
            for (size_t j = 0; j < k.n; j++) {
                assert_in_range(k.items[j].id, 0, rh_tokenizer_n_vocab(t) - 1);
                assert_true(k.items[j].start >= 0 && (size_t)k.items[j].end <= strlen(text));
                rh_token_text(t, &back, k.items[j].id, true);
            }
        rh_chat_prompt(t, rh_tokenizer_chat(t), &k, NULL, text, strlen(text), i % 2, &begin, &end, &err);
        rh_tokens_free(&k);
    }
    rh_str_free(&back);
}

/* One to three bytes of one file; now and then it is cut off. In text mostly to characters of JSON. */
static void damage(char *bytes, size_t *n, uint64_t seed, uint64_t *counter, bool text)
{
    static const char marks[] = "{}[]\",:0123456789-e.\\nutf\xc4\xa0 ";
    int changes = 1 + (int)(rh_random_u64(seed, 0, (*counter)++) % 3);
    for (int j = 0; j < changes; j++) {
        uint64_t r = rh_random_u64(seed, 0, (*counter)++);
        char *at = &bytes[(r >> 8) % *n];
        if (r & 1) *at = text ? marks[(r >> 40) % (sizeof marks - 1)] : (char)(r >> 40);
        else *at = (char)(*at ^ 1 << (r >> 1 & 7));
    }
    uint64_t r = rh_random_u64(seed, 0, (*counter)++);
    if (r % 16 == 0) *n -= (r >> 8) % *n;
}

static void fuzz(const char *name, int file, uint64_t seed, int rounds)
{
    scratch s;
    char path[1024], *good, *bytes;
    size_t n_good;
    rh_error err;
    uint64_t counter = 0;
    int n_opened = 0;
    scratch_open(&s);
    copy_folder(&s, name, name);
    snprintf(path, sizeof path, HUB "%s/%s", name, folder_files[file]);
    if (rh_read_file(&good, &n_good, path, 1 << 20, &err)) fail_msg("%s", err.message);
    bytes = malloc(n_good);
    assert_non_null(bytes);
    for (int i = 0; i < rounds; i++) {
        rh_tokenizer *t = NULL;
        size_t n = n_good;
        memcpy(bytes, good, n);
        damage(bytes, &n, seed, &counter, file != 1);
        scratch_write(&s, folder_files[file], bytes, n);
        err = (rh_error){ 0 };
        rh_status status = rh_tokenizer_from_folder(&t, s.dir, 0, &err);
        if (status) {
            assert_true(err.code == status && err.message[0] && !t);
            continue;
        }
        n_opened++;
        if (t) try_texts(t);
        rh_tokenizer_free(t);
    }
    assert_in_range(n_opened, rounds / 50, rounds * 49 / 50); /* both ways are tried */
    free(bytes);
    free(good);
    scratch_close(&s);
}

static void byte_level(void **state)
{
    (void)state;
    fuzz("qwen2", 0, 1, 1500);
    fuzz("smollm2", 0, 2, 1500);
}

static void sentencepiece(void **state)
{
    (void)state;
    fuzz("gemma3", 1, 3, 2000);
    fuzz("llama2", 1, 4, 2000);
    fuzz("llama2-json", 0, 7, 1000);
    fuzz("words-json", 0, 8, 500);
}

static void config(void **state)
{
    (void)state;
    fuzz("gemma3", 2, 5, 1500);
    fuzz("smollm2", 2, 6, 1500);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(byte_level), cmocka_unit_test(sentencepiece), cmocka_unit_test(config) };
    return cmocka_run_group_tests_name("folders of changed bytes", tests, NULL, NULL);
}
