/* The ids of 3,100 strings equal llama-tokenize's, plain and with control tokens; their offsets
 * tile the text; and their texts joined are the text again. Some of the strings also with small
 * vocabularies, one for each pre-tokenizer and for SentencePiece's space in front. All in
 * tests/data/tokenizer, made by tests/generate/tokenizer_strings.py and tokenizer_tiny.py. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "help.h"

typedef struct golden {
    const char *name;
    const char *without; /* bytes the vocabulary has no token for */
    bool lower_block;    /* SentencePiece: a literal "▁" comes back as a space, */
    bool spaced;         /* and pieces of text with one in front */
    bool few;            /* answers for the first 80 strings and every twelfth after */
} golden;

static rh_str expected_text(const golden *g, const char *text, size_t len)
{
    rh_str s = { 0 };
    for (size_t i = 0; i < len; i++) {
        if (g->lower_block && i + 3 <= len && memcmp(text + i, "\xe2\x96\x81", 3) == 0) {
            rh_str_add(&s, " ", 1);
            i += 2;
        } else if (!text[i] || !strchr(g->without, text[i])) {
            rh_str_add(&s, text + i, 1);
        }
    }
    return s;
}

static void check_text(const golden *g, const rh_tokenizer *t, const rh_tokens *tokens,
                       const char *text, size_t len, int line)
{
    rh_str expected = expected_text(g, text, len), got = { 0 };
    for (size_t i = 0; i < tokens->n; i++) rh_token_text(t, &got, tokens->items[i].id, true);
    assert_false(expected.failed || got.failed);
    if (got.len != expected.len || (got.len && memcmp(got.data, expected.data, got.len) != 0))
        fail_msg("line %d does not come back: '%s' for '%s'", line, got.len ? got.data : "",
                 expected.len ? expected.data : "");
    rh_str_free(&expected);
    rh_str_free(&got);
}

static void check_line(const golden *g, const rh_tokenizer *t, const char *text, size_t len,
                       const char *expected, bool special, int line)
{
    char what[64];
    rh_error err;
    rh_tokens tokens = { 0 };
    snprintf(what, sizeof what, "line %d%s", line, special ? ", special" : "");
    if (rh_tokenize(t, &tokens, text, len, special, 0, &err)) fail_msg("%s: %s", what, err.message);
    char *got = ids_text(&tokens);
    if (strcmp(got, expected) != 0) fail_msg("%s: got %s\nexpected %s", what, got, expected);
    if (!g->spaced) {
        check_tiles(&tokens, len, *g->without, what);
        check_text(g, t, &tokens, text, len, line);
    }
    free(got);
    rh_tokens_free(&tokens);
}

static void check_all(const golden *g, const rh_tokenizer *t)
{
    char answers_name[64];
    snprintf(answers_name, sizeof answers_name, "%s.ids", g->name);
    char *strings = read_data("strings.txt"), *answers = read_data(answers_name);
    char *s = strings, *a = answers, *text, *plain;
    int n_lines = 0, n = 0;
    for (; (text = next_line(&s)); n_lines++) {
        if (g->few && n_lines >= 80 && n_lines % 12) continue;
        n++;
        size_t len = unescape(text);
        assert_non_null(plain = next_line(&a));
        char *special = strchr(plain, '|');
        if (special) *special++ = 0;
        check_line(g, t, text, len, plain, false, n_lines + 1);
        check_line(g, t, text, len, special ? special : plain, true, n_lines + 1);
    }
    assert_true(n >= (g->few ? 300 : 3000));
    assert_null(next_line(&a));
    free(strings);
    free(answers);
}

static void check_model(const golden *g)
{
    opened o;
    open_model(&o, g->name);
    check_all(g, o.t);
    close_model(&o);
}

/* SmolLM2's vocabulary lacks 21 bytes; six of them can stand in a text. */
static void smollm2(void **state)
{
    (void)state;
    check_model(&(golden){ .name = "smollm2", .without = "\x04\x06\x13\x14\x16\x1d\xf1\xf2" });
}

static void gemma3(void **state)
{
    (void)state;
    check_model(&(golden){ .name = "gemma3-270m", .without = "", .lower_block = true });
}

static void tiny(void **state)
{
    (void)state;
    static const golden goldens[] = {
        { "tiny-gpt-2", "", false, false, true },     { "tiny-smollm", "", false, false, true },
        { "tiny-llama-bpe", "", false, false, true }, { "tiny-qwen2", "", false, false, true },
        { "tiny-default", "", false, false, true },   { "tiny-spaced", "", true, true, true },
    };
    for (size_t i = 0; i < sizeof goldens / sizeof *goldens; i++) {
        char path[1024];
        opened o;
        print_message("%s\n", goldens[i].name);
        snprintf(path, sizeof path, "%s/tokenizer/%s.gguf", RH_TEST_DATA, goldens[i].name);
        open_file(&o, path);
        check_all(&goldens[i], o.t);
        close_model(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiny), cmocka_unit_test(smollm2), cmocka_unit_test(gemma3),
    };
    return cmocka_run_group_tests_name("tokenizer goldens", tests, NULL, NULL);
}
