#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/utf8.h"
#include "lines.h"

int occurrences(const char *text, const char *what)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, what)); at += strlen(what)) n++;
    return n;
}

void check_lines(const rh_str *s, int width, bool unicode)
{
    assert_int_equal(rh_utf8_valid(s->data, s->len), s->len);
    for (const char *line = s->data; *line;) {
        size_t n = strcspn(line, "\n");
        if (rh_utf8_width(line, n) > width) fail_msg("%d columns of %d: %.*s", rh_utf8_width(line, n), width, (int)n, line);
        for (size_t i = 0; i < n; i++) assert_true((unsigned char)line[i] >= 0x20 && (unicode || (unsigned char)line[i] < 0x80));
        line += n + (line[n] == '\n');
    }
}
