/* spm_proto.h - SentencePiece's ModelProto, read and written field by field: a GGUF's vocabulary
 * becomes one, and a tokenizer.model is changed where its folder's configuration says so. Knows the
 * wire format; not what a piece means. Source: sentencepiece_model.proto, and protobuf's encoding:
 * key = field << 3 | wire type; 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes. */
#ifndef RH_ENGINE_TOKENIZER_SPM_PROTO_H
#define RH_ENGINE_TOKENIZER_SPM_PROTO_H

#include "base/mem.h"
#include "engine/files/gguf.h"

enum { SP_NORMAL = 1, SP_UNKNOWN, SP_CONTROL, SP_USER, SP_UNUSED, SP_BYTE };

/* message SentencePiece { piece = 1; score = 2 (float); type = 3 }, field 1 of the model. */
typedef struct rh_sp_entry { rh_bytes piece; float score; int type; } rh_sp_entry;
void rh_proto_put_piece(rh_str *s, const rh_sp_entry *e);
/* Into to, [20]: a field of type varint; returns the length. */
size_t rh_proto_put_int(char *to, int field, uint64_t v);
void rh_proto_put_message(rh_str *s, int field, const char *bytes, size_t len);

typedef struct rh_sp_model { /* borrows the bytes it is read from */
    rh_sp_entry *entries;    /* [n], owned */
    size_t n, cap;
    rh_bytes trainer, normalizer;
    bool dummy_prefix, removes_spaces, suffix_spaces; /* of these two */
    int32_t unk, bos, eos;
} rh_sp_model;
/* RH_EFORMAT: not a ModelProto, or cut off. */
rh_status rh_sp_model_read(rh_sp_model *out, const char *bytes, size_t n, rh_error *err);
void rh_sp_model_free(rh_sp_model *m);
/* The model with its entries as they are now, and without the space in front of a text. */
rh_status rh_sp_model_write(rh_str *out, const rh_sp_model *m, bool without_prefix, rh_error *err);

#endif
