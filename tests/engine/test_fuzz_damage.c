/* Damaged models and vectors (damage.h): an error that names the file, or it opens and runs.
 *
 *   engine_test_fuzz_damage                       the kept cases, and a fixed number of drawn ones
 *   engine_test_fuzz_damage forever [SEED]        draws without end, and stops at the first fault
 *   engine_test_fuzz_damage draw SEED FROM N      the rounds FROM.. of a seed, up to 100 faults
 *   engine_test_fuzz_damage case LINE             one, and what is said of it
 *
 * A fault prints its line; it goes into tests/data/fuzz/damage.txt. Files that are mapped stand on
 * the heap, each in a block of just its size (support/heap_map.h). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "damage.h"
#include "support/heap_map.h"

enum { ROUNDS = 1500, SEED = 1855, SECONDS = 60 };

/* ---- a crash or a hang says which case it was ------------------------------------------------- */

static char current[1 << 16];

static void say_current(void)
{
    static const char text[] = "\nthe case: ";
    if (write(2, text, sizeof text - 1) < 0 || write(2, current, strlen(current)) < 0 || write(2, "\n", 1) < 0) return;
}

static void killed(int number)
{
    say_current();
    signal(number, SIG_DFL);
    raise(number);
}

/* The sanitizers report first, and then abort. */
void __asan_init(void) __attribute__((weak));
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);
const char *__asan_default_options(void) { return "abort_on_error=1"; }
const char *__ubsan_default_options(void) { return "abort_on_error=1:print_stacktrace=1"; }

static void watch(void)
{
    static const int ends[] = {SIGABRT, SIGALRM, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    const size_t n = __asan_init ? 2 : sizeof ends / sizeof *ends;
    for (size_t i = 0; i < n; i++) signal(ends[i], killed);
}

/* ---- cases ------------------------------------------------------------------------------------ */

/* true: as promised. message: of the error, "" if it opened. expect: behind "->", or "". */
static bool try_line(damage_base *all, const char *line, char message[1024], const char **expect, const char **what)
{
    damage_base *b = NULL;
    snprintf(current, sizeof current, "%s", line);
    alarm(SECONDS);
    if (!damage_apply(&b, all, line, expect, what)) {
        snprintf(message, 1024, "here: %.80s", *what);
        *what = "no such edit";
        if (b) damage_mend(b);
        return false;
    }
    const bool good = damage_try(b, message, what);
    damage_mend(b);
    alarm(0);
    return good;
}

static bool as_expected(const char *message, const char *expect)
{
    rh_str text = {0};
    bool good = true;
    if (!strncmp(expect, "opens", 5)) good = !message[0];
    else if (!strncmp(expect, "refused ", 8)) good = damage_text(&text, expect + 8) && message[0] && strstr(message, text.data);
    else good = !*expect;
    rh_str_free(&text);
    return good;
}

static void kept(void **state)
{
    damage_base *all = *state;
    FILE *f = fopen(RH_TEST_DATA "/fuzz/damage.txt", "r");
    static char line[1 << 16];
    int n = 0, wrong = 0;
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        char message[1024] = "";
        const char *expect = "", *what = "";
        line[strcspn(line, "\n")] = 0;
        if (!line[0] || line[0] == '#') continue;
        n++;
        const bool good = try_line(all, line, message, &expect, &what);
        if (good && as_expected(message, expect)) continue;
        wrong++;
        print_error("%s\n  %s; said: %s\n", line, good ? "not as expected" : what, message[0] ? message : "nothing, it opened");
    }
    fclose(f);
    assert_int_equal(wrong, 0);
    assert_true(n > 50);
}

/* How many of the rounds [from, from + n) opened; -1: there were faults, printed; at most `most`. */
static int64_t rounds(damage_base *all, uint64_t seed, uint64_t from, uint64_t n, int most)
{
    int64_t opened = 0;
    int faults = 0;
    for (uint64_t i = from; i < from + n; i++) {
        rh_str line = {0};
        char message[1024] = "";
        const char *expect = "", *what = "";
        damage_draw(&line, all, seed, i);
        const bool good = try_line(all, line.data, message, &expect, &what);
        if (!good) print_error("round %llu: %s\n  %s; said: %s\n", (unsigned long long)i, line.data, what, message);
        opened += !message[0];
        rh_str_free(&line);
        if (!good && ++faults == most) break;
    }
    return faults ? -1 : opened;
}

static void drawn(void **state)
{
    const int64_t opened = rounds(*state, SEED, 0, ROUNDS, 10);
    assert_in_range(opened, ROUNDS / 20, ROUNDS * 2 / 3); /* both ways are tried */
}

static int open_all(void **state)
{
    *state = damage_bases_open();
    heap_map_copy(true);
    return 0;
}

static int close_all(void **state)
{
    heap_map_copy(false);
    damage_bases_close(*state);
    return 0;
}

static int by_hand(int argc, char **argv)
{
    void *all = NULL;
    int64_t opened = 0;
    open_all(&all);
    if (!strcmp(argv[1], "case") && argc > 2) {
        char message[1024] = "";
        const char *expect = "", *what = "";
        opened = try_line(all, argv[2], message, &expect, &what) ? 0 : -1;
        printf("%s%s%s\n", opened ? what : "", opened ? ": " : "", message[0] ? message : "it opens");
    } else if (!strcmp(argv[1], "draw") && argc > 4) {
        opened = rounds(all, strtoull(argv[2], NULL, 0), strtoull(argv[3], NULL, 0), strtoull(argv[4], NULL, 0), 100);
        printf("%lld opened\n", (long long)opened);
    } else {
        const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1, step = 1000;
        for (uint64_t at = 0; opened >= 0; at += step) {
            opened = rounds(all, seed, at, step, 1);
            printf("rounds %llu to %llu: %lld opened\n", (unsigned long long)at, (unsigned long long)(at + step - 1), (long long)opened);
            fflush(stdout);
        }
    }
    close_all(&all);
    return opened < 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(kept), cmocka_unit_test(drawn)};
    watch();
    if (argc > 1) return by_hand(argc, argv);
    return cmocka_run_group_tests(tests, open_all, close_all);
}
