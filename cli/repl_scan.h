/* repl_scan.h - a line's pieces as the language cuts them. Knows text only. */
#ifndef RH_CLI_REPL_SCAN_H
#define RH_CLI_REPL_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum repl_piece_kind { REPL_END, REPL_NAME, REPL_STRING, REPL_NUMBER, REPL_SIGN, REPL_BREAK, REPL_BAD } repl_piece_kind;
typedef struct repl_piece { repl_piece_kind kind; uint32_t start, end; } repl_piece; /* BREAK: a newline or ; */

repl_piece repl_piece_at(const char *text, size_t from); /* the first that begins at `from` or behind it */
bool repl_piece_is(const char *text, const repl_piece *p, const char *word); /* a NAME or a SIGN */
char *repl_piece_string(const char *text, const repl_piece *p); /* unescaped, NUL-terminated; malloc */

#endif
