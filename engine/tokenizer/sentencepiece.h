/* sentencepiece.h - libsentencepiece for C. No exception leaves it; knows only rhumb.h. */
#ifndef RH_ENGINE_TOKENIZER_SENTENCEPIECE_H
#define RH_ENGINE_TOKENIZER_SENTENCEPIECE_H

#include "rhumb.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rh_sp rh_sp; /* immutable, any thread; owner: rh_sp_free */
typedef struct rh_sp_piece {
    int32_t id;
    uint32_t begin, end; /* bytes of the text. The bytes of one unknown character: begin == end
                          * in all but the last, which has the character's */
} rh_sp_piece;

/* RH_ENOMEM, or RH_EFORMAT with the library's own words in message. */
rh_status rh_sp_load(rh_sp **out, const void *model_proto, size_t n, char message[256]);
void rh_sp_free(rh_sp *sp);
/* *out [*n] is malloc'd. */
rh_status rh_sp_encode(rh_sp_piece **out, size_t *n, const rh_sp *sp, const char *text, size_t len,
                       char message[256]);
int32_t rh_sp_find(const rh_sp *sp, const char *piece, size_t n); /* -1 */

#ifdef __cplusplus
}
#endif
#endif
