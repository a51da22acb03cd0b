/* json.h - building JSON objects member by member with one check at the end. Knows jansson; for
 * this room alone. */
#ifndef RH_EXPORT_JSON_H
#define RH_EXPORT_JSON_H

#include "base/json.h"
#include "base/mem.h"
#include "probes/report.h"

/* Each adds a member to an object, or an item to an array; what fails (no memory) sets *failed. A NULL
 * parent is no error by itself: its own creation has set *failed. */
typedef struct rh_json { bool failed; } rh_json;

json_t *rh_json_object(rh_json *j);
json_t *rh_json_array(rh_json *j);
void rh_json_set(rh_json *j, json_t *object, const char *key, json_t *value);  /* takes value */
void rh_json_push(rh_json *j, json_t *array, json_t *value);                   /* takes value */
void rh_json_text(rh_json *j, json_t *object, const char *key, const char *s); /* repaired; NULL: null */
void rh_json_number(rh_json *j, json_t *object, const char *key, double x);    /* null if not finite */
void rh_json_integer(rh_json *j, json_t *object, const char *key, int64_t x);
void rh_json_bool(rh_json *j, json_t *object, const char *key, bool x);
/* {"layer", "hook"}; layer null for a constant */
void rh_json_place(rh_json *j, json_t *object, int32_t layer, rh_hook hook);
json_t *rh_json_feature(rh_json *j, int32_t feature, const char *label);       /* {"feature", "label"} */
/* [{"id", "piece", KEY: after}] */
json_t *rh_json_scored(rh_json *j, const rh_token_change *t, int32_t n, const char *key);
void rh_json_notes(rh_json *j, json_t *object, const char *notes);             /* array of lines */
void rh_json_geometry(rh_json *j, json_t *object, const rh_geometry *g, int32_t n);

/* Append one line and take the object; RH_ENOMEM if anything failed. */
rh_status rh_json_finish(rh_str *out, json_t *object, const rh_json *j, rh_error *err);

#endif
