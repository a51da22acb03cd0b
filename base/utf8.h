/* utf8.h - UTF-8 in, code points out; display width. Categories and widths are libunistring's. */
#ifndef RH_BASE_UTF8_H
#define RH_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decode one code point of s[0..n), n > 0. Returns its length 1..4, or 0 if the bytes are
 * not valid UTF-8 (overlong, surrogate, cut off); *cp is then U+FFFD. */
size_t rh_utf8_next(uint32_t *cp, const char *s, size_t n);
size_t rh_utf8_put(char out[4], uint32_t cp); /* 1..4 */
/* Offset of the first invalid byte, or n if all is valid. */
size_t rh_utf8_valid(const char *s, size_t n);
size_t rh_utf8_count(const char *s, size_t n); /* code points; an invalid byte counts one */
int rh_utf8_width(const char *s, size_t n);    /* columns on a terminal; controls count 0 */

bool rh_is_letter(uint32_t cp);      /* \p{L} */
bool rh_is_name_part(uint32_t cp);   /* \p{L} \p{M} \p{N} _ */

#endif
