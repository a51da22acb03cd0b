/* repl.h - `rhumb repl` by its parts: lines come in (repl_line.c), the session keeps the statements
 * among them (repl_session.c), and what is asked runs (repl_run.c). For repl*.c alone. */
#ifndef RH_CLI_REPL_H
#define RH_CLI_REPL_H

#include "cli/cli.h"
#include "cli/expression.h"
#include "cli/prompt.h"
#include "cli/strength.h"
#include "probes/steer.h"

typedef struct repl_flags {
    cli_expression_flags expression;
    cli_prompt_flags prompt;
    cli_texts strengths;
    double temperature, repetition;
    int32_t max_tokens, top_tokens;
} repl_flags;

typedef struct repl_statement { int line; char *text; bool watch; } repl_statement; /* watch: text is "watch EXPR" */
typedef struct repl_lines repl_lines;

typedef struct repl {
    cli *c;
    const repl_flags *f;
    cli_strengths strengths; /* of the flag */
    rh_model *m;             /* owned; NULL: none */
    rh_concepts *concepts;   /* one for the whole session: what it read stays read */
    repl_statement *statements; /* accepted, in order */
    size_t n, capacity;
    repl_lines *lines;
    int line;                /* of the statement being read, from 1 */
    size_t warned;           /* bytes of the concepts' warnings that were shown */
    int32_t checked;         /* of their SAEs, those whose fit was looked at */
} repl;

/* ---- repl_line.c ---- */
rh_status repl_lines_open(repl *r, rh_error *err);
void repl_lines_close(repl *r);
bool repl_interactive(const repl *r);
/* The next statement: a line, and while a bracket is open those that follow. *out NULL at the end; owner
 * free. RH_ECANCELLED: Ctrl-C, or another signal. Sets r->line. */
rh_status repl_read(char **out, repl *r, rh_error *err);

/* ---- repl_complete.c ---- */
/* What may stand where text[0..n) ends: the last `*replace` bytes of it are the start of each. */
typedef struct repl_choices { char **items; size_t n, cap; } repl_choices;
bool repl_complete(repl_choices *out, size_t *replace, repl *r, const char *text, size_t n); /* NUL at n; false: no memory */
void repl_choices_free(repl_choices *c);

/* ---- repl_session.c ---- */
/* Compile what was said so far; extra (NULL: none) as one more statement. expr NULL: the actions. */
typedef struct repl_ask { const char *extra, *expr; bool value, names; } repl_ask;
rh_status repl_compile(rh_program **out, repl *r, const repl_ask *ask, rh_error *err);
rh_status repl_state(repl *r, const char *text, bool action, rh_error *err); /* check it and keep it */
rh_status repl_keep(repl *r, const char *text, bool watch, rh_error *err);   /* keep it */
rh_status repl_concepts(repl *r, rh_error *err); /* new ones, for r->m */
rh_status repl_model(repl *r, const char *text, rh_error *err); /* a `model` statement: open it, if none is */
rh_status repl_undo(repl *r, rh_error *err);
rh_status repl_list(repl *r, rh_error *err);
rh_status repl_save(repl *r, const char *path, rh_error *err); /* atomic; paths stay right in another folder */
/* text where it stands in the input: behind line - 1 newlines and as many blanks as there are code points
 * in text[0..skip). malloc. */
char *repl_placed(const repl *r, const char *text, size_t skip);

/* ---- repl_watch.c ---- */
/* text[from..) is EXPR, maybe in quotes: kept, and shown with every steer until undo. */
rh_status repl_watch(repl *r, const char *text, size_t from, rh_error *err);
/* The watches of the session, evaluated; labels are the session's. */
typedef struct repl_watches { rh_program **programs; rh_evaluation **values; const char **labels; size_t n; } repl_watches;
rh_status repl_watches_eval(repl_watches *out, repl *r, rh_error *err); /* free also after a failure */
void repl_watches_free(repl_watches *w);

/* ---- repl_run.c ---- */
rh_status repl_evaluate(rh_evaluation **out, repl *r, const rh_program *p, rh_error *err); /* with its warnings, each said once */
rh_status repl_show(repl *r, const char *text, rh_error *err);
/* expr NULL: the session's actions */
rh_status repl_steer(repl *r, const char *prompt, const char *expr, const char *label, rh_error *err);
/* text[from..) is EXPR, EXPR, … */
rh_status repl_compare(repl *r, const char *text, size_t from, rh_error *err);

#endif
