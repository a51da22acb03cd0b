/* fit_check.h - does an SAE fit the model it is used on? Measured at the first use, on the calibration text, and kept with
 * what is known of its features; where the fit is poor, other sites and ways to feed it are tried, and the likely cause
 * is named. */
#ifndef RH_PROBES_FIT_CHECK_H
#define RH_PROBES_FIT_CHECK_H

#include "concepts/concepts.h"

/* More of the variance is left than is explained. Published SAEs leave 0.1 to 0.4 of their own model's; at the wrong site
 * or scale most leave more than all. */
#define RH_FIT_POOR 0.5

typedef struct rh_fit_check {
    double fvu, l0;         /* the share of the variance that is left; features a token */
    int64_t tokens;         /* position 0 of each text left out */
    bool poor;              /* fvu > RH_FIT_POOR */
    bool measured;          /* in this call, and not found among what is kept */
    char cause[400];        /* a sentence, where it is poor */
} rh_fit_check;

/* s, opened for RH_SAE_ROWS or more, writes hook at layer of m. cache_dir NULL: nothing is looked up and nothing kept.
 * RH_ESITE: it does not fit there by its width. RH_EVALUE: its states cannot be measured (a text too short, not finite). */
rh_status rh_check_fit(rh_fit_check *out, const rh_model *m, const rh_sae *s, int32_t layer, rh_hook hook, const char *cache_dir,
                       rh_progress_fn progress, void *progress_data, rh_error *err);

#endif
