/* make.h - bytes of small files, right and wrong ones. Names follow the formats. */
#ifndef RH_TEST_MAKE_H
#define RH_TEST_MAKE_H

#include "base/mem.h"

void put_u32(rh_str *s, uint32_t x);
void put_u64(rh_str *s, uint64_t x);
void put_f32(rh_str *s, float x);
void put_string(rh_str *s, const char *text); /* u64 length and bytes */

enum { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 }; /* GGUF's */

void gguf_header(rh_str *s, uint32_t version, uint64_t n_tensors, uint64_t n_kv);
void gguf_key(rh_str *s, const char *key, uint32_t type); /* the value is put next */
void gguf_text(rh_str *s, const char *key, const char *value);
void gguf_array(rh_str *s, const char *key, uint32_t type, uint64_t n);
void gguf_tensor(rh_str *s, const char *name, uint64_t ne0, uint64_t ne1, uint32_t type,
                 uint64_t offset); /* ne1 0: one dimension */
void pad(rh_str *s, size_t align);
void zeros(rh_str *s, size_t n);

/* One of every type of key, arrays, and tensors "a" F32 [2, 3], "b" Q4_0 [2, 32] and "c" of a
 * type that Rhumb does not compute with. */
void good_gguf(rh_str *s);
/* "a" F32 [2, 3], "b" BF16 [2], "direction.3" F32 [2]; metadata key "who". */
void good_safetensors(rh_str *s);
void safetensors(rh_str *s, const char *json, size_t n_data);
void npy(rh_str *s, int version, const char *header, size_t n_data);

#endif
