/* fuzz_kept.h - what a fuzzer kept, given to its target again. Included after the target, LLVMFuzzerTestOneInput. */
#ifndef RH_TEST_FUZZ_KEPT_H
#define RH_TEST_FUZZ_KEPT_H

#include <stdlib.h>
#include <string.h>

#include "base/file.h"

static int fuzz_digit(char c)
{
    assert_true((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* A line of hexadecimal digits. */
static void fuzz_line(const char *line, size_t n)
{
    uint8_t *bytes = malloc(n / 2 + 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < n / 2; i++) bytes[i] = (uint8_t)(16 * fuzz_digit(line[2 * i]) + fuzz_digit(line[2 * i + 1]));
    LLVMFuzzerTestOneInput(bytes, n / 2);
    free(bytes);
}

/* Every line of a file of tests/data/fuzz. */
static void fuzz_kept(const char *path)
{
    char *text = NULL;
    size_t size;
    rh_error err;
    int n = 0;
    if (rh_read_file(&text, &size, path, 16 << 20, &err)) fail_msg("%s", err.message);
    for (const char *line = text; *line; n++) {
        const size_t length = strcspn(line, "\n");
        fuzz_line(line, length);
        line += length + (line[length] == '\n');
    }
    free(text);
    assert_true(n > 20);
}

#endif
