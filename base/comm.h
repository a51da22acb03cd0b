/* comm.h - several processes that share one job: who am I, and two collective calls. The library
 * knows only this interface; the program chooses what stands behind it and passes it in.
 *
 * Every process makes the same collective calls in the same order. */
#ifndef RH_BASE_COMM_H
#define RH_BASE_COMM_H

#include "base/error.h"

typedef struct rh_comm {
    int rank, size; /* rank 0 is the one that writes and reports */
    void *self;
    /* n bytes of every process to rank 0: all [size][n] there, else ignored. */
    rh_status (*gather)(void *self, const void *mine, size_t n, void *all, rh_error *err);
    /* x [n] becomes its sum over all processes, in every one. */
    rh_status (*sum)(void *self, double *x, size_t n, rh_error *err);
} rh_comm;

/* One process alone: rank 0 of 1. */
rh_comm rh_comm_serial(void);

/* Did everybody succeed so far? A collective call: processes whose status is RH_OK get an error if
 * another failed, the others keep theirs. The message is left empty where rank 0 speaks itself. */
rh_status rh_comm_agree(const rh_comm *c, rh_status status, rh_error *err);

#endif
