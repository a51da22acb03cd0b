/* gguf_values.h - what gguf.c (the container) and gguf_keys.c (its metadata) share. */
#ifndef RH_ENGINE_GGUF_VALUES_H
#define RH_ENGINE_GGUF_VALUES_H

#include <string.h>

#include "engine/files/gguf.h"
#include "engine/files/layout.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "files are read in place, as little-endian"
#endif

typedef enum gguf_type {
    GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL,
    GGUF_STRING, GGUF_ARRAY, GGUF_U64, GGUF_I64, GGUF_F64, GGUF_N_TYPES
} gguf_type;

/* Bytes of a value; 0 for strings and arrays. */
static const uint8_t gguf_type_size[GGUF_N_TYPES] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };

typedef struct gguf_kv {
    const char *key;      /* in the arena */
    gguf_type type;
    gguf_type item;       /* of an array */
    uint64_t n;           /* items of an array */
    const uint8_t *value; /* in the map: the value, the string's length, or the first item */
    rh_bytes *strings;    /* index of an array of strings, once asked for; owned */
} gguf_kv;

struct rh_gguf {
    rh_map map;
    rh_arena *arena; /* names */
    int64_t n_kv, n_tensors;
    gguf_kv *kv;     /* [n_kv] */
    rh_tensor *tensors;
    rh_names keys, names;
};

static inline uint32_t gguf_u32(const uint8_t *p)
{
    uint32_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline uint64_t gguf_u64(const uint8_t *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

#endif
