/* repl_watch.c - what `watch EXPR` keeps: expressions that shade the tokens of every steer. */
#include <stdlib.h>
#include <string.h>

#include "cli/repl.h"

static const char WORD[] = "watch ";

/* The expression without blanks around it and, as a shell would have it, without quotes: where it is in text. */
static void trim(size_t *from, size_t *to, const char *text)
{
    while (text[*from] == ' ' || text[*from] == '\t') ++*from;
    *to = *from + strlen(text + *from);
    while (*to > *from && strchr(" \t\n", text[*to - 1])) --*to;
    if (*to - *from < 2 || (text[*from] != '\'' && text[*from] != '"') || text[*to - 1] != text[*from]) return;
    ++*from;
    --*to;
}

rh_status repl_watch(repl *r, const char *text, size_t from, rh_error *err)
{
    rh_program *p = NULL;
    rh_str kept = {0};
    size_t to;
    trim(&from, &to, text);
    if (to == from) return rh_hinted(rh_fail(err, RH_ESYNTAX, "watch needs an expression"), err, "watch s[3], or watch rain");
    rh_str_puts(&kept, WORD);
    rh_str_add(&kept, text + from, to - from);
    char *until = rh_strndup(text, to), *placed = until ? repl_placed(r, until, from) : NULL;
    rh_status status = placed && !kept.failed ? RH_OK : rh_fail_nomem(err);
    if (!status) status = repl_compile(&p, r, &(repl_ask){.expr = placed, .value = true}, err);
    if (!status) status = repl_keep(r, kept.data, true, err);
    rh_program_free(p);
    free(placed);
    free(until);
    rh_str_free(&kept);
    return status;
}

void repl_watches_free(repl_watches *w)
{
    for (size_t i = 0; i < w->n; i++) {
        rh_evaluation_free(w->values[i]);
        rh_program_free(w->programs[i]);
    }
    free(w->values);
    free(w->programs);
    free(w->labels);
    *w = (repl_watches){0};
}

rh_status repl_watches_eval(repl_watches *out, repl *r, rh_error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) n += r->statements[i].watch;
    if (!n) return RH_OK;
    out->programs = rh_calloc(n, sizeof *out->programs);
    out->values = rh_calloc(n, sizeof *out->values);
    out->labels = rh_calloc(n, sizeof *out->labels);
    if (!out->programs || !out->values || !out->labels) return rh_fail_nomem(err);
    for (size_t i = 0; i < r->n; i++) {
        if (!r->statements[i].watch) continue;
        const size_t k = out->n++;
        out->labels[k] = r->statements[i].text + strlen(WORD);
        RH_TRY(repl_compile(&out->programs[k], r, &(repl_ask){.expr = out->labels[k], .value = true}, err));
        RH_TRY(repl_evaluate(&out->values[k], r, out->programs[k], err));
    }
    return RH_OK;
}
