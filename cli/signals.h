/* signals.h - called once by main, before anything else runs. */
#ifndef RH_CLI_SIGNALS_H
#define RH_CLI_SIGNALS_H

#include <stdbool.h>

/* The first SIGINT, SIGTERM or SIGHUP is remembered for cli_interrupted, the second kills.
 * SIGPIPE and SIGXFSZ become errors of write. */
void cli_catch_signals(void);
/* A mapped file that was cut short ends the program with a message that names it. json: also with an object. */
void cli_catch_lost_pages(bool json);

#endif
