/* clean.c: what a model writes cannot move the cursor, and JSON is valid UTF-8. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/rng.h"
#include "base/utf8.h"
#include "notebooks-export/clean.h"

static void cleaned(void **state)
{
    (void)state;
    static const struct { const char *in, *text, *line, *ascii; } cases[] = {
        {"plain", "plain", "plain", "plain"},
        {"a\nb\tc", "a\nb    c", "a\\nb\\tc", "a\nb    c"},
        {"a\r\nb", "a\nb", "a␍\\nb", "a\nb"},
        {"a\rb", "a␍b", "a␍b", "a\\x0db"},
        {"\x1b[31m", "␛[31m", "␛[31m", "\\x1b[31m"},
        {"\x01\x7f", "␁␡", "␁␡", "\\x01\\x7f"},
        {"\xC2\x9B" "2J", "\\u{9b}2J", "\\u{9b}2J", "\\u{9b}2J"},
        {"\xE2\x80\xAE", "\\u{202e}", "\\u{202e}", "\\u{202e}"},
        {"\xE2\x80\xA8", "\\u{2028}", "\\u{2028}", "\\u{2028}"},
        {"é東🌉", "é東🌉", "é東🌉", "\\u{e9}\\u{6771}\\u{1f309}"},
        {"\xF0\x9F\x8C", "\xEF\xBF\xBD", "\\xf0\\x9f\\x8c", "?"},             /* cut off: one */
        {"\xF0\x9Fx", "\xEF\xBF\xBDx", "\\xf0\\x9fx", "?x"},
        {"\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD", "\\x80\\x80", "??"},         /* strays: each */
        {"\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD", "\\xc0\\xaf", "??"},         /* overlong */
        {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", "\\xed\\xa0\\x80", "???"}, /* surrogate */
        {"\xF4\x90\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", "\\xf4\\x90\\x80\\x80", "????"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_str text = {0}, line = {0}, ascii = {0};
        size_t n = strlen(cases[i].in);
        rh_clean(&text, cases[i].in, n, RH_CLEAN_TEXT, true);
        rh_clean(&line, cases[i].in, n, RH_CLEAN_LINE, true);
        rh_clean(&ascii, cases[i].in, n, RH_CLEAN_TEXT, false);
        assert_string_equal(text.data, cases[i].text);
        assert_string_equal(line.data, cases[i].line);
        assert_string_equal(ascii.data, cases[i].ascii);
        rh_str_free(&text);
        rh_str_free(&line);
        rh_str_free(&ascii);
    }
}

static void repaired(void **state)
{
    (void)state;
    static const struct { const char *in, *out; } cases[] = {
        {"", ""}, {"ok é", "ok é"}, {"a\x1b\nb", "a\x1b\nb"}, {"end \xE2\x9C", "end \xEF\xBF\xBD"},
        {"\xE2\x9C\xE2\x9C\x93", "\xEF\xBF\xBD✓"}, {"\xFF\xFE", "\xEF\xBF\xBD\xEF\xBF\xBD"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rh_str out = {0};
        rh_str_puts(&out, "");
        rh_repair_utf8(&out, cases[i].in, strlen(cases[i].in));
        assert_string_equal(out.len ? out.data : "", cases[i].out);
        rh_str_free(&out);
    }
}

/* Any bytes: the result is valid and holds no control but, in texts, newlines. */
static void random_bytes(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 2000; round++) {
        char bytes[48];
        size_t n = rh_random_u64(5, round, 0) % sizeof bytes;
        for (size_t i = 0; i < n; i++) {
            uint64_t x = rh_random_u64(6, round, i);
            bytes[i] = (char)(x & 1 ? x >> 8 : 0x80 + (x >> 8) % 0x80);
        }
        for (int mode = 0; mode < 4; mode++) {
            rh_str out = {0};
            rh_clean(&out, bytes, n, (rh_clean_mode)(mode & 1), mode & 2);
            assert_int_equal(rh_utf8_valid(out.len ? out.data : "", out.len), out.len);
            for (size_t i = 0; i < out.len; i++) {
                unsigned char c = (unsigned char)out.data[i];
                if (c < 0x20 && !(c == '\n' && (mode & 1) == RH_CLEAN_TEXT)) fail_msg("control %d came through", c);
                if (c == 0x7F || (!(mode & 2) && c >= 0x80)) fail_msg("byte %d came through", c);
                if (c == 0xC2 && (unsigned char)out.data[i + 1] < 0xA0) fail_msg("C1 came through");
            }
            rh_str_free(&out);
        }
        rh_str fixed = {0};
        rh_repair_utf8(&fixed, bytes, n);
        assert_int_equal(rh_utf8_valid(fixed.len ? fixed.data : "", fixed.len), fixed.len);
        rh_str_free(&fixed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cleaned), cmocka_unit_test(repaired), cmocka_unit_test(random_bytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
