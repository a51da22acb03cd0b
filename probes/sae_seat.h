/* sae_seat.h - where an SAE sits in a model, and texts as the ids that its features are read on. Knows both; runs
 * nothing. */
#ifndef RH_PROBES_SAE_SEAT_H
#define RH_PROBES_SAE_SEAT_H

#include "engine/model.h"
#include "probes/report.h"
#include "probes/sae_fit.h"

typedef struct rh_seat { int32_t layer; rh_hook in, out; } rh_seat;

/* layer -1: the SAE's own. RH_ESITE: nobody says the layer, it is another one than the SAE's, the model has no such
 * layer, or its states are not as wide. RH_EMODEL: trained on a model of another name, unless `force`. */
rh_status rh_sae_seat(rh_seat *out, const rh_sae *s, const char *path, const rh_model *m, int32_t layer, bool force, rh_error *err);

/* What documents began with when the model was trained, and the text: models keep something else at the first position
 * than its token. Appends. RH_EUNSUPPORTED: the model has no tokenizer. RH_EVALUE: the text is not UTF-8. */
rh_status rh_feature_ids(rh_tokens *out, const rh_model *m, const char *text, size_t len, rh_error *err);
/* BOS where the tokenizer puts one, else <|endoftext|>, else BOS; -1: none, and then the first token is not read. */
int32_t rh_feature_bos(const rh_model *m);

#endif
