#include "cli/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

json_t *cli_json_text(const char *bytes, size_t len)
{
    rh_str s = {0};
    json_t *out = NULL;
    if (rh_utf8_valid(bytes, len) == len) return json_stringn(bytes, len);
    for (size_t i = 0; i < len;) {
        uint32_t cp;
        size_t n = rh_utf8_next(&cp, bytes + i, len - i);
        if (n) rh_str_add(&s, bytes + i, n);
        else rh_str_puts(&s, "\xEF\xBF\xBD");
        i += n ? n : 1;
    }
    if (!s.failed) out = json_stringn(s.data ? s.data : "", s.len);
    rh_str_free(&s);
    return out;
}

json_t *cli_json_number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

void cli_size_text(char out[32], double bytes)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int u = 0;
    while (bytes >= 1024 && u < 4) bytes /= 1024, u++;
    snprintf(out, 32, u ? "%.1f %s" : "%.0f %s", bytes, unit[u]);
}

void cli_count_text(char out[32], int64_t count)
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%lld", (long long)count), k = 0;
    for (int i = 0; i < n; i++) {
        out[k++] = digits[i];
        int left = n - 1 - i;
        if (left && left % 3 == 0 && digits[i] != '-') out[k++] = ',';
    }
    out[k] = 0;
}

void cli_visible(rh_str *out, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint32_t cp;
        size_t n = rh_utf8_next(&cp, bytes + i, len - i);
        unsigned char b = (unsigned char)bytes[i];
        if (n && cp >= 0x20 && cp != 0x7F && !(cp >= 0x80 && cp < 0xA0)) rh_str_add(out, bytes + i, n);
        else if (b == '\n') rh_str_puts(out, "\\n");
        else if (b == '\r') rh_str_puts(out, "\\r");
        else if (b == '\t') rh_str_puts(out, "\\t");
        else
            for (size_t k = 0; k < (n ? n : 1); k++) rh_str_printf(out, "\\x%02x", (unsigned char)bytes[i + k]);
        i += n ? n : 1;
    }
}
