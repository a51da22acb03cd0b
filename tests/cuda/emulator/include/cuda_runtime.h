/* cuda_runtime.h - for C files that name the larger header; kernels take emulator.h. */
#include <cuda_runtime_api.h>
