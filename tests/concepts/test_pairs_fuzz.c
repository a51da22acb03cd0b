/* Bytes of all kinds as a CSV, for a fixed number of inputs: rows that keep their promises or an
 * error with a line, and never anything else. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/rng.h"
#include "base/mem.h"
#include "fuzz_csv.h"

enum { INPUTS = 4000 };

/* Pieces that a CSV is made of, so that random text gets past the first line now and then. */
static const char *const pieces[] = {"positive,negative", "text,label", "\n", "\r\n", "\r", ",", "\"", "\"\"", "<<", ">>", "a",
                                     " ", "1", "0", "é", "\xff", "\xe6\x97", "\xEF\xBB\xBF", "label", "text", "rain",
                                     "\xF0\x9F\x98\x80", "positive", "negative", "\"a,b\"", "x,y\n", "\x01"};

static size_t draw(uint64_t seed, uint64_t *n, size_t below) { return rh_random_u64(seed, 1, (*n)++) % below; }

/* Whole rows of either kind, marked or not. */
static const char *const rows[2][4] = {{"a,b\n", "\"a\nb\",\"c\"\"\"\r\n", "<<a>>,x <<b>>\n", "é <<a>> <<b>>,<<c>>\r"},
                                       {"a,1\n", "\"<<a>>\",0\n", "x <<b>>,positive\r\n", "\"c,\nd\",negative\n"}};

/* A header and whole rows, with a few pieces thrown in; at times nothing but pieces. */
static rh_str make(uint64_t seed)
{
    rh_str s = {0};
    uint64_t n = 0;
    size_t kind = draw(seed, &n, 2), wild = draw(seed, &n, 4), count = draw(seed, &n, 12);
    if (draw(seed, &n, 8)) rh_str_puts(&s, pieces[kind]);
    if (draw(seed, &n, 8)) rh_str_puts(&s, pieces[2 + draw(seed, &n, 3)]);
    for (size_t i = 0; i < count; i++) {
        if (draw(seed, &n, 4) >= wild) rh_str_puts(&s, rows[kind][draw(seed, &n, 4)]);
        else if (draw(seed, &n, 30)) rh_str_puts(&s, pieces[draw(seed, &n, sizeof pieces / sizeof *pieces)]);
        else rh_str_add(&s, (const char[]){(char)draw(seed, &n, 256)}, 1);
    }
    assert_false(s.failed);
    return s;
}

static void test_any_bytes(void **state)
{
    (void)state;
    int good = 0;
    for (uint64_t seed = 0; seed < INPUTS; seed++) {
        rh_str s = make(seed);
        good += fuzz_csv(s.data ? s.data : "", s.len, seed % 3 == 0, seed % 8 == 1);
        rh_str_free(&s);
    }
    assert_true(good > 20); /* else the pieces are badly chosen, and rows were never looked at */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_any_bytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
