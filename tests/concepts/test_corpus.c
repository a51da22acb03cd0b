/* What a fuzzer kept of CSVs (tests/data/fuzz/csv.txt, by tests/fuzz): each once. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fuzz_csv.h"
#include "support/fuzz_kept.h"

static void kept(void **state)
{
    (void)state;
    fuzz_kept(RH_TEST_DATA "/fuzz/csv.txt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(kept)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
