/* device.cpp - what there is: versions, properties, names of errors; and the check of a kernel's arguments. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/cuda/emulator/emulator.h"
#include "tests/cuda/emulator/state.h"

namespace emu {

/* Addresses of the host's heap, libraries and stacks begin there; smaller numbers are taken for numbers. */
static const uintptr_t HOST_FROM = 0x500000000000, HOST_TO = 0x7fffffffffff;

void check_argument(const char *kernel, int i, const void *p, size_t bytes)
{
    for (size_t at = 0; at + sizeof(uintptr_t) <= bytes; at += sizeof(uintptr_t)) {
        uintptr_t v;
        memcpy(&v, (const char *)p + at, sizeof v);
        if (v < HOST_FROM || v > HOST_TO || on_device((const void *)v) || is_pinned((const void *)v)) continue;
        if (msync((void *)(v & ~(uintptr_t)4095), 1, MS_ASYNC)) continue; /* nothing is mapped there */
        fail("kernel %s: argument %d holds %p, memory of the host", kernel, i, (const void *)v);
    }
}

} // namespace emu

using namespace emu;

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = device().driver;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 0;
    if (device().driver < CUDART_VERSION / 1000 * 1000) return keep_error(cudaErrorInsufficientDriver);
    if (!device().devices) return keep_error(cudaErrorNoDevice);
    *count = device().devices;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *out)
{
    *out = 0;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int i) { return keep_error(i < 0 || i >= device().devices ? cudaErrorInvalidDevice : cudaSuccess); }

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *prop, int i)
{
    if (i < 0 || i >= device().devices) return keep_error(cudaErrorInvalidDevice);
    memset(prop, 0, sizeof *prop);
    snprintf(prop->name, sizeof prop->name, "emulated device");
    prop->totalGlobalMem = device().memory;
    prop->sharedMemPerBlock = STATIC_MOST;
    prop->sharedMemPerBlockOptin = DYNAMIC_MOST;
    prop->sharedMemPerMultiprocessor = DYNAMIC_MOST + 1024;
    prop->regsPerBlock = 65536;
    prop->warpSize = 32;
    prop->maxThreadsPerBlock = 1024;
    prop->maxThreadsDim[0] = prop->maxThreadsDim[1] = 1024;
    prop->maxThreadsDim[2] = 64;
    prop->maxGridSize[0] = 0x7fffffff;
    prop->maxGridSize[1] = prop->maxGridSize[2] = 65535;
    prop->major = device().capability / 10;
    prop->minor = device().capability % 10;
    prop->multiProcessorCount = 4;
    prop->memoryBusWidth = 384;
    prop->l2CacheSize = 4 << 20;
    prop->maxThreadsPerMultiProcessor = 2048;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attr, int i)
{
    struct cudaDeviceProp prop;
    const cudaError_t e = cudaGetDeviceProperties(&prop, i);
    if (e != cudaSuccess) return e;
    switch (attr) {
    case cudaDevAttrMultiProcessorCount: *value = prop.multiProcessorCount; break;
    case cudaDevAttrIntegrated: *value = prop.integrated; break;
    case cudaDevAttrL2CacheSize: *value = prop.l2CacheSize; break;
    case cudaDevAttrComputeCapabilityMajor: *value = prop.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = prop.minor; break;
    }
    return cudaSuccess;
}

cudaError_t cudaDeviceReset(void)
{
    drain_all();
    return cudaSuccess;
}

static const struct { cudaError_t e; const char *name, *text; } errors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched", "capture was not initiated in this stream"},
    {cudaErrorGraphExecUpdateFailure, "cudaErrorGraphExecUpdateFailure", "the graph update was not performed because it included changes which violated constraints specific to instantiated graph update"},
};

const char *cudaGetErrorName(cudaError_t e)
{
    for (const auto &row : errors)
        if (row.e == e) return row.name;
    return "cudaErrorUnknown";
}

const char *cudaGetErrorString(cudaError_t e)
{
    for (const auto &row : errors)
        if (row.e == e) return row.text;
    return "unknown error";
}
