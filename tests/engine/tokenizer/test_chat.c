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
#include "tiny.h"

static char *next_field(char **line)
{
    char *field = *line, *tab = strchr(field, '\t');
    if (tab) {
        *tab = 0;
        *line = tab + 1;
    }
    return field;
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
    check_user_tiles(&k, begin, end, len, what);
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

/* [INST] … [/INST] as the template's own words have it: what it makes of a system text S, and of
 * U, A, V in turn; NULL: the template is not one that Rhumb claims to know. */
#define ROLE(r) "{% if message['role'] == '" r "' %}"
#define USER "{{ '[INST] ' + message['content'] + ' [/INST]' }}"
#define ANSWER "{{ message['content'] + eos_token }}"
static const struct spelling {
    const char *template, *expected;
} spellings[] = {
    { "{{ bos_token }}" ROLE("user") USER "{% else %}" ANSWER "{% endif %}", "<s>[INST] U [/INST]A</s>[INST]  V\n [/INST]" },
    { ROLE("user") "{{bos_token+\"[INST] \"+message.content+\" [/INST]\"}}{% else %}{{ ' ' + message.content | trim + ' ' + eos_token }}{% endif %}",
      "<s>[INST] U [/INST] A </s><s>[INST]  V\n [/INST]" },
    { "{{- bos_token }}\n    {%- if a %}\n  {%- endif %}\n" ROLE("user") "\n        {{- '[INST]' + message['content']|trim + '\\n\\'[/INST]' -}}\n"
      "{% elif x == '}}' %}\n  {%- else %}\n  {# '{{ #}\n   {{- message['content'] + eos_token + ' ' }}\n{%- endif %}\n",
      "<s>[INST]U\n'[/INST]A</s> [INST]V\n'[/INST]" },
    { "{{ bos_token }} " USER ANSWER, NULL },                                     /* a space that it would add */
    { "{{ bos_token }}\n" USER ANSWER, NULL },                                    /* and a newline */
    { "{{ bos_token }}[INST] {{ message['content'] }} [/INST]" ANSWER, NULL },    /* words outside */
    { "{{ bos_token }}{{ '[INST] ' + upper(content) + ' [/INST]' }}" ANSWER, NULL },
    { "{{ bos_token }}{{ '[INST] ' + content | upper + ' [/INST]' }}" ANSWER, NULL },
    { "{{ bos_token }}{{ '[INST] ' }}{{ content }}{{ ' [/INST]' }}" ANSWER, NULL },
    { "{{ bos_token }}" USER "{{ '[INST]' + content + '[/INST]' }}" ANSWER, NULL }, /* which of the two? */
    { "{{ bos_token }}" USER "{{ prefix + content + eos_token }}", NULL },
    { "{{ bos_token }}" USER, NULL },
    { USER ANSWER "{{ bos_token }}", NULL },
    { "{{ bos_token }}{% set system_message = 'Be good.' %}" USER ANSWER, NULL },
    { "{{ bos_token }}{% set content = 'x' + message['content'] %}" USER ANSWER, NULL },
    { "{{ bos_token }}{{ '[SYSTEM_PROMPT]' + system_message + '[/SYSTEM_PROMPT]' }}" USER ANSWER, NULL },
    { "{{ bos_token }}" USER ANSWER "{{ 'x'", NULL },
    { "{{ bos_token", NULL },
    { "[INST] [/INST]", NULL },
};

static void check_spelling(const rh_tokenizer *t, const struct spelling *s)
{
    static const rh_chat_turn before[] = { { false, "U", 1 }, { true, "A", 1 } };
    rh_tokens k = { 0 };
    rh_str text = { 0 };
    rh_error err;
    size_t begin, end;
    if (rh_chat_prompt_after(t, RH_CHAT_MISTRAL, &k, NULL, before, 2, " V\n", 3, false, &begin, &end, &err)) fail_msg("%s: %s", s->template, err.message);
    check_user_tiles(&k, begin, end, 3, s->expected);
    for (size_t i = 0; i < k.n; i++) rh_token_text(t, &text, k.items[i].id, true);
    assert_string_equal(text.data, s->expected);
    rh_str_free(&text);
    rh_tokens_free(&k);
}

static void inst(void **state)
{
    (void)state;
    static tiny_vocab v;
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        const struct spelling *s = &spellings[i];
        rh_gguf *g;
        rh_tokenizer *t;
        rh_error err;
        scratch dir;
        scratch_open(&dir);
        tiny_sentencepiece(&v);
        v.chat_template = s->template;
        v.no_space_prefix = true;
        if (tiny_open(&g, &t, &dir, &v, &err)) fail_msg("%s", err.message);
        if (rh_tokenizer_chat(t) != (s->expected ? RH_CHAT_MISTRAL : RH_CHAT_NONE)) fail_msg("%s is '%s'", s->template, rh_chat_name(rh_tokenizer_chat(t)));
        if (s->expected) check_spelling(t, s);
        rh_tokenizer_free(t);
        rh_gguf_close(g);
        scratch_close(&dir);
    }
}

/* What --chat-template mistral is without a template: by the vocabulary. */
static void inst_of_others(void **state)
{
    (void)state;
    static const struct spelling cases[] = { { "", "<s>[INST] U [/INST]A</s>[INST]  V\n [/INST]" }, { "[INST]", "<s>[INST] U[/INST] A</s>[INST]  V\n[/INST]" },
                                             { "byte-level", "<x>[INST]U[/INST]A<y>[INST] V\n[/INST]" } };
    static tiny_vocab v;
    for (size_t i = 0; i < 3; i++) {
        rh_gguf *g;
        rh_tokenizer *t;
        rh_error err;
        scratch dir;
        scratch_open(&dir);
        (i == 2 ? tiny_byte_level : tiny_sentencepiece)(&v);
        v.no_space_prefix = true;
        if (i == 2) v.bos = 0, v.eos = 1;
        if (i) tiny_add(&v, "[INST]", 3, 0), tiny_add(&v, "[/INST]", 3, 0);
        if (tiny_open(&g, &t, &dir, &v, &err)) fail_msg("%s", err.message);
        assert_int_equal(rh_tokenizer_chat(t), i ? RH_CHAT_MISTRAL : RH_CHAT_NONE);
        check_spelling(t, &cases[i]);
        rh_tokenizer_free(t);
        rh_gguf_close(g);
        scratch_close(&dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none), cmocka_unit_test(llama3), cmocka_unit_test(smollm2),
        cmocka_unit_test(gemma3), cmocka_unit_test(inst), cmocka_unit_test(inst_of_others),
    };
    return cmocka_run_group_tests_name("chat prompts", tests, NULL, NULL);
}
