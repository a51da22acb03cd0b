#include "cli/when.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/args.h"

void cli_when(char out[CLI_WHEN])
{
    const char *fixed = getenv("SOURCE_DATE_EPOCH");
    int64_t seconds = 0;
    struct tm parts;
    time_t now = time(NULL);
    if (fixed && cli_integer(&seconds, fixed, strlen(fixed))) now = (time_t)seconds;
    if (!gmtime_r(&now, &parts) || !strftime(out, CLI_WHEN, "%Y-%m-%dT%H:%M:%SZ", &parts)) out[0] = 0;
}
