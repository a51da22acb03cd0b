/* json.h - jansson with Rhumb's errors: bounded depth (2048), no duplicate keys, no NUL in a
 * string, the file's name and line in the message and place. */
#ifndef RH_BASE_JSON_H
#define RH_BASE_JSON_H

#include <jansson.h>

#include "base/error.h"

/* Any JSON value: check that it is the object or array you want. name is for messages. */
rh_status rh_json_parse(json_t **out, const char *text, size_t len, const char *name,
                        rh_error *err);
rh_status rh_json_load(json_t **out, const char *path, rh_error *err); /* file <= 256 MiB */

#endif
