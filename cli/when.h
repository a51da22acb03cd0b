/* when.h - the time of writing, RFC 3339 in UTC. SOURCE_DATE_EPOCH stands in for the clock, so
 * that a file can be made again byte for byte. */
#ifndef RH_CLI_WHEN_H
#define RH_CLI_WHEN_H

enum { CLI_WHEN = 32 };
void cli_when(char out[CLI_WHEN]);

#endif
