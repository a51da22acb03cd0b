/* Every error of the language as its user sees it: errors.txt, case by case. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "fake_resolver.h"

typedef struct error_case {
    char name[512], layer[32], kind[16];
    rh_str source, expected;
    int line; /* in errors.txt */
} error_case;

/* The errors of one case, rendered. */
static void run(rh_str *out, const error_case *c)
{
    fake_resolver fake;
    rh_diags *diags = calloc(1, sizeof *diags);
    rh_error err = {0};
    rh_program *p = NULL;
    rh_evaluation *e = NULL;
    const char *text = c->source.data ? c->source.data : "";
    rh_program_input in = {.layers = c->layer[0] ? c->layer : NULL};
    fake_init(&fake);
    if (strcmp(c->kind, "book") == 0) {
        in.book_path = "city.rhumb";
        in.book_text = text;
    } else if (strcmp(c->kind, "file") == 0) {
        in.book_path = text;
    } else {
        in.expr = text;
        in.bare_value = strcmp(c->kind, "value") == 0;
    }
    rh_status status = rh_program_compile(&p, &in, &fake.resolver, diags, &err);
    if (!status) status = rh_program_eval(&e, p, diags, &err);
    assert_int_not_equal(status, RH_OK);
    rh_program_free(p);
    assert_true(diags->n > 0);
    assert_int_equal(status, diags->items[0].code);
    assert_int_equal(status, err.code);
    assert_string_equal(err.message, diags->items[0].message);
    assert_int_equal(err.line, diags->items[0].line);
    for (int i = 0; i < diags->n; i++) rh_diag_render(out, &diags->items[i]); /* after the program is gone */
    free(diags);
}

static void check(error_case *c)
{
    rh_str got = {0};
    if (c->expected.len) {
        run(&got, c);
        rh_str_puts(&got, ""); /* never NULL */
        if (strcmp(got.data, c->expected.data) != 0)
            fail_msg("errors.txt:%d: %s\n---- got\n%s---- expected\n%s", c->line, c->name, got.data, c->expected.data);
    }
    rh_str_free(&got);
    rh_str_free(&c->source);
    rh_str_free(&c->expected);
    *c = (error_case){0};
}

static void all_errors(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len;
    int line = 0, cases = 0;
    error_case c = {0};
    bool expecting = false;
    assert_int_equal(rh_read_file(&text, &len, "errors.txt", 1 << 24, NULL), RH_OK);
    for (char *at = text, *end; at < text + len; at = end + 1) {
        end = strchr(at, '\n');
        if (!end) end = text + len;
        *end = '\0';
        line++;
        if (strncmp(at, "== ", 3) == 0) {
            check(&c);
            snprintf(c.name, sizeof c.name, "%s", at + 3);
            c.line = line;
            expecting = false;
            cases++;
        } else if (strncmp(at, "layer ", 6) == 0) {
            snprintf(c.layer, sizeof c.layer, "%s", at + 6);
        } else if (strcmp(at, "error:") == 0) {
            expecting = true;
        } else if (at[0] == '|' && expecting) {
            rh_str_printf(&c.expected, "%s\n", at + 1);
        } else if (at[0] == '|') {
            rh_str_printf(&c.source, "%s%s", c.source.data ? "\n" : "", at + 1);
        } else if (at[0] && at[0] != '#') {
            snprintf(c.kind, sizeof c.kind, "%.*s", (int)strcspn(at, ":"), at);
        }
    }
    check(&c);
    free(text);
    assert_true(cases > 150);
}

/* What errors.txt cannot hold: bytes that are no text. */
static void bad_bytes(void **state)
{
    (void)state;
    static const struct { const char *text; rh_status code; int line, column; const char *message; } cases[] = {
        {"let x = 3 \xff", RH_ESYNTAX, 1, 11, "byte 0xFF is not valid UTF-8 here"},
        {"let x = 3 # \xc3(", RH_ESYNTAX, 1, 13, "byte 0xC3 is not valid UTF-8 here"},
        {"let \xed\xa0\x80 = 3", RH_ESYNTAX, 1, 5, "byte 0xED is not valid UTF-8 here"},
        {"let x = act(\"\xc0\xaf\")", RH_ESYNTAX, 1, 14, "byte 0xC0 is not valid UTF-8 here"},
        {"let x = act(\"a\\\xff\")", RH_ESYNTAX, 1, 16, "byte 0xFF is not valid UTF-8 here"},
        {"let x = act(\"\x01\")", RH_ESYNTAX, 1, 14, "control character U+0001 in a string"},
        {"let x = \x01", RH_ESYNTAX, 1, 9, "stray character U+0001"},
        {"let x = \xc2\xa0" "3", RH_ESYNTAX, 1, 9, "stray character U+00A0"},
        {"let x = 3\rlet y = 4", RH_ESYNTAX, 1, 10, "stray character U+000D"},
        {"let x = \"a\r\n", RH_ESYNTAX, 1, 9, "this string does not end on its line"},
        {"\xef\xbb\xbflet x = = 3", RH_ESYNTAX, 1, 10, "expected a value, found '='"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fake_resolver fake;
        rh_error err = {0};
        rh_program *p = NULL;
        fake_init(&fake);
        rh_program_input in = {.book_path = "b", .book_text = cases[i].text};
        assert_int_equal(rh_program_compile(&p, &in, &fake.resolver, NULL, &err), cases[i].code);
        assert_string_equal(err.message, cases[i].message);
        assert_int_equal(err.line, cases[i].line);
        assert_int_equal(err.column, cases[i].column);
        assert_string_equal(err.file, "b");
        assert_null(strchr(err.excerpt, '\x01'));
    }
}

static void nesting(void **state)
{
    (void)state;
    static const struct { const char *open, *close; int depth, column; } cases[] = {
        {"(", ")", 200, 0}, {"(", ")", 201, 201},   {"-", "", 200, 0},   {"-", "", 201, 201}, {"norm(", ")", 201, 1005},
        {"(", "", 100000, 201}, {"-(", ")", 101, 201},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_str text = {0};
        fake_resolver fake;
        rh_program *p = NULL;
        rh_error err = {0};
        for (int k = 0; k < cases[i].depth; k++) rh_str_puts(&text, cases[i].open);
        rh_str_puts(&text, "1");
        for (int k = 0; k < cases[i].depth; k++) rh_str_puts(&text, cases[i].close);
        fake_init(&fake);
        rh_program_input in = {.expr = text.data, .bare_value = true};
        rh_status status = rh_program_compile(&p, &in, &fake.resolver, NULL, &err);
        assert_int_equal(status, cases[i].depth == 200 ? RH_OK : RH_ELIMIT);
        if (status) assert_int_equal(err.column, cases[i].column);
        rh_program_free(p);
        rh_str_free(&text);
    }
}

/* Long is not deep. */
static void long_books(void **state)
{
    (void)state;
    rh_str text = {0};
    fake_resolver fake;
    rh_program *p = NULL;
    rh_evaluation *e = NULL;
    fake_init(&fake);
    rh_str_puts(&text, "layer 3\nlet a0 = dim(\"a.csv\")\n");
    for (int i = 1; i <= 800; i++) rh_str_printf(&text, "let a%d = unit(a%d) + a%d\n", i, i - 1, i - 1);
    rh_str_puts(&text, "steer a800 + 0");
    for (int i = 0; i < 5000; i++) rh_str_puts(&text, "*1*1");
    for (int i = 0; i < 5000; i++) rh_str_puts(&text, "*a0");
    rh_program_input in = {.book_path = "b", .book_text = text.data};
    assert_int_equal(rh_program_compile(&p, &in, &fake.resolver, NULL, NULL), RH_EKIND);
    text.len = (size_t)(strstr(text.data, "steer") - text.data);
    rh_str_puts(&text, "steer a800\n");
    in.book_text = text.data;
    assert_int_equal(rh_program_compile(&p, &in, &fake.resolver, NULL, NULL), RH_OK);
    assert_int_equal(rh_program_eval(&e, p, NULL, NULL), RH_OK);
    assert_int_equal(fake.n_requests, 1);
    rh_evaluation_free(e);
    rh_str explained = {0};
    assert_int_equal(rh_program_explain(&explained, p, NULL), RH_OK);
    rh_str_free(&explained);
    rh_program_free(p);
    rh_str_free(&text);
}

/* Ten errors at most, and the eleventh is noticed. */
static void ten_errors(void **state)
{
    (void)state;
    rh_str text = {0};
    fake_resolver fake;
    rh_program *p = NULL;
    rh_diags *diags = calloc(1, sizeof *diags);
    fake_init(&fake);
    for (int i = 0; i < 40; i++) rh_str_printf(&text, "let a%d = *\n", i);
    rh_program_input in = {.book_path = "b", .book_text = text.data};
    assert_int_equal(rh_program_compile(&p, &in, &fake.resolver, diags, NULL), RH_ESYNTAX);
    assert_int_equal(diags->n, RH_MAX_DIAGS);
    assert_true(diags->more);
    free(diags);
    rh_str_free(&text);
}

int main(void)
{
    if (chdir(RH_TEST_DATA "/../dsl") != 0) return 1; /* books are named relative to it */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_errors), cmocka_unit_test(bad_bytes), cmocka_unit_test(nesting),
        cmocka_unit_test(long_books), cmocka_unit_test(ten_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
