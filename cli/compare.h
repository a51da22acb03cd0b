/* compare.h - the comparison as `rhumb compare` and the repl run it: values in, report printed. */
#ifndef RH_CLI_COMPARE_H
#define RH_CLI_COMPARE_H

#include "cli/cli.h"
#include "probes/compare.h"

rh_status cli_compare(cli *c, const rh_model *m, const rh_value *const *vectors, const char *const *labels, int32_t n,
                      const rh_compare_options *o, rh_error *err);

#endif
