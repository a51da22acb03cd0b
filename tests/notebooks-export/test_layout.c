/* layout.c: lines by display width, numbers for people, bars. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/utf8.h"
#include "notebooks-export/layout.h"

/* Lines joined by "|". */
static void wrapped_to(const char *text, int width, const char *want)
{
    rh_lines lines = {0};
    rh_str got = {0};
    rh_str_puts(&got, "");
    assert_true(rh_wrap(&lines, text, strlen(text), width));
    for (size_t i = 0; i < lines.n; i++) {
        if (i) rh_str_puts(&got, "|");
        rh_str_add(&got, text + lines.items[i].start, lines.items[i].end - lines.items[i].start);
    }
    assert_string_equal(got.len ? got.data : "", want);
    rh_str_free(&got);
    free(lines.items);
}

static void wraps(void **state)
{
    (void)state;
    static const struct { const char *text; int width; const char *want; } cases[] = {
        {"", 10, ""},
        {"one two three", 7, "one two|three"},
        {"one two three", 13, "one two three"},
        {"one two three", 12, "one two|three"},
        {"one   two", 4, "one|two"},               /* spaces hang over the edge */
        {"a\n\nb", 10, "a||b"},
        {"a\n", 10, "a|"},
        {"  indented line", 10, "  indented|line"},
        {"abcdefghij", 4, "abcd|efgh|ij"},         /* a word longer than a line is cut */
        {"ab abcdefghij", 4, "ab|abcd|efgh|ij"},
        {"well-known", 6, "well-|known"},
        {"at 16.resid_post", 8, "at|16.resid|_post"},
        {"東京は日本", 4, "東京|は日|本"},         /* two columns each, a break anywhere */
        {"東京は日本", 5, "東京|は日|本"},
        {"東京。", 4, "東|京。"},                  /* no line begins with a full stop */
        {"🌉🌉🌉", 4, "🌉🌉|🌉"},
        {"e\xCC\x81" "e\xCC\x81" "e\xCC\x81", 2, "e\xCC\x81" "e\xCC\x81|e\xCC\x81"}, /* accents take no column */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) wrapped_to(cases[i].text, cases[i].width, cases[i].want);
}

/* Whatever the text: no line is too wide, and only spaces and newlines are lost between lines. */
static void any_text(void **state)
{
    (void)state;
    static const char *const pieces[] = {"a", "word ", "  ", "\n", "東", "。", "🌉", "-", "e\xCC\x81", "\"(x)\"", "long_identifier", "\xC2\xA0"};
    for (uint64_t round = 0; round < 1000; round++) {
        rh_str text = {0};
        rh_lines lines = {0};
        int width = 2 + (int)(rh_random_u64(1, round, 0) % 20);
        rh_str_puts(&text, "");
        for (uint64_t i = 0; i < rh_random_u64(2, round, 0) % 30; i++)
            rh_str_puts(&text, pieces[rh_random_u64(3, round, i) % (sizeof pieces / sizeof *pieces)]);
        assert_true(rh_wrap(&lines, text.len ? text.data : "", text.len, width));
        size_t at = 0;
        for (size_t i = 0; i < lines.n; i++) {
            for (; at < lines.items[i].start; at++) assert_true(text.data[at] == ' ' || text.data[at] == '\n');
            assert_true(rh_utf8_width(text.data + at, lines.items[i].end - at) <= width);
            at = lines.items[i].end;
        }
        for (; at < text.len; at++) assert_true(text.data[at] == ' ' || text.data[at] == '\n');
        free(lines.items);
        rh_str_free(&text);
    }
}

static void fits(void **state)
{
    (void)state;
    static const struct { const char *text; int width; bool unicode; const char *want; } cases[] = {
        {"abc", 3, true, "abc"}, {"abcd", 3, true, "ab…"}, {"abcd", 3, false, "a.."},
        {"東京都", 5, true, "東京…"}, {"東京都", 4, true, "東…"}, {"東京都", 6, true, "東京都"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_str out = {0}, sink = {0};
        rh_terminal t = {80, false, cases[i].unicode};
        rh_pen p = rh_pen_make(&sink, &t);
        rh_fit(&out, &p, cases[i].text, cases[i].width);
        assert_string_equal(out.data, cases[i].want);
        rh_str_free(&out);
    }
}

static void numbers(void **state)
{
    (void)state;
    static const struct { double x; const char *want, *percent; } cases[] = {
        {0, "0.00", "0%"}, {0.621, "0.62", "62%"}, {-12.14, "-12.1", "-1214%"}, {1834.2, "1834", "183420%"},
        {0.0123, "0.012", "1%"}, {3.1e-5, "3.1e-05", "0%"}, {2.5e9, "2.5e+09", "2.5e+09"}};
    rh_str sink = {0};
    char out[RH_NUMBER];
    rh_terminal unicode = {80, false, true}, ascii = {80, false, false};
    rh_pen p = rh_pen_make(&sink, &unicode), a = rh_pen_make(&sink, &ascii);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_string_equal(rh_number(out, &p, cases[i].x), cases[i].want);
        assert_string_equal(rh_percent(out, &p, cases[i].x), cases[i].percent);
    }
    assert_string_equal(rh_number(out, &p, NAN), "–");
    assert_string_equal(rh_number(out, &a, INFINITY), "-");
    assert_string_equal(rh_percent(out, &a, NAN), "-");
}

static void bars(void **state)
{
    (void)state;
    static const struct { double x, lo, hi; int width; bool unicode; const char *want; } cases[] = {
        {10, 0, 10, 11, true, "│██████████"},
        {5, 0, 10, 11, true, "│█████"},
        {5.5, 0, 10, 11, true, "│█████▌"},
        {0, 0, 10, 11, true, "│"},
        {-5, -5, 5, 11, true, "█████│"},
        {5, -5, 5, 11, true, "     │█████"},
        {5, -5, 5, 11, false, "     |#####"},
        {-2, -5, 5, 11, false, "   ##|"},
        {NAN, -5, 5, 11, true, ""},
        {1, 0, 0, 11, true, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_str out = {0}, sink = {0};
        rh_terminal t = {80, false, cases[i].unicode};
        rh_pen p = rh_pen_make(&sink, &t);
        rh_bar(&out, &p, cases[i].x, cases[i].lo, cases[i].hi, cases[i].width);
        assert_string_equal(out.data ? out.data : "", cases[i].want);
        rh_str_free(&out);
    }
    /* Never wider than asked. */
    for (uint64_t i = 0; i < 2000; i++) {
        rh_str out = {0}, sink = {0};
        rh_terminal t = {80, false, i & 1};
        rh_pen p = rh_pen_make(&sink, &t);
        double lo = -10 * rh_random_unit(1, i, 0), hi = 10 * rh_random_unit(2, i, 0);
        int width = 2 + (int)(rh_random_u64(4, i, 0) % 30);
        rh_bar(&out, &p, lo + (hi - lo) * rh_random_unit(3, i, 0), lo, hi, width);
        assert_true(rh_utf8_width(out.data ? out.data : "", out.len) <= width);
        rh_str_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(wraps), cmocka_unit_test(any_text), cmocka_unit_test(fits),
                                       cmocka_unit_test(numbers), cmocka_unit_test(bars)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
