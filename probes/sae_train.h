/* sae_train.h - an autoencoder is trained on the states that a model has at one site while it reads a corpus.
 * Files in the order they run: state_source (texts to states), state_buffer (random order), algebra/dictionary (learning),
 * sae_checkpoint (a run that was stopped goes on, to the same bits).
 *
 * Learning works on z = (x - mean) scale. What is handed back works on x itself:
 *     E' = E, D' = D, b_enc' = b_enc/scale, b_dec' = b_dec/scale + mean, θ' = θ/scale   (activations are f/scale) */
#ifndef RH_PROBES_SAE_TRAIN_H
#define RH_PROBES_SAE_TRAIN_H

#include "engine/sae.h"
#include "engine/model.h"

typedef struct rh_sae_training {       /* rh_sae_training_default, then what differs */
    int32_t layer;
    rh_hook hook;
    int32_t width, k;                  /* jumprelu: k is the mean aimed at */
    bool jumprelu;
    const char *const *corpus;         /* [n_corpus] paths, borrowed */
    int32_t n_corpus;
    int64_t tokens;                    /* rows learned from */
    int32_t batch;                     /* rows a step */
    int32_t context;                   /* tokens of a piece of text */
    int32_t buffer, reuse;             /* rows kept; how often each is learned from */
    double rate;                       /* reached after 2 % of the steps, falling to 0 over the last `decay` */
    double decay;
    double sparsity, bandwidth;        /* jumprelu, in units of z: dictionary.h */
    bool bf16;                         /* the dense product in bf16, by the model's backend: sae_product.h */
    uint64_t seed;
    int threads;                       /* 0: one a processor */
    const char *checkpoint;            /* file; NULL: none */
    double save_seconds;               /* between two of them */
    double (*clock)(void);             /* seconds, ever forward; for tokens a second and checkpoints */
} rh_sae_training;
void rh_sae_training_default(rh_sae_training *t);

typedef struct rh_sae_progress {
    bool reading;                      /* the buffer is being filled: done and total are rows of it */
    int64_t done, total;               /* rows learned from */
    double loss;                       /* mean ‖ẑ - z‖², over the last steps, each before its update */
    double fvu, l0, dead;              /* the same; dead: share of features active on none of the last steps */
    double seconds, reading_seconds;   /* of this run; those in which the model ran */
    double left;                       /* seconds, as learning and refilling went so far */
    int64_t fed;                       /* tokens the model has read, all runs together */
    int32_t revived;                   /* features begun anew so far, this run */
    int64_t resumed;                   /* rows that an earlier run had learned from */
    bool saved;                        /* a checkpoint was just written */
} rh_sae_progress;
/* false: stop; the checkpoint is then written first, if learning has begun (while states are read anew: after the step that
 * they are read for), and RH_ECANCELLED comes back. */
typedef bool (*rh_sae_progress_fn)(void *data, const rh_sae_progress *p);

/* *out: rh_sae_free; *last: as it ended. RH_EVALUE: options out of range, or a corpus without text. RH_EMODEL: the
 * checkpoint is of another run (another model, corpus or options). */
rh_status rh_sae_train(rh_sae **out, rh_sae_progress *last, const rh_model *m, const rh_sae_training *t, rh_sae_progress_fn progress,
                       void *data, rh_error *err);

#endif
