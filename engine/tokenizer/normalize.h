/* normalize.h - a text in a normal form of Unicode, and which bytes of the original stand behind
 * which of the result. Knows libunistring; no vocabulary. */
#ifndef RH_ENGINE_TOKENIZER_NORMALIZE_H
#define RH_ENGINE_TOKENIZER_NORMALIZE_H

#include "base/mem.h"

enum { RH_FORM_NONE = 0, RH_FORM_NFC, RH_FORM_NFD, RH_FORM_NFKC, RH_FORM_NFKD };

typedef struct rh_normalized {
    rh_str text;
    uint32_t *origin; /* [text.len + 1]: the byte of the original that a byte comes from */
} rh_normalized;

/* Is the text in that form already? */
rh_status rh_is_normal(bool *out, int form, const char *text, size_t len, rh_error *err);
/* text: valid UTF-8. */
rh_status rh_normalize(rh_normalized *out, int form, const char *text, size_t len, rh_error *err);
void rh_normalized_free(rh_normalized *n);

#endif
