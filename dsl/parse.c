/* parse.c - tokens, brackets, nesting and error messages for the parser. */
#include "dsl/parse.h"

#include <stdio.h>
#include <string.h>

#include "dsl/words.h"

void rh_parser_start(rh_parser *p, rh_arena *a, const rh_source *source, rh_diags *diags)
{
    memset(p, 0, sizeof *p);
    p->arena = a;
    p->source = source;
    p->diags = diags;
    rh_lexer_init(&p->lexer, source);
    p->tok = rh_lex(&p->lexer);
}

/* ---- tokens --------------------------------------------------------------------------- */

void rh_next(rh_parser *p)
{
    rh_lexeme_kind kind = p->tok.kind;
    if (kind == RH_TOK_OPEN || kind == RH_TOK_LBRACKET) {
        if (p->brackets <= RH_MAX_NESTING) p->opened[p->brackets] = rh_lexeme_range(p);
        p->brackets++;
    }
    if ((kind == RH_TOK_CLOSE || kind == RH_TOK_RBRACKET) && p->brackets > 0) p->brackets--;
    p->last_end = p->tok.end;
    do p->tok = rh_lex(&p->lexer);
    while (p->brackets > 0 && p->tok.kind == RH_TOK_NEWLINE);
}

bool rh_accept(rh_parser *p, rh_lexeme_kind kind)
{
    if (p->tok.kind != kind) return false;
    rh_next(p);
    return true;
}

rh_slice rh_lexeme_slice(const rh_parser *p)
{
    return (rh_slice){p->source->text + p->tok.start, p->tok.end - p->tok.start};
}

bool rh_at_word(const rh_parser *p, const char *word)
{
    return p->tok.kind == RH_TOK_NAME && rh_is_word(p->source->text + p->tok.start, p->tok.end - p->tok.start, word);
}

bool rh_at_end(const rh_parser *p)
{
    return p->tok.kind == RH_TOK_NEWLINE || p->tok.kind == RH_TOK_SEMICOLON || p->tok.kind == RH_TOK_END;
}

rh_lexeme rh_peek(const rh_parser *p)
{
    rh_lexer copy = p->lexer;
    rh_lexeme t;
    do t = rh_lex(&copy);
    while (p->brackets > 0 && t.kind == RH_TOK_NEWLINE);
    return t;
}

rh_range rh_lexeme_range(const rh_parser *p)
{
    if (p->tok.kind == RH_TOK_NEWLINE || p->tok.kind == RH_TOK_END) {
        uint32_t at = p->last_end ? p->last_end : p->tok.start;
        return (rh_range){p->source, at, at};
    }
    return (rh_range){p->source, p->tok.start, p->tok.end};
}

rh_range rh_range_from(const rh_parser *p, uint32_t start) { return (rh_range){p->source, start, p->last_end}; }

/* ---- errors --------------------------------------------------------------------------- */

bool rh_parser_nomem(rh_parser *p)
{
    p->no_memory = true;
    return false;
}

bool rh_complain(rh_parser *p, rh_status code, rh_range at, const char *message, const char *hint)
{
    rh_diag *d = rh_diag_add(p->diags, code, at, "%s", message);
    if (hint) rh_diag_hint(d, "%s", hint);
    return false;
}

/* "'+'", "the number 3", "the end of the line" */
static void describe(char out[96], const rh_parser *p)
{
    int len = (int)(p->tok.end - p->tok.start);
    const char *text = p->source->text + p->tok.start;
    switch (p->tok.kind) {
    case RH_TOK_END: snprintf(out, 96, "the end"); break;
    case RH_TOK_NEWLINE: snprintf(out, 96, "the end of the line"); break;
    case RH_TOK_NUMBER: snprintf(out, 96, "the number %.*s", len > 40 ? 40 : len, text); break;
    case RH_TOK_STRING: snprintf(out, 96, "a string"); break;
    default: snprintf(out, 96, "'%.*s'", len > 60 ? 60 : len, text); break;
    }
}

/* A bracket that is still open when the text ends, or when a line begins like a statement, is
 * what is wrong, wherever it was noticed. */
static bool unclosed(rh_parser *p)
{
    bool statement = p->tok.kind == RH_TOK_NAME && p->tok.line_start &&
                     rh_is_statement_word(p->source->text + p->tok.start, p->tok.end - p->tok.start);
    if (p->brackets == 0 || p->brackets > RH_MAX_NESTING + 1 || (!statement && p->tok.kind != RH_TOK_END)) return false;
    rh_range at = p->opened[p->brackets - 1];
    rh_diag *d = rh_diag_add(p->diags, RH_ESYNTAX, at, "this bracket is not closed");
    rh_diag_hint(d, "add %s", p->source->text[at.start] == '(' ? ")" : "]");
    return true;
}

bool rh_expected(rh_parser *p, const char *what)
{
    char found[96];
    if (p->no_memory) return false;
    if (p->tok.kind == RH_TOK_BAD) {
        rh_lex_complain(p->diags, p->source, &p->tok);
        return false;
    }
    if (unclosed(p)) return false;
    describe(found, p);
    rh_diag *d = rh_diag_add(p->diags, RH_ESYNTAX, rh_lexeme_range(p), "expected %s, found %s", what, found);
    if (p->tok.kind == RH_TOK_DOT && (what[0] == '\'' || strncmp(what, "an operator", 11) == 0))
        rh_diag_hint(d, "file names stand in double quotes: dim(\"rain.csv\")");
    if (p->tok.kind == RH_TOK_EQUALS && strncmp(what, "an operator", 11) == 0)
        rh_diag_hint(d, "names are bound with let: let rain = dim(\"rain.csv\")");
    return false;
}

bool rh_enter(rh_parser *p)
{
    if (p->nesting < RH_MAX_NESTING) {
        p->nesting++;
        return true;
    }
    return rh_complain(p, RH_ELIMIT, rh_lexeme_range(p), "nested more than 200 deep",
                       "give the inner parts names with let");
}

void rh_leave(rh_parser *p) { p->nesting--; }

/* ---- small pieces ----------------------------------------------------------------------- */

bool rh_push(rh_parser *p, void *items, int32_t *n, int32_t *capacity, size_t size, const void *item)
{
    char *data;
    memcpy(&data, items, sizeof data);
    if (*n == *capacity) {
        if (*capacity > INT32_MAX / 2) return rh_parser_nomem(p);
        int32_t grown = *capacity ? *capacity * 2 : 4;
        char *copy = rh_arena_alloc(p->arena, (size_t)grown, size);
        if (!copy) return rh_parser_nomem(p);
        if (*n) memcpy(copy, data, (size_t)*n * size);
        data = copy;
        memcpy(items, &data, sizeof data);
        *capacity = grown;
    }
    memcpy(data + (size_t)*n * size, item, size);
    ++*n;
    return true;
}

bool rh_parse_int(rh_parser *p, uint64_t *out, uint64_t max, const char *what)
{
    if (p->tok.kind != RH_TOK_NUMBER || !p->tok.integer) return rh_expected(p, what);
    if (!rh_lexeme_integer(out, p->source, &p->tok, max)) {
        char hint[64];
        snprintf(hint, sizeof hint, "at most %llu", (unsigned long long)max);
        return rh_complain(p, RH_EVALUE, rh_lexeme_range(p), "this number is too large here", hint);
    }
    rh_next(p);
    return true;
}

bool rh_parse_string(rh_parser *p, rh_slice *text, rh_range *range, const char *what)
{
    if (p->tok.kind != RH_TOK_STRING) return rh_expected(p, what);
    text->text = rh_lexeme_string(p->arena, p->source, &p->tok, &text->len);
    if (!text->text) return rh_parser_nomem(p);
    *range = rh_lexeme_range(p);
    rh_next(p);
    return true;
}
