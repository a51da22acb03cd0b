/* npz.h - numpy's .npz: a zip of .npy arrays, as Gemma Scope ships its autoencoders.
 * Stored entries are read in place, deflated ones unpacked when they are asked for; ZIP64. The zip is
 * minizip's and zlib's. Source: numpy.savez, numpy.savez_compressed. */
#ifndef RH_ENGINE_NPZ_H
#define RH_ENGINE_NPZ_H

#include "engine/files/npy.h"
#include "kernels/dtype.h"

typedef struct rh_npz rh_npz; /* owner: rh_npz_close. Immutable once open */

typedef struct rh_npz_array {
    const char *name;    /* without ".npy"; borrowed from the rh_npz */
    rh_npy_info info;
    const uint8_t *data; /* the items where the file has them, maybe unaligned; NULL: deflated */
    size_t size;         /* bytes of the items */
    int32_t entry;       /* for rh_npz_unpack */
} rh_npz_array;

/* The directory alone is read. RH_EFORMAT: not a zip, or cut off. RH_ELIMIT: thousands of entries. */
rh_status rh_npz_open(rh_npz **out, const char *path, rh_error *err);
void rh_npz_close(rh_npz *z);
int32_t rh_npz_n(const rh_npz *z);
const char *rh_npz_name(const rh_npz *z, int32_t i);
int32_t rh_npz_find(const rh_npz *z, const char *name); /* exactly; -1: none */

/* Entry i's header, and where its items are. RH_EUNSUPPORTED: encrypted, another compression than
 * deflate, no floats. RH_EFORMAT: damaged, or of a size that its bytes cannot hold. */
rh_status rh_npz_array_at(rh_npz_array *out, const rh_npz *z, int32_t i, rh_error *err);
/* The items of a deflated entry, malloc'd; checked against the zip's checksum. */
rh_status rh_npz_unpack(void **out, const rh_npz *z, const rh_npz_array *a, rh_error *err);
rh_status rh_npz_check(const rh_npz *z, rh_error *err); /* rh_map_check */

#endif
