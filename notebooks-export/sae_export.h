/* sae_export.h - what was measured of an autoencoder, as terminal text and as JSON. Computes nothing. */
#ifndef RH_SAE_EXPORT_H
#define RH_SAE_EXPORT_H

#include "notebooks-export/export.h"
#include "probes/sae_eval.h"

/* name: of the SAE, as it was given. */
rh_status rh_export_sae_eval_text(rh_str *out, const rh_sae_eval *e, const char *name, const rh_terminal *t, rh_error *err);
rh_status rh_export_sae_eval_json(rh_str *out, const rh_sae_eval *e, const char *name, rh_error *err);

#endif
