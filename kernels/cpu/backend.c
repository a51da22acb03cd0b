#include <assert.h>
#include <pthread.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/cpu/cpu.h"

void *rh_cpu_alloc(size_t bytes)
{
    if (bytes > SIZE_MAX - 64) return NULL;
    return aligned_alloc(64, (bytes + 63) / 64 * 64 + (bytes ? 0 : 64));
}

void *rh_cpu_scratch(rh_cpu *c, size_t bytes)
{
    if (bytes <= c->scratch_bytes) return c->scratch;
    size_t grown = bytes + bytes / 4;
    void *p = rh_cpu_alloc(grown < bytes ? bytes : grown);
    if (!p) return NULL;
    free(c->scratch);
    c->scratch = p;
    c->scratch_bytes = grown;
    return p;
}

static void backend_free(rh_backend *be)
{
    rh_cpu *c = rh_cpu_of(be);
    rh_cpu_rope_free(c);
    rh_cpu_chunk_drop(c->chunk);
    free(c->scratch);
    free(c);
}

/* calloc gives large blocks as untouched pages, so a long cache costs what it uses; it aligns
 * to 16 bytes only, hence the slack. */
static rh_status buf_new(rh_backend *be, rh_buf **out, size_t bytes, rh_error *err)
{
    (void)be;
    rh_buf *b = calloc(1, sizeof *b);
    if (b && bytes <= SIZE_MAX - 64) b->base = calloc(bytes + 64, 1);
    if (!b || !b->base) {
        free(b);
        return rh_fail_nomem(err);
    }
    b->data = (float *)(((uintptr_t)b->base + 63) & ~(uintptr_t)63);
    b->bytes = bytes;
    *out = b;
    return RH_OK;
}

static void buf_free(rh_backend *be, rh_buf *b)
{
    (void)be;
    if (!b) return;
    free(b->base);
    free(b);
}

static void upload(rh_backend *be, rh_buf *dst, size_t offset, const void *src, size_t bytes)
{
    (void)be;
    assert(offset <= dst->bytes && bytes <= dst->bytes - offset);
    if (bytes) memcpy((char *)dst->data + offset, src, bytes);
}

static void download(rh_backend *be, void *dst, const rh_buf *src, size_t offset, size_t bytes)
{
    (void)be;
    assert(offset <= src->bytes && bytes <= src->bytes - offset);
    if (bytes) memcpy(dst, (const char *)src->data + offset, bytes);
}

static rh_status all_done(rh_backend *be, rh_error *err)
{
    (void)be;
    (void)err;
    return RH_OK;
}

static void memory(rh_backend *be, size_t *free_bytes, size_t *all_bytes)
{
    (void)be;
    *free_bytes = *all_bytes = SIZE_MAX;
}

static rh_status limits(rh_backend *be, rh_machine_limits *out, rh_error *err)
{
    return rh_measure_machine(out, be->threads, err);
}

/* Only whole pages can go back. */
static void buf_forget(rh_backend *be, rh_buf *b, size_t offset, size_t bytes)
{
    (void)be;
    assert(offset <= b->bytes && bytes <= b->bytes - offset);
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)b->data + offset;
    const uintptr_t first = (at + page - 1) / page * page, end = (at + bytes) / page * page;
    if (first < end) (void)madvise((void *)first, end - first, MADV_DONTNEED);
}

/* One table of operations a set of inner loops, for its name. */
#define OPS(table_name)                                                                            \
    {                                                                                              \
        .name = table_name, .free = backend_free, .buf_new = buf_new, .buf_free = buf_free,        \
        .upload = upload, .download = download, .fetch = download, .wait = all_done, .memory = memory, \
        .buf_forget = buf_forget, .weight_new = rh_cpu_weight_new,                                 \
        .weight_owns = rh_cpu_weight_owns, .weight_free = rh_cpu_weight_free,                      \
        .embed = rh_cpu_embed, .rmsnorm = rh_cpu_rmsnorm,                                          \
        .matmul = rh_cpu_matmul, .screen_new = rh_cpu_screen_new,                                  \
        .screen_free = rh_cpu_screen_free, .screen = rh_cpu_screen,                                  \
        .cosines = rh_cpu_cosines, .rope = rh_cpu_rope, .scatter_rows = rh_cpu_scatter_rows,         \
        .gather_rows = rh_cpu_gather_rows, .attention = rh_cpu_attention, .glu = rh_cpu_glu,       \
        .add = rh_cpu_add, .softcap = rh_cpu_softcap, .steer_rows = rh_cpu_steer_rows,             \
        .ablate_rows = rh_cpu_ablate_rows, .move_rows = rh_cpu_move_rows,                          \
        .guard_rows = rh_cpu_guard_rows, .sample = rh_cpu_sample, .limits = limits,                \
    }

static const rh_ops ops[] = {
    [RH_ISA_GENERIC] = OPS("cpu/generic"),
    [RH_ISA_AVX2] = OPS("cpu/avx2"),
    [RH_ISA_AVX512] = OPS("cpu/avx512"),
};

static void *wait_for(void *gate)
{
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

/* Can n threads run beside each other? OpenMP ends the process where it cannot start its own,
 * so whether it can is tried first, and its pool is then made at once. */
static bool start_threads(int n)
{
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_t *ids = calloc((size_t)n, sizeof *ids);
    int started = 1;
    if (!ids) return false;
    pthread_mutex_lock(&gate);
    while (started < n && !pthread_create(&ids[started], NULL, wait_for, &gate)) started++;
    pthread_mutex_unlock(&gate);
    for (int i = 1; i < started; i++) pthread_join(ids[i], NULL);
    free(ids);
    if (started < n) return false;
    int running = 0;
#pragma omp parallel num_threads(n) reduction(+ : running)
    running++;
    return running > 0;
}

rh_status rh_backend_cpu(rh_backend **out, rh_isa isa, int threads, bool exact, rh_error *err)
{
    static const char *const names[] = { "generic code", "AVX2, FMA and F16C",
                                         "AVX-512 with VNNI, BF16 and VBMI" };
    rh_isa best = rh_cpu_best_isa();
    if (isa == RH_ISA_BEST) isa = best;
    if (isa > best) return rh_fail(err, RH_EDEVICE, "this processor has no %s", names[isa]);

    if (threads <= 0) threads = omp_get_num_procs();
    if (!start_threads(threads)) {
        return rh_hinted(rh_fail(err, RH_ENOMEM, "cannot start %d threads: out of memory, or a limit on threads", threads),
                         err, "--threads 1 needs none");
    }
    rh_cpu *c = calloc(1, sizeof *c);
    if (!c) return rh_fail_nomem(err);
    c->head.ops = &ops[isa];
    c->head.exact = exact;
    c->head.threads = threads;
    c->head.bf16 = isa == RH_ISA_AVX512;
    c->team = c->head.threads;
    c->k = rh_cpu_kernels_of(isa);
    *out = &c->head;
    return RH_OK;
}
