#include <assert.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "kernels/ops.h"

#define CUDA_OBJECT "librhumb-cuda.so"
#define CUDA_ENTRY "rh_backend_cuda"

typedef rh_status (*open_function)(rh_backend **out, bool exact, rh_error *err);

/* Why there is none, by dlerror's word: the object itself is not there, or it is and does not load. */
static rh_status not_loaded(const char *why, bool *there, rh_error *err)
{
    if (!why) why = "it cannot be loaded";
    *there = strncmp(why, CUDA_OBJECT ": cannot open", strlen(CUDA_OBJECT ": cannot open")) != 0;
    if (*there)
        return rh_hinted(rh_fail(err, RH_EDEVICE, "no CUDA here: %s", why), err,
                         "install CUDA's libraries, or use --device cpu");
    return rh_hinted(rh_fail(err, RH_EDEVICE, "no CUDA here: %s is not installed", CUDA_OBJECT), err,
                     "build with cmake --preset cuda, or use --device cpu");
}

/* The CUDA backend is an object of its own, so that the same program runs where there is no
 * driver. It stays open for good: its code outlives any one backend. there: the object was found. */
static rh_status open_cuda(rh_backend **out, bool exact, bool *there, rh_error *err)
{
    union { void *object; open_function call; } entry; /* ISO C has no cast between the two */
    void *object = dlopen(CUDA_OBJECT, RTLD_NOW | RTLD_LOCAL);
    if (!object) return not_loaded(dlerror(), there, err);
    *there = true;
    entry.object = dlsym(object, CUDA_ENTRY);
    if (!entry.object) {
        dlclose(object);
        return rh_hinted(rh_fail(err, RH_EDEVICE, "no CUDA here: %s has no " CUDA_ENTRY, CUDA_OBJECT), err,
                         "it is not of this version of rhumb: install both together, or use --device cpu");
    }
    return entry.call(out, exact, err);
}

void rh_backend_note(const rh_settings *s, const rh_error *why)
{
    char line[sizeof why->message + 64];
    if (!s->note) return;
    snprintf(line, sizeof line, "on the CPU: %s (--device cpu looks for no GPU)", why->message);
    s->note(s->note_data, line);
}

/* A machine whose rhumb has no CUDA is not told so each time; one that has, and finds no device, is. */
static rh_status open_best(rh_backend **out, const rh_settings *s, rh_error *err)
{
    rh_error why = {0};
    bool there = false;
    if (!open_cuda(out, s->exact, &there, &why)) return RH_OK;
    if (there) rh_backend_note(s, &why);
    return rh_backend_cpu(out, RH_ISA_BEST, s->threads, s->exact, err);
}

rh_status rh_backend_open(rh_backend **out, rh_device device, int threads, bool exact,
                          rh_error *err)
{
    const rh_settings settings = {.device = device, .threads = threads, .exact = exact};
    return rh_backend_for(out, &settings, err);
}

rh_status rh_backend_for(rh_backend **out, const rh_settings *s, rh_error *err)
{
    static const char *const names[] = {"generic", "avx2", "avx512"};
    bool there;
    if (s->isa && s->device == RH_DEVICE_CUDA)
        return rh_hinted(rh_fail(err, RH_EVALUE, "'%s' is an instruction set of CPUs, and the device is cuda", s->isa),
                         err, "give the one or the other");
    if (!s->isa && s->device == RH_DEVICE_CUDA) return open_cuda(out, s->exact, &there, err);
    if (!s->isa && s->device == RH_DEVICE_AUTO) return open_best(out, s, err);
    if (!s->isa) return rh_backend_cpu(out, RH_ISA_BEST, s->threads, s->exact, err);
    for (int i = 0; i < 3; i++)
        if (!strcmp(s->isa, names[i])) return rh_backend_cpu(out, (rh_isa)i, s->threads, s->exact, err);
    return rh_hinted(rh_fail(err, RH_EVALUE, "unknown instruction set '%s'", s->isa),
                     err, "known: generic, avx2, avx512");
}

void rh_backend_free(rh_backend *be)
{
    if (be) be->ops->free(be);
}
