/* repl.c - `rhumb repl [MODEL]`: names bound, expressions looked at, prompts steered, line by line, with
 * the model open all the while. */
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/models.h"
#include "cli/repl.h"
#include "cli/repl_scan.h"

static const repl_flags DEFAULTS = {.repetition = 1.1, .max_tokens = 64, .top_tokens = 8};

static const char HELP[] =
    "let NAME = EXPR           bind a name, as in a book; so do layer, include and the actions\n"
    "                          steer, ablate, scale, cap and clamp: they hold until undo\n"
    "EXPR                      evaluate it and look at it: sf + 0.5*rain - tokyo\n"
    "steer \"PROMPT\"            run the prompt unsteered and with the actions stated so far\n"
    "steer \"PROMPT\" with EXPR  … with this expression or action instead\n"
    "watch EXPR                shade every token of what is steered by its projection on it, or by the activation of a\n"
    "                          feature such as s[3], until undo\n"
    "compare A, B, …           effects side by side\n"
    "model \"MODEL\"             open one, if the session has none\n"
    "undo                      take the last statement back\n"
    "list                      show the statements\n"
    "save FILE.rhumb           write them as a book\n"
    "help, quit                Ctrl-C stops what runs, Ctrl-D ends\n";

/* ---- a line ------------------------------------------------------------------------------------ */

/* A line and its first two pieces. */
typedef struct scan { const char *text; repl_piece first, second; } scan;

static bool is_one_of(const scan *s, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (repl_piece_is(s->text, &s->first, words[i])) return true;
    return false;
}

/* steer "PROMPT" [with EXPR] */
static rh_status run_steer(repl *r, const scan *s, rh_error *err)
{
    const char *label = "the session's actions";
    char *expr = NULL, *prompt = repl_piece_string(s->text, &s->second);
    repl_piece next = repl_piece_at(s->text, s->second.end);
    rh_status status = prompt ? RH_OK : rh_fail_nomem(err);
    if (!status && repl_piece_is(s->text, &next, "with")) {
        expr = repl_placed(r, s->text, next.end);
        label = s->text + next.end + strspn(s->text + next.end, " \t");
        if (!expr) status = rh_fail_nomem(err);
        else if (!*label) status = rh_fail(err, RH_ESYNTAX, "an expression or an action is missing after with");
    } else if (!status && next.kind != REPL_END) {
        status = rh_fail(err, RH_ESYNTAX, "behind the prompt comes nothing, or with and an expression");
        rh_hint(err, "steer \"Name a city.\" with sf + rain");
    }
    if (!status) status = repl_steer(r, prompt, expr, label, err);
    free(expr);
    free(prompt);
    return status;
}

/* save FILE, in quotes or not. */
static rh_status run_save(repl *r, const char *rest, rh_error *err)
{
    size_t n;
    rest += strspn(rest, " \t");
    n = strlen(rest);
    if (n >= 2 && rest[0] == '"' && rest[n - 1] == '"') {
        rest++;
        n -= 2;
    }
    if (!n) {
        return rh_hinted(rh_fail(err, RH_EVALUE, "save needs the name of a file"),
                         err, "save city.rhumb");
    }
    char *path = rh_strndup(rest, n);
    if (!path) return rh_fail_nomem(err);
    rh_status status = repl_save(r, path, err);
    free(path);
    return status;
}

/* A command unless it is used as a name is: save + 1, compare[2] … */
static bool commands(const scan *s, const char *word)
{
    static const char *const signs[] = {"+", "-", "*", "@", "(", "[", ","};
    if (!repl_piece_is(s->text, &s->first, word)) return false;
    for (size_t i = 0; i < CLI_COUNT(signs); i++)
        if (repl_piece_is(s->text, &s->second, signs[i])) return false;
    return true;
}

static rh_status run_line(bool *quit, repl *r, const char *text, rh_error *err)
{
    static const char *const stated[] = {"let", "layer", "include", "sae"};
    static const char *const actions[] = {"steer", "ablate", "scale", "cap", "clamp"};
    static const char *const ends[] = {"quit", "exit"};
    scan s = {.text = text, .first = repl_piece_at(text, 0)};
    if (s.first.kind == REPL_END) return RH_OK; /* nothing but blanks and a comment */
    s.second = repl_piece_at(text, s.first.end);
    if (s.second.kind == REPL_END) {
        if (is_one_of(&s, ends, CLI_COUNT(ends))) return *quit = true, RH_OK;
        if (repl_piece_is(text, &s.first, "help")) return cli_print(r->c, HELP, sizeof HELP - 1, err);
        if (repl_piece_is(text, &s.first, "undo")) return repl_undo(r, err);
        if (repl_piece_is(text, &s.first, "list")) return repl_list(r, err);
    }
    if (commands(&s, "compare")) return repl_compare(r, text, s.first.end, err);
    if (commands(&s, "watch") || (repl_piece_is(text, &s.first, "watch") && s.second.kind == REPL_STRING))
        return repl_watch(r, text, s.first.end, err);
    if (commands(&s, "save")) return run_save(r, text + s.first.end, err);
    if (repl_piece_is(text, &s.first, "steer") && s.second.kind == REPL_STRING) return run_steer(r, &s, err);
    if (repl_piece_is(text, &s.first, "model") && s.second.kind == REPL_STRING) return repl_model(r, text, err);
    if (is_one_of(&s, stated, CLI_COUNT(stated))) return repl_state(r, text, false, err);
    if (is_one_of(&s, actions, CLI_COUNT(actions))) return repl_state(r, text, true, err);
    return repl_show(r, text, err);
}

/* ---- the loop ------------------------------------------------------------------------------------ */

static rh_status one_round(bool *quit, bool *failed, repl *r, rh_error *err)
{
    char *text = NULL;
    memset(&r->c->diags, 0, sizeof r->c->diags);
    r->c->wrong_usage = false;
    memset(err, 0, sizeof *err);
    rh_status status = repl_read(&text, r, err);
    if (!status && !text) *quit = true;
    if (!status && text) status = run_line(quit, r, text, err);
    free(text);
    bool over = r->c->output_failed || status == RH_ENOMEM || (cli_interrupted() && cli_interrupted() != SIGINT) ||
                (status == RH_ECANCELLED && !repl_interactive(r)) || (!text && status && status != RH_ECANCELLED);
    if (!status) return r->c->output_failed ? RH_EIO : cli_flush(r->c, err);
    if (over) return status;
    if (text) cli_report(r->c, err); /* Ctrl-C at the prompt is no error */
    *failed = true;
    cli_forget_interrupt();
    return cli_flush(r->c, err);
}

static rh_status loop(repl *r, rh_error *err)
{
    bool quit = false, failed = false;
    rh_status status = RH_OK;
    while (!quit && !status) status = one_round(&quit, &failed, r, err);
    if (status || !failed || repl_interactive(r)) return status;
    /* What failed is said already; only the exit code is left. */
    memset(&r->c->diags, 0, sizeof r->c->diags);
    memset(err, 0, sizeof *err);
    return RH_EVALUE;
}

/* The book must be right from the start: every line would fail with it. */
static rh_status check_book(repl *r, rh_error *err)
{
    rh_program *p = NULL;
    rh_status status = repl_compile(&p, r, &(repl_ask){.expr = "0", .value = true}, err);
    rh_program_free(p);
    return status;
}

static rh_status run(cli *c, const cli_args *args, const void *flags, rh_error *err)
{
    const repl_flags *f = flags;
    repl r = {.c = c, .f = f, .line = 1};
    rh_status status = cli_strengths_read(&r.strengths, c, &f->strengths, err);
    if (status) goto done;
    if (args->n) status = cli_open_model(&r.m, c, args->items[0], false, err);
    else if (f->expression.book) status = cli_open_book_model(&r.m, c, &f->expression, err);
    if (!status) status = repl_concepts(&r, err);
    if (!status) status = check_book(&r, err);
    if (!status) status = repl_lines_open(&r, err);
    if (!status) status = loop(&r, err);
done:
    repl_lines_close(&r);
    free(r.strengths.items);
    for (size_t i = 0; i < r.n; i++) free(r.statements[i].text);
    free(r.statements);
    rh_concepts_free(r.concepts);
    rh_model_free(r.m);
    return status;
}

#define AT(field) offsetof(repl_flags, field)
static const cli_option OPTIONS[] = {
    CLI_EXPRESSION_OPTIONS(repl_flags, expression),
    {"strength", 0, CLI_TEXTS, AT(strengths), "S,…",
     "multiplies the vectors of `steer`; several make a sweep (default 1); also 0.2resid, 4sigma and, of one feature, 1.5maxact", 0, 0, NULL},
    CLI_PROMPT_OPTIONS(repl_flags, prompt),
    CLI_BOS_OPTIONS(repl_flags, prompt),
    {"max-tokens", 'n', CLI_INT, AT(max_tokens), "N", "tokens to generate (default 64)", 1, 1000000, NULL},
    {"temperature", 0, CLI_NUMBER, AT(temperature), "T", "0 takes the likeliest token (default)", 0, 1000, NULL},
    {"repetition-penalty", 0, CLI_NUMBER, AT(repetition), "R",
     "logits of tokens seen are divided (if positive) or multiplied by R (default 1.1; 1: off)", 0, 100, NULL},
    {"top-tokens", 0, CLI_INT, AT(top_tokens), "N", "how many tokens to show (default 8)", 0, 1000, NULL},
};

const cli_verb CLI_REPL = {
    .name = "repl", .brief = "a prompt with history and completion; the model stays open", .arguments = "[MODEL]",
    .about = "Reads statements of the language line by line: `let` binds a name, an expression is evaluated and shown, actions "
             "are kept, and `steer \"PROMPT\"` runs them. `help` lists what else there is. Tab completes names, functions, options, layers "
             "and files; Ctrl-C stops what runs and keeps the session; Ctrl-D ends it. Without MODEL the one that the book "
             "names is opened, or none.\n\n"
             "From a pipe there is no prompt and no editing, and the exit code is 1 if any line failed. History is kept in "
             "$XDG_STATE_HOME/rhumb/history or ~/.local/state/rhumb/history.",
    .examples = "  rhumb repl smollm2 -b examples/city.rhumb --chat\n"
                "  echo 'cos(sf, tokyo)' | rhumb repl smollm2 -b examples/city.rhumb\n",
    .options = OPTIONS, .n_options = CLI_COUNT(OPTIONS), .flags_size = sizeof(repl_flags), .defaults = &DEFAULTS,
    .min_args = 0, .max_args = 1, .run = run};
