/* config.h - what config_gguf.c and config_json.c share in filling an rh_model_config. */
#ifndef RH_ENGINE_CONFIG_H
#define RH_ENGINE_CONFIG_H

#include "engine/families.h"

/* What the family says where the file does not. */
void rh_config_defaults(rh_model_config *c, const rh_family *f);
/* Every nth layer is global, the others have the window, if there is one. */
void rh_config_window_by_pattern(rh_model_config *c, int32_t pattern);
/* What follows from the sizes; query_scalar 0: head_dim. */
void rh_config_derive(rh_model_config *c, const rh_family *f, double query_scalar);
/* The values are possible. RH_EFORMAT names the first that is not. */
rh_status rh_config_check(const rh_model_config *c, const char *path, rh_error *err);

/* By its name, a setting that none of the readers knows would change the forward pass (a word such as
 * "attention", "rope" or "expert" is in it). A multiplier of 1 changes nothing. */
bool rh_config_key_matters(const char *key);
bool rh_config_key_multiplies(const char *key);
rh_status rh_config_refuse_key(const char *key, const char *path, rh_error *err);

#endif
