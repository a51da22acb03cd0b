/* info.h - what the files of `rhumb info` share. */
#ifndef RH_CLI_INFO_H
#define RH_CLI_INFO_H

#include "cli/cli.h"

typedef struct cli_info_flags { bool metadata, tensors; } cli_info_flags;

/* info_model.c */
rh_status cli_info_model(cli *c, const char *word, const cli_info_flags *f, rh_error *err);

#endif
