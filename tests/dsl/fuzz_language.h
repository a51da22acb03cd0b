/* fuzz_language.h - any text as a book or an expression: it is compiled, explained and evaluated without a crash,
 * or refused with a place; what breaks a promise aborts. For test_fuzz.c, and for a fuzzer (tests/fuzz). */
#ifndef RH_TEST_FUZZ_LANGUAGE_H
#define RH_TEST_FUZZ_LANGUAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fuzz_choice {
    bool book, no_model, all_names, value; /* book: else an expression */
    unsigned layers;                       /* which --layer, from 0 */
} fuzz_choice;

bool fuzz_language(const char *text, fuzz_choice choice); /* true: it has a value */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
