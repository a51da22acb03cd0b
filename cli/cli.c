#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/utf8.h"
#include "cli/text.h"

/* ---- the environment ---------------------------------------------------------------------- */

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* $XDG_CACHE_HOME/rhumb or ~/.cache/rhumb; NULL in *out if there is neither. */
static rh_status cache_root(char **out, rh_error *err)
{
    const char *xdg = environment("XDG_CACHE_HOME"), *home = environment("HOME");
    rh_str path = {0};
    *out = NULL;
    if (xdg && xdg[0] == '/') /* the specification: a relative one is to be ignored */
        rh_str_printf(&path, "%s/rhumb", xdg);
    else if (home)
        rh_str_printf(&path, "%s/.cache/rhumb", home);
    else
        return RH_OK;
    if (path.failed) {
        rh_str_free(&path);
        return rh_fail_nomem(err);
    }
    *out = path.data;
    return RH_OK;
}

static bool speaks_utf8(void)
{
    const char *locale = environment("LC_ALL");
    if (!locale) locale = environment("LC_CTYPE");
    if (!locale) locale = environment("LANG");
    if (!locale) return true; /* nothing is said in most containers, and terminals are UTF-8 */
    return strstr(locale, "UTF-8") || strstr(locale, "utf8") || strstr(locale, "UTF8") || strstr(locale, "utf-8");
}

static int terminal_width(bool terminal)
{
    struct winsize size;
    int64_t columns = 0;
    const char *text = environment("COLUMNS");
    if (text && cli_integer(&columns, text, strlen(text)) && columns >= 20 && columns <= 1000) return (int)columns;
    if (terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20) return size.ws_col;
    return 80;
}

rh_status cli_init(cli *c, rh_error *err)
{
    const char *term = environment("TERM");
    bool dumb = term && !strcmp(term, "dumb");
    memset(c, 0, sizeof *c);
    c->out_terminal = isatty(STDOUT_FILENO) == 1;
    c->err_terminal = isatty(STDERR_FILENO) == 1 && !dumb;
    c->colour = c->out_terminal && !dumb && !environment("NO_COLOR");
    c->unicode = speaks_utf8();
    c->width = terminal_width(c->out_terminal);
    RH_TRY(cache_root(&c->cache_dir, err));
    if (!c->cache_dir) return RH_OK;
    c->models_dir = rh_path_join(c->cache_dir, "models");
    return c->models_dir ? RH_OK : rh_fail_nomem(err);
}

void cli_release(cli *c)
{
    free(c->models_dir);
    free(c->cache_dir);
    c->models_dir = c->cache_dir = NULL;
}

/* As rh_settings has it. A program that opens several backends need not hear the same of each. */
static void note_once(void *data, const char *line)
{
    cli *c = data;
    if (!c->noted) cli_note(c, "%s", line);
    c->noted = true;
}

rh_settings cli_settings(cli *c)
{
    static const char *const isa[] = {NULL, "generic", "avx2", "avx512"}, *const quantize[] = {NULL, "nf4", "q8"};
    return (rh_settings){.cache_dir = c->cache_dir,
                         .device = (rh_device)c->common.device,
                         .threads = c->common.threads,
                         .exact = c->common.exact,
                         .quantize = quantize[c->common.quantize],
                         .isa = isa[c->common.isa],
                         .progress = cli_progress,
                         .progress_data = c,
                         .note = note_once,
                         .note_data = c};
}

rh_terminal cli_terminal(const cli *c)
{
    return (rh_terminal){.width = c->width, .colour = c->colour, .unicode = c->unicode};
}

/* ---- stdout ------------------------------------------------------------------------------- */

static rh_status output_error(cli *c, rh_error *err)
{
    int e = errno;
    if (c->output_failed) return rh_fail(err, RH_EIO, "cannot write the output");
    c->output_failed = true;
    c->pipe_closed = e == EPIPE;
    return rh_fail(err, RH_EIO, "cannot write the output: %s", e == EBADF ? "stdout is closed" : strerror(e));
}

rh_status cli_print(cli *c, const char *bytes, size_t n, rh_error *err)
{
    if (c->output_failed || fwrite(bytes, 1, n, stdout) != n) return output_error(c, err);
    return RH_OK;
}

rh_status cli_flush(cli *c, rh_error *err)
{
    if (c->output_failed || fflush(stdout)) return output_error(c, err);
    return RH_OK;
}

rh_status cli_print_str(cli *c, rh_str *s, rh_error *err)
{
    rh_status status = s->failed ? rh_fail_nomem(err) : cli_print(c, s->data ? s->data : "", s->len, err);
    rh_str_free(s);
    return status;
}

rh_status cli_print_json(cli *c, json_t *object, rh_error *err)
{
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    rh_status status = RH_OK;
    json_decref(object);
    if (!text) return rh_fail_nomem(err);
    status = cli_print(c, text, strlen(text), err);
    if (!status) status = cli_print(c, "\n", 1, err);
    free(text);
    return status;
}

/* ---- stderr ------------------------------------------------------------------------------- */

void cli_note(cli *c, const char *format, ...)
{
    va_list args;
    cli_clear_bar(c);
    fputs("rhumb: note: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

void cli_notes(cli *c, const char *lines)
{
    while (lines && *lines) {
        size_t len = strcspn(lines, "\n");
        if (len) cli_note(c, "%.*s", (int)len, lines);
        lines += len + (lines[len] == '\n');
    }
}

rh_status cli_wrong(cli *c, rh_error *err, const char *format, ...)
{
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    c->wrong_usage = true;
    return rh_fail(err, RH_EVALUE, "%s", message);
}

static void report_text(const cli *c, const rh_error *err)
{
    rh_str out = {0};
    if (err->code == RH_ECANCELLED && cli_interrupted()) {
        rh_str_puts(&out, "rhumb: interrupted\n");
        if (err->hint[0]) rh_str_printf(&out, "help: %s\n", err->hint);
    } else if (c->diags.n > 0) {
        for (int i = 0; i < c->diags.n; i++) {
            bool placed = c->diags.items[i].n_labels > 0 || c->diags.items[i].file[0];
            if (i) rh_str_puts(&out, "\n");
            if (!placed) rh_str_puts(&out, "rhumb: ");
            rh_diag_render(&out, &c->diags.items[i]);
        }
        if (c->diags.more) rh_str_puts(&out, "rhumb: note: there are more errors; the first ten are shown\n");
    } else {
        if (err->file[0] && err->line > 0 && err->column > 0)
            rh_str_printf(&out, "%s:%d:%d: error: %s\n", err->file, err->line, err->column, err->message);
        else if (err->file[0] && err->line > 0)
            rh_str_printf(&out, "%s:%d: error: %s\n", err->file, err->line, err->message);
        else
            rh_str_printf(&out, "rhumb: error: %s\n", err->message);
        if (err->excerpt[0]) {
            rh_str_puts(&out, err->excerpt);
            if (err->excerpt[strlen(err->excerpt) - 1] != '\n') rh_str_puts(&out, "\n");
        }
        if (err->hint[0])
            rh_str_printf(&out, "help: %s\n", err->hint);
        else if (c->wrong_usage)
            rh_str_printf(&out, "help: see `rhumb help%s%s`\n", c->verb ? " " : "", c->verb ? c->verb->name : "");
    }
    if (out.failed)
        fprintf(stderr, "rhumb: error: %s\n", err->message); /* with no memory left, at least this */
    else
        fputs(out.data, stderr);
    rh_str_free(&out);
}

/* {code, message, hint?, file?, line?, column?} */
static json_t *error_object(const char *code, const char *message, const char *hint, const char *file, int line,
                            int column)
{
    json_t *o = json_object();
    json_object_set_new(o, "code", json_string(code));
    json_object_set_new(o, "message", cli_json_text(message, strlen(message)));
    if (hint[0]) json_object_set_new(o, "hint", cli_json_text(hint, strlen(hint)));
    if (file[0]) json_object_set_new(o, "file", cli_json_text(file, strlen(file)));
    if (line > 0) json_object_set_new(o, "line", json_integer(line));
    if (column > 0) json_object_set_new(o, "column", json_integer(column));
    return o;
}

static void report_json(cli *c, const rh_error *err)
{
    json_t *o = json_object(), *all = NULL;
    rh_error ignored;
    json_object_set_new(o, "error",
                        error_object(rh_status_name(err->code), err->message, err->hint, err->file, err->line,
                                     err->column));
    if (c->diags.n > 1) {
        all = json_array();
        for (int i = 0; i < c->diags.n; i++) {
            const rh_diag *d = &c->diags.items[i];
            json_array_append_new(all, error_object(rh_status_name(d->code), d->message, d->hint, d->file, d->line,
                                                    d->column));
        }
        json_object_set_new(o, "errors", all);
    }
    cli_print_json(c, o, &ignored);
}

void cli_report(cli *c, const rh_error *err)
{
    cli_clear_bar(c);
    if (c->pipe_closed) return; /* nobody reads: the end of `rhumb … | head` is no news */
    report_text(c, err);
    if (c->common.json && !c->output_failed) report_json(c, err);
}

/* ---- stdin -------------------------------------------------------------------------------- */

enum { TEXT_LIMIT = 256 << 20 };

static rh_status read_stdin(rh_str *out, rh_error *err)
{
    char buffer[16384];
    size_t n;
    while ((n = fread(buffer, 1, sizeof buffer, stdin)) > 0) {
        rh_str_add(out, buffer, n);
        if (out->failed) return rh_fail_nomem(err);
        if (out->len > TEXT_LIMIT) return rh_fail(err, RH_ELIMIT, "stdin holds more than 256 MiB");
    }
    if (cli_interrupted()) return rh_fail(err, RH_ECANCELLED, "interrupted");
    if (ferror(stdin)) return rh_fail_errno(err, "read", "stdin");
    return RH_OK;
}

bool cli_stdin_is_given(void)
{
    struct stat st;
    return !fstat(STDIN_FILENO, &st) && (S_ISFIFO(st.st_mode) || S_ISREG(st.st_mode) || S_ISSOCK(st.st_mode));
}

rh_status cli_read_text(char **out, size_t *len, const char *path, bool trim, rh_error *err)
{
    rh_str s = {0};
    if (strcmp(path, "-")) {
        RH_TRY(rh_read_file(&s.data, &s.len, path, TEXT_LIMIT, err));
    } else {
        rh_str_add(&s, "", 0); /* so that an empty stdin is "" and not NULL */
        rh_status status = read_stdin(&s, err);
        if (!status && !s.data && !(s.data = rh_strdup(""))) status = rh_fail_nomem(err);
        if (status) {
            rh_str_free(&s);
            return status;
        }
    }
    if (trim && s.len && s.data[s.len - 1] == '\n') {
        s.data[--s.len] = 0;
        if (s.len && s.data[s.len - 1] == '\r') s.data[--s.len] = 0;
    }
    *out = s.data;
    *len = s.len;
    return RH_OK;
}
