#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/utf8.h"

static void decodes(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n, len;
        uint32_t cp;
    } cases[] = {
        { "A", 1, 1, 'A' },
        { "\0", 1, 1, 0 },
        { "\x7f", 1, 1, 0x7f },
        { "\xc2\x80", 2, 2, 0x80 },
        { "\xdf\xbf", 2, 2, 0x7ff },
        { "\xe0\xa0\x80", 3, 3, 0x800 },
        { "\xed\x9f\xbf", 3, 3, 0xd7ff },
        { "\xee\x80\x80", 3, 3, 0xe000 },
        { "\xef\xbf\xbf", 3, 3, 0xffff },
        { "\xf0\x90\x80\x80", 4, 4, 0x10000 },
        { "\xf4\x8f\xbf\xbf", 4, 4, 0x10ffff },
        /* not valid */
        { "\x80", 1, 0, 0xfffd },
        { "\xbf", 1, 0, 0xfffd },
        { "\xc0\x80", 2, 0, 0xfffd },         /* overlong NUL */
        { "\xc1\xbf", 2, 0, 0xfffd },
        { "\xe0\x9f\xbf", 3, 0, 0xfffd },     /* overlong */
        { "\xf0\x8f\xbf\xbf", 4, 0, 0xfffd },
        { "\xed\xa0\x80", 3, 0, 0xfffd },     /* surrogate */
        { "\xf4\x90\x80\x80", 4, 0, 0xfffd }, /* beyond U+10FFFF */
        { "\xf5\x80\x80\x80", 4, 0, 0xfffd },
        { "\xff", 1, 0, 0xfffd },
        { "\xc3", 1, 0, 0xfffd },             /* cut off */
        { "\xe6\x9d", 2, 0, 0xfffd },
        { "\xf0\x9f\x99", 3, 0, 0xfffd },
        { "\xc3(", 2, 0, 0xfffd },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t cp = 1;
        assert_int_equal(rh_utf8_next(&cp, cases[i].bytes, cases[i].n), cases[i].len);
        assert_int_equal(cp, cases[i].cp);
    }
}

static void puts_what_it_reads(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        char bytes[4];
        uint32_t back;
        if (c == 0xd800) c = 0xe000;
        size_t len = rh_utf8_put(bytes, c);
        assert_int_equal(rh_utf8_next(&back, bytes, len), len);
        assert_int_equal(back, c);
    }
    char bytes[4];
    assert_int_equal(rh_utf8_put(bytes, 0xd800), 3); /* U+FFFD instead */
    assert_memory_equal(bytes, "\xef\xbf\xbd", 3);
    assert_int_equal(rh_utf8_put(bytes, 0x110000), 3);
}

static void measures(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t valid, count;
        int width;
    } cases[] = {
        { "", 0, 0, 0 },
        { "abc", 3, 3, 3 },
        { "Zürich", 7, 6, 6 },
        { "東京", 6, 2, 4 },
        { "🙂", 4, 1, 2 },
        { "e\xcc\x81", 3, 2, 1 },     /* combining accent */
        { "a\tb", 3, 3, 2 },          /* controls count 0 */
        { "ab\xff" "c", 2, 4, 4 },    /* an invalid byte counts one */
        { "ab\xe6\x9d", 2, 4, 4 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = strlen(cases[i].text);
        assert_int_equal(rh_utf8_valid(cases[i].text, n), cases[i].valid);
        assert_int_equal(rh_utf8_count(cases[i].text, n), cases[i].count);
        assert_int_equal(rh_utf8_width(cases[i].text, n), cases[i].width);
    }
}

static void knows_names(void **state)
{
    (void)state;
    static const struct {
        uint32_t cp;
        bool letter, part;
    } cases[] = {
        { 'a', true, true },      { 'Z', true, true },      { '_', false, true },
        { '0', false, true },     { '-', false, false },    { ' ', false, false },
        { 0xe9, true, true },     { 0x6771, true, true },   { 0x301, false, true },
        { 0x2167, false, true },  { 0xbd, false, true },    { 0x1f642, false, false },
        { 0xfffd, false, false }, { 0x200b, false, false }, { 0x3b1, true, true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(rh_is_letter(cases[i].cp), cases[i].letter);
        assert_int_equal(rh_is_name_part(cases[i].cp), cases[i].part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes),
        cmocka_unit_test(puts_what_it_reads),
        cmocka_unit_test(measures),
        cmocka_unit_test(knows_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
