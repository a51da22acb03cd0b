/* lexer.c - the scanner of LANGUAGE.md §3. Every byte is looked at once; UTF-8 is checked on the
 * way, in comments and strings too. */
#include "dsl/lexer.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

void rh_lexer_init(rh_lexer *l, const rh_source *source)
{
    bool bom = source->len >= 3 && memcmp(source->text, "\xef\xbb\xbf", 3) == 0;
    *l = (rh_lexer){.source = source, .at = bom ? 3 : 0, .line_start = true};
}

static int byte_at(const rh_lexer *l, uint32_t at)
{
    return at < l->source->len ? (unsigned char)l->source->text[at] : -1;
}

static bool is_digit(int c) { return c >= '0' && c <= '9'; }

/* Length of the code point at `at`; 0 at the end or where it is not UTF-8. */
static size_t code_point(const rh_lexer *l, uint32_t at, uint32_t *cp)
{
    *cp = 0;
    if (at >= l->source->len) return 0;
    return rh_utf8_next(cp, l->source->text + at, l->source->len - at);
}

static bool starts_name(const rh_lexer *l, uint32_t at)
{
    uint32_t cp;
    return code_point(l, at, &cp) > 0 && (cp == '_' || rh_is_letter(cp));
}

/* A token [start, end); the lexer goes on behind it. */
static rh_lexeme token(rh_lexer *l, rh_lexeme_kind kind, uint32_t start, uint32_t end)
{
    rh_lexeme t = {.kind = kind, .start = start, .end = end, .line_start = l->line_start};
    l->at = end;
    l->line_start = kind == RH_TOK_NEWLINE;
    return t;
}

/* What is wrong is [start, end); scanning goes on at `resume`. */
static rh_lexeme bad(rh_lexer *l, rh_lex_fault fault, uint32_t start, uint32_t end, uint32_t resume)
{
    rh_lexeme t = token(l, RH_TOK_BAD, start, end);
    t.fault = fault;
    l->at = resume;
    return t;
}

static uint32_t digits(const rh_lexer *l, uint32_t at)
{
    while (is_digit(byte_at(l, at))) at++;
    return at;
}

/* digits [ "." digits ] [ exp ] | "." digits [ exp ]; a dot without a digit behind it is not ours. */
static rh_lexeme number(rh_lexer *l)
{
    uint32_t start = l->at, at = digits(l, start);
    bool integer = true;
    if (byte_at(l, at) == '.' && is_digit(byte_at(l, at + 1))) {
        at = digits(l, at + 1);
        integer = false;
    }
    if (byte_at(l, at) == 'e' || byte_at(l, at) == 'E') {
        uint32_t sign = byte_at(l, at + 1) == '+' || byte_at(l, at + 1) == '-';
        if (is_digit(byte_at(l, at + 1 + sign))) {
            at = digits(l, at + 1 + sign);
            integer = false;
        }
    }
    if (starts_name(l, at)) {
        uint32_t end = at, cp;
        size_t len;
        while ((len = code_point(l, end, &cp)) > 0 && rh_is_name_part(cp)) end += (uint32_t)len;
        return bad(l, RH_LEX_LETTER, start, end, end);
    }
    rh_lexeme t = token(l, RH_TOK_NUMBER, start, at);
    t.integer = integer;
    return t;
}

static rh_lexeme name(rh_lexer *l)
{
    uint32_t start = l->at, at = start, cp;
    size_t len;
    while ((len = code_point(l, at, &cp)) > 0 && rh_is_name_part(cp)) at += (uint32_t)len;
    return token(l, RH_TOK_NAME, start, at);
}

static uint32_t rest_of_line(const rh_lexer *l, uint32_t at)
{
    while (byte_at(l, at) >= 0 && byte_at(l, at) != '\n') at++;
    return at;
}

/* After a fault inside a string: behind its closing quote, or the line's end. */
static uint32_t rest_of_string(const rh_lexer *l, uint32_t at)
{
    for (; byte_at(l, at) >= 0 && byte_at(l, at) != '\n'; at++) {
        if (byte_at(l, at) == '"') return at + 1;
        if (byte_at(l, at) == '\\' && byte_at(l, at + 1) >= 0 && byte_at(l, at + 1) != '\n') at++;
    }
    return at;
}

static rh_lexeme string(rh_lexer *l)
{
    uint32_t start = l->at, at = start + 1, cp;
    for (;;) {
        int c = byte_at(l, at);
        if (c < 0 || c == '\n' || (c == '\r' && byte_at(l, at + 1) == '\n'))
            return bad(l, RH_LEX_UNCLOSED, start, at, at);
        if (c == '"') return token(l, RH_TOK_STRING, start, at + 1);
        size_t len = code_point(l, at, &cp);
        if (len == 0) return bad(l, RH_LEX_UTF8, at, at + 1, rest_of_string(l, at + 1));
        if ((c < 0x20 && c != '\t') || c == 0x7f) return bad(l, RH_LEX_CONTROL, at, at + 1, rest_of_string(l, at + 1));
        if (c == '\\') {
            int escaped = byte_at(l, at + 1);
            if (escaped < 0 || escaped == '\n' || escaped == '\r') return bad(l, RH_LEX_UNCLOSED, start, at + 1, at + 1);
            if (!strchr("\"\\nt", escaped)) {
                size_t after = code_point(l, at + 1, &cp);
                if (after == 0) return bad(l, RH_LEX_UTF8, at + 1, at + 2, rest_of_string(l, at + 2));
                uint32_t end = at + 1 + (uint32_t)after;
                return bad(l, RH_LEX_ESCAPE, at, end, rest_of_string(l, end));
            }
            len = 2;
        }
        at += (uint32_t)len;
    }
}

/* Blanks and comments; false, with the place in l->at, where a comment is not UTF-8. */
static bool skip_blanks(rh_lexer *l)
{
    for (;;) {
        int c = byte_at(l, l->at);
        if (c == ' ' || c == '\t' || (c == '\r' && byte_at(l, l->at + 1) == '\n')) {
            l->at++;
        } else if (c == '\r' && byte_at(l, l->at + 1) < 0) {
            l->at++;
        } else if (c == '#') {
            uint32_t end = rest_of_line(l, l->at);
            size_t valid = rh_utf8_valid(l->source->text + l->at, end - l->at);
            l->at += (uint32_t)valid;
            if (l->at < end) return false;
        } else {
            return true;
        }
    }
}

rh_lexeme rh_lex(rh_lexer *l)
{
    static const struct { char text[3]; rh_lexeme_kind kind; } marks[] = { /* longer ones first */
        {"..", RH_TOK_DOTDOT}, {"<=", RH_TOK_LESS_EQUAL}, {">=", RH_TOK_GREATER_EQUAL}, {"<", RH_TOK_LESS},
        {">", RH_TOK_GREATER}, {"+", RH_TOK_PLUS}, {"-", RH_TOK_MINUS}, {"*", RH_TOK_STAR}, {"/", RH_TOK_SLASH},
        {"(", RH_TOK_OPEN}, {")", RH_TOK_CLOSE}, {"[", RH_TOK_LBRACKET}, {"]", RH_TOK_RBRACKET},
        {",", RH_TOK_COMMA}, {"=", RH_TOK_EQUALS}, {"@", RH_TOK_AT}, {".", RH_TOK_DOT}, {"\n", RH_TOK_NEWLINE},
        {";", RH_TOK_SEMICOLON},
    };
    if (!skip_blanks(l)) return bad(l, RH_LEX_UTF8, l->at, l->at + 1, rest_of_line(l, l->at));
    int c = byte_at(l, l->at), after = byte_at(l, l->at + 1);
    if (c < 0) return token(l, RH_TOK_END, l->at, l->at);
    if (is_digit(c) || (c == '.' && is_digit(after))) return number(l);
    if (c == '"') return string(l);
    if (starts_name(l, l->at)) return name(l);
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        size_t n = strlen(marks[i].text);
        if (c == marks[i].text[0] && (n == 1 || after == marks[i].text[1]))
            return token(l, marks[i].kind, l->at, l->at + (uint32_t)n);
    }
    uint32_t cp;
    size_t len = code_point(l, l->at, &cp);
    if (len == 0) return bad(l, RH_LEX_UTF8, l->at, l->at + 1, l->at + 1);
    return bad(l, RH_LEX_STRAY, l->at, l->at + (uint32_t)len, l->at + (uint32_t)len);
}

/* What people paste from typeset text, and what they meant. */
static const char *stray_hint(uint32_t cp)
{
    switch (cp) {
    case 0x2212: case 0x2013: case 0x2014: return "for minus, write -";
    case 0x00d7: case 0x00b7: case 0x22c5: return "for a product, write *; for a scalar product, dot(a, b)";
    case 0x00f7: return "for a quotient, write /";
    case 0x201c: case 0x201d: case 0x201e: case 0x00ab: case 0x00bb: case '\'': case 0x2018: case 0x2019: case '`':
        return "texts stand in straight double quotes: \"text\"";
    case 0x00a0: case 0x2007: case 0x202f: return "this is a no-break space: replace it by a plain one";
    case 0x2026: return "for a range, write two dots: 14..18";
    case '^': return "there is no power; write the product out";
    case '{': case '}': return "a list of layers stands in square brackets: [3, 7]";
    case '!': return "in a mask, write not";
    default: return NULL;
    }
}

static void complain_stray(rh_diags *diags, const rh_source *source, rh_range at)
{
    uint32_t cp;
    rh_utf8_next(&cp, source->text + at.start, at.end - at.start);
    bool printable = cp > 0x20 && cp != 0x7f && !(cp >= 0x80 && cp < 0xa1) && rh_utf8_width(source->text + at.start, at.end - at.start) > 0;
    rh_diag *d = printable ? rh_diag_add(diags, RH_ESYNTAX, at, "stray character '%.*s'", (int)(at.end - at.start),
                                         source->text + at.start)
                           : rh_diag_add(diags, RH_ESYNTAX, at, "stray character U+%04X", (unsigned)cp);
    const char *hint = stray_hint(cp);
    if (hint) rh_diag_hint(d, "%s", hint);
}

void rh_lex_complain(rh_diags *diags, const rh_source *source, const rh_lexeme *t)
{
    rh_range at = {source, t->start, t->end};
    rh_diag *d;
    switch (t->fault) {
    case RH_LEX_STRAY:
        complain_stray(diags, source, at);
        break;
    case RH_LEX_UTF8:
        d = rh_diag_add(diags, RH_ESYNTAX, at, "byte 0x%02X is not valid UTF-8 here", (unsigned char)source->text[t->start]);
        rh_diag_hint(d, "save the text as UTF-8");
        break;
    case RH_LEX_UNCLOSED:
        d = rh_diag_add(diags, RH_ESYNTAX, at, "this string does not end on its line");
        rh_diag_hint(d, "close it with \", and write \\n for a newline");
        break;
    case RH_LEX_ESCAPE:
        d = rh_diag_add(diags, RH_ESYNTAX, at, "unknown escape %.*s", (int)(t->end - t->start), source->text + t->start);
        rh_diag_hint(d, "the escapes are \\\" \\\\ \\n \\t");
        break;
    case RH_LEX_LETTER: {
        uint32_t letter = t->start;
        while (letter < t->end && strchr("0123456789.", source->text[letter])) letter++;
        bool exponent = letter + 1 < t->end && strchr("eE", source->text[letter]) && is_digit(source->text[letter + 1]);
        d = rh_diag_add(diags, RH_ESYNTAX, at, "a letter directly after a number");
        if (letter < t->end && !exponent && source->text[letter] != '_') /* 1e5x is not 1*e5x */
            rh_diag_hint(d, "for a product, write %.*s*%.*s", (int)(letter - t->start), source->text + t->start,
                         (int)(t->end - letter), source->text + letter);
        break;
    }
    case RH_LEX_CONTROL:
        d = rh_diag_add(diags, RH_ESYNTAX, at, "control character U+%04X in a string", (unsigned char)source->text[t->start]);
        rh_diag_hint(d, "the escapes are \\\" \\\\ \\n \\t");
        break;
    case RH_LEX_OK:
        break;
    }
}

const char *rh_lexeme_string(rh_arena *a, const rh_source *source, const rh_lexeme *t, size_t *len)
{
    char *out = rh_arena_alloc(a, (size_t)(t->end - t->start), 1); /* two quotes: room for the NUL */
    if (!out) return NULL;
    size_t n = 0;
    for (uint32_t at = t->start + 1; at + 1 < t->end; at++) {
        char c = source->text[at];
        if (c == '\\') {
            c = source->text[++at];
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
        }
        out[n++] = c;
    }
    out[n] = '\0';
    *len = n;
    return out;
}

bool rh_lexeme_integer(uint64_t *out, const rh_source *source, const rh_lexeme *t, uint64_t max)
{
    uint64_t value = 0;
    for (uint32_t at = t->start; at < t->end; at++) {
        unsigned digit = (unsigned)(source->text[at] - '0');
        if (value > (max - digit) / 10 || digit > max) return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}
