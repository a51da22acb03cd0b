/* repl_line.c - lines from a terminal through libedit, with history and completion; from a pipe or a
 * file as they are. */
#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>
#include <wchar.h>

#include "cli/repl.h"
#include "cli/repl_history.h"
#include "cli/text.h"

enum { LINE_LIMIT = 1 << 20 };

struct repl_lines {
    EditLine *el;        /* NULL: stdin is no terminal */
    repl_history history;
    bool continued;      /* a bracket is open */
    int read;            /* lines so far */
};

bool repl_interactive(const repl *r) { return r->lines->el; }

/* ---- the terminal ------------------------------------------------------------------------------- */

static repl *owner(EditLine *el)
{
    void *r = NULL;
    el_get(el, EL_CLIENTDATA, &r);
    return r;
}

static char *prompt(EditLine *el)
{
    static char first[] = "rhumb> ", more[] = "  ...> "; /* libedit wants char * and does not write */
    return owner(el)->lines->continued ? more : first;
}

/* The next key, or -1 once Ctrl-C was pressed. The signal is let in only while waiting: libedit's own read
 * would miss one that comes between two keys, and wait on. */
static int next_key(EditLine *el, wchar_t *out)
{
    mbstate_t state = {0};
    sigset_t stop, before;
    char byte;
    (void)el;
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    for (;;) {
        fd_set keys;
        FD_ZERO(&keys);
        FD_SET(STDIN_FILENO, &keys);
        sigprocmask(SIG_BLOCK, &stop, &before);
        int ready = cli_interrupted() ? -1 : pselect(STDIN_FILENO + 1, &keys, NULL, NULL, NULL, &before);
        sigprocmask(SIG_SETMASK, &before, NULL);
        if (cli_interrupted()) return -1;
        if (ready < 0) continue;
        ssize_t n = read(STDIN_FILENO, &byte, 1);
        if (n <= 0) return (int)n;
        /* A Ctrl-D typed before libedit has turned the terminal's own editing off comes as a NUL. */
        if (byte == '\0') byte = 'D' & 0x1f;
        size_t length = mbrtowc(out, &byte, 1, &state);
        if (length == (size_t)-2) continue; /* the rest of the code point follows */
        if (length != (size_t)-1) return 1;
        memset(&state, 0, sizeof state);
    }
}

/* How far all choices agree. */
static size_t common(const repl_choices *c)
{
    size_t n = strlen(c->items[0]);
    for (size_t i = 1; i < c->n; i++) {
        size_t k = 0;
        while (k < n && c->items[i][k] == c->items[0][k]) k++;
        n = k;
    }
    while (n && ((unsigned char)c->items[0][n] & 0xc0) == 0x80) n--; /* not inside a code point */
    return n;
}

static void show_choices(const repl *r, const repl_choices *c)
{
    rh_str out = {0};
    size_t column = 0, width = (size_t)r->c->width;
    rh_str_puts(&out, "\n");
    for (size_t i = 0; i < c->n; i++) {
        rh_str one = {0};
        cli_visible(&one, c->items[i], strlen(c->items[i]));
        if (column && column + 2 + one.len > width) {
            rh_str_puts(&out, "\n");
            column = 0;
        }
        rh_str_printf(&out, "%s%s", column ? "  " : "", one.data ? one.data : "");
        column += (column ? 2 : 0) + one.len;
        rh_str_free(&one);
    }
    rh_str_puts(&out, "\n");
    if (!out.failed) fputs(out.data, stdout);
    rh_str_free(&out);
    fflush(stdout);
}

static unsigned char complete(EditLine *el, int key)
{
    (void)key;
    repl *r = owner(el);
    const LineInfo *line = el_line(el);
    repl_choices c = {0};
    size_t replace = 0;
    unsigned char answer = CC_ERROR;
    char *text = rh_strndup(line->buffer, (size_t)(line->cursor - line->buffer));
    if (text && repl_complete(&c, &replace, r, text, strlen(text)) && c.n) {
        size_t n = common(&c);
        char *rest = n > replace ? rh_strndup(c.items[0] + replace, n - replace) : NULL;
        if (rest && el_insertstr(el, rest) == 0) {
            answer = CC_REFRESH;
        } else if (c.n > 1) {
            show_choices(r, &c);
            answer = CC_REDISPLAY;
        }
        free(rest);
    }
    repl_choices_free(&c);
    free(text);
    return cli_interrupted() ? CC_EOF : answer; /* Ctrl-C came while nobody was reading */
}

/* ---- opening and closing --------------------------------------------------------------------------- */

/* libedit reads bytes as the locale says; without one they are UTF-8 here as everywhere in Rhumb. */
static void choose_locale(void)
{
    if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8")) setlocale(LC_CTYPE, "C.UTF-8");
}

static rh_status open_terminal(repl_lines *l, repl *r, rh_error *err)
{
    choose_locale();
    if (!repl_history_open(&l->history)) return rh_fail_nomem(err);
    if (l->history.foreign) cli_note(r->c, "%s is no history of this program: it stays as it is, and none is kept", l->history.path);
    l->el = el_init("rhumb", stdin, stdout, stderr);
    if (!l->el) return rh_fail(err, RH_EIO, "the terminal cannot be edited");
    el_set(l->el, EL_CLIENTDATA, r);
    el_wset(l->el, EL_GETCFN, next_key);
    el_set(l->el, EL_PROMPT, prompt);
    el_set(l->el, EL_EDITOR, "emacs");
    el_set(l->el, EL_HIST, history, l->history.lines);
    el_set(l->el, EL_ADDFN, "rhumb-complete", "complete names, functions, layers and files", complete);
    el_set(l->el, EL_BIND, "^I", "rhumb-complete", NULL);
    el_set(l->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    return RH_OK;
}

rh_status repl_lines_open(repl *r, rh_error *err)
{
    repl_lines *l = r->lines = rh_calloc(1, sizeof *l);
    if (!l) return rh_fail_nomem(err);
    return isatty(STDIN_FILENO) == 1 && r->c->out_terminal ? open_terminal(l, r, err) : RH_OK;
}

void repl_lines_close(repl *r)
{
    repl_lines *l = r->lines;
    if (!l) return;
    if (l->el) el_end(l->el);
    repl_history_close(&l->history);
    free(l);
    r->lines = NULL;
}

/* ---- reading ---------------------------------------------------------------------------------------- */

static rh_status edited_line(char **out, repl_lines *l, rh_error *err)
{
    int n = 0;
    errno = 0;
    const char *line = el_gets(l->el, &n);
    if (cli_interrupted()) {
        el_reset(l->el);
        fputs("\n", stdout);
        return rh_fail(err, RH_ECANCELLED, "interrupted");
    }
    if (!line || n <= 0) {
        if (!l->continued) fputs("\n", stdout);
        return RH_OK;
    }
    *out = rh_strndup(line, (size_t)n);
    return *out ? RH_OK : rh_fail_nomem(err);
}

static rh_status plain_line(char **out, rh_error *err)
{
    size_t capacity = 0;
    ssize_t n = getline(out, &capacity, stdin);
    if (n >= 0 && strlen(*out) == (size_t)n) return RH_OK;
    free(*out);
    *out = NULL;
    if (n >= 0) return rh_fail(err, RH_EFORMAT, "the input holds a NUL byte");
    if (cli_interrupted()) return rh_fail(err, RH_ECANCELLED, "interrupted");
    return ferror(stdin) ? rh_fail_errno(err, "read", "stdin") : RH_OK;
}

/* Brackets open at the end, outside strings and comments. A string ends with its line. */
static int open_brackets(const char *s)
{
    int open = 0;
    bool string = false;
    for (; *s; s++) {
        if (*s == '\n') string = false;
        else if (string && *s == '\\' && s[1] && s[1] != '\n') s++;
        else if (*s == '"') string = !string;
        else if (string) continue;
        else if (*s == '#') s += strcspn(s, "\n") - 1;
        else if (*s == '(' || *s == '[') open++;
        else if (*s == ')' || *s == ']') open--;
    }
    return open;
}

static rh_status read_more(rh_str *whole, repl *r, rh_error *err)
{
    repl_lines *l = r->lines;
    do {
        char *line = NULL;
        rh_status status = l->el ? edited_line(&line, l, err) : plain_line(&line, err);
        if (status) return status;
        if (!line) return RH_OK;
        if (++l->read && !whole->len) r->line = l->read;
        rh_str_puts(whole, line);
        free(line);
        if (whole->failed) return rh_fail_nomem(err);
        if (whole->len > LINE_LIMIT) return rh_fail(err, RH_ELIMIT, "a statement may have 1 MiB");
        l->continued = open_brackets(whole->data) > 0;
    } while (l->continued);
    return RH_OK;
}

rh_status repl_read(char **out, repl *r, rh_error *err)
{
    rh_str whole = {0};
    *out = NULL;
    r->lines->continued = false;
    rh_status status = read_more(&whole, r, err);
    if (!status && whole.data) {
        if (r->lines->el) repl_history_add(&r->lines->history, whole.data);
        while (whole.len && strchr(" \t\r\n", whole.data[whole.len - 1])) whole.data[--whole.len] = 0;
        *out = whole.data;
        return RH_OK;
    }
    rh_str_free(&whole);
    return status;
}
