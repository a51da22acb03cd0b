/* progress.c - the bar on stderr, and Ctrl-C. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/signals.h"

/* ---- signals ------------------------------------------------------------------------------ */

static volatile sig_atomic_t asked_to_stop;

static void stop(int signal_number) { asked_to_stop = signal_number; }

int cli_interrupted(void) { return (int)asked_to_stop; }

void cli_catch_signals(void)
{
    static const int stops[] = {SIGINT, SIGTERM, SIGHUP};
    /* SA_RESETHAND: the second Ctrl-C finds the default again and ends the program at once. No
     * SA_RESTART: a read from a terminal gives up. */
    struct sigaction action = {.sa_handler = stop, .sa_flags = SA_RESETHAND}, old;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < CLI_COUNT(stops); i++)
        if (!sigaction(stops[i], NULL, &old) && old.sa_handler != SIG_IGN) /* nohup stays nohup */
            sigaction(stops[i], &action, NULL);
    /* A closed pipe is a failed write, so that temporary files are still removed. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* and so is a file that may not grow (ulimit -f) */
}

void cli_forget_interrupt(void)
{
    if (asked_to_stop != SIGINT) return;
    asked_to_stop = 0;
    cli_catch_signals();
}

/* ---- the bar ------------------------------------------------------------------------------ */

void cli_clear_bar(cli *c)
{
    if (c->bar_shown) fputs("\r\033[K", stderr);
    c->bar_shown = false;
}

static void time_text(char out[32], double seconds)
{
    long s = (long)(seconds + 0.5);
    if (s >= 3600) snprintf(out, 32, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else snprintf(out, 32, "%ld:%02ld", s / 60, s % 60);
}

static void draw(cli *c, const char *label, int64_t done, int64_t total, double elapsed)
{
    enum { CELLS = 24 };
    char cells[CELLS + 1], left[32];
    double share = total > 0 ? (double)done / (double)total : 0;
    int full = (int)(share * CELLS);
    for (int i = 0; i < CELLS; i++) cells[i] = i < full ? '#' : '.';
    cells[CELLS] = 0;
    fprintf(stderr, "\r\033[K%s [%s] %3.0f%%", label, cells, floor(100 * share));
    if (share > 0.02 && elapsed > 1) {
        time_text(left, elapsed * (1 - share) / share);
        fprintf(stderr, "  %s left", left);
    }
    fflush(stderr);
    c->bar_shown = true;
}

bool cli_progress(void *data, const char *label, int64_t done, int64_t total)
{
    enum { FIRST_MS = 300, EVERY_MS = 100 }; /* short work shows no bar */
    cli *c = data;
    double now = rh_seconds();
    if (strncmp(c->bar_label, label, sizeof c->bar_label - 1)) {
        cli_clear_bar(c);
        snprintf(c->bar_label, sizeof c->bar_label, "%s", label);
        c->bar_begun = now;
        c->bar_drawn = 0;
    }
    if (done >= total) {
        cli_clear_bar(c);
        c->bar_label[0] = 0;
    } else if (c->err_terminal && now - c->bar_begun >= FIRST_MS / 1e3 && now - c->bar_drawn >= EVERY_MS / 1e3) {
        draw(c, label, done, total, now - c->bar_begun);
        c->bar_drawn = now;
    }
    return !cli_interrupted();
}
