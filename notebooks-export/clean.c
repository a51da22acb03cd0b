/* clean.c - see clean.h. */
#include "notebooks-export/clean.h"

#include <string.h>

#include "base/utf8.h"

/* How many bytes one U+FFFD stands for: the longest beginning of a code point that was cut off or
 * went wrong, as Unicode (ch. 3, "maximal subparts") and browsers count. s[0..n) starts badly. */
static size_t bad_length(const char *s, size_t n)
{
    const unsigned char *p = (const unsigned char *)s;
    if (p[0] < 0xC2 || p[0] > 0xF4) return 1;
    size_t want = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2, len = 1;
    unsigned char lo = p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : 0x80;
    unsigned char hi = p[0] == 0xED ? 0x9F : p[0] == 0xF4 ? 0x8F : 0xBF;
    for (; len < want && len < n && p[len] >= lo && p[len] <= hi; len++) {
        lo = 0x80;
        hi = 0xBF;
    }
    return len;
}

/* Code points that move the cursor, reorder a line or end it. */
static bool is_hostile(uint32_t cp)
{
    return (cp >= 0x80 && cp < 0xA0) || cp == 0x061C || cp == 0x200E || cp == 0x200F ||
           (cp >= 0x2028 && cp <= 0x202E) || (cp >= 0x2066 && cp <= 0x2069) || cp == 0xFEFF;
}

static void put_control(rh_str *out, uint32_t cp, rh_clean_mode mode, bool unicode)
{
    char picture[4];
    if (cp == '\n' && mode == RH_CLEAN_TEXT)
        rh_str_puts(out, "\n");
    else if (cp == '\t' && mode == RH_CLEAN_TEXT)
        rh_str_puts(out, "    ");
    else if (cp == '\n' || cp == '\t')
        rh_str_puts(out, cp == '\n' ? "\\n" : "\\t");
    else if (unicode)
        rh_str_add(out, picture, rh_utf8_put(picture, cp == 0x7F ? 0x2421 : 0x2400 + cp));
    else
        rh_str_printf(out, "\\x%02x", (unsigned)cp);
}

size_t rh_clean_next(rh_str *out, const char *s, size_t n, rh_clean_mode mode, bool unicode)
{
    uint32_t cp;
    size_t len = rh_utf8_next(&cp, s, n);
    if (!len) {
        len = bad_length(s, n);
        if (mode == RH_CLEAN_TEXT)
            rh_str_puts(out, unicode ? "\xEF\xBF\xBD" : "?");
        for (size_t i = 0; mode == RH_CLEAN_LINE && i < len; i++)
            rh_str_printf(out, "\\x%02x", (unsigned)(unsigned char)s[i]);
    } else if (cp == '\r' && mode == RH_CLEAN_TEXT && n > 1 && s[1] == '\n') {
        rh_str_puts(out, "\n");
        len = 2;
    } else if (cp < 0x20 || cp == 0x7F) {
        put_control(out, cp, mode, unicode);
    } else if (is_hostile(cp) || (cp >= 0x80 && !unicode)) {
        rh_str_printf(out, "\\u{%x}", (unsigned)cp);
    } else {
        rh_str_add(out, s, len);
    }
    return len;
}

void rh_clean(rh_str *out, const char *s, size_t n, rh_clean_mode mode, bool unicode)
{
    for (size_t i = 0; i < n;) i += rh_clean_next(out, s + i, n - i, mode, unicode);
}

void rh_repair_utf8(rh_str *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t good = rh_utf8_valid(s + i, n - i);
        rh_str_add(out, s + i, good);
        i += good;
        if (i == n) break;
        rh_str_puts(out, "\xEF\xBF\xBD");
        i += bad_length(s + i, n - i);
    }
}
