/* strength.h - --strength 0.5,0.2resid,4sigma: as given, and as factors of one evaluation's vector. */
#ifndef RH_CLI_STRENGTH_H
#define RH_CLI_STRENGTH_H

#include "cli/expression.h"
#include "probes/units.h"

typedef struct cli_strengths { rh_strength *items; size_t n, cap; } cli_strengths; /* zero to start; free(items) */

/* Every value of a repeatable comma list. RH_EVALUE is wrong usage. */
rh_status cli_strengths_read(cli_strengths *out, cli *c, const cli_texts *given, rh_error *err);

/* What the first steer action's vector is multiplied by, at its first layer: out [s->n]. resid: of the median ‖h‖ over
 * this prompt, unsteered, as the report's `relative_norm` says it. */
rh_status cli_strength_factors(double *out, const cli_strengths *s, const cli_expression *e, const rh_model *m,
                               const char *expr, const char *prompt, const rh_prompt_options *o, rh_error *err);

#endif
