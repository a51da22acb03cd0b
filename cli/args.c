#include "cli/args.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* ---- numbers ------------------------------------------------------------------------------ */

static bool only(const char *text, size_t len, const char *allowed)
{
    for (size_t i = 0; i < len; i++)
        if (!text[i] || !strchr(allowed, text[i])) return false;
    return len > 0;
}

bool cli_number(double *out, const char *text, size_t len)
{
    char buffer[64], *end = NULL;
    if (len >= sizeof buffer || !only(text, len, "0123456789+-.eE")) return false;
    memcpy(buffer, text, len);
    buffer[len] = 0;
    double x = strtod(buffer, &end); /* no setlocale anywhere: the point is a point */
    if (end != buffer + len || !isfinite(x)) return false;
    *out = x;
    return true;
}

bool cli_integer(int64_t *out, const char *text, size_t len)
{
    char buffer[32], *end = NULL;
    if (len >= sizeof buffer || !only(text, len, "0123456789+-")) return false;
    memcpy(buffer, text, len);
    buffer[len] = 0;
    errno = 0;
    long long x = strtoll(buffer, &end, 10);
    if (errno || end != buffer + len) return false;
    *out = x;
    return true;
}

static bool unsigned_integer(uint64_t *out, const char *text)
{
    char *end = NULL;
    if (!only(text, strlen(text), "0123456789")) return false;
    errno = 0;
    unsigned long long x = strtoull(text, &end, 10);
    if (errno || *end) return false;
    *out = x;
    return true;
}

/* ---- the nearest name --------------------------------------------------------------------- */

/* Edits (insert, delete, replace, swap of neighbours) from a to b, both cut at 40 bytes. */
static int edits(const char *a, const char *b)
{
    enum { MAX = 40 };
    int d[MAX + 1][MAX + 1];
    int n = (int)strnlen(a, MAX), m = (int)strnlen(b, MAX);
    for (int i = 0; i <= n; i++) d[i][0] = i;
    for (int j = 0; j <= m; j++) d[0][j] = j;
    for (int i = 1; i <= n; i++)
        for (int j = 1; j <= m; j++) {
            int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[n][m];
}

const char *cli_nearest(const char *word, const void *names, size_t n, size_t stride)
{
    const char *best = NULL;
    size_t len = strlen(word);
    int limit = len < 3 ? 1 : len < 6 ? 2 : 3, least = limit + 1;
    for (size_t i = 0; i < n; i++) {
        const char *name;
        memcpy(&name, (const char *)names + i * stride, sizeof name);
        int e = edits(word, name);
        /* "temp" means "temperature": a beginning is near however long the rest is. */
        if (len >= 3 && e > 1 && !strncmp(word, name, len)) e = 1;
        if (e < least && e < (int)strlen(name)) {
            least = e;
            best = name;
        }
    }
    return best;
}

/* ---- parsing ------------------------------------------------------------------------------ */

typedef struct found { const cli_option *option; void *target; } found;

static found find_long(const char *name, size_t len, const cli_table *tables, size_t n)
{
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < tables[t].n; i++) {
            const cli_option *o = &tables[t].options[i];
            if (strlen(o->name) == len && !strncmp(o->name, name, len))
                return (found){o, (char *)tables[t].flags + o->offset};
        }
    return (found){0};
}

static found find_letter(char letter, const cli_table *tables, size_t n)
{
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < tables[t].n; i++) {
            const cli_option *o = &tables[t].options[i];
            if (o->letter && o->letter == letter) return (found){o, (char *)tables[t].flags + o->offset};
        }
    return (found){0};
}

enum { MAX_OPTIONS = 128 };

static rh_status unknown(const char *word, size_t len, const cli_table *tables, size_t n, rh_error *err)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(len < 60 ? len : 60), word);
    rh_status code = rh_fail(err, RH_EVALUE, "unknown option '%s'", name);
    const char *names[MAX_OPTIONS], *best;
    size_t n_names = 0;
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < tables[t].n && n_names < MAX_OPTIONS; i++) names[n_names++] = tables[t].options[i].name;
    best = cli_nearest(name + strspn(name, "-"), names, n_names, sizeof *names);
    if (best) return rh_hinted(code, err, "did you mean --%s?", best);
    if (name[1] != '-')
        return rh_hinted(code, err, "if this is an expression or a text and no option, put `--` in front of it");
    return code;
}

static rh_status range_error(const cli_option *o, const char *text, const char *what, rh_error *err)
{
    if (o->lo < o->hi && o->hi < 1e9)
        return rh_fail(err, RH_EVALUE, "--%s needs %s from %.10g to %.10g, not '%s'", o->name, what, o->lo, o->hi, text);
    if (o->lo < o->hi)
        return rh_fail(err, RH_EVALUE, "--%s needs %s of %.10g or more, not '%s'", o->name, what, o->lo, text);
    return rh_fail(err, RH_EVALUE, "--%s needs %s, not '%s'", o->name, what, text);
}

static bool within(const cli_option *o, double x) { return !(o->lo < o->hi) || (x >= o->lo && x <= o->hi); }

/* One item of a comma list, or the whole text. */
static rh_status set_number(const cli_option *o, void *target, const char *text, size_t len, rh_error *err)
{
    char item[64];
    snprintf(item, sizeof item, "%.*s", (int)(len < 60 ? len : 60), text);
    int64_t whole = 0;
    double x = 0;
    switch (o->kind) {
    case CLI_INT:
    case CLI_INTS:
        if (!cli_integer(&whole, text, len) || whole < INT32_MIN || whole > INT32_MAX || !within(o, (double)whole))
            return range_error(o, item, "a whole number", err);
        if (o->kind == CLI_INT) {
            *(int32_t *)target = (int32_t)whole;
        } else {
            cli_ints *list = target;
            if (!RH_GROW(list->items, list->cap, list->n)) return rh_fail_nomem(err);
            list->items[list->n++] = (int32_t)whole;
        }
        return RH_OK;
    default:
        if (!cli_number(&x, text, len) || !within(o, x)) return range_error(o, item, "a number", err);
        if (o->kind == CLI_NUMBER) {
            *(double *)target = x;
        } else {
            cli_numbers *list = target;
            if (!RH_GROW(list->items, list->cap, list->n)) return rh_fail_nomem(err);
            list->items[list->n++] = x;
        }
        return RH_OK;
    }
}

static rh_status set_list(const cli_option *o, void *target, const char *text, rh_error *err)
{
    for (const char *at = text;;) {
        while (*at == ' ') at++;
        size_t len = strcspn(at, ",");
        size_t used = len;
        while (used && at[used - 1] == ' ') used--;
        RH_TRY(set_number(o, target, at, used, err));
        if (!at[len]) return RH_OK;
        at += len + 1;
    }
}

static rh_status set_choice(const cli_option *o, void *target, const char *text, rh_error *err)
{
    size_t n = 0;
    rh_str all = {0};
    for (; o->choices[n]; n++) {
        if (!strcmp(o->choices[n], text)) {
            *(int32_t *)target = (int32_t)n;
            rh_str_free(&all);
            return RH_OK;
        }
        rh_str_printf(&all, "%s%s", n ? ", " : "", o->choices[n]);
    }
    const char *near = cli_nearest(text, o->choices, n, sizeof *o->choices);
    rh_fail(err, RH_EVALUE, "--%s knows no '%s'; it is one of %s", o->name, text, all.data ? all.data : "");
    rh_str_free(&all);
    if (near) rh_hint(err, "did you mean %s?", near);
    return RH_EVALUE;
}

static rh_status set_value(found f, const char *text, rh_error *err)
{
    const cli_option *o = f.option;
    switch (o->kind) {
    case CLI_FLAG:
        *(bool *)f.target = true;
        return RH_OK;
    case CLI_TEXT:
        *(const char **)f.target = text;
        return RH_OK;
    case CLI_TEXTS: {
        cli_texts *list = f.target;
        if (!RH_GROW(list->items, list->cap, list->n)) return rh_fail_nomem(err);
        list->items[list->n++] = text;
        return RH_OK;
    }
    case CLI_U64:
        if (!unsigned_integer(f.target, text)) return range_error(o, text, "a whole number that is not negative", err);
        return RH_OK;
    case CLI_INT:
    case CLI_NUMBER:
        return set_number(o, f.target, text, strlen(text), err);
    case CLI_INTS:
    case CLI_NUMBERS:
        return set_list(o, f.target, text, err);
    case CLI_CHOICE:
        return set_choice(o, f.target, text, err);
    }
    return RH_OK;
}

/* `-2*a`, `-.5*a`, `-(a+b)`, `-"…"`: an expression, for no option begins like that. */
static bool looks_negative(const char *word)
{
    return word[0] == '-' && word[1] && strchr("0123456789.(\" ", word[1]);
}

/* The value of an option: behind `=`, glued to a letter, or the next word. */
static rh_status take_value(const char **out, const found *f, const char *glued, int *i, int argc, char **argv,
                            const cli_table *tables, size_t n_tables, rh_error *err)
{
    const cli_option *o = f->option;
    if (glued) {
        *out = glued;
        return RH_OK;
    }
    if (*i + 1 >= argc) return rh_fail(err, RH_EVALUE, "--%s needs a value: --%s %s", o->name, o->name, o->value);
    const char *next = argv[*i + 1];
    /* `-p --chat` is a forgotten value, not a prompt. */
    if (!strncmp(next, "--", 2) && find_long(next + 2, strcspn(next + 2, "="), tables, n_tables).option) {
        return rh_hinted(rh_fail(err, RH_EVALUE, "--%s needs a value: --%s %s", o->name, o->name, o->value),
                         err, "if %s itself is the value, write --%s=%s", next, o->name, next);
    }
    ++*i;
    *out = next;
    return RH_OK;
}

static rh_status parse_option(int *i, int argc, char **argv, const cli_table *tables, size_t n_tables, rh_error *err)
{
    const char *word = argv[*i], *glued = NULL, *value = NULL;
    found f;
    if (word[1] == '-') {
        size_t len = strcspn(word + 2, "=");
        f = find_long(word + 2, len, tables, n_tables);
        if (!f.option) return unknown(word, len + 2, tables, n_tables, err);
        if (word[2 + len] == '=') glued = word + 3 + len;
        if (glued && f.option->kind == CLI_FLAG)
            return rh_fail(err, RH_EVALUE, "--%s takes no value", f.option->name);
    } else {
        f = find_letter(word[1], tables, n_tables);
        if (!f.option || (f.option->kind == CLI_FLAG && word[2]))
            return unknown(word, strlen(word), tables, n_tables, err);
        if (word[2]) glued = word + 2 + (word[2] == '=');
    }
    if (f.option->kind != CLI_FLAG) RH_TRY(take_value(&value, &f, glued, i, argc, argv, tables, n_tables, err));
    return set_value(f, value, err);
}

rh_status cli_parse(cli_args *out, int argc, char **argv, const cli_table *tables, size_t n_tables, rh_error *err)
{
    bool options = true;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (options && !strcmp(word, "--")) {
            options = false;
        } else if (options && word[0] == '-' && word[1] && !looks_negative(word)) {
            RH_TRY(parse_option(&i, argc, argv, tables, n_tables, err));
        } else {
            if (!RH_GROW(out->items, out->cap, out->n)) return rh_fail_nomem(err);
            out->items[out->n++] = word;
        }
    }
    return RH_OK;
}

void cli_args_release(cli_args *args, const cli_table *tables, size_t n_tables)
{
    free(args->items);
    *args = (cli_args){0};
    for (size_t t = 0; t < n_tables; t++)
        for (size_t i = 0; i < tables[t].n; i++) {
            const cli_option *o = &tables[t].options[i];
            void *target = (char *)tables[t].flags + o->offset;
            if (o->kind == CLI_TEXTS) free(((cli_texts *)target)->items), *(cli_texts *)target = (cli_texts){0};
            if (o->kind == CLI_NUMBERS) free(((cli_numbers *)target)->items), *(cli_numbers *)target = (cli_numbers){0};
            if (o->kind == CLI_INTS) free(((cli_ints *)target)->items), *(cli_ints *)target = (cli_ints){0};
        }
}

/* ---- help --------------------------------------------------------------------------------- */

void cli_wrap(rh_str *out, const char *text, int indent, int first_column, int width)
{
    int column = first_column;
    bool start = true; /* of a line */
    while (*text) {
        if (*text == '\n') {
            rh_str_puts(out, "\n");
            column = 0;
            start = true;
            text++;
            /* Lines that begin with a blank are set as they are: examples, lists. */
            if (*text == ' ') {
                size_t len = strcspn(text, "\n");
                rh_str_printf(out, "%*s%.*s", indent, "", (int)len, text);
                text += len;
            }
            continue;
        }
        size_t len = strcspn(text, " \n");
        int w = rh_utf8_width(text, len);
        if (!start && column + 1 + w > width) {
            rh_str_puts(out, "\n");
            column = 0;
            start = true;
        }
        if (start) {
            if (column < indent) rh_str_printf(out, "%*s", indent - column, "");
            if (column < indent) column = indent;
        } else {
            rh_str_puts(out, " ");
            column++;
        }
        rh_str_add(out, text, len);
        column += w;
        start = false;
        text += len;
        while (*text == ' ') text++;
    }
    rh_str_puts(out, "\n");
}

void cli_options_help(rh_str *out, const cli_option *options, size_t n, int width)
{
    enum { COLUMN = 27 };
    for (size_t i = 0; i < n; i++) {
        const cli_option *o = &options[i];
        char left[96];
        int w = o->letter ? snprintf(left, sizeof left, "  -%c, --%s", o->letter, o->name)
                          : snprintf(left, sizeof left, "  --%s", o->name);
        if (o->value) w += snprintf(left + w, sizeof left - (size_t)w, " %s", o->value);
        rh_str_puts(out, left);
        w = rh_utf8_width(left, strlen(left));
        if (w > COLUMN - 2) {
            rh_str_puts(out, "\n");
            w = 0;
        }
        cli_wrap(out, o->help, COLUMN, w, width);
    }
}

rh_status cli_corpus_paths(const char ***out, int32_t *n, const cli_texts *corpus, const char *const *more, size_t n_more, rh_error *err)
{
    const size_t all = corpus->n + n_more;
    const char **paths = rh_calloc(all, sizeof *paths);
    if (!paths) return rh_fail_nomem(err);
    for (size_t i = 0; i < all; i++) paths[i] = i < corpus->n ? corpus->items[i] : more[i - corpus->n];
    *out = paths;
    *n = (int32_t)all;
    return RH_OK;
}
