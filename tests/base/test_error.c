#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/utf8.h"

static void fills_and_clears(void **state)
{
    (void)state;
    rh_error e;
    memset(&e, 'x', sizeof e);
    assert_int_equal(rh_fail(&e, RH_EIO, "found %d", 7), RH_EIO);
    assert_int_equal(e.code, RH_EIO);
    assert_string_equal(e.message, "found 7");
    assert_string_equal(e.hint, "");
    assert_string_equal(e.file, "");
    assert_string_equal(e.excerpt, "");
    assert_int_equal(e.line, 0);
    assert_int_equal(rh_hinted(RH_EIO, &e, "do %s", "this"), RH_EIO);
    assert_string_equal(e.hint, "do this");
    rh_hint(&e, "do %s", "that");
    rh_place(&e, "a.rhumb", 3, 4);
    assert_int_equal(e.code, RH_EIO);
    assert_string_equal(e.hint, "do that");
    assert_string_equal(e.file, "a.rhumb");
    assert_int_equal(e.line, 3);
    assert_int_equal(e.column, 4);
}

static void accepts_null(void **state)
{
    (void)state;
    assert_int_equal(rh_fail(NULL, RH_ENAME, "x"), RH_ENAME);
    assert_int_equal(rh_hinted(rh_fail(NULL, RH_EIO, "x"), NULL, "y"), RH_EIO);
    rh_hint(NULL, "x");
    rh_place(NULL, "x", 1, 1);
    assert_int_equal(rh_fail_nomem(NULL), RH_ENOMEM);
    errno = ENOENT;
    assert_int_equal(rh_fail_errno(NULL, "open", "x"), RH_EIO);
}

/* Bytes of hostile names reach neither the terminal nor the reader of UTF-8. */
static void cleans_messages(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        { "plain", "plain" },
        { "Zürich 東京 🙂", "Zürich 東京 🙂" },
        { "a\nb", "a\nb" },
        { "\x1b[31mred", "?[31mred" },
        { "bad \xff\xfe byte", "bad ?? byte" },
        { "cut \xe6\x9d", "cut ??" },
        { "\xc2\x9b" "31m", "??31m" }, /* CSI as C1 control */
        { "\x7f", "?" },
        { "", "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_error e;
        rh_fail(&e, RH_EIO, "%s", cases[i].in);
        assert_string_equal(e.message, cases[i].out);
    }
}

/* Too long: cut between characters, wherever the end falls. */
static void cuts_long_messages(void **state)
{
    (void)state;
    char text[1024];
    for (size_t shift = 0; shift < 4; shift++) {
        rh_error e;
        memset(text, 'a', shift);
        text[shift] = 0;
        while (strlen(text) < 900) strcat(text, "\xF0\x9F\x99\x82");
        rh_fail(&e, RH_EIO, "%s", text);
        size_t n = strlen(e.message);
        assert_true(n < sizeof e.message && n > sizeof e.message - 5);
        assert_int_equal(rh_utf8_valid(e.message, n), n);
        assert_null(strchr(e.message, '?'));
        rh_place(&e, text, 1, 1);
        assert_int_equal(rh_utf8_valid(e.file, strlen(e.file)), strlen(e.file));
        assert_null(strchr(e.file, '?'));
    }
}

static void may_quote_itself(void **state)
{
    (void)state;
    rh_error e;
    rh_fail(&e, RH_EIO, "inner");
    rh_hint(&e, "hint");
    rh_fail(&e, RH_EFORMAT, "outer: %s (%s)", e.message, e.hint);
    assert_string_equal(e.message, "outer: inner (hint)");
    rh_place(&e, "name", 1, 1);
    rh_place(&e, e.file, 2, 2);
    assert_string_equal(e.file, "name");
}

static void tells_errno(void **state)
{
    (void)state;
    rh_error e;
    errno = ENOENT;
    assert_int_equal(rh_fail_errno(&e, "open", "x.gguf"), RH_EIO);
    assert_string_equal(e.message, "cannot open 'x.gguf': No such file or directory");
    errno = ENOSPC;
    assert_int_equal(rh_fail_errno(&e, "write", "x"), RH_EIO);
    assert_true(e.hint[0]);
    errno = ENOMEM;
    assert_int_equal(rh_fail_errno(&e, "map", "x"), RH_ENOMEM);
}

static void names_every_status(void **state)
{
    (void)state;
    for (int s = RH_OK; s <= RH_ECANCELLED; s++) assert_int_equal(strncmp(rh_status_name((rh_status)s), "RH_", 3), 0);
    assert_string_equal(rh_status_name(RH_EKIND), "RH_EKIND");
    assert_string_equal(rh_status_name((rh_status)99), "RH_UNKNOWN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_and_clears),   cmocka_unit_test(accepts_null),
        cmocka_unit_test(cleans_messages),    cmocka_unit_test(cuts_long_messages),
        cmocka_unit_test(may_quote_itself),   cmocka_unit_test(tells_errno),
        cmocka_unit_test(names_every_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
