#include "base/utf8.h"

#include <unictype.h>
#include <uniwidth.h>

size_t rh_utf8_next(uint32_t *cp, const char *s, size_t n)
{
    const unsigned char *p = (const unsigned char *)s;
    *cp = 0xFFFD;
    if (p[0] < 0x80) {
        *cp = p[0];
        return 1;
    }
    size_t len = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
    if (p[0] < 0xC2 || p[0] > 0xF4 || len > n) return 0;
    uint32_t c = p[0] & (0xFFu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80) return 0;
        c = c << 6 | (p[i] & 0x3Fu);
    }
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    if (c < least[len] || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) return 0;
    *cp = c;
    return len;
}

size_t rh_utf8_put(char out[4], uint32_t cp)
{
    if (cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000)) cp = 0xFFFD;
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    size_t len = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (cp & 0x3F));
        cp >>= 6;
    }
    out[0] = (char)((0xF00u >> len & 0xFF) | cp);
    return len;
}

size_t rh_utf8_valid(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n) {
        uint32_t cp;
        size_t len = rh_utf8_next(&cp, s + i, n - i);
        if (!len) break;
        i += len;
    }
    return i;
}

size_t rh_utf8_count(const char *s, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; count++) {
        uint32_t cp;
        size_t len = rh_utf8_next(&cp, s + i, n - i);
        i += len ? len : 1;
    }
    return count;
}

int rh_utf8_width(const char *s, size_t n)
{
    int width = 0;
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        size_t len = rh_utf8_next(&cp, s + i, n - i);
        int w = len ? uc_width(cp, "UTF-8") : 1;
        if (w > 0) width += w;
        i += len ? len : 1;
    }
    return width;
}

bool rh_is_letter(uint32_t cp)
{
    return uc_is_general_category(cp, UC_CATEGORY_L);
}

bool rh_is_name_part(uint32_t cp)
{
    return cp == '_' || uc_is_general_category(cp, UC_CATEGORY_L) ||
           uc_is_general_category(cp, UC_CATEGORY_M) || uc_is_general_category(cp, UC_CATEGORY_N);
}
