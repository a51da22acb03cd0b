/* training.h - a small training for the tests of probes/: the model "words" reads a file of made-up sentences. */
#ifndef RH_TEST_TRAINING_H
#define RH_TEST_TRAINING_H

#include "probes/sae_train.h"
#include "support/scratch.h"

typedef struct training {
    scratch dir;
    char corpus[2][600], checkpoint[600];
    const char *paths[2];
    rh_sae_training t;
} training;

/* Two files, a thousand rows, width 48, k 4, batches of 32 from a buffer of 200; some 60 steps. */
static inline void training_open(training *x, bool jumprelu)
{
    static const char *const words[] = {"the", "city", "rain", "falls", "on", "a", "bridge", "and", "nobody", "sees", "it", "again"};
    scratch_open(&x->dir);
    for (int f = 0; f < 2; f++) {
        char text[6000];
        size_t n = 0;
        for (int i = 0; i < (f ? 100 : 200); i++)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", words[(i * 7 + i / 5 + f * 3 + i * i % 11) % 12], i % 23 == 22 ? ".\n\n" : " ");
        snprintf(x->corpus[f], sizeof x->corpus[f], "%s", scratch_write(&x->dir, f ? "b.txt" : "a.txt", text, n));
        x->paths[f] = x->corpus[f];
    }
    snprintf(x->checkpoint, sizeof x->checkpoint, "%s", scratch_path(&x->dir, "checkpoint.safetensors"));
    rh_sae_training_default(&x->t);
    x->t.layer = 1;
    x->t.width = 48;
    x->t.k = 4;
    x->t.jumprelu = jumprelu;
    x->t.corpus = x->paths;
    x->t.n_corpus = 2;
    x->t.tokens = 32 * 60;
    x->t.batch = 32;
    x->t.context = 16;
    x->t.buffer = 200;
    x->t.reuse = 2;
    x->t.rate = 0.01;
    x->t.threads = 1;
    x->t.checkpoint = x->checkpoint;
    x->t.save_seconds = 1e9;
}

static inline void training_close(training *x)
{
    unlink(x->checkpoint);
    for (int f = 0; f < 2; f++) unlink(x->corpus[f]);
    scratch_close(&x->dir);
}

#endif
