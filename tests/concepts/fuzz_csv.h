/* fuzz_csv.h - any bytes as a pairs.csv: rows that keep their promises or an error with a line; what breaks a
 * promise aborts. For the tests here, and for a fuzzer (tests/fuzz). */
#ifndef RH_TEST_FUZZ_CSV_H
#define RH_TEST_FUZZ_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* renamed: the columns are "a" and "text". true: it was read. */
bool fuzz_csv(const void *bytes, size_t n, bool marked, bool renamed);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
