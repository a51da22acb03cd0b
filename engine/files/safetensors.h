/* safetensors.h - one file, or a folder/index of shards; and writing.
 * Format: u64 header length, JSON {name: {dtype, shape, data_offsets}, "__metadata__": {}},
 * data. Offsets must be in order of use, in range and without overlap. */
#ifndef RH_ENGINE_SAFETENSORS_H
#define RH_ENGINE_SAFETENSORS_H

#include "base/file.h"
#include "engine/files/tensor.h"

typedef struct rh_safetensors rh_safetensors; /* owner: rh_safetensors_close */

/* path: a .safetensors file, a *.index.json, or a folder with model.safetensors or
 * model.safetensors.index.json. A missing shard is named. */
rh_status rh_safetensors_open(rh_safetensors **out, const char *path, rh_error *err);
void rh_safetensors_close(rh_safetensors *s);
int64_t rh_safetensors_n(const rh_safetensors *s);
const rh_tensor *rh_safetensors_tensor(const rh_safetensors *s, int64_t i);
const rh_tensor *rh_safetensors_find(const rh_safetensors *s, const char *name);
/* Of all tensors; and what an index says of them, -1 if nothing. That is often wrong (tied weights counted, an
 * index kept after a conversion), and what it could show is found without it: a shard that is cut off, missing, or
 * without its tensors. So it stops nobody. */
int64_t rh_safetensors_bytes(const rh_safetensors *s);
int64_t rh_safetensors_declared(const rh_safetensors *s);
/* __metadata__ value, NULL if absent; borrowed. */
const char *rh_safetensors_meta(const rh_safetensors *s, const char *key);
rh_status rh_safetensors_check(const rh_safetensors *s, rh_error *err); /* rh_map_check of all */

/* Writing: declare all tensors, then the data goes out in the same order, streamed, so a
 * trace larger than memory can be written. Atomic. RH_EVALUE: a name twice, or a tensor that
 * would not be aligned to its own width (declare F32 before F16 and BF16). */
typedef struct rh_safetensors_entry {
    const char *name;
    rh_dtype dtype; /* RH_F32, RH_F16 or RH_BF16 */
    int32_t n_dims;
    int64_t shape[RH_MAX_DIMS];
} rh_safetensors_entry;
typedef struct rh_st_writer rh_st_writer;
/* meta: n_meta pairs key, value. */
rh_status rh_st_writer_open(rh_st_writer **out, const char *path,
                            const rh_safetensors_entry *entries, int64_t n,
                            const char *const (*meta)[2], int n_meta, rh_error *err);
rh_status rh_st_writer_put(rh_st_writer *w, const void *bytes, size_t n, rh_error *err);
/* RH_EVALUE if the bytes put differ from those declared. Frees w either way. */
rh_status rh_st_writer_commit(rh_st_writer *w, rh_error *err);
void rh_st_writer_discard(rh_st_writer *w);

#endif
