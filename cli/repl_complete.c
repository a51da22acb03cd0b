/* repl_complete.c - what may come next: inside a string a file, behind @ or `layer` a layer, behind
 * "16." a hook, else names, functions and, first on the line, words. */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/repl.h"
#include "dsl/functions.h"

static const char *const FIRST_WORDS[] = {"let ",    "steer ", "ablate ", "scale ", "cap ",  "clamp ", "layer ", "include ",
                                          "compare ", "undo",   "list",    "save ",  "help",  "quit"};
static const char *const LATER_WORDS[] = {"on ", "when ", "with ", "prompt", "last", "generated", "special"};

void repl_choices_free(repl_choices *c)
{
    for (size_t i = 0; i < c->n; i++) free(c->items[i]);
    free(c->items);
    *c = (repl_choices){0};
}

typedef struct search { repl_choices *out; const char *start; size_t n; bool no_memory; } search;

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
        else try(s, whole.data, rh_is_dir(whole.data) ? "/" : "\"");
        rh_str_free(&whole);
    }
    if (d) closedir(d);
    free(dir);
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

static void try_names(search *s, repl *r, bool first)
{
    static const repl_ask nothing = {.expr = "0", .value = true};
    rh_program *p = NULL;
    rh_error ignored;
    if (!repl_compile(&p, r, &nothing, &ignored))
        for (int i = 0; rh_program_name(p, i); i++) try(s, rh_program_name(p, i), "");
    rh_program_free(p);
    for (int i = 0; rh_function_at(i); i++)
        if (rh_function_at(i)->id != RH_FN_LATER) try(s, rh_function_at(i)->name, "(");
    for (size_t i = 0; first && i < CLI_COUNT(FIRST_WORDS); i++) try(s, FIRST_WORDS[i], "");
    for (size_t i = 0; !first && i < CLI_COUNT(LATER_WORDS); i++) try(s, LATER_WORDS[i], "");
}

static bool in_word(char c) { return isalnum((unsigned char)c) || c == '_'; }

static bool ends_in_word(const char *text, size_t n, const char *word)
{
    size_t len = strlen(word);
    return n >= len && !memcmp(text + n - len, word, len) && (n == len || !in_word(text[n - len - 1]));
}

bool repl_complete(repl_choices *out, size_t *replace, repl *r, const char *text, size_t n)
{
    search s = {.out = out};
    const char *string = open_string(text, n);
    size_t start = n, before;
    if (!string)
        while (start && in_word(text[start - 1])) start--;
    s.start = string ? string : text + start;
    s.n = (size_t)(text + n - s.start);
    for (before = start; before && (text[before - 1] == ' ' || text[before - 1] == '\t');) before--;
    if (string) try_files(&s);
    else if (start >= 2 && text[start - 1] == '.' && (isdigit((unsigned char)text[start - 2]) || text[start - 2] == ']' ||
                                                      ends_in_word(text, start - 1, "all"))) try_hooks(&s);
    else if ((before && (text[before - 1] == '@')) || ends_in_word(text, before, "layer")) try_layers(&s, r);
    else try_names(&s, r, before == 0);
    if (out->n) qsort(out->items, out->n, sizeof *out->items, by_text);
    *replace = s.n;
    return !s.no_memory;
}
