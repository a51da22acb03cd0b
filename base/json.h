/* json.h - jansson with Rhumb's errors: bounded depth, no duplicate keys, the file's name and
 * line in the message. Readers of typed members return an error that names the key. */
#ifndef RH_BASE_JSON_H
#define RH_BASE_JSON_H

#include <jansson.h>

#include "base/error.h"

rh_status rh_json_parse(json_t **out, const char *text, size_t len, const char *name,
                        rh_error *err);
rh_status rh_json_load(json_t **out, const char *path, rh_error *err); /* file <= 256 MiB */

#endif
