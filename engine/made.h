/* made.h - matrices that are not multiplied in the form in which the file holds them: those that
 * bitsandbytes quantised, and those that are to be quantised. Where they are, what they will be, and
 * making them, one after the other, while the model is loaded. The file's pages are given back as
 * each is made, so both forms of only one matrix are in memory. */
#ifndef RH_ENGINE_MADE_H
#define RH_ENGINE_MADE_H

#include "engine/nf4.h"

typedef struct rh_made {
    rh_tensor tensor; /* as it is multiplied; data NULL until it is made */
    const rh_tensor *floats; /* what it is made from: F32, F16 or BF16 */
    rh_nf4 nf4;              /* or, floats being NULL, this */
    uint8_t *own;     /* tensor.data, or NULL */
} rh_made;

typedef struct rh_made_list {
    rh_made *items; /* [n], by name */
    size_t n, capacity;
} rh_made_list;

/* All matrices of the checkpoint that bitsandbytes quantised. RH_EUNSUPPORTED: fp4, named. */
rh_status rh_made_scan(rh_made_list *out, const rh_safetensors *s, rh_error *err);
/* t will be quantised (rh_can_quantize(to)), if it is a matrix of floats that can be; else nothing is
 * added. t must outlive the list. */
rh_status rh_made_quantize(rh_made_list *list, const rh_tensor *t, rh_dtype to, rh_error *err);
void rh_made_sort(rh_made_list *list); /* before the first rh_made_find */
void rh_made_free(rh_made_list *list);

rh_made *rh_made_find(const rh_made_list *list, const char *name); /* NULL: the file's own form is used */
rh_status rh_made_make(rh_made *m, int threads, rh_error *err);    /* once; later calls do nothing */
void rh_made_drop(rh_made *m); /* the backend holds it now; it can be made again */
/* What the matrix is in the file: floats, or codes, scales and, where it has them, the scales' own. */
int rh_made_sources(const rh_tensor *out[4], const rh_made *m);

#endif
