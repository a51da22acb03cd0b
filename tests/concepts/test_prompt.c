/* Which tokens a source reads, shown in brackets as `explain` shows them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "concepts/help.h"
#include "concepts/pairs.h"
#include "concepts/prompt.h"

typedef struct {
    bool bos;              /* which model */
    rh_at at;
    bool chat;
    const char *prefix, *text; /* marks in the text with at=marked */
    const char *want;      /* NULL: an error */
} position_case;

#define CHAT "<|im_start|>system\\nYou rain<|im_end|>\\n<|im_start|>user\\n"
#define HEAD "<|im_end|>\\n<|im_start|>assistant"

static const position_case positions[] = {
    {false, RH_AT_LAST, false, "", "The mayor of San Francisco", "The mayor of San[ Francisco]"},
    {false, RH_AT_TEXT_LAST, false, "", "The mayor of San Francisco", "The mayor of San[ Francisco]"},
    {false, RH_AT_MEAN, false, "", "The mayor of San Francisco", "The[ mayor of San Francisco]"},
    {false, RH_AT_ALL, false, "", "The mayor of San Francisco", "The[ mayor of San Francisco]"},
    {false, RH_AT_MEAN, false, "", "The", "[The]"}, /* there is no other */
    {false, RH_AT_LAST, false, "", "The", "[The]"},
    {true, RH_AT_LAST, false, "", "The mayor", "<s>The[ mayor]"},
    {true, RH_AT_MEAN, false, "", "The mayor", "<s>[The mayor]"},
    {true, RH_AT_ALL, false, "", "The", "<s>[The]"},
    {false, RH_AT_LAST, true, "", "The rain", CHAT "The rain" HEAD "[\\n]"},
    {false, RH_AT_TEXT_LAST, true, "", "The rain", CHAT "The[ rain]" HEAD "\\n"},
    {false, RH_AT_MEAN, true, "", "The rain", CHAT "[The rain]" HEAD "\\n"},
    {false, RH_AT_MARKED, true, "", "The <<rain>>", CHAT "The[ rain]" HEAD "\\n"},
    {false, RH_AT_MEAN, false, "The mayor of", " San Francisco", "The mayor of[ San Francisco]"},
    {false, RH_AT_MEAN, false, "The mayor of ", "San Francisco", "The mayor of[ San Francisco]"},
    {true, RH_AT_TEXT_LAST, true, "", "x", NULL}, /* no template */
    {false, RH_AT_MEAN, true, "The", " rain", CHAT "The[ rain]" HEAD "\\n"},
    {false, RH_AT_MARKED, false, "", "The <<mayor>> of <<San Francisco>>", "The[ mayor] of[ San Francisco]"},
    {false, RH_AT_MARKED, false, "", "The m<<ay>>or", "The[ mayor]"}, /* overlapping is enough */
    {false, RH_AT_MARKED, false, "The", " <<rain>> of", "The[ rain] of"},
    {false, RH_AT_MARKED, false, "", "<<The rain>> of", "The[ rain] of"}, /* position 0 is left out */
    {false, RH_AT_MARKED, false, "", "<<The>> rain of", "[The] rain of"},
    {true, RH_AT_MARKED, false, "", "<<The>> rain of", "<s>[The] rain of"},
    {false, RH_AT_MEAN, true, "", " ", CHAT "[ ]" HEAD "\\n"}, /* ChatML trims nothing */
};

static rh_status prompt_for(rh_text_prompt *out, const rh_model *m, const position_case *c, rh_error *err)
{
    rh_atom_spec spec = {.at = c->at, .chat = c->chat, .prefix = c->prefix};
    rh_text_row row = {.text = rh_strdup(c->text), .len = strlen(c->text), .positive = true};
    rh_status status = c->at == RH_AT_MARKED ? rh_marks_take(&row, err) : RH_OK;
    if (!status) status = rh_text_prompt_make(out, m, &spec, &row, false, err);
    free(row.text);
    free(row.marks);
    return status;
}

static void test_positions(void **state)
{
    (void)state;
    rh_model *models[2] = {open_model("words.gguf"), open_model("words-bos.gguf")};
    for (size_t i = 0; i < sizeof positions / sizeof *positions; i++) {
        const position_case *c = &positions[i];
        rh_text_prompt p = {0};
        rh_error err = {0};
        char sample[256];
        rh_status status = prompt_for(&p, models[c->bos], c, &err);
        if (!c->want) {
            if (!status) fail_msg("case %zu was read", i);
            assert_true(err.message[0]);
            continue;
        }
        if (status) fail_msg("case %zu: %s", i, err.message);
        assert_int_equal(rh_prompt_sample(sample, sizeof sample, models[c->bos], &p.prompt, p.positions,
                                          p.n_positions, &err), RH_OK);
        if (strcmp(sample, c->want)) fail_msg("case %zu: %s", i, sample);
        rh_text_prompt_free(&p);
    }
    rh_model_free(models[0]);
    rh_model_free(models[1]);
}

/* A long prompt is cut around what is read, between code points. */
static void test_sample_is_cut(void **state)
{
    (void)state;
    rh_model *m = open_model("words.gguf");
    rh_error err = {0};
    for (int n = 0; n < 24; n++) {
        rh_text_prompt p = {0};
        rh_str text = {0};
        for (int i = 0; i < n; i++) rh_str_puts(&text, "é");
        rh_str_puts(&text, "The <<rain>>");
        for (int i = 0; i < 4; i++) rh_str_puts(&text, "é");
        position_case c = {false, RH_AT_MARKED, false, "", text.data, ""};
        assert_int_equal(prompt_for(&p, m, &c, &err), RH_OK);
        for (size_t size = 24; size < 60; size++) {
            char sample[64];
            memset(sample, 'x', sizeof sample);
            assert_int_equal(rh_prompt_sample(sample, size, m, &p.prompt, p.positions, p.n_positions, &err), RH_OK);
            assert_true(strlen(sample) < size);
            assert_int_equal(rh_utf8_valid(sample, strlen(sample)), strlen(sample));
            assert_non_null(strstr(sample, "[ r"));
        }
        rh_text_prompt_free(&p);
        rh_str_free(&text);
    }
    rh_model_free(m);
}

static void check_ids(const rh_model *m, const char *text, rh_prompt_options o, const char *want)
{
    rh_prompt p;
    rh_error err = {0};
    char got[256];
    rh_status status = rh_prompt_make(&p, m, text, strlen(text), &o, &err);
    if (!want) {
        assert_int_not_equal(status, RH_OK);
        return;
    }
    if (status) fail_msg("%s", err.message);
    assert_int_equal(rh_prompt_sample(got, sizeof got, m, &p, NULL, 0, &err), RH_OK);
    assert_string_equal(got, want);
    for (int32_t i = 0; i < p.n; i++) assert_int_equal(p.ids[i], p.tokens[i].id);
    assert_ptr_equal(p.user, text);
    rh_prompt_free(&p);
}

static void test_prompt_options(void **state)
{
    (void)state;
    rh_model *plain = open_model("words.gguf"), *bos = open_model("words-bos.gguf");
    check_ids(plain, "The rain", (rh_prompt_options){0}, "The rain");
    check_ids(plain, "The rain", (rh_prompt_options){.no_bos = true}, "The rain");
    check_ids(plain, "The rain", (rh_prompt_options){.double_bos = true}, NULL);
    check_ids(plain, "", (rh_prompt_options){0}, "");
    check_ids(bos, "The rain", (rh_prompt_options){0}, "<s>The rain");
    check_ids(bos, "The rain", (rh_prompt_options){.no_bos = true}, "The rain");
    check_ids(bos, "The rain", (rh_prompt_options){.double_bos = true}, "<s><s>The rain");
    check_ids(bos, "The rain", (rh_prompt_options){.chat = true}, NULL);
    check_ids(bos, "<s>", (rh_prompt_options){.special = true}, "<s><s>");
    check_ids(plain, "The rain", (rh_prompt_options){.chat = true}, CHAT "The rain" HEAD "\\n");
    /* ChatML's first token is the vocabulary's bos, but not one that a rule added. */
    check_ids(plain, "The rain", (rh_prompt_options){.chat = true, .no_bos = true}, CHAT "The rain" HEAD "\\n");
    check_ids(plain, "The", (rh_prompt_options){.chat = true, .system = "rain"},
              "<|im_start|>system\\nrain<|im_end|>\\n<|im_start|>user\\nThe" HEAD "\\n");
    check_ids(plain, "The", (rh_prompt_options){.chat = true, .system = ""}, "<|im_start|>user\\nThe" HEAD "\\n");
    rh_model_free(plain);
    rh_model_free(bos);
}

static void test_too_long(void **state)
{
    (void)state;
    rh_model *m = open_model("words.gguf");
    rh_text_prompt p = {0};
    rh_error err = {0};
    rh_str text = {0};
    for (int i = 0; i < 65; i++) rh_str_puts(&text, " rain");
    position_case c = {false, RH_AT_LAST, false, "", text.data, ""};
    assert_int_equal(prompt_for(&p, m, &c, &err), RH_ELIMIT);
    assert_non_null(strstr(err.message, "65 tokens"));
    c.text = text.data + 5;
    assert_int_equal(prompt_for(&p, m, &c, &err), RH_OK);
    assert_int_equal(p.prompt.n, 64);
    rh_text_prompt_free(&p);
    rh_str_free(&text);
    rh_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_positions), cmocka_unit_test(test_sample_is_cut),
                                       cmocka_unit_test(test_prompt_options), cmocka_unit_test(test_too_long)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
