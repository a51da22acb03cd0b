/* explain.c - the plan in the manner of a database:
 *
 *     steer 2*unit(a - b) + c  at 16.resid_post, width 576
 *       ->  linear form, 2 terms
 *             ->  2 *  unit
 *                   ->  linear form, 2 terms
 *                         ->  1 *  dim("a.csv")  #1
 *                         ->  -1 *  dim("b.csv")  #2
 *             ->  1 *  dim("c.csv")  #3
 *
 *     (below it the tree of the number behind `at` or `by`, and those of a guard)
 *
 *     #  source        site           coefficient  prompts  distinct  tokens  read  cached
 *     1  dim("a.csv")  16.resid_post            1       16        16     120    16  no
 *        sample: The mayor of [San Francisco]
 *     …
 *     pass: 48 prompts (40 distinct), 360 tokens, 210 after sharing, to layer 16, about 0.4 s */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "dsl/number.h"
#include "dsl/survey.h"

enum { MAX_DEPTH = 64 }; /* of the printed tree; names can chain further */

static void pad(rh_str *out, int n)
{
    for (int i = 0; i < n; i++) rh_str_puts(out, " ");
}

static void put_site(rh_str *out, const rh_program *p, int32_t site)
{
    char text[RH_SITE_TEXT] = "constant";
    if (site >= 0) rh_site_text(text, &p->graph.sites[site], true);
    rh_str_puts(out, text);
}

/* ---- the tree ------------------------------------------------------------------------------------------- */

static void put_what(rh_str *out, const rh_survey *s, int32_t at, int32_t parent_site, bool again)
{
    const rh_step *step = &s->p->plan.steps[at];
    char text[RH_NUMBER_TEXT];
    if (step->op == RH_OP_ATOM) {
        rh_str_printf(out, "%s  #%d", s->labels[s->atom_number[at] - 1], (int)s->atom_number[at]);
    } else if (step->op == RH_OP_NUMBER) {
        rh_number_show(text, step->number);
        rh_str_puts(out, text);
    } else if (step->op == RH_OP_SUM) {
        rh_str_printf(out, "linear form, %d term%s", (int)step->n_in, step->n_in == 1 ? "" : "s");
    } else {
        rh_str_puts(out, rh_op_name(step->op));
    }
    if (step->site != parent_site && step->op != RH_OP_NUMBER) {
        rh_str_puts(out, step->site < 0 ? "  " : "  at ");
        put_site(out, s->p, step->site);
    }
    if (again) rh_str_puts(out, "  (as above)");
    rh_str_puts(out, "\n");
}

static void put_tree(rh_str *out, const rh_survey *s, int32_t at, int depth, const double *coef, int32_t parent_site, bool *seen)
{
    const rh_step *step = &s->p->plan.steps[at];
    char text[RH_NUMBER_TEXT];
    bool again = seen[at] && step->n_in > 0;
    pad(out, 2 + 6 * depth);
    rh_str_puts(out, "->  ");
    if (coef) {
        rh_number_show(text, *coef);
        rh_str_printf(out, "%s *  ", text);
    }
    put_what(out, s, at, parent_site, again);
    if (again) return;
    seen[at] = true;
    if (depth == MAX_DEPTH && step->n_in > 0) {
        pad(out, 8 + 6 * depth);
        rh_str_puts(out, "…\n");
        return;
    }
    for (int32_t k = 0; k < step->n_in; k++)
        put_tree(out, s, step->in[k], depth + 1, step->coef ? &step->coef[k] : NULL, step->site, seen);
}

/* What stands above the trees of an action's amount and guard. */
static void put_heading(rh_str *out, const rh_statement *s, int which)
{
    static const char *const compares[2][2] = {{">", ">="}, {"<", "<="}};
    if (which == RH_AMOUNT) rh_str_puts(out, s->action == RH_SCALE_WORD ? "  by\n" : "  at\n");
    if (which == RH_GUARD_VECTOR) rh_str_printf(out, "  when %s(h, …)\n", s->guard_cosine ? "cos" : "dot");
    if (which == RH_THRESHOLD) rh_str_printf(out, "  %s\n", compares[s->guard_less][s->guard_equal]);
}

static rh_status put_results(rh_str *out, const rh_survey *s, rh_error *err)
{
    const rh_program *p = s->p;
    bool *seen = rh_calloc((size_t)p->plan.n + 1, sizeof *seen);
    if (!seen) return rh_fail_nomem(err);
    for (size_t i = 0; i < s->n_results; i++) {
        const rh_root *root = &p->roots[s->results[i].roots[RH_ACTS_WITH]];
        const rh_step *step = &p->plan.steps[root->step];
        const rh_statement *st = s->results[i].statement;
        rh_str_printf(out, "%s%s  ", st->bare ? (p->has_value ? "value " : "steer ") : "", s->results[i].text);
        rh_str_puts(out, root->site < 0 ? "" : "at ");
        put_site(out, p, root->site);
        if (step->kind != RH_VALUE_SCALAR) rh_str_printf(out, ", width %d", (int)step->d);
        rh_str_puts(out, "\n");
        for (int k = 0; k < RH_N_OF_ACTION; k++) {
            if (s->results[i].roots[k] < 0) continue;
            put_heading(out, st, k);
            put_tree(out, s, p->roots[s->results[i].roots[k]].step, 0, NULL, root->site, seen);
        }
    }
    free(seen);
    return RH_OK;
}

/* ---- the table of atoms ----------------------------------------------------------------------------------- */

enum { COLUMNS = 9, CELL = 160 };
static const char *const HEADS[COLUMNS] = {"#", "source", "site", "coefficient", "prompts", "distinct", "tokens", "read", "cached"};

static void cell_text(char out[CELL], const rh_survey *s, int32_t i, int column)
{
    const rh_atom_survey *a = &s->atoms[i];
    const rh_step *step = &s->p->plan.steps[s->p->plan.requests[i]];
    char text[RH_SITE_TEXT] = "constant";
    switch (column) {
    case 0: snprintf(out, CELL, "%d", (int)i + 1); break;
    case 1: {
        size_t len = strlen(s->labels[i]);
        bool cut = len > 80;
        for (len = cut ? 80 : len; cut && len > 0 && (s->labels[i][len] & 0xc0) == 0x80;) len--; /* whole code points */
        snprintf(out, CELL, "%.*s%s", (int)len, s->labels[i], cut ? "…" : "");
        break;
    }
    case 2:
        if (step->site >= 0) rh_site_text(text, &s->p->graph.sites[step->site], true);
        snprintf(out, CELL, "%s", text);
        break;
    case 3:
        if (s->uses[i] == 1)
            rh_number_show(out, s->coefficient[i]);
        else
            snprintf(out, CELL, "%s", s->uses[i] ? "several" : "-");
        break;
    case 4: snprintf(out, CELL, "%lld", (long long)a->prompts); break;
    case 5: snprintf(out, CELL, "%lld", (long long)a->distinct); break;
    case 6: snprintf(out, CELL, "%lld", (long long)a->tokens); break;
    case 7: snprintf(out, CELL, "%lld", (long long)a->read); break;
    default: snprintf(out, CELL, "%s", a->cached ? "yes" : "no"); break;
    }
}

static void put_cell(rh_str *out, const char *text, int width, bool right, bool last)
{
    int own = rh_utf8_width(text, strlen(text));
    if (right) pad(out, width - own);
    rh_str_puts(out, text);
    if (!right && !last) pad(out, width - own);
    rh_str_puts(out, last ? "\n" : "  ");
}

static void put_table(rh_str *out, const rh_survey *s)
{
    int widths[COLUMNS];
    char text[CELL];
    int32_t n = s->p->plan.n_requests;
    for (int c = 0; c < COLUMNS; c++) {
        widths[c] = (int)strlen(HEADS[c]);
        for (int32_t i = 0; i < n; i++) {
            cell_text(text, s, i, c);
            int w = rh_utf8_width(text, strlen(text));
            if (w > widths[c]) widths[c] = w;
        }
    }
    rh_str_puts(out, "\n");
    for (int c = 0; c < COLUMNS; c++) put_cell(out, HEADS[c], widths[c], c == 0 || (c >= 3 && c <= 7), c + 1 == COLUMNS);
    for (int32_t i = 0; i < n; i++) {
        for (int c = 0; c < COLUMNS; c++) {
            cell_text(text, s, i, c);
            put_cell(out, text, widths[c], c == 0 || (c >= 3 && c <= 7), c + 1 == COLUMNS);
        }
        if (!s->atoms[i].sample[0]) continue;
        pad(out, widths[0] + 2);
        rh_str_printf(out, "sample: %s\n", s->atoms[i].sample);
    }
}

static void put_pass(rh_str *out, const rh_survey *s)
{
    const rh_plan_survey *a = &s->all;
    char text[RH_NUMBER_TEXT];
    if (a->deepest < 0) {
        rh_str_puts(out, "\npass: none; nothing has to be computed by the model\n");
        return;
    }
    rh_str_printf(out, "\npass: %lld prompt%s (%lld distinct), %lld tokens -> %lld after sharing, to layer %d", (long long)a->prompts,
                  a->prompts == 1 ? "" : "s", (long long)a->distinct, (long long)a->tokens, (long long)a->shared_tokens, (int)a->deepest);
    if (a->seconds >= 0) {
        rh_number_show(text, a->seconds < 0.01 ? 0.01 : (double)(long long)(a->seconds * 100 + 0.5) / 100);
        rh_str_printf(out, ", about %s s", text);
    }
    rh_str_puts(out, "\n");
}

rh_status rh_program_explain(rh_str *text, const rh_program *p, rh_error *err)
{
    rh_survey s;
    RH_TRY(rh_survey_new(&s, p, err));
    rh_status status = put_results(text, &s, err);
    if (!status && s.n_results == 0) rh_str_puts(text, "nothing to do: no action and no expression\n");
    if (!status && p->plan.n_requests > 0) put_table(text, &s);
    if (!status) put_pass(text, &s);
    rh_survey_free(&s);
    if (!status && text->failed) status = rh_fail_nomem(err);
    return status;
}
