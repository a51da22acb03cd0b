/* lexer.h - text to tokens, one at a time, with nothing kept but a position. Knows words of no
 * grammar: `let` is a name here, and a newline is a token (the parser knows about brackets). */
#ifndef RH_DSL_LEXER_H
#define RH_DSL_LEXER_H

#include "dsl/diag.h"

typedef enum rh_lexeme_kind {
    RH_TOK_END = 0, /* of the text */
    RH_TOK_NEWLINE,
    RH_TOK_SEMICOLON,
    RH_TOK_NUMBER,
    RH_TOK_STRING,
    RH_TOK_NAME,
    RH_TOK_PLUS, RH_TOK_MINUS, RH_TOK_STAR, RH_TOK_SLASH,
    RH_TOK_OPEN, RH_TOK_CLOSE,     /* ( ) */
    RH_TOK_LBRACKET, RH_TOK_RBRACKET,
    RH_TOK_COMMA, RH_TOK_EQUALS, RH_TOK_AT, RH_TOK_DOT, RH_TOK_DOTDOT,
    RH_TOK_LESS, RH_TOK_GREATER, RH_TOK_LESS_EQUAL, RH_TOK_GREATER_EQUAL,
    RH_TOK_BAD
} rh_lexeme_kind;

typedef enum rh_lex_fault { /* of RH_TOK_BAD */
    RH_LEX_OK = 0,
    RH_LEX_STRAY,          /* a character that begins nothing */
    RH_LEX_UTF8,
    RH_LEX_UNCLOSED,       /* a string that does not end on its line */
    RH_LEX_ESCAPE,         /* \ and something else than " \ n t */
    RH_LEX_LETTER,         /* a letter directly after a number */
    RH_LEX_CONTROL         /* a control character in a string */
} rh_lex_fault;

typedef struct rh_lexeme {
    rh_lexeme_kind kind;
    uint32_t start, end;   /* bytes; of a bad token: the part that is wrong */
    bool line_start;       /* first on its line */
    bool integer;          /* NUMBER: digits only */
    rh_lex_fault fault;
} rh_lexeme;

typedef struct rh_lexer {
    const rh_source *source;
    uint32_t at;
    bool line_start;
} rh_lexer;

void rh_lexer_init(rh_lexer *l, const rh_source *source); /* a BOM is skipped */
rh_lexeme rh_lex(rh_lexer *l);                             /* always moves on, until RH_TOK_END */
/* Add the error of a bad token. */
void rh_lex_complain(rh_diags *diags, const rh_source *source, const rh_lexeme *t);

/* A string token's text without quotes and escapes, in the arena; NULL: no memory. */
const char *rh_lexeme_string(rh_arena *a, const rh_source *source, const rh_lexeme *t, size_t *len);
/* Value of an integer token; false if it exceeds max. */
bool rh_lexeme_integer(uint64_t *out, const rh_source *source, const rh_lexeme *t, uint64_t max);

#endif
