#include "cli/repl_scan.h"

#include <string.h>

#include "dsl/lexer.h"

static repl_piece_kind kind_of(rh_lexeme_kind kind)
{
    switch (kind) {
    case RH_TOK_END: return REPL_END;
    case RH_TOK_NEWLINE:
    case RH_TOK_SEMICOLON: return REPL_BREAK;
    case RH_TOK_NUMBER: return REPL_NUMBER;
    case RH_TOK_STRING: return REPL_STRING;
    case RH_TOK_NAME: return REPL_NAME;
    case RH_TOK_BAD: return REPL_BAD;
    default: return REPL_SIGN;
    }
}

repl_piece repl_piece_at(const char *text, size_t from)
{
    rh_source source = {.name = "", .text = text, .len = strlen(text)};
    rh_lexer lexer;
    rh_lexer_init(&lexer, &source);
    if (from > lexer.at) lexer.at = (uint32_t)from;
    rh_lexeme t = rh_lex(&lexer);
    return (repl_piece){kind_of(t.kind), t.start, t.end};
}

bool repl_piece_is(const char *text, const repl_piece *p, const char *word)
{
    size_t n = strlen(word);
    return (p->kind == REPL_NAME || p->kind == REPL_SIGN) && p->end - p->start == n && !memcmp(text + p->start, word, n);
}

char *repl_piece_string(const char *text, const repl_piece *p)
{
    rh_source source = {.name = "", .text = text, .len = strlen(text)};
    rh_lexeme t = {.kind = RH_TOK_STRING, .start = p->start, .end = p->end};
    rh_arena *arena = rh_arena_new();
    size_t len;
    const char *s = arena ? rh_lexeme_string(arena, &source, &t, &len) : NULL;
    char *copy = s ? rh_strdup(s) : NULL;
    rh_arena_free(arena);
    return copy;
}
