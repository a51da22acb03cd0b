/* signals.h - called once by main, before anything else runs. */
#ifndef RH_CLI_SIGNALS_H
#define RH_CLI_SIGNALS_H

/* The first SIGINT, SIGTERM or SIGHUP is remembered for cli_interrupted, the second kills.
 * SIGPIPE becomes an error of write. */
void cli_catch_signals(void);

#endif
