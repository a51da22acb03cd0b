/* What a fuzzer kept of books and expressions (tests/data/fuzz/language.txt, by tests/fuzz): each once. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "fuzz_language.h"

static int digit(char c)
{
    assert_true((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* A line of hexadecimal digits. */
static void one(const char *line, size_t n)
{
    uint8_t *bytes = malloc(n / 2 + 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < n / 2; i++) bytes[i] = (uint8_t)(16 * digit(line[2 * i]) + digit(line[2 * i + 1]));
    LLVMFuzzerTestOneInput(bytes, n / 2);
    free(bytes);
}

static void kept(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size;
    rh_error err;
    int n = 0;
    if (rh_read_file(&text, &size, RH_TEST_DATA "/fuzz/language.txt", 16 << 20, &err)) fail_msg("%s", err.message);
    for (const char *line = text; *line; n++) {
        size_t length = strcspn(line, "\n");
        one(line, length);
        line += length + (line[length] == '\n');
    }
    free(text);
    assert_true(n > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(kept)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
