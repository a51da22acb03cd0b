/* What tokenizer.h promises, on vocabularies small enough to see through. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <time.h>

#include "help.h"
#include "tiny.h"

typedef struct fixture {
    scratch s;
    tiny_vocab v;
    rh_gguf *g;
    rh_tokenizer *t;
} fixture;

static void begin(fixture *f, void (*make)(tiny_vocab *v))
{
    scratch_open(&f->s);
    make(&f->v);
}

static void open_it(fixture *f)
{
    rh_error err;
    if (tiny_open(&f->g, &f->t, &f->s, &f->v, &err)) fail_msg("%s", err.message);
}

static void end(fixture *f)
{
    rh_tokenizer_free(f->t);
    rh_gguf_close(f->g);
    scratch_close(&f->s);
}

/* "ab[0,2) c[2,3)": every token with its piece and bytes. */
static char *shown(const rh_tokenizer *t, const rh_tokens *k)
{
    rh_str s = { 0 };
    rh_str_puts(&s, "");
    for (size_t i = 0; i < k->n; i++) {
        rh_bytes p = rh_token_piece(t, k->items[i].id);
        rh_str_printf(&s, "%s%.*s[%d,%d)", i ? " " : "", (int)p.len, p.data, k->items[i].start,
                      k->items[i].end);
    }
    return s.data;
}

typedef struct example {
    const char *text;
    bool special;
    const char *expected;
} example;

static void check_examples(const rh_tokenizer *t, const example *e, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        rh_tokens k = { 0 };
        rh_error err;
        if (rh_tokenize(t, &k, e[i].text, strlen(e[i].text), e[i].special, 0, &err)) fail_msg("%s", err.message);
        char *got = shown(t, &k);
        assert_string_equal(got, e[i].expected);
        free(got);
        rh_tokens_free(&k);
    }
}

static void byte_level(void **state)
{
    (void)state;
    static fixture f;
    static const example examples[] = {
        { "", false, "" },
        { "abcd", false, "abc[0,3) d[3,4)" },    /* a b before c d, by rank */
        { "bcd", false, "b[0,1) cd[1,3)" },
        { "ababab", false, "ab[0,2) ab[2,4) ab[4,6)" },
        { "a<x>b", false, "a[0,1) <[1,2) x[2,3) >[3,4) b[4,5)" },
        { "a<x>b", true, "a[0,1) <x>[1,4) b[4,5)" },
        { "<u><y>", false, "<u>[0,3) <[3,4) y[4,5) >[5,6)" }, /* user-defined ones always */
        { "<<x>>", true, "<[0,1) <x>[1,4) >[4,5)" },
        { "<<x>x>", true, "<[0,1) <x>[1,4) x[4,5) >[5,6)" },
        { "   a", false, "  [0,2) \xc4\xa0[2,3) a[3,4)" },
        { "\xc3\xa9", false, "\xc3\x83[0,1) \xc2\xa9[1,2)" },
        { "ab'sc", false, "ab[0,2) '[2,3) s[3,4) c[4,5)" },
    };
    begin(&f, tiny_byte_level);
    open_it(&f);
    check_examples(f.t, examples, sizeof examples / sizeof *examples);
    end(&f);
}

static void sentencepiece(void **state)
{
    (void)state;
    static fixture f;
    static const example examples[] = {
        { "", false, "" },
        { "abc", false, "\xe2\x96\x81" "a[0,1) b[1,2) c[2,3)" }, /* a space in front, of no bytes */
        { "cab", false, "\xe2\x96\x81[0,0) c[0,1) ab[1,3)" },
        { "c\xc3\xa9", false, "\xe2\x96\x81[0,0) c[0,1) <0xC3>[1,2) <0xA9>[2,3)" },
        { "<s>", true, "<s>[0,3)" },
        { "a<u>b", false, "\xe2\x96\x81" "a[0,1) <u>[1,4) \xe2\x96\x81[4,4) b[4,5)" },
        { "\xf0\x9f\x98\x80\xc3\xa9", false, "\xe2\x96\x81[0,0) <0xF0>[0,1) <0x9F>[1,2) <0x98>[2,3) "
          "<0x80>[3,4) <0xC3>[4,5) <0xA9>[5,6)" },
    };
    begin(&f, tiny_sentencepiece);
    open_it(&f);
    check_examples(f.t, examples, sizeof examples / sizeof *examples);
    assert_true(rh_tokenizer_adds_bos(f.t));
    end(&f);
}

static void ids_and_pieces(void **state)
{
    (void)state;
    static fixture f;
    rh_str s = { 0 };
    begin(&f, tiny_byte_level);
    open_it(&f);
    assert_int_equal(rh_tokenizer_n_vocab(f.t), 263);
    assert_int_equal(rh_tokenizer_bos(f.t), 0);
    assert_int_equal(rh_tokenizer_eos(f.t), 1);
    assert_false(rh_tokenizer_adds_bos(f.t));
    assert_int_equal(rh_tokenizer_find(f.t, "<u>"), 2);
    assert_int_equal(rh_tokenizer_find(f.t, "abc"), 261);
    assert_int_equal(rh_tokenizer_find(f.t, "abcd"), -1);
    assert_int_equal(rh_tokenizer_find(f.t, ""), -1);
    assert_true(rh_token_is_control(f.t, 0));
    assert_false(rh_token_is_control(f.t, 2));
    assert_false(rh_token_is_control(f.t, -1));
    assert_false(rh_token_is_control(f.t, 263));
    assert_int_equal(rh_token_piece(f.t, 263).len, 0);
    rh_token_text(f.t, &s, 0, false); /* nothing */
    rh_token_text(f.t, &s, -1, true);
    rh_token_text(f.t, &s, 1 << 30, true);
    assert_int_equal(s.len, 0);
    rh_token_text(f.t, &s, 0, true);
    rh_token_text(f.t, &s, 2, false);
    rh_token_text(f.t, &s, rh_tokenizer_find(f.t, "\xc4\xa0"), false);
    assert_string_equal(s.data, "<x><u> ");
    rh_str_free(&s);
    end(&f);
    begin(&f, tiny_sentencepiece);
    open_it(&f);
    assert_int_equal(rh_tokenizer_find(f.t, "ab"), 265);
    assert_int_equal(rh_tokenizer_find(f.t, "<unk>"), 0);
    assert_int_equal(rh_tokenizer_find(f.t, "nothing"), -1);
    rh_token_text(f.t, &s, rh_tokenizer_find(f.t, "\xe2\x96\x81" "a"), false);
    rh_token_text(f.t, &s, 3 + 0x41, false);
    assert_string_equal(s.data, " aA");
    rh_str_free(&s);
    end(&f);
}

/* Appends; offsets count from base; a failure leaves what was there. */
static void appending(void **state)
{
    (void)state;
    static fixture f;
    rh_tokens k = { 0 };
    rh_error err;
    begin(&f, tiny_byte_level);
    open_it(&f);
    assert_int_equal(rh_tokens_push(&k, (rh_token){ 7, 0, 0 }, &err), RH_OK);
    assert_int_equal(rh_tokenize(f.t, &k, "ab<u>c", 6, false, 100, &err), RH_OK);
    char *got = shown(f.t, &k);
    assert_non_null(strstr(got, " ab[100,102) <u>[102,105) c[105,106)"));
    free(got);
    assert_int_equal(rh_tokenize(f.t, &k, "ab\xc3", 3, false, 0, &err), RH_EVALUE);
    assert_non_null(strstr(err.message, "0xc3 at offset 2"));
    assert_int_equal(rh_tokenize(f.t, &k, "ab", 2, false, INT32_MAX - 1, &err), RH_ELIMIT);
    assert_int_equal(rh_tokenize(f.t, &k, "ab", SIZE_MAX, false, 0, &err), RH_ELIMIT);
    assert_int_equal(rh_tokenize(f.t, &k, NULL, 0, true, 0, &err), RH_OK);
    assert_int_equal(k.n, 4);
    rh_tokens_free(&k);
    end(&f);
}

/* A hundred thousand letters with no word boundary: a quadratic merge would take minutes. */
static void long_words(void **state)
{
    (void)state;
    static fixture f;
    static const char *const units[] = { "a", "ab", "abcd", " ", "\n", "<", "  ", "\xc3\xa9", "7" };
    void (*const makes[])(tiny_vocab *) = { tiny_byte_level, tiny_sentencepiece };
    for (int m = 0; m < 2; m++) {
        begin(&f, makes[m]);
        open_it(&f);
        for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
            rh_str s = { 0 };
            rh_tokens k = { 0 };
            rh_error err;
            while (s.len < 100000) rh_str_puts(&s, units[i]);
            clock_t from = clock();
            assert_int_equal(rh_tokenize(f.t, &k, s.data, s.len, true, 0, &err), RH_OK);
            assert_true(clock() - from < 5 * CLOCKS_PER_SEC);
            if (m == 0) check_tiles(&k, s.len, false, units[i]);
            assert_true(k.n > 1000);
            rh_tokens_free(&k);
            rh_str_free(&s);
        }
        end(&f);
    }
}

/* The text a chat prompt becomes, control tokens spelled. */
static char *prompt_text(const rh_tokenizer *t, const char *system, const char *user)
{
    rh_tokens k = { 0 };
    rh_str s = { 0 };
    rh_error err;
    size_t from, to;
    if (rh_chat_prompt(t, rh_tokenizer_chat(t), &k, system, user, strlen(user), false, &from, &to, &err))
        fail_msg("%s", err.message);
    for (size_t i = 0; i < k.n; i++) rh_token_text(t, &s, k.items[i].id, true);
    rh_tokens_free(&k);
    return s.data;
}

#define TURNS "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n"
#define SYSTEM(text) "<|im_start|>system\n" text "<|im_end|>\n" TURNS
/* The default system text is the template's own, whatever its quotes and escapes. */
static const struct default_case {
    const char *template, *expected;
} defaults[] = {
    { "{{ '<|im_start|>system\nBe good<|im_end|>\n' }}", SYSTEM("Be good") },
    { "{{- '<|im_start|>system\\nBe good.<|im_end|>\\n' }}", SYSTEM("Be good.") },
    { "{{- \"<|im_start|>system\\nIt's \\\"so\\\"\\n2<|im_end|>\" }}", SYSTEM("It's \"so\"\n2") },
    { "{{- '<|im_start|>system\\nIt\\'s<|im_end|>' }}", SYSTEM("It's") },
    { "{{'<|im_start|>system\\n' + m.content + '<|im_end|>'}}{{'<|im_start|>system\\nTwo<|im_end|>'}}",
      SYSTEM("Two") },
    { "<|im_start|>system\nRaw's<|im_end|>{{ x }}", SYSTEM("Raw's") },
    { "<|im_start|>system\n{{ m.content }}<|im_end|>", TURNS },
    { "{{'<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>'}}", TURNS },
    { "{{'<|im_start|>system\\nnever ends'}}", TURNS },
    { "<|im_start|>system", TURNS },
};

static void default_system(void **state)
{
    (void)state;
    static fixture f;
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) {
        begin(&f, tiny_byte_level);
        f.v.chat_template = defaults[i].template;
        tiny_add(&f.v, "<|im_start|>", 3, 0);
        tiny_add(&f.v, "<|im_end|>", 3, 0);
        open_it(&f);
        char *got = prompt_text(f.t, NULL, "q");
        assert_string_equal(got, defaults[i].expected);
        free(got);
        got = prompt_text(f.t, "", "q"); /* none, asked for */
        assert_string_equal(got, TURNS);
        free(got);
        got = prompt_text(f.t, "mine", "q");
        assert_string_equal(got, SYSTEM("mine"));
        free(got);
        end(&f);
    }
}

/* Templates of other members of the families. */
static void families(void **state)
{
    (void)state;
    static fixture f;
    rh_tokens k = { 0 };
    rh_error err;
    size_t from, to;
    begin(&f, tiny_byte_level);
    f.v.chat_template = "{{ bos_token }}<start_of_turn> raise_exception('System role not supported')";
    tiny_add(&f.v, "<start_of_turn>", 3, 0);
    tiny_add(&f.v, "<end_of_turn>", 3, 0);
    tiny_add(&f.v, "<|im_start|>", 3, 0); /* in the vocabulary, but the template decides */
    tiny_add(&f.v, "<|im_end|>", 3, 0);
    open_it(&f);
    assert_int_equal(rh_tokenizer_chat(f.t), RH_CHAT_GEMMA);
    assert_int_equal(rh_chat_prompt(f.t, RH_CHAT_GEMMA, &k, "s", "q", 1, false, &from, &to, &err),
                     RH_EUNSUPPORTED);
    char *got = prompt_text(f.t, NULL, "\t q \n");
    assert_string_equal(got, "<x><start_of_turn>user\nq<end_of_turn>\n<start_of_turn>model\n");
    free(got);
    end(&f);

    /* ChatML that has BOS and trims; Gemma's words for the same model, asked for; and Phi-4's turns. */
    begin(&f, tiny_byte_level);
    f.v.chat_template = "{{ bos_token }}{{'<|im_start|>' + m['role'] + '\n' + m['content'] | trim + '<|im_end|>\n'}}";
    tiny_add(&f.v, "<|im_start|>", 3, 0);
    tiny_add(&f.v, "<|im_end|>", 3, 0);
    tiny_add(&f.v, "<start_of_turn>", 3, 0);
    tiny_add(&f.v, "<end_of_turn>", 3, 0);
    open_it(&f);
    got = prompt_text(f.t, " s\n", " q\n");
    assert_string_equal(got, "<x><|im_start|>system\ns<|im_end|>\n<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n");
    free(got);
    assert_int_equal(rh_chat_prompt(f.t, RH_CHAT_GEMMA, &k, NULL, "q", 1, false, &from, &to, &err), RH_OK);
    assert_int_equal(k.items[0].id, rh_tokenizer_bos(f.t));
    rh_tokens_free(&k);
    end(&f);

    begin(&f, tiny_byte_level);
    f.v.chat_template = "<|im_start|>user<|im_sep|>";
    tiny_add(&f.v, "<|im_start|>", 3, 0);
    tiny_add(&f.v, "<|im_end|>", 3, 0);
    open_it(&f);
    assert_int_equal(rh_tokenizer_chat(f.t), RH_CHAT_NONE);
    end(&f);

    begin(&f, tiny_byte_level);
    f.v.chat_template = "{{ bos_token }}<|start_header_id|> Cutting Knowledge Date: December 2023";
    tiny_add(&f.v, "<|start_header_id|>", 3, 0);
    tiny_add(&f.v, "<|end_header_id|>", 3, 0);
    tiny_add(&f.v, "<|eot_id|>", 3, 0);
    open_it(&f);
    got = prompt_text(f.t, NULL, "q");
    assert_string_equal(got, "<x><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: "
                        "December 2023\nToday Date: 26 Jul 2024\n\n<|eot_id|><|start_header_id|>user"
                        "<|end_header_id|>\n\nq<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n");
    free(got);
    assert_int_equal(rh_chat_prompt(f.t, RH_CHAT_LLAMA3, &k, NULL, "ab\xff", 3, false, &from, &to, &err),
                     RH_EVALUE);
    assert_non_null(strstr(err.message, "at offset 2"));
    assert_int_equal(k.n, 0);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(byte_level), cmocka_unit_test(sentencepiece), cmocka_unit_test(ids_and_pieces),
        cmocka_unit_test(appending), cmocka_unit_test(long_words), cmocka_unit_test(default_system),
        cmocka_unit_test(families),
    };
    return cmocka_run_group_tests_name("tokenizer", tests, NULL, NULL);
}
