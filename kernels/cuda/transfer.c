/* Everything that crosses between host and device, but weights' packing: the arena there, results back, and the stage
 * for large things. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/fuse.h"
#include "kernels/cuda/ops.h"

enum { LONG_LIST = 2048 }; /* commands: more than a token takes; so many prompts do not wait until all is listed */

typedef struct copy_args { void *dst; const void *src; size_t bytes; int32_t back, unused; } copy_args;

/* A launcher like those of kernels.h; to the device's own memory, or back into pinned memory. */
static int copy(void *stream, const void *args)
{
    const copy_args *a = args;
    return (int)cudaMemcpyAsync(a->dst, a->src, a->bytes, a->back ? cudaMemcpyDeviceToHost : cudaMemcpyDeviceToDevice,
                                (cudaStream_t)stream);
}

/* ---- the list ------------------------------------------------------------------------------------ */

void *rh_cuda_append(rh_cuda *c, rh_cuda_launcher launch, const char *name, size_t bytes)
{
    if (c->failed.code) return NULL;
    void *arguments = rh_cuda_commands_add(&c->list, launch, name, bytes);
    if (!arguments) rh_cuda_broke_nomem(c);
    return arguments;
}

/* Host arrays of the list, in one copy before it. */
static void send_arena(rh_cuda *c)
{
    rh_cuda_arena *a = &c->arena;
    if (!a->used) return;
    cudaError_t e = cudaMemcpyAsync(a->device, a->host, a->used, cudaMemcpyHostToDevice, c->stream);
    if (!e) e = cudaEventRecord(a->copied, c->stream);
    if (e) rh_cuda_broke(c, (int)e, "cudaMemcpyAsync");
    else a->in_flight = true;
}

void rh_cuda_flush(rh_cuda *c)
{
    if (c->list.n && !c->failed.code) send_arena(c);
    if (c->list.n && !c->failed.code) {
        const bool fused = rh_cuda_fuse(&c->fused, &c->list);
        const char *call = NULL;
        const int code = rh_cuda_run(c, fused ? &c->fused : &c->list, &call);
        if (code) rh_cuda_broke(c, code, call);
    }
    rh_cuda_commands_clear(&c->list);
    c->arena.used = c->arena.n_notes = 0;
}

/* What failed brings zeros: its reader learns of it at the next wait. */
void rh_cuda_drain(rh_cuda *c)
{
    rh_cuda_results *r = &c->results;
    rh_cuda_flush(c);
    const cudaError_t e = cudaStreamSynchronize(c->stream);
    if (e) rh_cuda_broke(c, (int)e, "cudaStreamSynchronize");
    c->arena.in_flight = c->stage.in_flight[0] = c->stage.in_flight[1] = false;
    for (size_t i = 0; i < r->n; i++) {
        if (c->failed.code) memset(r->items[i].dst, 0, r->items[i].bytes);
        else memcpy(r->items[i].dst, r->host + r->items[i].at, r->items[i].bytes);
    }
    r->n = r->used = 0;
}

/* ---- the arena ----------------------------------------------------------------------------------- */

static void free_arena(rh_cuda_arena *a)
{
    (void)cudaFreeHost(a->host);
    (void)cudaFree(a->device);
    a->host = a->device = NULL;
    a->bytes = a->used = 0;
}

static rh_status new_arena(rh_cuda_arena *a, size_t bytes, rh_error *err)
{
    rh_status status = rh_cuda_alloc_host(&a->host, bytes, err);
    if (!status) status = rh_cuda_alloc(&a->device, bytes, err);
    if (status) free_arena(a);
    else a->bytes = bytes;
    return status;
}

/* Here, and not where commands are added: what an op has put there must reach the device with the op's command. */
rh_status rh_cuda_room(rh_cuda *c, size_t bytes, rh_error *err)
{
    rh_cuda_arena *a = &c->arena;
    if (bytes > a->bytes) { /* also where a larger one could not be had before: there is none then */
        rh_cuda_drain(c);
        RH_TRY(rh_cuda_report(c, err));
        free_arena(a);
        RH_TRY(new_arena(a, bytes > RH_CUDA_ARENA ? bytes + bytes / 4 : RH_CUDA_ARENA, err));
    }
    if (bytes > a->bytes - a->used || c->list.n >= LONG_LIST) rh_cuda_flush(c);
    if (a->in_flight) {
        const cudaError_t e = cudaEventSynchronize(a->copied);
        if (e) rh_cuda_broke(c, (int)e, "cudaEventSynchronize");
        a->in_flight = false;
    }
    return rh_cuda_report(c, err);
}

bool rh_cuda_begin(rh_cuda *c, size_t bytes)
{
    rh_error why = {0};
    if (!c->failed.code && rh_cuda_room(c, bytes, &why)) c->failed = why;
    return !c->failed.code;
}

void *rh_cuda_place(rh_cuda *c, void **host, size_t bytes)
{
    rh_cuda_arena *a = &c->arena;
    assert(rh_round_up(bytes, 16) <= a->bytes - a->used);
    uint8_t *device = a->device + a->used;
    *host = a->host + a->used;
    memset(*host, 0, rh_round_up(bytes, 16));
    a->used += rh_round_up(bytes, 16);
    return device;
}

void *rh_cuda_put(rh_cuda *c, rh_cuda_array what, const void *src, size_t n, size_t place)
{
    rh_cuda_arena *a = &c->arena;
    void *host;
    for (size_t i = 0; i < a->n_notes && what; i++) {
        const struct rh_cuda_note *note = &a->notes[i];
        if (note->what == what && note->bytes == n && !memcmp(a->host + note->at, src, n)) return a->device + note->at;
    }
    const size_t at = a->used;
    void *device = rh_cuda_place(c, &host, place > n ? place : n);
    if (n) memcpy(host, src, n);
    if (what && a->n_notes < sizeof a->notes / sizeof *a->notes) a->notes[a->n_notes++] = (struct rh_cuda_note){what, at, n};
    return device;
}

/* ---- the stage ----------------------------------------------------------------------------------- */

static void free_halves(rh_cuda_stage *s)
{
    for (int i = 0; i < 2; i++) {
        (void)cudaFreeHost(s->host[i]);
        s->host[i] = NULL;
    }
    s->bytes = 0;
}

static rh_status new_halves(rh_cuda_stage *s, size_t bytes, rh_error *err)
{
    rh_status status = RH_OK;
    for (int i = 0; i < 2 && !status; i++) status = rh_cuda_alloc_host(&s->host[i], bytes, err);
    if (status) free_halves(s);
    else s->bytes = bytes;
    return status;
}

rh_status rh_cuda_stage_next(rh_cuda *c, uint8_t **half, size_t bytes, rh_error *err)
{
    rh_cuda_stage *s = &c->stage;
    rh_cuda_flush(c);
    RH_TRY(rh_cuda_report(c, err));
    if (bytes > s->bytes) {
        rh_cuda_drain(c);
        RH_TRY(rh_cuda_report(c, err));
        free_halves(s);
        RH_TRY(new_halves(s, bytes > RH_CUDA_STAGE ? bytes : RH_CUDA_STAGE, err));
    }
    if (s->in_flight[s->next]) RH_CUDA_TRY(cudaEventSynchronize(s->read[s->next]), "cudaEventSynchronize", err);
    s->in_flight[s->next] = false;
    *half = s->host[s->next];
    return RH_OK;
}

rh_status rh_cuda_stage_send(rh_cuda *c, void *dst, size_t bytes, rh_error *err)
{
    rh_cuda_stage *s = &c->stage;
    RH_CUDA_TRY(cudaMemcpyAsync(dst, s->host[s->next], bytes, cudaMemcpyHostToDevice, c->stream), "cudaMemcpyAsync", err);
    s->in_flight[s->next] = true; /* even where the event fails: drain waits for all */
    RH_CUDA_TRY(cudaEventRecord(s->read[s->next], c->stream), "cudaEventRecord", err);
    s->next = !s->next;
    return RH_OK;
}

/* ---- life ---------------------------------------------------------------------------------------- */

rh_status rh_cuda_transfer_new(rh_cuda *c, rh_error *err)
{
    cudaEvent_t *const events[] = {&c->arena.copied, &c->stage.read[0], &c->stage.read[1]};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        RH_CUDA_TRY(cudaEventCreateWithFlags(events[i], cudaEventDisableTiming), "cudaEventCreateWithFlags", err);
    RH_TRY(new_arena(&c->arena, RH_CUDA_ARENA, err));
    RH_TRY(rh_cuda_alloc_host(&c->results.host, RH_CUDA_RESULTS, err));
    c->results.bytes = RH_CUDA_RESULTS;
    return RH_OK; /* the stage comes with the first weight */
}

void rh_cuda_transfer_free(rh_cuda *c)
{
    cudaEvent_t const events[] = {c->arena.copied, c->stage.read[0], c->stage.read[1]};
    free_arena(&c->arena);
    free_halves(&c->stage);
    (void)cudaFreeHost(c->results.host);
    free(c->results.items);
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        if (events[i]) (void)cudaEventDestroy(events[i]);
}

/* ---- both ways ----------------------------------------------------------------------------------- */

static rh_status send_large(rh_cuda *c, uint8_t *dst, const uint8_t *src, size_t bytes, rh_error *err)
{
    uint8_t *half;
    for (size_t n; bytes; dst += n, src += n, bytes -= n) {
        n = bytes < RH_CUDA_STAGE ? bytes : RH_CUDA_STAGE;
        RH_TRY(rh_cuda_stage_next(c, &half, n, err));
        memcpy(half, src, n);
        RH_TRY(rh_cuda_stage_send(c, dst, n, err));
    }
    return RH_OK;
}

/* Small things travel with the arrays of the step. */
rh_status rh_cuda_send(rh_cuda *c, void *dst, const void *src, size_t bytes, rh_error *err)
{
    enum { SMALL = 128 << 10 };
    if (bytes > SMALL) return send_large(c, dst, src, bytes, err);
    RH_TRY(rh_cuda_room(c, bytes + 16, err));
    const void *from = rh_cuda_put(c, RH_CUDA_OWN, src, bytes, 0);
    copy_args *a = rh_cuda_append(c, copy, "cudaMemcpyAsync", sizeof *a);
    if (!a) return rh_cuda_report(c, err);
    a->dst = dst;
    a->src = from;
    a->bytes = bytes;
    return RH_OK;
}

/* The last command, if it is a copy that this one continues: rows of many sequences are brought one by one. */
static copy_args *continued(const rh_cuda *c, const uint8_t *dst, const uint8_t *src)
{
    const rh_cuda_commands *l = &c->list;
    if (c->failed.code || !l->n || l->items[l->n - 1].launch != copy) return NULL;
    copy_args *a = rh_cuda_arguments(l, l->n - 1);
    return a->back && (uint8_t *)a->dst + a->bytes == dst && (const uint8_t *)a->src + a->bytes == src ? a : NULL;
}

/* Of the results' memory, at most what is left. */
static size_t bring_part(rh_cuda *c, void *dst, const void *src, size_t bytes)
{
    rh_cuda_results *r = &c->results;
    if (!RH_GROW(r->items, r->capacity, r->n)) {
        rh_cuda_broke_nomem(c);
        memset(dst, 0, bytes);
        return bytes;
    }
    if (r->used == r->bytes) rh_cuda_drain(c);
    const size_t n = bytes < r->bytes - r->used ? bytes : r->bytes - r->used;
    copy_args *a = continued(c, r->host + r->used, src);
    if (!a && (a = rh_cuda_append(c, copy, "cudaMemcpyAsync", sizeof *a))) {
        a->dst = r->host + r->used;
        a->src = src;
        a->back = 1;
    }
    if (a) a->bytes += n;
    r->items[r->n++] = (struct rh_cuda_result){dst, r->used, n};
    r->used = rh_round_up(r->used + n, 16) < r->bytes ? rh_round_up(r->used + n, 16) : r->bytes;
    return n;
}

void rh_cuda_bring(rh_cuda *c, void *dst, const void *src, size_t bytes)
{
    uint8_t *to = dst;
    const uint8_t *from = src;
    for (size_t n; bytes; to += n, from += n, bytes -= n) n = bring_part(c, to, from, bytes);
}

/* ---- the ops ------------------------------------------------------------------------------------- */

void rh_cuda_upload(rh_backend *be, rh_buf *dst, size_t offset, const void *src, size_t bytes)
{
    rh_cuda *c = rh_cuda_of(be);
    rh_error why = {0};
    assert(offset <= dst->bytes && bytes <= dst->bytes - offset);
    if (bytes && !c->failed.code && rh_cuda_send(c, dst->data + offset, src, bytes, &why)) c->failed = why;
}

void rh_cuda_fetch(rh_backend *be, void *dst, const rh_buf *src, size_t offset, size_t bytes)
{
    assert(offset <= src->bytes && bytes <= src->bytes - offset);
    rh_cuda_bring(rh_cuda_of(be), dst, src->data + offset, bytes);
}

void rh_cuda_download(rh_backend *be, void *dst, const rh_buf *src, size_t offset, size_t bytes)
{
    rh_cuda_fetch(be, dst, src, offset, bytes);
    rh_cuda_drain(rh_cuda_of(be));
}

rh_status rh_cuda_wait(rh_backend *be, rh_error *err)
{
    rh_cuda *c = rh_cuda_of(be);
    rh_cuda_drain(c);
    return rh_cuda_report(c, err);
}
