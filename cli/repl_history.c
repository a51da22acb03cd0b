/* repl_history.c - libedit's own file format, a line an entry behind a first line that says so; what is
 * typed is appended with one write. */
#include "cli/repl_history.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

enum { KEPT = 1000 }; /* lines; the file may have twice as many before it is cut */

static const char COOKIE[] = "_HiStOrY_V2_\n";

/* $XDG_STATE_HOME/rhumb/history or ~/.local/state/rhumb/history. A state folder that cannot be made is
 * no reason not to start. */
static char *find_file(void)
{
    const char *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    rh_str dir = {0};
    rh_error ignored;
    if (xdg && xdg[0] == '/') rh_str_printf(&dir, "%s/rhumb", xdg);
    else if (home && *home) rh_str_printf(&dir, "%s/.local/state/rhumb", home);
    char *path = dir.data && !dir.failed && !rh_make_dirs(dir.data, &ignored) ? rh_path_join(dir.data, "history") : NULL;
    rh_str_free(&dir);
    return path;
}

/* The newest lines alone, in place of the file at once. */
static void cut(const repl_history *h)
{
    HistEvent event;
    rh_str other = {0};
    rh_str_printf(&other, "%s.%ld", h->path, (long)getpid());
    if (!other.failed && (history(h->lines, &event, H_SAVE, other.data) < 0 || rename(other.data, h->path))) unlink(other.data);
    rh_str_free(&other);
}

bool repl_history_open(repl_history *h)
{
    HistEvent event;
    struct stat st;
    *h = (repl_history){.lines = history_init()};
    if (!h->lines) return false;
    history(h->lines, &event, H_SETSIZE, (int)KEPT);
    history(h->lines, &event, H_SETUNIQUE, 1);
    h->path = find_file();
    if (!h->path || stat(h->path, &st) || !st.st_size) return true;
    int n = S_ISREG(st.st_mode) ? history(h->lines, &event, H_LOAD, h->path) : -1;
    h->foreign = n < 0;
    if (n > 2 * KEPT) cut(h);
    return true;
}

/* As strunvis() reads it back: letters and digits as they are, other bytes in octal. */
static void encode(rh_str *out, const char *line)
{
    for (; *line; line++) {
        unsigned char c = (unsigned char)*line;
        if (c < 0x80 && (isalnum(c) || strchr("_.,()+-*/@=\"", c))) rh_str_add(out, line, 1);
        else rh_str_printf(out, "\\%03o", c);
    }
    rh_str_puts(out, "\n");
}

static void append(const repl_history *h, const char *line)
{
    struct stat st;
    rh_str out = {0};
    int fd = open(h->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return;
    if (!fstat(fd, &st) && !st.st_size) rh_str_puts(&out, COOKIE);
    encode(&out, line);
    /* A disk that is full costs the history a line, and the session nothing. */
    if (!out.failed && write(fd, out.data, out.len) != (ssize_t)out.len) h = NULL;
    rh_str_free(&out);
    close(fd);
}

void repl_history_add(repl_history *h, const char *line)
{
    HistEvent event;
    if (!line[strspn(line, " \t\r\n")]) return;
    bool again = !history(h->lines, &event, H_FIRST) && event.str && !strcmp(event.str, line);
    if (again || history(h->lines, &event, H_ENTER, line) < 0) return;
    if (h->path && !h->foreign) append(h, line);
}

void repl_history_close(repl_history *h)
{
    if (h->lines) history_end(h->lines);
    free(h->path);
    *h = (repl_history){0};
}
