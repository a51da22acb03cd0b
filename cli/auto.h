/* auto.h - `rhumb steer --auto`: search, then the user's prompt with what was found. */
#ifndef RH_CLI_AUTO_H
#define RH_CLI_AUTO_H

#include "cli/expression.h"
#include "cli/strength.h"
#include "probes/steer.h"

typedef struct cli_auto_flags { bool on; const char *target, *prompts, *versus, *report; } cli_auto_flags;

typedef struct cli_auto_job {
    const cli_auto_flags *flags;
    const cli_expression_flags *expression;
    const char *expr, *prompt;         /* the user's own; the search never sees the prompt */
    const rh_steer_options *steer;     /* of the final run; its prompt and sampling serve the search too */
    const cli_strengths *strengths;    /* none: found */
    bool special;
} cli_auto_job;

rh_status cli_auto(cli *c, const rh_model *m, const cli_auto_job *job, rh_error *err);

#endif
