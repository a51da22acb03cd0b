/* wheel.h - one named member of a Python wheel (a ZIP file), streamed. What else is in the
 * archive, and what its names are, does not matter: nothing becomes a path. */
#ifndef RH_CLI_WHEEL_H
#define RH_CLI_WHEEL_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef rh_status (*cli_sink)(void *data, const void *bytes, size_t n, rh_error *err);

/* RH_EFORMAT: no ZIP file, no such member, damaged, or longer than `limit` bytes. */
rh_status cli_wheel_read(const char *path, const char *member, int64_t limit, cli_sink sink, void *data, rh_error *err);

#endif
