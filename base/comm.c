#include "base/comm.h"

#include <string.h>

static rh_status gather_alone(void *self, const void *mine, size_t n, void *all, rh_error *err)
{
    (void)self;
    (void)err;
    if (n && all != mine) memcpy(all, mine, n);
    return RH_OK;
}

static rh_status sum_alone(void *self, double *x, size_t n, rh_error *err)
{
    (void)self;
    (void)x;
    (void)n;
    (void)err;
    return RH_OK;
}

rh_comm rh_comm_serial(void)
{
    return (rh_comm){.rank = 0, .size = 1, .gather = gather_alone, .sum = sum_alone};
}

rh_status rh_comm_agree(const rh_comm *c, rh_status status, rh_error *err)
{
    double failed[2] = {status != RH_OK, c->rank == 0 && status != RH_OK}; /* how many; rank 0? */
    if (c->size == 1) return status;
    rh_status talk = c->sum(c->self, failed, 2, status ? NULL : err);
    if (talk) return status ? status : talk;
    bool root_speaks = failed[1] > 0 && c->rank != 0;
    if (root_speaks && err) err->message[0] = err->hint[0] = '\0';
    if (status || failed[0] == 0) return status;
    rh_fail(err, RH_ECANCELLED, "%d of %d processes failed", (int)failed[0], c->size);
    if (root_speaks && err) err->message[0] = '\0';
    return RH_ECANCELLED;
}
