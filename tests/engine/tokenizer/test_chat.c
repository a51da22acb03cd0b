/* Chat prompts equal what the models' Jinja templates render, as ids, with control tokens in the
 * user's and the system's text as text and as tokens (tests/generate/tokenizer_chat.py); the
 * offsets point into the user's own text. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "help.h"

static char *next_field(char **line)
{
    char *field = *line, *tab = strchr(field, '\t');
    if (tab) {
        *tab = 0;
        *line = tab + 1;
    }
    return field;
}

/* The user's tokens tile a part of his text; the others cover nothing. */
static void check_offsets(const rh_tokens *k, size_t begin, size_t end, size_t len, const char *what)
{
    int32_t at = -1;
    assert_true(begin <= end && end <= k->n);
    for (size_t i = 0; i < k->n; i++) {
        rh_token x = k->items[i];
        if (i < begin || i >= end) {
            if (x.start != x.end) fail_msg("%s: token %zu is the template's, but covers text", what, i);
            continue;
        }
        if (x.end <= x.start || (at >= 0 && x.start != at) || (size_t)x.end > len)
            fail_msg("%s: token %zu is [%d, %d) after %d", what, i, x.start, x.end, at);
        at = x.end;
    }
}

static void check_prompt(const rh_tokenizer *t, const char *system, const char *user, size_t len,
                         bool special, const char *expected, const char *what)
{
    rh_error err;
    rh_tokens k = { 0 };
    size_t begin, end;
    if (rh_chat_prompt(t, rh_tokenizer_chat(t), &k, system, user, len, special, &begin, &end, &err))
        fail_msg("%s: %s", what, err.message);
    char *got = ids_text(&k);
    if (strcmp(got, expected) != 0) fail_msg("%s: got %s\nexpected %s", what, got, expected);
    check_offsets(&k, begin, end, len, what);
    free(got);
    rh_tokens_free(&k);
}

static void check_answers(const rh_tokenizer *t, const char *name)
{
    char file[64], what[96];
    snprintf(file, sizeof file, "%s.chat", name);
    char *data = read_data(file), *at = data, *line;
    int n = 0;
    while ((line = next_line(&at))) {
        char *system = next_field(&line), *user = next_field(&line), *plain = next_field(&line);
        if (strcmp(system, "-") == 0) system = NULL;
        else
            system[unescape(system)] = 0;
        size_t len = unescape(user);
        snprintf(what, sizeof what, "%s line %d", file, ++n);
        check_prompt(t, system, user, len, false, plain, what);
        check_prompt(t, system, user, len, true, line, what);
    }
    assert_true(n > 60);
    free(data);
}

static void real(const char *name, const char *chat)
{
    opened o;
    open_model(&o, name);
    assert_string_equal(rh_chat_name(rh_tokenizer_chat(o.t)), chat);
    check_answers(o.t, name);
    close_model(&o);
}

static void smollm2(void **state)
{
    (void)state;
    real("smollm2", "chatml");
}

static void gemma3(void **state)
{
    (void)state;
    real("gemma3-270m", "gemma");
}

static void llama3(void **state)
{
    (void)state;
    opened o;
    open_file(&o, RH_TEST_DATA "/tokenizer/tiny-llama-bpe.gguf");
    assert_string_equal(rh_chat_name(rh_tokenizer_chat(o.t)), "llama3");
    check_answers(o.t, "tiny-llama-bpe");
    int32_t stops[8];
    assert_int_equal(rh_chat_stops(o.t, RH_CHAT_LLAMA3, stops), 3);
    assert_int_equal(stops[0], rh_tokenizer_eos(o.t));
    assert_int_equal(stops[1], rh_tokenizer_find(o.t, "<|eot_id|>"));
    close_model(&o);
}

static void none(void **state)
{
    (void)state;
    opened o;
    rh_error err;
    rh_tokens k = { 0 };
    size_t begin, end;
    open_file(&o, RH_TEST_DATA "/tokenizer/tiny-spaced.gguf");
    assert_int_equal(rh_tokenizer_chat(o.t), RH_CHAT_NONE);
    assert_int_equal(rh_chat_prompt(o.t, RH_CHAT_NONE, &k, NULL, "x", 1, false, &begin, &end, &err),
                     RH_EUNSUPPORTED);
    assert_true(err.hint[0] != 0);
    assert_int_equal(rh_chat_prompt(o.t, RH_CHAT_GEMMA, &k, NULL, "x", 1, false, &begin, &end, &err),
                     RH_EFORMAT);
    assert_int_equal(k.n, 0);
    close_model(&o);
    rh_tokens_free(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none), cmocka_unit_test(llama3), cmocka_unit_test(smollm2),
        cmocka_unit_test(gemma3),
    };
    return cmocka_run_group_tests_name("chat prompts", tests, NULL, NULL);
}
