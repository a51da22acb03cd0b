/* device.h - what the tests of the kernels share: memory of the device, and a launch that must succeed. */
#ifndef RH_TESTS_CUDA_DEVICE_H
#define RH_TESTS_CUDA_DEVICE_H

#include "kernels/cuda/kernels.h"

void *device_of(const void *host, size_t bytes);              /* a copy; NULL: nothing written */
void *device_filled(int byte, size_t bytes);
void device_write(void *device, const void *host, size_t bytes);
void host_of(void *host, const void *device, size_t bytes);
void device_free(void *p);                                    /* NULL is fine */
void launched(rh_cuda_launcher launcher, const void *args);   /* and done */

/* Fails unless got is within slack of want, or both are NaN. */
void near_at(const char *file, int line, double got, double want, double slack);
#define NEAR(got, want, slack) near_at(__FILE__, __LINE__, got, want, slack)

#define UNIT (1 / 16777216.0) /* half a unit in the last place of a float's 1 */
#define LENGTH(array) ((int)(sizeof(array) / sizeof *(array)))

#endif
