/* repl_complete.c - what may come next: inside a string that is a path a file, behind @ or `layer` a layer,
 * behind "16." a hook, among a function's arguments its options and behind one of them its values, else names,
 * functions and, first on the line, words. */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/repl.h"
#include "dsl/functions.h"

static const char *const FIRST_WORDS[] = {"let ",    "steer ", "ablate ", "scale ", "cap ",  "clamp ", "layer ", "include ",
                                          "compare ", "watch ",  "undo",   "list",    "save ",  "help",  "quit",   "model "};
static const char *const LATER_WORDS[] = {"on ", "when ", "with ", "at ", "by ", "all", "not ", "prompt", "last", "generated", "special", "tokens "};

void repl_choices_free(repl_choices *c)
{
    for (size_t i = 0; i < c->n; i++) free(c->items[i]);
    free(c->items);
    *c = (repl_choices){0};
}

typedef struct search { repl_choices *out; const char *start, *closing; size_t n; bool no_memory; } search;

static void try(search *s, const char *text, const char *behind)
{
    rh_str one = {0};
    if (strncmp(text, s->start, s->n)) return;
    rh_str_printf(&one, "%s%s", text, behind);
    if (one.failed || !RH_GROW(s->out->items, s->out->cap, s->out->n)) {
        rh_str_free(&one);
        s->no_memory = true;
        return;
    }
    s->out->items[s->out->n++] = one.data;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static bool in_word(char c) { return isalnum((unsigned char)c) || c == '_' || (c & 0x80); }

static bool ends_in_word(const char *text, size_t n, const char *word)
{
    size_t len = strlen(word);
    return n >= len && !memcmp(text + n - len, word, len) && (n == len || !in_word(text[n - len - 1]));
}

/* Where the string begins that is open at the end, or NULL. */
static const char *open_string(const char *text, size_t n)
{
    const char *begun = NULL;
    for (size_t i = 0; i < n; i++) {
        if (begun && text[i] == '\\' && i + 1 < n) i++;
        else if (text[i] == '"') begun = begun ? NULL : text + i + 1;
        else if (!begun && text[i] == '#') return NULL;
    }
    return begun;
}

static void try_files(search *s)
{
    const char *slash = NULL;
    for (size_t i = 0; i < s->n; i++)
        if (s->start[i] == '/') slash = s->start + i;
    size_t in_dir = slash ? (size_t)(slash - s->start) + 1 : 0;
    char *dir = in_dir ? rh_strndup(s->start, in_dir) : rh_strdup(".");
    DIR *d = dir ? opendir(dir) : NULL;
    if (!dir) s->no_memory = true;
    for (struct dirent *e; d && (e = readdir(d)) && !s->no_memory;) {
        if (e->d_name[0] == '.' && (in_dir == s->n || s->start[in_dir] != '.')) continue;
        rh_str whole = {0};
        rh_str_printf(&whole, "%.*s%s", (int)in_dir, s->start, e->d_name);
        if (whole.failed) s->no_memory = true;
        else try(s, whole.data, rh_is_dir(whole.data) ? "/" : s->closing);
        rh_str_free(&whole);
    }
    if (d) closedir(d);
    free(dir);
}

/* The name in front of the bracket that is open at the end, text[*start, *start + *n); false: none is. */
static bool open_call(const char *text, size_t n, size_t *start, size_t *length)
{
    size_t opened[32], depth = 0;
    bool string = false;
    for (size_t i = 0; i < n; i++) {
        if (string && text[i] == '\\') i++;
        else if (text[i] == '"') string = !string;
        else if (string) continue;
        else if (text[i] == '(' && depth++ < 32) opened[depth - 1] = i;
        else if (text[i] == ')' && depth) depth--;
    }
    if (!depth || depth > 32) return false;
    size_t end = opened[depth - 1];
    while (end && text[end - 1] == ' ') end--;
    *start = end;
    while (*start && in_word(text[*start - 1])) --*start;
    *length = end - *start;
    return *length > 0;
}

static const rh_function *called(const char *text, size_t n)
{
    size_t start, length;
    return open_call(text, n, &start, &length) ? rh_function_find((rh_slice){text + start, length}) : NULL;
}

/* Is the string that begins behind text[n - 1] a path? */
static bool is_path(const char *text, size_t n)
{
    static const char *const words[] = {"include", "save", "model", "sae"}, *const calls[] = {"dim", "pca", "lda", "logreg", "load"};
    size_t at = n - 1;
    while (at && (text[at - 1] == ' ' || text[at - 1] == '\t')) at--;
    for (size_t i = 0; i < CLI_COUNT(words); i++)
        if (ends_in_word(text, at, words[i])) return true;
    const rh_function *f = at && text[at - 1] == '(' ? called(text, at) : NULL;
    for (size_t i = 0; f && i < CLI_COUNT(calls); i++)
        if (!strcmp(f->name, calls[i])) return true;
    return false;
}

static void try_options(search *s, const rh_function *f)
{
    for (int i = 0; rh_option_at(i); i++)
        if (f->options & rh_option_at(i)->option) try(s, rh_option_at(i)->name, "=");
}

/* Behind option=: true if its values are known, and have been tried. */
static bool try_values(search *s, const char *text, size_t before)
{
    static const char *const at[] = {"last", "text_last", "mean", "all", "marked"}, *const truth[] = {"true", "false"};
    size_t end = before - 1;
    while (end && text[end - 1] == ' ') end--;
    bool which = ends_in_word(text, end, "at");
    if (!which && !ends_in_word(text, end, "chat") && !ends_in_word(text, end, "center")) return false;
    for (size_t i = 0; i < (which ? CLI_COUNT(at) : CLI_COUNT(truth)); i++) try(s, which ? at[i] : truth[i], "");
    return true;
}

static void try_layers(search *s, const repl *r)
{
    char number[16];
    for (int32_t l = 0; r->m && l < r->m->config.n_layers; l++) {
        snprintf(number, sizeof number, "%d", (int)l);
        try(s, number, "");
    }
    try(s, "all", "");
}

static void try_hooks(search *s)
{
    for (int h = 0; h < RH_N_HOOKS; h++) try(s, rh_hook_name((rh_hook)h), "");
}

/* words: those that may stand here, beside names and functions. */
static void try_names(search *s, repl *r, const char *const *words, size_t n_words)
{
    static const repl_ask nothing = {.expr = "0", .value = true};
    rh_program *p = NULL;
    rh_error ignored;
    if (!repl_compile(&p, r, &nothing, &ignored))
        for (int i = 0; rh_program_name(p, i); i++) try(s, rh_program_name(p, i), "");
    rh_program_free(p);
    for (int i = 0; rh_function_at(i); i++)
        try(s, rh_function_at(i)->name, "(");
    for (size_t i = 0; i < n_words; i++) try(s, words[i], "");
}

/* save FILE, without quotes: where the name begins, else NULL. */
static const char *saved_name(const char *text, size_t n)
{
    size_t blank = strspn(text, " \t");
    if (n < blank + 5 || memcmp(text + blank, "save ", 5)) return NULL;
    size_t name = blank + 5 + strspn(text + blank + 5, " \t");
    return name <= n && text[name] != '"' ? text + name : NULL;
}

bool repl_complete(repl_choices *out, size_t *replace, repl *r, const char *text, size_t n)
{
    search s = {.out = out, .closing = "\""};
    const char *string = open_string(text, n), *saved = saved_name(text, n);
    size_t start = n, before;
    if (!string)
        while (start && in_word(text[start - 1])) start--;
    s.start = saved ? saved : string ? string : text + start;
    s.n = (size_t)(text + n - s.start);
    if (saved) s.closing = "";
    for (before = start; before && (text[before - 1] == ' ' || text[before - 1] == '\t');) before--;
    const rh_function *f = string || saved ? NULL : called(text, start);
    if (saved || (string && is_path(text, (size_t)(string - text)))) {
        try_files(&s);
    } else if (string) {
        /* a text of the user's own */
    } else if (start >= 2 && text[start - 1] == '.' && (isdigit((unsigned char)text[start - 2]) || text[start - 2] == ']' ||
                                                      ends_in_word(text, start - 1, "all"))) {
        try_hooks(&s);
    } else if ((before && (text[before - 1] == '@')) || ends_in_word(text, before, "layer")) {
        try_layers(&s, r);
    } else if (!(f && before && text[before - 1] == '=' && try_values(&s, text, before))) {
        if (f && before && text[before - 1] == ',') try_options(&s, f);
        if (before == 0) try_names(&s, r, FIRST_WORDS, CLI_COUNT(FIRST_WORDS));
        else try_names(&s, r, LATER_WORDS, f ? 0 : CLI_COUNT(LATER_WORDS));
    }
    if (out->n) qsort(out->items, out->n, sizeof *out->items, by_text);
    *replace = s.n;
    return !s.no_memory;
}
