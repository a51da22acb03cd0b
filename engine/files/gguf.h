/* gguf.h - GGUF v2/v3 by mmap: metadata and tensors; and writing small GGUF files.
 * Knows the container; not what a key means. Source: gguf-py constants.py, gguf.h. */
#ifndef RH_ENGINE_GGUF_H
#define RH_ENGINE_GGUF_H

#include "base/file.h"
#include "base/mem.h"
#include "engine/files/tensor.h"

typedef struct rh_gguf rh_gguf; /* owner: rh_gguf_close */

/* Every length, count, offset and type is checked against the file's size; a truncated file
 * is RH_EFORMAT and says where. Tensors of types Rhumb does not compute with are listed with
 * dtype RH_DTYPE_NONE (sizes unchecked); overlapping tensors are refused. */
rh_status rh_gguf_open(rh_gguf **out, const char *path, rh_error *err);
/* The same, but several tensors may share a name, as in control vectors, whose readers sum them;
 * rh_gguf_find gives the first. */
rh_status rh_gguf_open_repeats(rh_gguf **out, const char *path, rh_error *err);
void rh_gguf_close(rh_gguf *g);

int64_t rh_gguf_n_tensors(const rh_gguf *g);
const rh_tensor *rh_gguf_tensor(const rh_gguf *g, int64_t i);
const rh_tensor *rh_gguf_find(const rh_gguf *g, const char *name); /* NULL if absent */
const rh_map *rh_gguf_map(const rh_gguf *g);

/* Metadata. The getters return RH_ENAME if the key is absent, RH_EFORMAT if of another kind
 * (message names the key). Integers of any width and sign convert if they fit. */
bool rh_gguf_has(const rh_gguf *g, const char *key);
rh_status rh_gguf_i64(int64_t *out, const rh_gguf *g, const char *key, rh_error *err);
rh_status rh_gguf_f64(double *out, const rh_gguf *g, const char *key, rh_error *err);
rh_status rh_gguf_bool(bool *out, const rh_gguf *g, const char *key, rh_error *err);
/* Borrowed bytes in the map, not NUL-terminated; may hold any byte. */
typedef struct rh_bytes { const char *data; size_t len; } rh_bytes;
rh_status rh_gguf_string(rh_bytes *out, const rh_gguf *g, const char *key, rh_error *err);
/* Arrays: count; then elements. Strings of an array are indexed at the first request
 * (16 bytes an element), so opening stays cheap with 262,144 tokens. Not from two threads at
 * once. rh_gguf_floats and _ints want n to be the count, and convert as the getters do; a bool
 * counts as 0 or 1. */
rh_status rh_gguf_array_n(int64_t *out, const rh_gguf *g, const char *key, rh_error *err);
rh_status rh_gguf_strings(const rh_bytes **out, int64_t *n, rh_gguf *g, const char *key,
                          rh_error *err); /* borrowed from g */
rh_status rh_gguf_floats(float *out, int64_t n, const rh_gguf *g, const char *key, rh_error *err);
rh_status rh_gguf_ints(int64_t *out, int64_t n, const rh_gguf *g, const char *key, rh_error *err);
/* Key/value listing for `rhumb info`: value printed short ("[262144 strings]"). */
int64_t rh_gguf_n_keys(const rh_gguf *g);
const char *rh_gguf_key(const rh_gguf *g, int64_t i, rh_str *value_text);

#endif
