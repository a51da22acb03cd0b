/* layers.h - the flag --layers: "all", or a comma list of 3 and 2..5. */
#ifndef RH_CLI_LAYERS_H
#define RH_CLI_LAYERS_H

#include "cli/cli.h"

/* wanted [n_layers], set where a layer is asked for. text NULL: all. Wrong usage if it does not parse,
 * RH_ESITE beyond the model. */
rh_status cli_parse_layers(bool *wanted, cli *c, const char *text, int32_t n_layers, rh_error *err);

#endif
