/* clean.h - bytes that a model or a file gave us, made fit for a terminal or for JSON. Knows
 * bytes only. */
#ifndef RH_EXPORT_CLEAN_H
#define RH_EXPORT_CLEAN_H

#include "base/mem.h"

typedef enum rh_clean_mode {
    RH_CLEAN_TEXT, /* lines stay lines, a tab is four spaces, bad bytes are U+FFFD */
    RH_CLEAN_LINE  /* one line: \n, \t and bad bytes spelled as \n, \t, \xe2 */
} rh_clean_mode;

/* Append what stands for the code point (or the bad bytes) at s; returns how many bytes of s[0..n),
 * n > 0, were taken. Controls become ␛ (ASCII: \x1b), C1 and bidirectional overrides \u{9b}. */
size_t rh_clean_next(rh_str *out, const char *s, size_t n, rh_clean_mode mode, bool unicode);
void rh_clean(rh_str *out, const char *s, size_t n, rh_clean_mode mode, bool unicode);

/* Append s with each bad sequence replaced by one U+FFFD; nothing else changes. */
void rh_repair_utf8(rh_str *out, const char *s, size_t n);

#endif
