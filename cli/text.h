/* text.h - small helpers for what verbs print: JSON strings from any bytes, sizes for people.
 * Knows bytes only. */
#ifndef RH_CLI_TEXT_H
#define RH_CLI_TEXT_H

#include "base/json.h"
#include "base/mem.h"

/* A JSON string; bytes that are not UTF-8 become U+FFFD. NULL: no memory. */
json_t *cli_json_text(const char *bytes, size_t len);
json_t *cli_json_number(double x); /* null if it is not finite */

void cli_size_text(char out[32], double bytes);   /* "93.8 MiB" */
void cli_count_text(char out[32], int64_t count); /* "134,515,008" */
/* Append bytes as one line of a terminal can hold them: controls and bytes that are not
 * UTF-8 as \n, \t, \x1b. */
void cli_visible(rh_str *out, const char *bytes, size_t len);

#endif
