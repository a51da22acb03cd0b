/* repl_session.c - what was said and holds: the book, and statements typed after it. They are compiled
 * as one text in which each stands on the line of the input it came from, so that an error names that
 * line. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/models.h"
#include "cli/repl.h"
#include "cli/repl_scan.h"
#include "cli/text.h"

char *repl_placed(const repl *r, const char *text, size_t skip)
{
    rh_str s = {0};
    for (int i = 1; i < r->line; i++) rh_str_puts(&s, "\n");
    for (size_t i = 0; i < skip; i++)
        if (((unsigned char)text[i] & 0xc0) != 0x80) rh_str_puts(&s, " ");
    rh_str_puts(&s, text + skip);
    if (s.failed) rh_str_free(&s);
    return s.data;
}

static void put_statement(rh_str *out, int *line, int at, const char *text)
{
    for (; *line < at; ++*line) rh_str_puts(out, "\n");
    rh_str_puts(out, text);
    for (; *text; text++) *line += *text == '\n';
}

rh_status repl_compile(rh_program **out, repl *r, const repl_ask *ask, rh_error *err)
{
    rh_str text = {0};
    int line = 1;
    rh_str_puts(&text, "");
    for (size_t i = 0; i < r->n; i++)
        if (!r->statements[i].watch) put_statement(&text, &line, r->statements[i].line, r->statements[i].text);
    if (ask->extra) put_statement(&text, &line, r->line, ask->extra);
    rh_program_input in = {.book_path = r->f->expression.book, .session = text.data, .expr = ask->expr, .layers = r->f->expression.layer,
                           .all_names = ask->names, .bare_value = ask->value};
    rh_status status = text.failed ? rh_fail_nomem(err)
                                   : rh_program_compile(out, &in, rh_concepts_resolver(r->concepts), &r->c->diags, err);
    rh_str_free(&text);
    return status;
}

rh_status repl_state(repl *r, const char *text, bool action, rh_error *err)
{
    rh_program *p = NULL;
    repl_ask ask = {.extra = text, .expr = action ? NULL : "0", .value = !action};
    RH_TRY(repl_compile(&p, r, &ask, err));
    rh_program_free(p);
    return repl_keep(r, text, false, err);
}

rh_status repl_keep(repl *r, const char *text, bool watch, rh_error *err)
{
    char *copy = rh_strdup(text);
    if (!copy || !RH_GROW(r->statements, r->capacity, r->n)) {
        free(copy);
        return rh_fail_nomem(err);
    }
    r->statements[r->n++] = (repl_statement){r->line, copy, watch};
    return RH_OK;
}

/* The last statement, which was not right after all. */
static void forget(repl *r) { free(r->statements[--r->n].text); }

rh_status repl_concepts(repl *r, rh_error *err)
{
    const repl_flags *f = r->f;
    rh_concepts *fresh = NULL;
    rh_concepts_options o = {.cache_dir = f->expression.no_cache ? NULL : r->c->cache_dir, .progress = cli_progress, .progress_data = r->c,
                             .special = f->prompt.special, .force_model = f->expression.force_model};
    RH_TRY(rh_concepts_new(&fresh, r->m, &o, err));
    rh_concepts_free(r->concepts);
    r->concepts = fresh;
    r->warned = 0;
    r->checked = 0;
    return RH_OK;
}

rh_status repl_model(repl *r, const char *text, rh_error *err)
{
    rh_program *p = NULL;
    if (r->m) {
        return rh_hinted(rh_fail(err, RH_EVALUE, "the model %s is open, and a session has one", r->m->name),
                         err, "rhumb repl MODEL opens another one");
    }
    RH_TRY(repl_state(r, text, false, err));
    rh_status status = repl_compile(&p, r, &(repl_ask){.expr = "0", .value = true}, err);
    if (!status) status = cli_open_model(&r->m, r->c, rh_program_model(p), false, err);
    rh_program_free(p);
    cli_clear_bar(r->c);
    if (!status) status = repl_concepts(r, err);
    if (status) forget(r);
    return status;
}

static rh_status print_line(repl *r, const char *label, const char *text, rh_error *err)
{
    rh_str out = {0};
    rh_str_puts(&out, label);
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, "\n");
        cli_visible(&out, at, n);
        at += n;
        if (*at++ == '\n') rh_str_puts(&out, "\n    ");
        else break;
    }
    rh_str_puts(&out, "\n");
    return cli_print_str(r->c, &out, err);
}

rh_status repl_undo(repl *r, rh_error *err)
{
    if (!r->n) {
        return rh_hinted(rh_fail(err, RH_EVALUE, "there is nothing to take back"),
                         err, "statements are taken back: let, layer, include, actions, watch; the book given with -b stays");
    }
    repl_statement *last = &r->statements[--r->n];
    rh_status status = print_line(r, "taken back: ", last->text, err);
    free(last->text);
    return status;
}

rh_status repl_list(repl *r, rh_error *err)
{
    if (r->f->expression.book) RH_TRY(print_line(r, "# book ", r->f->expression.book, err));
    for (size_t i = 0; i < r->n; i++) RH_TRY(print_line(r, "", r->statements[i].text, err));
    if (!r->n && !r->f->expression.book) return print_line(r, "# nothing yet: ", "let sf = dim(\"pairs.csv\") binds a name", err);
    return RH_OK;
}

/* ---- save ----------------------------------------------------------------------------------------------- */

/* Functions whose string is a path. */
static bool takes_path(const char *text, const repl_piece *p)
{
    static const char *const words[] = {"dim", "pca", "lda", "logreg", "load"};
    for (size_t i = 0; i < CLI_COUNT(words); i++)
        if (repl_piece_is(text, p, words[i])) return true;
    return false;
}

/* `path`, written against folder `from`, as a book in folder `to` must write it: both absolute. malloc. */
static char *moved(const char *path, const char *from, const char *to)
{
    size_t n = strlen(to);
    if (path[0] == '/' || !strcmp(from, to)) return rh_strdup(path);
    char *whole = rh_path_join(from, path);
    if (!whole || strncmp(whole, to, n) || whole[n] != '/') return whole;
    char *rest = rh_strdup(whole + n + 1);
    free(whole);
    return rest;
}

static void put_string(rh_str *out, const char *s)
{
    rh_str_puts(out, "\"");
    for (; *s; s++) {
        if (*s == '"' || *s == '\\') rh_str_add(out, "\\", 1);
        if (*s == '\n') rh_str_puts(out, "\\n");
        else if (*s == '\t') rh_str_puts(out, "\\t");
        else rh_str_add(out, s, 1);
    }
    rh_str_puts(out, "\"");
}

/* Append text with the paths in it moved. */
static rh_status put_moved(rh_str *out, const char *text, const char *from, const char *to, rh_error *err)
{
    repl_piece before = {0};
    size_t copied = 0;
    bool path = false;
    for (repl_piece p = repl_piece_at(text, 0); p.kind != REPL_END; before = p, p = repl_piece_at(text, p.end)) {
        if (p.kind == REPL_STRING && path) {
            char *s = repl_piece_string(text, &p), *there = s ? moved(s, from, to) : NULL;
            rh_str_add(out, text + copied, p.start - copied);
            if (there) put_string(out, there);
            else out->failed = true;
            free(there);
            free(s);
            copied = p.end;
        }
        path = repl_piece_is(text, &p, "include") || (repl_piece_is(text, &p, "(") && takes_path(text, &before));
    }
    rh_str_puts(out, text + copied);
    return out->failed ? rh_fail_nomem(err) : RH_OK;
}

/* The folder of a file, absolute and without links. malloc. */
static rh_status folder_of(char **out, const char *path, rh_error *err)
{
    char *dir = rh_path_dir(path);
    if (!dir) return rh_fail_nomem(err);
    *out = realpath(dir, NULL);
    rh_status status = *out ? RH_OK : rh_fail_errno(err, "find the folder of", path);
    free(dir);
    return status;
}

static rh_status put_book(rh_str *out, repl *r, const char *path, rh_error *err)
{
    char *to = NULL, *from = NULL, *here = NULL, *book = NULL;
    size_t len;
    rh_status status = folder_of(&to, path, err);
    if (!status) status = folder_of(&here, "x", err);
    if (!status && r->f->expression.book) {
        status = folder_of(&from, r->f->expression.book, err);
        if (!status) status = rh_read_file(&book, &len, r->f->expression.book, 4 << 20, err);
        if (!status) status = put_moved(out, book, from, to, err);
        if (!status && out->len && out->data[out->len - 1] != '\n') rh_str_puts(out, "\n");
    }
    for (size_t i = 0; i < r->n && !status; i++) {
        if (r->statements[i].watch) continue; /* of the session, and no word of a book */
        status = put_moved(out, r->statements[i].text, here, to, err);
        rh_str_puts(out, "\n");
    }
    free(to);
    free(from);
    free(here);
    free(book);
    return status ? status : out->failed ? rh_fail_nomem(err) : RH_OK;
}

rh_status repl_save(repl *r, const char *path, rh_error *err)
{
    rh_str text = {0};
    rh_writer w = {0};
    rh_str_puts(&text, "");
    rh_status status = put_book(&text, r, path, err);
    if (!status) status = rh_writer_open(&w, path, err);
    if (!status) status = rh_writer_put(&w, text.data, text.len, err);
    if (!status) status = rh_writer_commit(&w, err);
    rh_writer_discard(&w);
    rh_str_free(&text);
    if (!status) cli_note(r->c, "%s written", path);
    return status;
}
