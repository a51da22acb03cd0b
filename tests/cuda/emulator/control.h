/* control.h - what tests ask of the emulated device. Programs that tests run whole take the same from the environment
 * at their first call of CUDA:
 *   RH_CUDA_EMULATOR_SEED=n         order of threads and blocks
 *   RH_CUDA_EMULATOR_MEMORY=bytes   of the device
 *   RH_CUDA_EMULATOR_FAIL_MALLOC=n  the nth cudaMalloc fails
 *   RH_CUDA_EMULATOR_FAIL_LAUNCH=n  the nth launch fails
 *   RH_CUDA_EMULATOR_DEVICES=n, _DRIVER=12040, _CAPABILITY=75   what is found
 *   RH_CUDA_EMULATOR_COUNTS=file    rh_emulator_counts at the program's end (or at its last cudaFree), a line "name number" each
 *   RH_CUDA_EMULATOR_TRACE=1        every launch on stderr */
#ifndef RH_EMULATOR_CONTROL_H
#define RH_EMULATOR_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rh_emulator_counts {
    uint64_t mallocs, launches, gemms;      /* run, whether alone or in a graph */
    uint64_t to_device, to_host;            /* copies run */
    uint64_t bytes_to_device, bytes_to_host;
    uint64_t captures, instantiations, graph_launches, synchronisations;
    uint64_t memory, most_memory;           /* bytes allocated now, and at most */
} rh_emulator_counts;

void rh_emulator_seed(uint64_t seed);
void rh_emulator_memory(size_t bytes);               /* 8 GiB at first */
void rh_emulator_fail_malloc(int n);                 /* the nth from now on fails once; 0: none */
void rh_emulator_fail_launch(int n, int cuda_error); /* likewise; launches that are captured count as they are captured */
void rh_emulator_device(int count, int driver, int capability); /* 1, 13000, 90 at first */
rh_emulator_counts rh_emulator_counted(void);        /* since the start */

#ifdef __cplusplus
}
#endif
#endif
