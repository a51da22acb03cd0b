/* forecast.h - which features of an SAE steering will switch, said from the prompt alone, and whether it was so.
 *
 * At the SAE's hook steering adds s·v to every state x, so that of a feature's pre-activation it changes s·W_enc[i]·v
 * (before any normalisation). The forecast adds that to what the prompt's tokens have and sees which features pass their
 * threshold, or displace others among the k largest: switched is what does so at RH_FORECAST_SHARE of the tokens or more.
 * The fact is counted over the text that the steered model then writes: tokens that the forecast has not seen. */
#ifndef RH_PROBES_FORECAST_H
#define RH_PROBES_FORECAST_H

#include "concepts/feature_notes.h"
#include "probes/steer.h"

#define RH_FORECAST_SHARE 0.1

typedef struct rh_forecast_feature {
    int32_t feature;
    char *label;              /* NULL: none */
    double push;              /* s·W_enc[i]·v; NaN where the SAE normalises its input */
    double forecast, fact;    /* shares of the tokens where it is switched; fact NaN: no text */
} rh_forecast_feature;

/* One direction, on or off. */
typedef struct rh_forecast_list {
    rh_forecast_feature *said; int32_t n_said;     /* forecast, by the activations summed, the largest first */
    rh_forecast_feature *missed; int32_t n_missed; /* switched in fact and not forecast, likewise */
    int32_t forecast, fact, both;                  /* how many features there are in all */
} rh_forecast_list;
double rh_forecast_precision(const rh_forecast_list *l); /* both/forecast; NaN without any */
double rh_forecast_recall(const rh_forecast_list *l);    /* both/fact */

typedef struct rh_forecast {
    char *model, *expression, *prompt, *text;
    int32_t layer; rh_hook hook;
    double strength, norm;                 /* ‖v‖ */
    int32_t n_prompt, n_generated;         /* tokens looked at: of the prompt without its first, and of the text */
    rh_forecast_list on, off;
    double seconds;
} rh_forecast;
void rh_forecast_free(rh_forecast *f);

typedef struct rh_forecast_options {
    double strength;
    rh_prompt_options prompt;
    rh_generate_options generate;
    int32_t top;                           /* features to keep of each list */
    const rh_feature_notes *notes;         /* labels; NULL: none */
} rh_forecast_options;

/* v [d_in]: what is added at the SAE's hook, times the strength. s opened for RH_SAE_ENCODE; layer and hook: where it is.
 * RH_EUNSUPPORTED: a transcoder, which reads elsewhere than it writes. RH_EVALUE: a prompt of one token. */
rh_status rh_forecast_make(rh_forecast **out, const rh_model *m, const rh_sae *s, int32_t layer, rh_hook hook, const float *v,
                           const char *expression, const char *prompt, const rh_forecast_options *o, rh_error *err);

#endif
