/* mpi.h - several processes started by mpirun, as the communicator that the library knows. Built only
 * with RHUMB_MPI. */
#ifndef RH_CLI_MPI_H
#define RH_CLI_MPI_H

#include "base/comm.h"

/* Was this process started by mpirun? Otherwise MPI is not touched. */
bool cli_mpi_is_wanted(void);
rh_status cli_mpi_open(rh_comm *out, rh_error *err);
void cli_mpi_close(rh_comm *c); /* waits for the others */

#endif
