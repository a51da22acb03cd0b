/* bus.c - SIGBUS: a page of a mapped file cannot be read, since the file was cut short while it
 * was open, or its disk failed. Between steps the library finds a changed model out by itself
 * (rh_model_check); inside of one only the signal is left. It says which file it was and ends the
 * program as any error does. Only what a signal handler may call is called. */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/signals.h"

static volatile sig_atomic_t answers_json;
static atomic_flag taken = ATOMIC_FLAG_INIT; /* two threads may meet the same hole */

static void say(int fd, const char *text)
{
    size_t n = strlen(text);
    while (n > 0) {
        const ssize_t done = write(fd, text, n);
        if (done <= 0) return;
        text += done, n -= (size_t)done;
    }
}

static uintptr_t hex(const char **p)
{
    uintptr_t x = 0;
    for (;; ++*p) {
        if (**p >= '0' && **p <= '9') x = x << 4 | (uintptr_t)(**p - '0');
        else if (**p >= 'a' && **p <= 'f') x = x << 4 | (uintptr_t)(**p - 'a' + 10);
        else return x;
    }
}

/* "7f00-7f10 r--p 00000000 08:01 42   /path": the path if `at` lies within, else NULL. */
static const char *path_in(const char *line, uintptr_t at)
{
    const uintptr_t from = hex(&line), to = *line == '-' ? (++line, hex(&line)) : 0;
    return at >= from && at < to ? strchr(line, '/') : NULL;
}

/* The file that is mapped at `at`; NULL if that is not to be found out. */
static const char *mapped_at(uintptr_t at)
{
    static char line[4096 + 128]; /* one handler runs */
    const int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    size_t n = 0;
    for (char c; fd >= 0 && read(fd, &c, 1) == 1;) {
        if (c != '\n') {
            if (n + 1 < sizeof line) line[n++] = c;
            continue;
        }
        line[n] = 0, n = 0;
        const char *path = path_in(line, at), *gone = path ? strstr(path, " (deleted)") : NULL;
        if (gone) line[gone - line] = 0;
        if (path) return path;
    }
    return NULL;
}

/* What rh_writer was writing: its temporary files are among the open ones. */
static void remove_half_files(void)
{
    static char path[4096];
    for (int fd = 3; fd < 100; fd++) {
        char link[] = "/proc/self/fd/00", *digits = link + sizeof link - 3;
        if (fd > 9) *digits++ = (char)('0' + fd / 10);
        digits[0] = (char)('0' + fd % 10), digits[1] = 0;
        const ssize_t n = readlink(link, path, sizeof path - 1);
        if (n <= 0) continue;
        path[n] = 0;
        const char *name = strrchr(path, '/');
        if (name && !strncmp(name, "/.rhumb-", 8) && n > 4 && !strcmp(path + n - 4, ".tmp")) unlink(path);
    }
}

static void lost_page(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (info->si_code <= 0) { /* kill -BUS */
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    while (atomic_flag_test_and_set(&taken)) pause();
    const char *path = mapped_at((uintptr_t)info->si_addr);
    if (isatty(STDERR_FILENO)) say(STDERR_FILENO, "\r\033[K"); /* a bar */
    say(STDERR_FILENO, "rhumb: error: '");
    say(STDERR_FILENO, path ? path : "a mapped file");
    say(STDERR_FILENO, "' was cut short while it was open, or its disk fails\n"
                       "help: start again; replace files by renaming, not by writing into them\n");
    if (answers_json)
        say(STDOUT_FILENO, "{\"error\":{\"code\":\"RH_EIO\",\"message\":\"a file was cut short while it was open, or its disk fails\"}}\n");
    remove_half_files();
    _exit(EXIT_FAILED);
}

void cli_catch_lost_pages(bool json)
{
    struct sigaction action = {.sa_sigaction = lost_page, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    answers_json = json;
    sigaction(SIGBUS, &action, NULL);
}
