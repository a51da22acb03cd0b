/* repl_history.h - lines typed before, in this session and in others: kept in a file as soon as they are
 * typed, so that a session that dies loses none, and two at once lose none of each other. For repl_line.c. */
#ifndef RH_CLI_REPL_HISTORY_H
#define RH_CLI_REPL_HISTORY_H

#include <histedit.h>
#include <stdbool.h>

typedef struct repl_history {
    History *lines;
    char *path;      /* NULL: nowhere to keep them */
    bool foreign;    /* the file is there, and is no history of ours: it stays as it is */
} repl_history;

bool repl_history_open(repl_history *h); /* false: no memory */
void repl_history_add(repl_history *h, const char *line); /* not blank ones, nor the last again */
void repl_history_close(repl_history *h);

#endif
