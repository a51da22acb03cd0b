/* cuda.h - what the C files of this backend share: the context, and the ways to memory, errors and the list.
 *
 * One context is one stream on the first device that CUDA shows; a backend belongs to one thread at a time. Ops append to
 * the list; nothing reaches the device but by rh_cuda_flush (transfer.c), except new memory and weights, which no
 * pending command knows yet.
 *
 * What changes from token to token travels in the arena: pinned memory, and as much on the device at an address that
 * stays, so that the list of the next token is the same to the byte. What comes back (fetch) is copied by the list
 * itself into pinned memory, and from there to its reader when the list has run.
 *
 * The first failure is kept (broke) and everything after it is dropped, until an op that can fail, or wait, says so. */
#ifndef RH_KERNELS_CUDA_CUDA_H
#define RH_KERNELS_CUDA_CUDA_H

#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include "kernels/cuda/commands.h"

struct rh_buf { uint8_t *data; size_t bytes; };      /* device */
struct rh_weight { rh_cuda_matrix m; };
struct rh_screen { rh_cuda_matrix m; };

/* Host arrays of the pending list. notes: arrays that a later op of the list may share, by what they are for. */
typedef enum rh_cuda_array {
    RH_CUDA_OWN = 0, /* never shared: sharing by chance would change addresses from token to token */
    RH_CUDA_POSITIONS, RH_CUDA_SLOTS, RH_CUDA_FREQUENCIES, RH_CUDA_GROUPS, RH_CUDA_SPANS
} rh_cuda_array;
typedef struct rh_cuda_arena {
    uint8_t *host, *device;
    size_t bytes, used;
    struct rh_cuda_note { rh_cuda_array what; size_t at, bytes; } notes[16];
    size_t n_notes;
    cudaEvent_t copied; /* after the copy that last read host */
    bool in_flight;
} rh_cuda_arena;

/* What pending copies bring: pinned memory, and where it goes from there. */
typedef struct rh_cuda_results {
    uint8_t *host;
    size_t bytes, used;
    struct rh_cuda_result { void *dst; size_t at, bytes; } *items;
    size_t n, capacity;
} rh_cuda_results;

/* Two halves of pinned memory through which large things go to the device, one filled while the other is read. */
typedef struct rh_cuda_stage {
    uint8_t *host[2];
    size_t bytes;
    cudaEvent_t read[2];
    bool in_flight[2];
    int next;
} rh_cuda_stage;

enum { RH_CUDA_GRAPHS = 8, RH_CUDA_GRAPH_FROM = 8 /* commands, that a graph pays for itself */ };
typedef struct rh_cuda_graph {
    rh_cuda_commands list;
    uint64_t hash, used_at;
    cudaGraphExec_t exec; /* NULL: met once */
    bool refused;         /* cannot be captured: launched one by one for good */
} rh_cuda_graph;
typedef struct rh_cuda_graphs {
    rh_cuda_graph all[RH_CUDA_GRAPHS]; /* the least recently used one goes */
    uint64_t clock;
    int64_t captured, replayed, launched; /* graphs made, runs by graph, commands launched by themselves */
} rh_cuda_graphs;

typedef struct rh_cuda {
    rh_backend head;
    rh_ops ops;          /* a copy, for the name is the device's */
    char name[320];
    cudaStream_t stream;
    cublasHandle_t blas;
    void *blas_space;
    rh_cuda_commands list, fused;
    rh_cuda_graphs graphs;
    rh_cuda_arena arena;
    rh_cuda_results results;
    rh_cuda_stage stage;
    uint8_t *scratch;    /* of whichever command runs: the stream keeps them apart */
    size_t scratch_bytes;
    uint8_t *found;      /* of a screen's block: rows, then products */
    size_t found_bytes;
    uint8_t *host;       /* what an op lists before it is put into the arena */
    size_t host_bytes;
    rh_error failed;     /* the first since the last that was told; code RH_OK: none */
    int32_t rows;        /* of the step's batch, as its ops last said: how far masks of rows reach */
} rh_cuda;

static inline rh_cuda *rh_cuda_of(rh_backend *be) { return (rh_cuda *)be; }
static inline float *rh_cuda_floats(const rh_buf *b) { return (float *)(void *)b->data; }

/* ---- fail.c: a code is a cudaError_t, or the negative of a cublasStatus_t; 0 is success ---------- */
rh_status rh_cuda_failed(int code, const char *call, rh_error *err); /* RH_EDEVICE "CALL: CUDA's text" */
void rh_cuda_broke(rh_cuda *c, int code, const char *call);          /* kept, if it is the first */
void rh_cuda_broke_nomem(rh_cuda *c);
rh_status rh_cuda_report(rh_cuda *c, rh_error *err);                 /* tells and forgets it */
#define RH_CUDA_TRY(call, name, err)                                                               \
    do {                                                                                           \
        const int rh_cuda_code_ = (int)(call);                                                     \
        if (rh_cuda_code_) return rh_cuda_failed(rh_cuda_code_, name, err);                        \
    } while (0)

/* ---- memory.c ------------------------------------------------------------------------------------ */
/* RH_ENOMEM says what was asked for and what is free. */
rh_status rh_cuda_alloc(void *out, size_t bytes, rh_error *err);  /* out: a pointer to a pointer */
void rh_cuda_free(rh_cuda *c, const void *p); /* what pending commands may use: they run before */
rh_status rh_cuda_alloc_host(void *out, size_t bytes, rh_error *err);
/* At least that much, until the next call; a larger one waits for the device. */
rh_status rh_cuda_scratch(rh_cuda *c, uint8_t **out, size_t bytes, rh_error *err);
void *rh_cuda_host(rh_cuda *c, size_t bytes); /* until the next call; NULL: no memory */
enum { RH_CUDA_TILE = 64 << 20,         /* of an expanded weight, or of products looked through */
       RH_CUDA_RESERVE = 192 << 20 };   /* what scratch may come to: not offered to buffers */

/* ---- graph.c ------------------------------------------------------------------------------------- */
int rh_cuda_run(rh_cuda *c, const rh_cuda_commands *l, const char **call); /* a code; call: what failed */
void rh_cuda_graphs_free(rh_cuda_graphs *g);

/* ---- transfer.c ---------------------------------------------------------------------------------- */
void *rh_cuda_append(rh_cuda *c, rh_cuda_launcher launch, const char *name, size_t bytes); /* NULL: broke */
#define RH_CUDA_APPEND(c, what) ((what##_args *)rh_cuda_append(c, what, #what, sizeof(what##_args)))
/* Room for all arrays of an op, before its first: each takes its bytes, and 16. */
rh_status rh_cuda_room(rh_cuda *c, size_t bytes, rh_error *err);
bool rh_cuda_begin(rh_cuda *c, size_t bytes); /* the same for ops that cannot fail: false if c broke */
/* Device address of n bytes at src, in a place of `place` bytes (0: n). */
void *rh_cuda_put(rh_cuda *c, rh_cuda_array what, const void *src, size_t n, size_t place);
/* The same, written by the caller at once: zeroed, never shared. */
void *rh_cuda_place(rh_cuda *c, void **host, size_t bytes);
void rh_cuda_flush(rh_cuda *c);  /* all that is pending is on its way */
void rh_cuda_drain(rh_cuda *c);  /* and done, and what was fetched is there */
/* Host memory, read before the call returns, to an address, in the order of commands. */
rh_status rh_cuda_send(rh_cuda *c, void *dst, const void *src, size_t bytes, rh_error *err);
/* To host memory, which must live until the next drain, by which it is there. */
void rh_cuda_bring(rh_cuda *c, void *dst, const void *src, size_t bytes);
/* A free half of the stage, of at least that size. The list is flushed. */
rh_status rh_cuda_stage_next(rh_cuda *c, uint8_t **half, size_t bytes, rh_error *err);
rh_status rh_cuda_stage_send(rh_cuda *c, void *dst, size_t bytes, rh_error *err); /* that half's first bytes */
enum { RH_CUDA_STAGE = 8 << 20, RH_CUDA_ARENA = 2 << 20, RH_CUDA_RESULTS = 4 << 20 };
rh_status rh_cuda_transfer_new(rh_cuda *c, rh_error *err);
void rh_cuda_transfer_free(rh_cuda *c);

/* ---- weight.c ------------------------------------------------------------------------------------ */
rh_status rh_cuda_matrix_new(rh_cuda *c, rh_cuda_matrix *out, const void *data, rh_dtype t, int32_t rows, int32_t cols,
                             const int32_t *row_order, rh_error *err);
void rh_cuda_matrix_free(rh_cuda *c, rh_cuda_matrix *m);

/* ---- product.c ----------------------------------------------------------------------------------- */
/* Scratch that products of n rows with matrices of these take, and the products themselves with it. */
typedef struct rh_cuda_target { const rh_cuda_matrix *w; const float *bias; float *out; bool add; } rh_cuda_target;
size_t rh_cuda_product_bytes(const rh_cuda *c, int32_t n, const rh_cuda_target *targets, int32_t n_targets);
void rh_cuda_products(rh_cuda *c, const float *x, int32_t n, const rh_cuda_target *targets, int32_t n_targets, uint8_t *scratch);

#endif
