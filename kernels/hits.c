#include <stdlib.h>

#include "kernels/ops.h"

/* Apart from backend.c, so that a backend that is an object of its own does not take the CPU's along. */
void rh_hits_free(rh_hits *h)
{
    free(h->start);
    free(h->row);
    free(h->p);
    *h = (rh_hits){ 0 };
}
