/* The ids of 3,100 strings equal llama-tokenize's, plain and with control tokens; their offsets
 * tile the text; and their texts joined are the text again. The strings and answers are in
 * tests/data/tokenizer, made by tests/generate/tokenizer_strings.py. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "help.h"

/* What the text should come back as: `without` are bytes the vocabulary has no token for, and a
 * literal "▁" is a space to SentencePiece. */
static rh_str expected_text(const char *text, size_t len, const char *without, bool lower_block)
{
    rh_str s = { 0 };
    for (size_t i = 0; i < len; i++) {
        if (lower_block && i + 3 <= len && memcmp(text + i, "\xe2\x96\x81", 3) == 0) {
            rh_str_add(&s, " ", 1);
            i += 2;
        } else if (!text[i] || !strchr(without, text[i])) {
            rh_str_add(&s, text + i, 1);
        }
    }
    return s;
}

static void check_text(const rh_tokenizer *t, const rh_tokens *tokens, const char *text, size_t len,
                       const char *without, int line)
{
    rh_str expected = expected_text(text, len, without, !*without), got = { 0 };
    for (size_t i = 0; i < tokens->n; i++) rh_token_text(t, &got, tokens->items[i].id, true);
    assert_false(expected.failed || got.failed);
    if (got.len != expected.len || (got.len && memcmp(got.data, expected.data, got.len) != 0))
        fail_msg("line %d does not come back: '%s' for '%s'", line, got.len ? got.data : "",
                 expected.len ? expected.data : "");
    rh_str_free(&expected);
    rh_str_free(&got);
}

static void check_line(const rh_tokenizer *t, const char *text, size_t len, const char *expected,
                       bool special, const char *without, int line)
{
    char what[64];
    rh_error err;
    rh_tokens tokens = { 0 };
    snprintf(what, sizeof what, "line %d%s", line, special ? ", special" : "");
    if (rh_tokenize(t, &tokens, text, len, special, 0, &err)) fail_msg("%s: %s", what, err.message);
    char *got = ids_text(&tokens);
    if (strcmp(got, expected) != 0) fail_msg("%s: got %s\nexpected %s", what, got, expected);
    check_tiles(&tokens, len, *without, what);
    check_text(t, &tokens, text, len, without, line);
    free(got);
    rh_tokens_free(&tokens);
}

static void check_model(const char *name, const char *without)
{
    opened o;
    char answers_name[64];
    open_model(&o, name);
    snprintf(answers_name, sizeof answers_name, "%s.ids", name);
    char *strings = read_data("strings.txt"), *answers = read_data(answers_name);
    char *s = strings, *a = answers, *text, *plain;
    int line = 0;
    while ((text = next_line(&s))) {
        line++;
        size_t len = unescape(text);
        assert_non_null(plain = next_line(&a));
        char *special = strchr(plain, '|');
        if (special) *special++ = 0;
        check_line(o.t, text, len, plain, false, without, line);
        check_line(o.t, text, len, special ? special : plain, true, without, line);
    }
    assert_true(line >= 3000);
    assert_null(next_line(&a));
    free(strings);
    free(answers);
    close_model(&o);
}

/* SmolLM2's vocabulary lacks 21 bytes; six of them can stand in a text. */
static void smollm2(void **state)
{
    (void)state;
    check_model("smollm2", "\x04\x06\x13\x14\x16\x1d\xf1\xf2");
}

static void gemma3(void **state)
{
    (void)state;
    check_model("gemma3-270m", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(smollm2), cmocka_unit_test(gemma3) };
    return cmocka_run_group_tests_name("tokenizer goldens", tests, NULL, NULL);
}
