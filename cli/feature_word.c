#include "cli/feature_word.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/expression.h"
#include "concepts/feature_notes.h"

void cli_features_free(cli_features *f)
{
    free(f->path);
    free(f->inside);
    free(f->items);
    *f = (cli_features){0};
}

static rh_status add(cli_features *f, int32_t i, rh_error *err)
{
    int32_t *grown = rh_realloc_array(f->items, (size_t)f->n + 1, sizeof *grown);
    if (!grown) return rh_fail_nomem(err);
    f->items = grown;
    f->items[f->n++] = i;
    return RH_OK;
}

/* "3,5": false if it is no list of numbers. */
static rh_status numbers(bool *good, cli_features *f, rh_error *err)
{
    *good = true;
    for (const char *at = f->inside; *good;) {
        int64_t i;
        const size_t n = strcspn(at, ",");
        size_t from = strspn(at, " "), to = n;
        while (to > from && at[to - 1] == ' ') to--;
        *good = from < to && cli_integer(&i, at + from, to - from);
        if (!*good) break;
        if (i < 0 || i > INT32_MAX) return rh_fail(err, RH_EVALUE, "there is no feature %lld", (long long)i);
        RH_TRY(add(f, (int32_t)i, err));
        if (!at[n]) return RH_OK;
        at += n + 1;
    }
    f->n = 0;
    return RH_OK;
}

/* NAME[x] by the book: path, layer and the feature. x NULL: any, to learn where NAME is. */
static rh_status ask_book(cli_features *f, cli *c, const rh_model *m, const char *name, const char *x, const char *book, bool keep, rh_error *err)
{
    cli_expression e = {0};
    const cli_expression_flags flags = {.book = book};
    rh_str expr = {0};
    rh_str_printf(&expr, "%s[%s]", name, x);
    rh_status status = expr.failed ? rh_fail_nomem(err) : cli_expression_open(&e, c, m, &flags, expr.data, true, false, false, err);
    if (!status) status = cli_expression_eval(&e, c, &flags, err);
    const rh_atom_spec *spec = status || !e.evaluation ? NULL : e.evaluation->of_feature.spec;
    if (!status && !spec) status = rh_fail(err, RH_EKIND, "'%s' is no feature of an SAE", expr.data);
    if (!status && !f->path) {
        f->layer = spec->layer;
        f->path = rh_strdup(spec->text);
        if (!f->path) status = rh_fail_nomem(err);
    }
    if (!status && keep) status = add(f, spec->feature, err);
    cli_expression_close(&e);
    rh_str_free(&expr);
    return status;
}

static rh_status read_book(cli_features *f, cli *c, const rh_model *m, const char *name, const char *book, rh_error *err)
{
    bool plain = false;
    if (!f->inside) return ask_book(f, c, m, name, "0", book, false, err);
    RH_TRY(numbers(&plain, f, err));
    if (!plain) return ask_book(f, c, m, name, f->inside, book, true, err);
    char digits[16];
    for (int32_t i = 0; i < f->n; i++) {
        snprintf(digits, sizeof digits, "%d", (int)f->items[i]);
        RH_TRY(ask_book(f, c, m, name, digits, book, false, err));
    }
    return RH_OK;
}

rh_status cli_features_read(cli_features *out, cli *c, const rh_model *m, const char *word, const char *book, rh_error *err)
{
    struct stat st;
    const size_t n = strlen(word);
    const char *open = n && word[n - 1] == ']' ? strrchr(word, '[') : NULL;
    *out = (cli_features){.layer = -1};
    if (!book && !stat(word, &st)) open = NULL; /* a name with brackets in it */
    char *name = rh_strndup(word, open ? (size_t)(open - word) : n);
    if (open) out->inside = rh_strndup(open + 1, n - (size_t)(open - word) - 2);
    rh_status status = !name || (open && !out->inside) ? rh_fail_nomem(err) : RH_OK;
    if (!status && open && !out->inside[0]) status = cli_wrong(c, err, "'%s' names no feature", word);
    bool plain;
    if (!status && book) {
        status = read_book(out, c, m, name, book, err);
    } else if (!status) {
        out->path = name;
        name = NULL;
        if (open) status = numbers(&plain, out, err);
    }
    free(name);
    if (status) cli_features_free(out);
    return status;
}

/* ---- labels -------------------------------------------------------------------------------------- */

static rh_status by_label(cli_features *f, const cli *c, const rh_sae *s, rh_error *err)
{
    rh_feature_notes *notes = NULL;
    int32_t found = 0;
    const char *label = f->inside;
    size_t len = strlen(label);
    if (len >= 2 && (label[0] == '"' || label[0] == '\'') && label[len - 1] == label[0]) label++, len -= 2;
    RH_TRY(rh_feature_notes_open(&notes, c->cache_dir, s, err));
    rh_status status = rh_feature_by_label(&found, notes, s, f->path, f->path, label, len, err);
    if (!status) status = add(f, found, err);
    rh_feature_notes_free(notes);
    return status;
}

rh_status cli_features_find(cli_features *f, const cli *c, const rh_sae *s, rh_error *err)
{
    if (f->inside && !f->n) return by_label(f, c, s, err);
    for (int32_t i = 0; i < f->n; i++) RH_TRY(rh_sae_check_feature(s, f->items[i], err));
    return RH_OK;
}
