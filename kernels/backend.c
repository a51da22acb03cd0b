#include <assert.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ops.h"

#define CUDA_OBJECT "librhumb-cuda.so"
#define CUDA_ENTRY "rh_backend_cuda"

typedef rh_status (*open_function)(rh_backend **out, bool exact, rh_error *err);

/* The CUDA backend is an object of its own, so that the same program runs where there is no
 * driver. It stays open for good: its code outlives any one backend. */
static rh_status open_cuda(rh_backend **out, bool exact, rh_error *err)
{
    union { void *object; open_function call; } entry; /* ISO C has no cast between the two */
    void *object = dlopen(CUDA_OBJECT, RTLD_NOW | RTLD_LOCAL);
    if (!object) {
        rh_status status = rh_fail(err, RH_EDEVICE, "no CUDA here: cannot load %s", CUDA_OBJECT);
        rh_hint(err, "use --device cpu, or leave --device out");
        return status;
    }
    entry.object = dlsym(object, CUDA_ENTRY);
    if (!entry.object) {
        dlclose(object);
        return rh_fail(err, RH_EDEVICE, "no CUDA here: %s has no " CUDA_ENTRY, CUDA_OBJECT);
    }
    return entry.call(out, exact, err);
}

rh_status rh_backend_open(rh_backend **out, rh_device device, int threads, bool exact,
                          rh_error *err)
{
    if (device == RH_DEVICE_CUDA) return open_cuda(out, exact, err);
    if (device == RH_DEVICE_AUTO && open_cuda(out, exact, NULL) == RH_OK) return RH_OK;
    return rh_backend_cpu(out, RH_ISA_BEST, threads, exact, err);
}

rh_status rh_backend_for(rh_backend **out, const rh_settings *s, rh_error *err)
{
    static const char *const names[] = {"generic", "avx2", "avx512"};
    if (!s->isa) return rh_backend_open(out, s->device, s->threads, s->exact, err);
    for (int i = 0; i < 3; i++)
        if (!strcmp(s->isa, names[i])) return rh_backend_cpu(out, (rh_isa)i, s->threads, s->exact, err);
    return rh_hinted(rh_fail(err, RH_EVALUE, "unknown instruction set '%s'", s->isa),
                     err, "known: generic, avx2, avx512");
}

void rh_backend_free(rh_backend *be)
{
    if (be) be->ops->free(be);
}

void rh_hits_free(rh_hits *h)
{
    free(h->start);
    free(h->row);
    free(h->p);
    *h = (rh_hits){ 0 };
}
