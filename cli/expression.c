#include "cli/expression.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "cli/models.h"

void cli_expression_close(cli_expression *e)
{
    rh_evaluation_free(e->evaluation);
    rh_program_free(e->program);
    rh_concepts_free(e->concepts);
    rh_model_free(e->own_model);
    *e = (cli_expression){0};
}

static rh_status new_concepts(cli_expression *e, cli *c, const cli_expression_flags *f, bool special, rh_error *err)
{
    rh_concepts_options o = {.cache_dir = f->no_cache ? NULL : c->cache_dir,
                             .progress = cli_progress,
                             .progress_data = c,
                             .special = special,
                             .force_model = f->force_model,
                             .width = f->width};
    return rh_concepts_new(&e->concepts, e->model, &o, err);
}

static rh_status compile(cli_expression *e, cli *c, const rh_program_input *in, rh_error *err)
{
    rh_program_free(e->program);
    e->program = NULL;
    memset(&c->diags, 0, sizeof c->diags);
    return rh_program_compile(&e->program, in, rh_concepts_resolver(e->concepts), &c->diags, err);
}

/* A book's `model "…"` as a path: beside the book, else as on the command line. */
static rh_status open_book_model(rh_model **out, cli *c, const char *book, const char *word, rh_error *err)
{
    struct stat st;
    char *dir = rh_path_dir(book), *beside = dir ? rh_path_join(dir, word) : NULL;
    rh_status status = beside ? RH_OK : rh_fail_nomem(err);
    if (!status) status = cli_open_model(out, c, !stat(beside, &st) ? beside : word, false, err);
    free(dir);
    free(beside);
    return status;
}

/* The book alone: with the expression 0 nothing of it is computed, but it is read. */
static rh_status model_of_book(char **word, cli_expression *e, const char *book, rh_error *err)
{
    rh_program *p = NULL;
    rh_program_input in = {.book_path = book, .expr = "0", .bare_value = true};
    RH_TRY(rh_program_compile(&p, &in, rh_concepts_resolver(e->concepts), NULL, err));
    const char *named = rh_program_model(p);
    *word = named ? rh_strdup(named) : NULL;
    rh_program_free(p);
    return *word || !named ? RH_OK : rh_fail_nomem(err);
}

/* Compiling failed, or gave a plan that a model must compute: open the book's model, if it
 * names one, and compile again. *again is false if there is nothing to try. */
static rh_status with_book_model(bool *again, cli_expression *e, cli *c, const char *book, rh_error *err)
{
    char *word = NULL;
    *again = false;
    if (!book || model_of_book(&word, e, book, NULL) || !word) return RH_OK;
    rh_status status = open_book_model(&e->own_model, c, book, word, err);
    free(word);
    if (status) return status;
    rh_program_free(e->program);
    e->program = NULL;
    rh_concepts_free(e->concepts);
    e->concepts = NULL;
    e->model = e->own_model;
    *again = true;
    return RH_OK;
}

rh_status cli_open_book_model(rh_model **out, cli *c, const cli_expression_flags *f, rh_error *err)
{
    cli_expression e = {0};
    char *word = NULL;
    *out = NULL;
    rh_status status = new_concepts(&e, c, f, false, err);
    if (!status && !model_of_book(&word, &e, f->book, NULL) && word) status = open_book_model(out, c, f->book, word, err);
    free(word);
    cli_expression_close(&e);
    return status;
}

rh_status cli_expression_open(cli_expression *e, cli *c, const rh_model *model, const cli_expression_flags *f,
                              const char *expr, bool bare_value, bool all_names, bool special, rh_error *err)
{
    rh_program_input in = {.book_path = f->book, .expr = expr, .layers = f->layer, .all_names = all_names,
                           .bare_value = bare_value};
    e->model = model;
    RH_TRY(new_concepts(e, c, f, special, err));
    rh_status status = compile(e, c, &in, err);
    if (!model && (status || rh_program_needs_model(e->program))) {
        rh_error second;
        bool again = false;
        rh_status opened = with_book_model(&again, e, c, f->book, &second);
        if (opened) { /* what the book says of its model is wrong: that comes first */
            if (err) *err = second;
            memset(&c->diags, 0, sizeof c->diags);
            return opened;
        }
        if (again) {
            RH_TRY(new_concepts(e, c, f, special, err));
            status = compile(e, c, &in, err);
        }
    }
    if (!status && expr && rh_program_actions_left_out(e->program) > 0)
        cli_note(c, "the book's own actions (%d) are left out, since an expression is given",
                 rh_program_actions_left_out(e->program));
    return status;
}

static rh_status say_what_is_kept(const cli_expression_flags *f, const cli *c, rh_status status, rh_error *err)
{
    if (status == RH_ECANCELLED && !f->no_cache && c->cache_dir)
        rh_hint(err, "what is computed so far is kept; the same command goes on from there");
    return status;
}

rh_status cli_expression_eval(cli_expression *e, cli *c, const cli_expression_flags *f, rh_error *err)
{
    rh_status status = rh_program_eval(&e->evaluation, e->program, &c->diags, err);
    cli_clear_bar(c);
    cli_notes(c, rh_concepts_warnings(e->concepts));
    if (!status && !e->evaluation->value && !e->evaluation->n_actions)
        cli_note(c, "%s has no action of its own, so nothing is steered (include brings names only)", f->book);
    return say_what_is_kept(f, c, status, err);
}

rh_status cli_expression_beside(rh_program **program, rh_evaluation **value, cli_expression *e, cli *c,
                                const cli_expression_flags *f, const char *expr, rh_error *err)
{
    rh_program_input in = {.book_path = f->book, .expr = expr, .layers = f->layer, .bare_value = true};
    RH_TRY(rh_program_compile(program, &in, rh_concepts_resolver(e->concepts), &c->diags, err));
    return say_what_is_kept(f, c, rh_program_eval(value, *program, &c->diags, err), err);
}
