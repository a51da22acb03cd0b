/* sae.h - what info and convert do when they are given a sparse autoencoder. */
#ifndef RH_CLI_SAE_H
#define RH_CLI_SAE_H

#include "cli/cli.h"

rh_status cli_info_sae(cli *c, const char *path, rh_error *err);
rh_status cli_convert_sae(cli *c, const char *in, const char *out, rh_error *err);

#endif
