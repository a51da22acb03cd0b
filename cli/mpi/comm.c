/* comm.c - base/comm.h over MPI. */
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#include "cli/mpi/mpi.h"

/* What Open MPI and the PMI-speaking launchers set for their children. */
bool cli_mpi_is_wanted(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (getenv(names[i])) return true;
    return false;
}

static rh_status check(int code, const char *what, rh_error *err)
{
    char text[MPI_MAX_ERROR_STRING + 1] = "";
    int length = 0;
    if (code == MPI_SUCCESS) return RH_OK;
    MPI_Error_string(code, text, &length);
    return rh_fail(err, RH_EIO, "MPI cannot %s: %s", what, text);
}

/* MPI counts in int: long messages go in pieces, the same ones in every process. */
enum { PIECE = 1 << 28 };

static rh_status gather(void *self, const void *mine, size_t n, void *all, rh_error *err)
{
    int rank, size;
    (void)self;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    for (size_t at = 0; at < n; at += PIECE) {
        int count = n - at < PIECE ? (int)(n - at) : PIECE;
        const char *from = (const char *)mine + at;
        if (rank != 0) {
            RH_TRY(check(MPI_Send(from, count, MPI_BYTE, 0, 0, MPI_COMM_WORLD), "send", err));
            continue;
        }
        memcpy((char *)all + at, from, (size_t)count);
        for (int k = 1; k < size; k++)
            RH_TRY(check(MPI_Recv((char *)all + (size_t)k * n + at, count, MPI_BYTE, k, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE),
                         "receive", err));
    }
    return RH_OK;
}

static rh_status sum(void *self, double *x, size_t n, rh_error *err)
{
    (void)self;
    for (size_t at = 0; at < n; at += PIECE / sizeof *x) {
        size_t left = n - at;
        int count = left < PIECE / sizeof *x ? (int)left : (int)(PIECE / sizeof *x);
        RH_TRY(check(MPI_Allreduce(MPI_IN_PLACE, x + at, count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD), "add up", err));
    }
    return RH_OK;
}

rh_status cli_mpi_open(rh_comm *out, rh_error *err)
{
    int rank, size, provided;
    RH_TRY(check(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided), "start", err));
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    *out = (rh_comm){.rank = rank, .size = size, .gather = gather, .sum = sum};
    return RH_OK;
}

void cli_mpi_close(rh_comm *c)
{
    (void)c;
    MPI_Finalize();
}
