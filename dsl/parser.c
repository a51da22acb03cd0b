/* parser.c - statements, masks, guards, and going on after an error. */
#include "dsl/parser.h"

#include <string.h>

#include "dsl/parse.h"
#include "dsl/words.h"

/* ---- mask = "on" selector { "," selector } ------------------------------------------------- */

/* int ".." [ int ] | int, behind `generated` and `tokens`; nothing there means all of them */
static bool parse_positions(rh_parser *p, rh_selector *s)
{
    uint64_t lo, hi;
    uint32_t start = p->tok.start;
    s->lo = 0;
    s->hi = INT32_MAX;
    if (p->tok.kind != RH_TOK_NUMBER) return true;
    if (!rh_parse_int(p, &lo, INT32_MAX - 1, "a position")) return false;
    s->lo = s->hi = (int32_t)lo;
    if (!rh_accept(p, RH_TOK_DOTDOT)) return true;
    s->hi = INT32_MAX;
    if (p->tok.kind != RH_TOK_NUMBER) return true;
    if (!rh_parse_int(p, &hi, INT32_MAX - 1, "a position")) return false;
    s->hi = (int32_t)hi;
    if (s->hi >= s->lo) return true;
    return rh_complain(p, RH_EVALUE, rh_range_from(p, start), "this range is empty", "write the lower position first");
}

static bool parse_selector_word(rh_parser *p, rh_selector *s)
{
    static const struct { const char *word; rh_selector_kind kind; } words[] = {
        {"all", RH_SEL_ALL},         {"prompt", RH_SEL_PROMPT},       {"last", RH_SEL_LAST},
        {"special", RH_SEL_SPECIAL}, {"generated", RH_SEL_GENERATED}, {"tokens", RH_SEL_TOKENS},
    };
    rh_slice name = rh_lexeme_slice(p);
    rh_nearest near = rh_nearest_to(name.text, name.len);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (rh_is_word(name.text, name.len, words[i].word)) {
            s->kind = words[i].kind;
            rh_next(p);
            return s->kind < RH_SEL_GENERATED || parse_positions(p, s);
        }
        rh_nearest_try(&near, words[i].word, strlen(words[i].word));
    }
    rh_diag *d = rh_diag_add(p->diags, RH_ESYNTAX, rh_lexeme_range(p), "unknown selector '%.*s'", (int)name.len, name.text);
    if (near.best)
        rh_diag_hint(d, "did you mean %s?", near.best);
    else
        rh_diag_hint(d, "all, prompt, last, generated, special, tokens 0..3, or a text in quotes; not in front excludes");
    return false;
}

static bool parse_selector(rh_parser *p, rh_selector *s)
{
    uint32_t start = p->tok.start;
    *s = (rh_selector){0};
    if (rh_at_word(p, "not")) {
        s->negated = true;
        rh_next(p);
    }
    if (p->tok.kind == RH_TOK_STRING) {
        rh_slice text;
        rh_range range;
        if (!rh_parse_string(p, &text, &range, "a text")) return false;
        if (text.len == 0) return rh_complain(p, RH_EVALUE, range, "an empty text selects nothing", NULL);
        s->kind = RH_SEL_TEXT;
        s->text = text.text;
        s->text_len = text.len;
    } else if (p->tok.kind != RH_TOK_NAME) {
        return rh_expected(p, "a selector: all, prompt, last, generated, special, tokens or a text in quotes");
    } else if (!parse_selector_word(p, s)) {
        return false;
    }
    s->range = rh_range_from(p, start);
    return true;
}

bool rh_parse_mask(rh_parser *p, rh_statement *s)
{
    uint32_t start = p->tok.start;
    int32_t capacity = 0;
    if (!rh_at_word(p, "on")) return true;
    rh_next(p);
    do {
        rh_selector selector;
        if (!parse_selector(p, &selector)) return false;
        if (!rh_push(p, &s->mask, &s->n_mask, &capacity, sizeof selector, &selector)) return false;
    } while (rh_accept(p, RH_TOK_COMMA));
    s->mask_range = rh_range_from(p, start);
    return true;
}

/* ---- guard = "when" ("dot"|"cos") "(" "h" "," expr ")" (">"|"<"|">="|"<=") expr -------------- */

static bool parse_guard(rh_parser *p, rh_statement *s)
{
    uint32_t start = p->tok.start;
    if (!rh_at_word(p, "when")) return true;
    rh_next(p);
    s->guard_cosine = rh_at_word(p, "cos");
    if (!s->guard_cosine && !rh_at_word(p, "dot")) return rh_expected(p, "dot(h, v) or cos(h, v)");
    rh_next(p);
    if (p->tok.kind != RH_TOK_OPEN) return rh_expected(p, "'('");
    rh_next(p);
    if (!rh_at_word(p, "h")) return rh_expected(p, "h, the hidden state");
    rh_next(p);
    if (!rh_accept(p, RH_TOK_COMMA)) return rh_expected(p, "','");
    s->guard_vector = rh_parse_expr(p);
    if (!s->guard_vector) return false;
    if (!rh_accept(p, RH_TOK_CLOSE)) return rh_expected(p, "an operator or ')'");
    if (p->tok.kind < RH_TOK_LESS || p->tok.kind > RH_TOK_GREATER_EQUAL) return rh_expected(p, "<, >, <= or >=");
    s->guard_less = p->tok.kind == RH_TOK_LESS || p->tok.kind == RH_TOK_LESS_EQUAL;
    s->guard_equal = p->tok.kind >= RH_TOK_LESS_EQUAL;
    rh_next(p);
    s->guard_threshold = rh_parse_expr(p);
    if (!s->guard_threshold) return false;
    s->guard = rh_range_from(p, start);
    if (rh_at_word(p, "on"))
        return rh_complain(p, RH_ESYNTAX, rh_lexeme_range(p), "positions stand in front of the guard", "steer v on last when cos(h, v) > 0.2");
    if (rh_at_word(p, "when")) return rh_complain(p, RH_ESYNTAX, rh_lexeme_range(p), "an action has one guard", NULL);
    return true;
}

/* ---- statements --------------------------------------------------------------------------------- */

static bool parse_binding_name(rh_parser *p, rh_statement *s)
{
    s->name = rh_lexeme_slice(p);
    s->name_range = rh_lexeme_range(p);
    if (p->tok.kind != RH_TOK_NAME) return rh_expected(p, "a name");
    if (rh_is_statement_word(s->name.text, s->name.len)) {
        rh_diag *d = rh_diag_add(p->diags, RH_ENAME, s->name_range, "'%.*s' begins a statement and cannot be a name",
                                 (int)s->name.len, s->name.text);
        rh_diag_hint(d, "choose another name");
        return false;
    }
    rh_next(p);
    return rh_accept(p, RH_TOK_EQUALS) || rh_expected(p, "'='");
}

static bool parse_let(rh_parser *p, rh_statement *s)
{
    s->kind = RH_ST_LET;
    if (!parse_binding_name(p, s)) return false;
    s->expr = rh_parse_expr(p);
    return s->expr != NULL;
}

static bool parse_sae(rh_parser *p, rh_statement *s)
{
    s->kind = RH_ST_SAE;
    if (!parse_binding_name(p, s) || !rh_parse_string(p, &s->text, &s->text_range, "the SAE's path in quotes")) return false;
    if (!rh_accept(p, RH_TOK_AT)) return true;
    s->has_site = true;
    return rh_parse_site(p, &s->site, true);
}

static bool parse_model(rh_parser *p, rh_statement *s)
{
    s->kind = RH_ST_MODEL;
    return rh_parse_string(p, &s->text, &s->text_range, "the model's name in quotes");
}

static bool parse_layer_statement(rh_parser *p, rh_statement *s)
{
    s->kind = RH_ST_LAYER;
    return rh_parse_site(p, &s->site, false);
}

static bool parse_include(rh_parser *p, rh_statement *s)
{
    s->kind = RH_ST_INCLUDE;
    return rh_parse_string(p, &s->text, &s->text_range, "the other book's path in quotes");
}

/* action [ mask ] [ guard ], from behind the action word */
static bool parse_action(rh_parser *p, rh_statement *s, rh_action_word action, const char *between)
{
    s->kind = RH_ST_ACTION;
    s->action = action;
    s->expr = rh_parse_expr(p);
    if (!s->expr) return false;
    if (between) {
        if (!rh_at_word(p, between)) return rh_expected(p, strcmp(between, "at") == 0 ? "an operator or at" : "an operator or by");
        rh_next(p);
        s->amount = rh_parse_expr(p);
        if (!s->amount) return false;
    }
    return rh_parse_mask(p, s) && parse_guard(p, s);
}

static bool parse_steer(rh_parser *p, rh_statement *s) { return parse_action(p, s, RH_STEER_WORD, NULL); }
static bool parse_ablate(rh_parser *p, rh_statement *s) { return parse_action(p, s, RH_ABLATE_WORD, NULL); }
static bool parse_cap(rh_parser *p, rh_statement *s) { return parse_action(p, s, RH_CAP_WORD, "at"); }
static bool parse_clamp(rh_parser *p, rh_statement *s) { return parse_action(p, s, RH_CLAMP_WORD, "at"); }
static bool parse_scale(rh_parser *p, rh_statement *s) { return parse_action(p, s, RH_SCALE_WORD, "by"); }

typedef bool (*statement_fn)(rh_parser *p, rh_statement *s);
static const struct { const char *word; statement_fn parse; bool action; } STATEMENTS[] = {
    {"let", parse_let, false},         {"sae", parse_sae, false},         {"model", parse_model, false},
    {"layer", parse_layer_statement, false}, {"include", parse_include, false}, {"steer", parse_steer, true},
    {"ablate", parse_ablate, true},    {"cap", parse_cap, true},          {"clamp", parse_clamp, true},
    {"scale", parse_scale, true},
};
enum { N_STATEMENTS = (int)(sizeof STATEMENTS / sizeof *STATEMENTS) };

static int statement_at(const rh_parser *p)
{
    for (int i = 0; i < N_STATEMENTS; i++)
        if (rh_at_word(p, STATEMENTS[i].word)) return i;
    return -1;
}

static bool not_a_statement(rh_parser *p)
{
    if (p->tok.kind >= RH_TOK_PLUS && p->tok.kind <= RH_TOK_SLASH)
        return rh_complain(p, RH_ESYNTAX, rh_lexeme_range(p), "a line cannot begin with an operator",
                           "a statement ends with its line, except inside brackets: put it into ( )");
    if (p->tok.kind != RH_TOK_NAME) return rh_expected(p, "a statement: let, steer, ablate, scale, cap, clamp, layer, model, include");
    rh_slice name = rh_lexeme_slice(p);
    rh_nearest near = rh_nearest_to(name.text, name.len);
    for (int i = 0; i < N_STATEMENTS; i++) rh_nearest_try(&near, STATEMENTS[i].word, strlen(STATEMENTS[i].word));
    rh_diag *d = rh_diag_add(p->diags, RH_ESYNTAX, rh_lexeme_range(p), "'%.*s' does not begin a statement",
                             name.len > 60 ? 60 : (int)name.len, name.text);
    if (rh_peek(p).kind == RH_TOK_EQUALS)
        rh_diag_hint(d, "to bind a name, write let %.*s = …", name.len > 60 ? 60 : (int)name.len, name.text);
    else if (near.best)
        rh_diag_hint(d, "did you mean %s?", near.best);
    else
        rh_diag_hint(d, "a line begins with let, steer, ablate, scale, cap, clamp, layer, model, sae or include");
    return false;
}

static bool parse_statement(rh_parser *p, rh_statement *s)
{
    uint32_t start = p->tok.start;
    *s = (rh_statement){.word = rh_lexeme_range(p)};
    int which = statement_at(p);
    if (which < 0) return not_a_statement(p);
    rh_next(p);
    if (!STATEMENTS[which].parse(p, s)) return false;
    s->range = rh_range_from(p, start);
    if (rh_at_end(p)) return true;
    return rh_expected(p, s->kind == RH_ST_LET || s->kind == RH_ST_ACTION ? "an operator or the end of the statement"
                                                                         : "the end of the statement");
}

/* Go on at the next line that begins with a statement word. That may be the token that stopped
 * the parser, in front of which a bracket was left open; a statement's own first word is behind us. */
static void recover(rh_parser *p)
{
    p->nesting = p->brackets = 0;
    while (p->tok.kind != RH_TOK_END && !(p->tok.line_start && statement_at(p) >= 0)) {
        rh_next(p);
        p->brackets = 0;
    }
}

rh_status rh_parse_book(rh_tree *out, rh_arena *a, const rh_source *source, rh_diags *diags)
{
    rh_parser p;
    int32_t capacity = 0;
    *out = (rh_tree){0};
    rh_parser_start(&p, a, source, diags);
    while (p.tok.kind != RH_TOK_END && !diags->more) {
        rh_statement s;
        if (rh_accept(&p, RH_TOK_NEWLINE) || rh_accept(&p, RH_TOK_SEMICOLON)) continue;
        if (parse_statement(&p, &s)) {
            if (!rh_push(&p, &out->items, &out->n, &capacity, sizeof s, &s)) return RH_ENOMEM;
            continue;
        }
        if (p.no_memory) return RH_ENOMEM;
        recover(&p);
    }
    return RH_OK;
}

/* action [ mask ] [ guard ] | expr [ mask ] [ guard ] */
static bool parse_one(rh_parser *p, rh_statement *s)
{
    int which = statement_at(p);
    uint32_t start = p->tok.start;
    *s = (rh_statement){.word = rh_lexeme_range(p)};
    if (p->tok.kind == RH_TOK_END)
        return rh_complain(p, RH_ESYNTAX, rh_lexeme_range(p), "an empty expression", "write a value such as sf + 0.5*rain");
    if (which >= 0 && !STATEMENTS[which].action)
        return rh_complain(p, RH_ESYNTAX, rh_lexeme_range(p), "this statement belongs in a book",
                           "put it into a file and give it with -b");
    if (which >= 0) rh_next(p);
    s->bare = which < 0;
    if (!(which >= 0 ? STATEMENTS[which].parse(p, s) : parse_steer(p, s))) return false;
    s->range = rh_range_from(p, start);
    if (!rh_at_end(p)) return rh_expected(p, "an operator or the end");
    while (rh_accept(p, RH_TOK_NEWLINE) || rh_accept(p, RH_TOK_SEMICOLON)) continue;
    if (p->tok.kind == RH_TOK_END) return true;
    if (p->tok.kind == RH_TOK_BAD) return rh_expected(p, "the end");
    return rh_complain(p, RH_ESYNTAX, rh_lexeme_range(p), "only one expression here", "several statements make a book: -b");
}

rh_status rh_parse_expression(rh_tree *out, rh_arena *a, const rh_source *source, rh_diags *diags)
{
    rh_parser p;
    rh_statement s;
    int32_t capacity = 0;
    *out = (rh_tree){0};
    rh_parser_start(&p, a, source, diags);
    while (rh_accept(&p, RH_TOK_NEWLINE) || rh_accept(&p, RH_TOK_SEMICOLON)) continue;
    if (!parse_one(&p, &s)) return p.no_memory ? RH_ENOMEM : RH_OK;
    return rh_push(&p, &out->items, &out->n, &capacity, sizeof s, &s) ? RH_OK : RH_ENOMEM;
}

rh_status rh_parse_layers(rh_site_ast *out, bool *ok, rh_arena *a, const rh_source *source, rh_diags *diags)
{
    rh_parser p;
    rh_parser_start(&p, a, source, diags);
    *ok = rh_parse_site(&p, out, false) && (p.tok.kind == RH_TOK_END || rh_expected(&p, "the end"));
    return p.no_memory ? RH_ENOMEM : RH_OK;
}
