/* Token by token: numbers beside dots, names, strings, line starts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "dsl/lexer.h"
#include "dsl/number.h"
#include "dsl/words.h"

/* A letter a token: n name, i integer, f other number, s string, ; and newline as ; and |, others
 * as themselves, : for "..", l g for "<=" ">=", ! for a bad one. */
static char letter(const rh_source *s, const rh_lexeme *t)
{
    switch (t->kind) {
    case RH_TOK_NAME: return 'n';
    case RH_TOK_NUMBER: return t->integer ? 'i' : 'f';
    case RH_TOK_STRING: return 's';
    case RH_TOK_NEWLINE: return '|';
    case RH_TOK_DOTDOT: return ':';
    case RH_TOK_LESS_EQUAL: return 'l';
    case RH_TOK_GREATER_EQUAL: return 'g';
    case RH_TOK_BAD: return '!';
    default: return s->text[t->start];
    }
}

static const struct { const char *text, *tokens; } CASES[] = {
    {"", ""},
    {"14..18", "i:i"}, {"14 .. 18", "i:i"}, {"14..", "i:"}, {"..5", ":i"}, {".5", "f"}, {"1.5", "f"}, {"1.", "i."}, {"1..5", "i:i"},
    {"1...5", "i:f"}, {"20.resid_pre", "i.n"}, {"20. 5", "i.i"}, {"1.5.5", "ff"}, {"1e5", "f"}, {"1E+5", "f"}, {"1e-5", "f"},
    {"1e", "!"}, {"1e+", "!+"}, {"1ex", "!"}, {"1.5x", "!"}, {"2é", "!"}, {"2_", "!"}, {"0x10", "!"}, {"12 34", "ii"}, {"1.e5", "i.n"},
    {"a.b", "n.n"}, {"a..b", "n:n"}, {"a1", "n"}, {"_x", "n"}, {"東京2", "n"}, {"u\xcc\x88", "n"}, {"\xcc\x88u", "!n"}, {"x\xd9\xa3", "n"},
    {"\xd9\xa3", "!"}, {"a-b", "n-n"}, {"let x=3;y", "nn=i;n"}, {"\"a\\\"b\"", "s"}, {"\"\"", "s"}, {"\"#\" # \"", "s"}, {"\"a\nb\"", "!|n!"},
    {"\"\\x\" a", "!n"}, {"\"\\x\n a", "!|n"}, {"\"\xff\" a", "!n"}, {"# \xff\na", "!|n"}, {"a\r\nb", "n|n"}, {"a\rb", "n!n"}, {"a\r", "n"},
    {"<= >= < >", "lg<>"}, {"(+)[-],=@*/", "(+)[-],=@*/"}, {"\xef\xbb\xbf" "a", "n"}, {"a\xef\xbb\xbf", "n!"}, {"$", "!"}, {"'a'", "!n!"},
    {"\"\t\"", "s"}, {"\"\x7f\"", "!"}, {"\xf4\x90\x80\x80", "!!!!"},
};

static void tokens(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        rh_source s = {"t", CASES[i].text, strlen(CASES[i].text)};
        rh_lexer l;
        rh_lexeme t;
        char got[64];
        size_t n = 0;
        rh_lexer_init(&l, &s);
        while ((t = rh_lex(&l)).kind != RH_TOK_END && n < 63) {
            assert_true(t.start < t.end && t.end <= s.len);
            got[n++] = letter(&s, &t);
        }
        got[n] = '\0';
        if (strcmp(got, CASES[i].tokens) != 0) fail_msg("'%s': %s, not %s", CASES[i].text, got, CASES[i].tokens);
    }
}

static void line_starts(void **state)
{
    (void)state;
    rh_source s = {"t", "a b\n  c # d\n\n e;f", 18};
    rh_lexer l;
    rh_lexeme t;
    char got[32];
    size_t n = 0;
    s.len = strlen(s.text);
    rh_lexer_init(&l, &s);
    while ((t = rh_lex(&l)).kind != RH_TOK_END)
        if (t.kind == RH_TOK_NAME) {
            got[n++] = s.text[t.start];
            got[n++] = t.line_start ? '^' : '-';
        }
    got[n] = '\0';
    assert_string_equal(got, "a^b-c^e^f-");
}

static void strings_and_integers(void **state)
{
    (void)state;
    rh_arena *a = rh_arena_new();
    rh_source s = {"t", "\"a\\n\\t\\\\\\\"é\" 18446744073709551615 18446744073709551616", 0};
    rh_lexer l;
    size_t len;
    uint64_t x;
    s.len = strlen(s.text);
    rh_lexer_init(&l, &s);
    rh_lexeme t = rh_lex(&l);
    assert_string_equal(rh_lexeme_string(a, &s, &t, &len), "a\n\t\\\"é");
    assert_int_equal(len, 7);
    t = rh_lex(&l);
    assert_true(rh_lexeme_integer(&x, &s, &t, UINT64_MAX));
    assert_true(x == UINT64_MAX);
    assert_false(rh_lexeme_integer(&x, &s, &t, INT32_MAX));
    t = rh_lex(&l);
    assert_false(rh_lexeme_integer(&x, &s, &t, UINT64_MAX));
    rh_arena_free(a);
}

/* A dot is a dot, also where the locale has a comma (if this machine has such a locale). */
static void numbers_and_locales(void **state)
{
    (void)state;
    static const char *const locales[] = {"C", "de_DE.UTF-8", "fr_FR.UTF-8", "ar_EG.UTF-8"};
    for (size_t i = 0; i < sizeof locales / sizeof *locales; i++) {
        char text[RH_NUMBER_TEXT];
        double x;
        setlocale(LC_ALL, locales[i]);
        assert_int_equal(rh_number_parse(&x, "1.5e3"), RH_OK);
        assert_true(x == 1500);
        assert_int_equal(rh_number_parse(&x, "1e999"), RH_EVALUE);
        assert_int_equal(rh_number_parse(&x, "1e-999"), RH_EVALUE);
        assert_int_equal(rh_number_parse(&x, "0.0e-999"), RH_OK);
        rh_number_show(text, 0.75);
        assert_string_equal(text, "0.75");
        rh_number_show(text, -0.0);
        assert_string_equal(text, "0");
        rh_number_exact(text, 0.1);
        assert_string_equal(text, "0.1");
        rh_number_exact(text, -1.0 / 3);
        assert_string_equal(text, "-0.3333333333333333");
    }
    setlocale(LC_ALL, "C");
}

static void nearest(void **state)
{
    (void)state;
    static const struct { const char *name, *word; bool near; } cases[] = {
        {"tokio", "tokyo", true}, {"toyko", "tokyo", true}, {"Tokyo", "tokyo", true}, {"rain", "tokyo", false}, {"a", "b", false},
        {"sf", "sg", true}, {"ab", "cd", false}, {"東京都", "東京", true}, {"resid_pots", "resid_post", true}, {"rains", "rain", true},
        {"x", "", false}, {"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxy", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_nearest n = rh_nearest_to(cases[i].name, strlen(cases[i].name));
        rh_nearest_try(&n, cases[i].word, strlen(cases[i].word));
        if ((n.best != NULL) != cases[i].near) fail_msg("%s and %s", cases[i].name, cases[i].word);
    }
    rh_nearest n = rh_nearest_to("tokxo", 5);
    rh_nearest_try(&n, "takio", 5);
    rh_nearest_try(&n, "tokyo", 5);
    rh_nearest_try(&n, "tokzo", 5); /* the first of equals stays */
    assert_string_equal(n.best, "tokyo");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens), cmocka_unit_test(line_starts), cmocka_unit_test(strings_and_integers),
        cmocka_unit_test(numbers_and_locales), cmocka_unit_test(nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
