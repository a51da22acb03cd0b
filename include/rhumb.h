/* rhumb.h - concept algebra for language models: the public interface of librhumb.
 *
 * A concept is a direction in a model's hidden states. An expression over concepts
 * (`sf + 0.5*rain - tokyo`) is compiled to a plan, evaluated to an rh_vector, and applied
 * at a site of a running model.
 *
 * Conventions, everywhere:
 *   - functions that can fail return rh_status and fill an rh_error, which may be NULL;
 *   - `out` comes first, is set on RH_OK only, and then belongs to the caller;
 *   - every owner type has a _free that accepts NULL; views borrow and say until when;
 *   - no globals, no exit, no printing, no getenv: settings come in through rh_settings;
 *   - layers count from 0; layer L means the output of block L (hook resid_post).
 */
#ifndef RHUMB_H
#define RHUMB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RHUMB_VERSION "0.1.0"

/* ---- status and errors ------------------------------------------------------------ */

typedef enum rh_status {
    RH_OK = 0,
    RH_ENOMEM,       /* an allocation failed; nothing is leaked */
    RH_EIO,          /* the operating system refused: no such file, disk full, closed pipe */
    RH_EFORMAT,      /* bytes from outside are not what they claim to be */
    RH_EUNSUPPORTED, /* well-formed, but of a kind that is not there (yet) */
    RH_ESYNTAX,      /* an expression or book does not parse */
    RH_ENAME,        /* unknown or doubly bound name, or a cycle among names */
    RH_EKIND,        /* scalar where a vector is needed, and the like */
    RH_ESITE,        /* layers, hooks or widths that do not fit together, or none given */
    RH_EVALUE,       /* a value out of range: zero vector, division by zero, bad option */
    RH_EMODEL,       /* model missing, or its fingerprint differs */
    RH_ELIMIT,       /* longer than the context, more than a fixed bound */
    RH_EDEVICE,      /* no such device */
    RH_ECANCELLED    /* the progress callback asked to stop */
} rh_status;

/* An error is a value with a place. Fixed size, so that it can be filled with no memory
 * left. All strings are NUL-terminated UTF-8; those without content are "". */
typedef struct rh_error {
    rh_status code;
    char message[512];  /* what was found and what was expected; no newline at the end */
    char hint[512];     /* the way out */
    char file[512];     /* path, or "<expression>" */
    int line, column;   /* from 1, in code points; 0 if there is none */
    char excerpt[2048]; /* source line with carets under every part involved */
} rh_error;

const char *rh_status_name(rh_status status); /* "RH_EKIND"; static storage */

/* ---- sites ------------------------------------------------------------------------- */

/* Named points of layer L, in the order the forward pass reaches them.
 * Widths: attn_z n_heads*head_dim; the others d_model. */
typedef enum rh_hook {
    RH_RESID_PRE = 0, /* residual stream entering the block */
    RH_ATTN_Z,        /* input of o_proj */
    RH_ATTN_OUT,      /* what attention adds to the residual stream (after a post-norm) */
    RH_MLP_IN,        /* output of the norm in front of the MLP */
    RH_MLP_OUT,       /* what the MLP adds (after a post-norm) */
    RH_RESID_POST,    /* residual stream leaving the block */
    RH_N_HOOKS
} rh_hook;

const char *rh_hook_name(rh_hook hook);              /* "resid_post" */
bool rh_hook_parse(rh_hook *out, const char *name, size_t len);

/* ---- vectors ------------------------------------------------------------------------ */

/* A direction, or a family of one a layer, in residual units, at one hook.
 * Owner; rh_vector_free. `layers` ascending and distinct. A constant (the same at every
 * layer) has n_layers 1 and layers[0] == -1. */
typedef struct rh_vector {
    int32_t d;        /* width of the hook */
    rh_hook hook;
    int32_t n_layers;
    int32_t *layers;  /* [n_layers] */
    float *data;      /* [n_layers, d] */
} rh_vector;

typedef struct rh_vector_view { /* borrows from an rh_vector */
    const float *data;          /* [d]; NULL if the vector does not exist at that layer */
    int32_t d, layer;
} rh_vector_view;

rh_status rh_vector_new(rh_vector **out, int32_t d, rh_hook hook, const int32_t *layers,
                        int32_t n_layers, rh_error *err); /* data zeroed */
rh_vector_view rh_vector_at(const rh_vector *v, int32_t layer); /* valid while v lives */
void rh_vector_free(rh_vector *v);

/* ---- settings ------------------------------------------------------------------------ */

typedef enum rh_device { RH_DEVICE_AUTO = 0, RH_DEVICE_CPU, RH_DEVICE_CUDA } rh_device;

/* Called now and then during long work, from the calling thread. `label` says what is
 * counted. Return false to stop: the call then fails with RH_ECANCELLED and keeps what is
 * already stored. */
typedef bool (*rh_progress_fn)(void *data, const char *label, int64_t done, int64_t total);

typedef struct rh_settings {
    const char *cache_dir; /* for extracted vectors; NULL: nothing is cached */
    rh_device device;
    int threads;           /* 0: one a processor */
    bool exact;            /* float32 activations, no approximation */
    rh_progress_fn progress;
    void *progress_data;
    const char *quantize;  /* "nf4", "q8": the layers' float matrices are, as they are loaded; NULL: none */
    const char *isa;       /* CPU: "generic", "avx2", "avx512"; NULL: the best there is */
    /* Told, in a line, what a user may want to know and is no error: why RH_DEVICE_AUTO takes no GPU. NULL: nobody. */
    void (*note)(void *data, const char *line);
    void *note_data;
} rh_settings;

/* ---- opaque types (each room's header has the functions) --------------------------- */

/* Concepts are computed with BLAS. An OpenBLAS without threads or locks (Debian's libopenblas0-serial) gives wrong
 * products to two threads that ask at once: link another one where several threads compute concepts. */

typedef struct rh_model rh_model;     /* immutable, shared between sessions and threads */
typedef struct rh_session rh_session; /* belongs to one thread */
typedef struct rh_program rh_program; /* a compiled book and expression; immutable */
typedef struct rh_report rh_report;   /* the result of an experiment; a value */

#ifdef __cplusplus
}
#endif
#endif
