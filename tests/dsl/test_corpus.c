/* What a fuzzer kept of books and expressions (tests/data/fuzz/language.txt, by tests/fuzz): each once. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fuzz_language.h"
#include "support/fuzz_kept.h"

static void kept(void **state)
{
    (void)state;
    fuzz_kept(RH_TEST_DATA "/fuzz/language.txt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(kept)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
