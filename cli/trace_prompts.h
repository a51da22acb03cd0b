/* trace_prompts.h - what a trace reads: texts, or token ids. */
#ifndef RH_CLI_TRACE_PROMPTS_H
#define RH_CLI_TRACE_PROMPTS_H

#include "cli/messages.h"

typedef struct cli_trace_input {
    cli_prompt_flags prompt;
    cli_texts texts;
    cli_ints ids;
    const char *file;
} cli_trace_input;

typedef struct cli_prompts {
    rh_prompt *items;
    int32_t n;
    char *text;  /* stdin's, which a prompt borrows */
    cli_messages messages; /* likewise */
} cli_prompts;

/* Wrong usage unless exactly one kind of input is given. */
rh_status cli_check_trace_input(cli *c, const cli_trace_input *in, rh_error *err);
/* RH_EVALUE: an id outside the vocabulary, a prompt without tokens. RH_ELIMIT: longer than the
 * context. Owner: cli_prompts_free, also after a failure. */
rh_status cli_read_prompts(cli_prompts *out, const rh_model *m, const cli_trace_input *in, rh_error *err);
void cli_prompts_free(cli_prompts *p);

#endif
