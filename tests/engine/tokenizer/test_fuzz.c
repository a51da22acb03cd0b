/* Vocabularies with bytes changed at random, and random texts: an error or a result that holds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rng.h"
#include "base/utf8.h"
#include "help.h"
#include "support/heap_map.h"
#include "tiny.h"

static void try_texts(const rh_tokenizer *t)
{
    static const char *const texts[] = { "abc abcd  <x><u></s> d", "\n\n 12 'll", "\xc3\xa9\xf0\x9f\x98\x80", "" };
    rh_str back = { 0 };
    for (int i = 0; i < 8; i++) {
        rh_tokens k = { 0 };
        rh_error err;
        const char *text = texts[i / 2];
        if (rh_tokenize(t, &k, text, strlen(text), i % 2, 0, &err) == RH_OK)
            for (size_t j = 0; j < k.n; j++) {
                assert_in_range(k.items[j].id, 0, rh_tokenizer_n_vocab(t) - 1);
                rh_token_text(t, &back, k.items[j].id, true);
            }
        size_t begin, end;
        rh_chat_prompt(t, rh_tokenizer_chat(t), &k, NULL, text, strlen(text), i % 2, &begin, &end, &err);
        rh_tokens_free(&k);
    }
    rh_str_free(&back);
}

/* Bytes of a valid file changed at random, mostly one to three: what opens must work. */
static void fuzz(void (*make)(tiny_vocab *v), uint64_t seed, int rounds, int *opened_n)
{
    static tiny_vocab v;
    make(&v);
    v.chat_template = "{{'<|im_start|>system\nx<|im_end|>'}}";
    tiny_add(&v, "<|im_start|>", 3, 0);
    tiny_add(&v, "<|im_end|>", 3, 0);
    rh_str good = tiny_vocab_bytes(&v);
    char *bytes = malloc(good.len);
    assert_non_null(bytes);
    uint64_t counter = 0;
    for (int i = 0; i < rounds; i++) {
        memcpy(bytes, good.data, good.len);
        size_t n = good.len;
        int changes = 1 + (int)(rh_random_u64(seed, 0, counter++) % 3);
        for (int j = 0; j < changes; j++) {
            uint64_t r = rh_random_u64(seed, 0, counter++);
            char *at = &bytes[(r >> 8) % n];
            *at = r & 1 ? (char)(r >> 40) : (char)(*at ^ 1 << (r >> 1 & 7));
        }
        if (i % 10 == 0) n -= rh_random_u64(seed, 0, counter++) % n;
        rh_gguf *g = NULL;
        rh_tokenizer *t = NULL;
        rh_error err = { 0 };
        heap_map_set(bytes, n);
        rh_status status = rh_gguf_open(&g, "fuzz.gguf", &err);
        if (!status) status = rh_tokenizer_from_gguf(&t, g, &err);
        if (status) assert_true(err.code == status && err.message[0]);
        else {
            ++*opened_n;
            try_texts(t);
        }
        rh_tokenizer_free(t);
        rh_gguf_close(g);
    }
    heap_map_set(NULL, 0);
    free(bytes);
    rh_str_free(&good);
}

static void fuzz_byte_level(void **state)
{
    (void)state;
    int n = 0;
    fuzz(tiny_byte_level, 1, 5000, &n);
    assert_in_range(n, 200, 4800); /* both ways are tried */
}

static void fuzz_sentencepiece(void **state)
{
    (void)state;
    int n = 0;
    fuzz(tiny_sentencepiece, 2, 5000, &n);
    assert_in_range(n, 200, 4800);
}

/* Random bytes, mostly valid UTF-8: refused at the first bad byte, else tiled and given back. */
static void fuzz_text(void **state)
{
    (void)state;
    static tiny_vocab v;
    static const char *const parts[] = { "a", "b", "c", "d", " ", "  ", "\n", "<", "x>", "<u>", "'", "ll", "1",
                                         "\xc3\xa9", "\xe2\x96\x81", "\xf0\x9f\x98\x80", "\xef\xbf\xbd" };
    scratch s;
    rh_gguf *g;
    rh_tokenizer *t;
    rh_error err;
    scratch_open(&s);
    tiny_byte_level(&v);
    if (tiny_open(&g, &t, &s, &v, &err)) fail_msg("%s", err.message);
    int n_bad = 0;
    for (uint64_t i = 0; i < 3000; i++) {
        rh_str text = { 0 }, back = { 0 };
        rh_tokens k = { 0 };
        rh_str_puts(&text, "");
        for (uint64_t j = 0, n = rh_random_u64(3, i, 0) % 24; j < n; j++) {
            uint64_t r = rh_random_u64(3, i, 1 + j);
            if (r % 128 == 0) rh_str_add(&text, &(char){ (char)(r >> 32) }, 1);
            else
                rh_str_puts(&text, parts[(r >> 8) % (sizeof parts / sizeof *parts)]);
        }
        size_t valid = rh_utf8_valid(text.data, text.len);
        rh_status status = rh_tokenize(t, &k, text.data, text.len, i % 2, 0, &err);
        if (valid < text.len) {
            char where[64];
            snprintf(where, sizeof where, "at offset %zu", valid);
            assert_int_equal(status, RH_EVALUE);
            assert_non_null(strstr(err.message, where));
            n_bad++;
        } else {
            assert_int_equal(status, RH_OK);
            check_tiles(&k, text.len, false, text.data);
            for (size_t j = 0; j < k.n; j++) rh_token_text(t, &back, k.items[j].id, true);
            assert_int_equal(back.len, text.len);
            if (text.len) assert_memory_equal(back.data, text.data, text.len);
        }
        rh_tokens_free(&k);
        rh_str_free(&text);
        rh_str_free(&back);
    }
    assert_in_range(n_bad, 50, 1000);
    rh_tokenizer_free(t);
    rh_gguf_close(g);
    scratch_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fuzz_byte_level), cmocka_unit_test(fuzz_sentencepiece),
        cmocka_unit_test(fuzz_text),
    };
    return cmocka_run_group_tests_name("tokenizer fuzz", tests, NULL, NULL);
}
