/* prompt_file.h - --prompts FILE: one prompt a line. */
#ifndef RH_CLI_PROMPT_FILE_H
#define RH_CLI_PROMPT_FILE_H

#include "cli/cli.h"

/* Appends to out the lines of a file (- is stdin), blank ones left out; they lie in *text, malloc, which
 * must outlive them. RH_EFORMAT: there is none, or a NUL byte. */
rh_status cli_prompt_file(cli_texts *out, char **text, const char *path, rh_error *err);

#endif
