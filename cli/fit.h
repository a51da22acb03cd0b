/* fit.h - a word on stderr where an SAE does not fit the model it is used on. */
#ifndef RH_CLI_FIT_H
#define RH_CLI_FIT_H

#include "cli/cli.h"
#include "concepts/concepts.h"

/* One SAE, named as the user names it, that writes hook at layer. Measured at its first use with this model, then found
 * in the cache; without a cache nothing is done. An SAE that cannot be measured is no error. */
rh_status cli_check_fit(cli *c, const rh_model *m, const rh_sae *s, const char *name, int32_t layer, rh_hook hook, rh_error *err);
/* A note of the SAEs that a book names and no expression uses: nothing looks at them. */
rh_status cli_note_unused(cli *c, const rh_program *p, const rh_concepts *concepts, rh_error *err);
/* All that the expressions use, from number *checked on, which moves on. */
rh_status cli_check_fits(cli *c, const rh_model *m, const rh_concepts *concepts, int32_t *checked, rh_error *err);

#endif
