/* parse.h - what the parser's files share: the current token, brackets, nesting. Inside dsl/
 * only; others want parser.h. */
#ifndef RH_DSL_PARSE_H
#define RH_DSL_PARSE_H

#include "dsl/lexer.h"
#include "dsl/parser.h"

typedef struct rh_parser {
    rh_arena *arena;
    const rh_source *source;
    rh_lexer lexer;
    rh_lexeme tok;        /* the current one */
    uint32_t last_end;   /* end of the token before it */
    int brackets;        /* open ( and [: newlines are blanks inside */
    rh_range opened[RH_MAX_NESTING + 2]; /* where */
    int nesting;
    rh_diags *diags;
    bool no_memory;
} rh_parser;

void rh_parser_start(rh_parser *p, rh_arena *a, const rh_source *source, rh_diags *diags);

/* ---- tokens --------------------------------------------------------------------------- */
void rh_next(rh_parser *p);                     /* also counts brackets */
bool rh_accept(rh_parser *p, rh_lexeme_kind kind);
bool rh_at_word(const rh_parser *p, const char *word);
bool rh_at_end(const rh_parser *p);             /* of the statement: newline, ; or end of text */
rh_lexeme rh_peek(const rh_parser *p);           /* the token after the current one */
rh_range rh_lexeme_range(const rh_parser *p);    /* of the current token; at an end: behind the last one */
rh_range rh_range_from(const rh_parser *p, uint32_t start); /* up to the last token */
rh_slice rh_lexeme_slice(const rh_parser *p);

/* ---- errors; all return false ------------------------------------------------------------ */
bool rh_expected(rh_parser *p, const char *what); /* "expected `what`, found …" at the current token */
bool rh_complain(rh_parser *p, rh_status code, rh_range at, const char *message, const char *hint); /* may be NULL */
bool rh_parser_nomem(rh_parser *p);
bool rh_enter(rh_parser *p);                      /* one level deeper; false with an error at 201 */
void rh_leave(rh_parser *p);

/* ---- grammar ------------------------------------------------------------------------------ */
rh_expr *rh_parse_expr(rh_parser *p);             /* NULL after an error */
bool rh_parse_site(rh_parser *p, rh_site_ast *out, bool hook_allowed);
bool rh_parse_mask(rh_parser *p, rh_statement *s);
bool rh_parse_int(rh_parser *p, uint64_t *out, uint64_t max, const char *what);
bool rh_parse_string(rh_parser *p, rh_slice *text, rh_range *range, const char *what);
/* Append to a growing array in the arena. */
bool rh_push(rh_parser *p, void *items, int32_t *n, int32_t *capacity, size_t size, const void *item);

#endif
