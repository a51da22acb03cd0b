/* calibration.h - the built-in text that `neutral()` and `resid_norm()` read: what hidden states
 * look like when nothing in particular is meant. Knows sentences; no model. */
#ifndef RH_CONCEPTS_CALIBRATION_H
#define RH_CONCEPTS_CALIBRATION_H

#include "concepts/concepts.h"

/* Its rows, all of one class; rh_pairs_free. sha256 is that of the text. */
rh_status rh_calibration_read(rh_pairs *out, rh_error *err);
/* SHA-256 over the sentences: part of the cache's keys. */
void rh_calibration_hash(char out[65]);

#endif
