/* damage_places.h - where in a file's header something stands that can be wrong. */
#ifndef RH_TEST_DAMAGE_PLACES_H
#define RH_TEST_DAMAGE_PLACES_H

#include "base/mem.h"

typedef enum place_kind {
    PLACE_NUMBER, /* little-endian, 1 to 8 bytes */
    PLACE_STRING, /* GGUF: the length and the bytes */
    PLACE_ENTRY,  /* GGUF: a whole key or tensor; JSON: a member with its comma */
    PLACE_VALUE,  /* JSON: a whole value */
    PLACE_KEY,    /* JSON */
} place_kind;

typedef struct place { size_t at, n; place_kind kind; } place;
typedef struct places {
    place *items;
    size_t n, capacity;
    size_t end;        /* of the header */
    size_t count_at;   /* GGUF: of the counts of tensors and keys */
    size_t tensors_at; /* GGUF: of the first tensor */
} places;

/* Of a GGUF; an empty list if its header does not read to the end. */
void places_of_gguf(places *out, const rh_str *bytes);
/* Of JSON in bytes[from, to). */
void places_of_json(places *out, const rh_str *bytes, size_t from, size_t to);
/* By the file's name. */
void places_of(places *out, const char *name, const rh_str *bytes);
void places_free(places *p);

#endif
