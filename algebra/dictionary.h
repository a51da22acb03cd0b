/* dictionary.h - a sparse autoencoder learns from rows, batch by batch. Knows no model and no file.
 *
 * With z a row, its mean near 0 and its norm near √d:
 *     p = (z - b_dec)·E_i + b_i        f = relu(the k largest p)         top-k
 *                                      f = p where p > θ_i               jumprelu
 *     ẑ = Σ f_i D_i + b_dec            ‖D_i‖ = 1
 *     loss = mean ‖ẑ - z‖²             + weight·d·(mean active/k - 1)²   jumprelu
 * Only p takes a dense product: ẑ and every gradient touch the k active of m features, so that the gradient of a
 * feature's rows is made, projected, and spent (Adam) while it is in cache, and is never stored. A row that no token
 * of a batch touched keeps its weights and its moments: Adam counts the updates of each row for itself.
 * The gradient of D_i is taken orthogonal to D_i, which is then made unit length again.
 * The gradients of the step at θ are those of a rectangle of width `bandwidth`; ln θ moves at five times the rate.
 * A jumprelu's error of more than 4√d counts as one of that length (Huber): a state of fifty times the mean norm, as models have at
 * some tokens, passes half of all thresholds, and its gradient would be what Adam measures all others by for a thousand steps.
 * Every sum has an order of its own, whatever the threads: the same rows and seed give the same bits.
 * Sources: Gao et al. 2024 (top-k); Rajamanoharan et al. 2024 (jumprelu); Bricken et al. 2023 (resampling). */
#ifndef RH_ALGEBRA_DICTIONARY_H
#define RH_ALGEBRA_DICTIONARY_H

#include "base/error.h"

typedef struct rh_dictionary rh_dictionary; /* owner: rh_dictionary_free */

/* p [n, m] = x [n, d] · Eᵀ for the dictionary's encoder rows, in whatever precision: values of active features are
 * computed again in float32. */
typedef rh_status (*rh_dictionary_product)(void *data, float *p, const float *x, int32_t n, const float *encoder, rh_error *err);

typedef struct rh_dictionary_options {
    int32_t d, m, k;       /* k: active features of a token; jumprelu: their mean, aimed at */
    bool jumprelu;
    double bandwidth;      /* jumprelu: of the rectangle, in units of p */
    double sparsity;       /* jumprelu: weight of the term that holds k, beside a loss of d where nothing is explained */
    uint64_t seed;
    int threads;           /* at least 1 */
    rh_dictionary_product product; /* NULL: float32, by BLAS */
    void *product_data;
} rh_dictionary_options;

/* D_i random on the sphere, E_i = D_i, biases 0. RH_EVALUE: k is not within 1..m. */
rh_status rh_dictionary_new(rh_dictionary **out, const rh_dictionary_options *o, rh_error *err);
void rh_dictionary_free(rh_dictionary *d);

typedef struct rh_dictionary_step {
    double loss;     /* mean ‖ẑ - z‖² before the update */
    double l0;       /* mean active features */
} rh_dictionary_step;

/* One Adam step at this learning rate from z [n, d], n > 0. RH_EVALUE: the loss is not finite (nothing was changed). */
rh_status rh_dictionary_learn(rh_dictionary_step *out, rh_dictionary *d, const float *z, int32_t n, double rate, rh_error *err);

/* Features active on none of the last `steps` steps. */
int32_t rh_dictionary_dead(const rh_dictionary *d, int64_t steps);
/* Dead ones begin anew, at most one for eight rows of the last batch: D_i and E_i point to what a row of it lacks,
 * rows drawn by the square of that. Returns how many. */
int32_t rh_dictionary_revive(rh_dictionary *d, int64_t steps);

/* Everything that learning depends on: the arrays, by name, and the number of steps. */
typedef struct rh_dictionary_array { const char *name; float *data; int64_t n; } rh_dictionary_array;
enum { RH_DICTIONARY_ARRAYS = 17 };
int32_t rh_dictionary_arrays(rh_dictionary_array out[RH_DICTIONARY_ARRAYS], rh_dictionary *d);
int64_t rh_dictionary_steps(const rh_dictionary *d);
void rh_dictionary_set_steps(rh_dictionary *d, int64_t steps);

/* What was learnt; borrowed, changed by the next step. */
typedef struct rh_dictionary_view {
    const float *encoder, *decoder;   /* [m, d] */
    const float *b_enc, *b_dec;       /* [m], [d] */
    const float *log_threshold;       /* [m] ln θ; NULL for top-k */
} rh_dictionary_view;
rh_dictionary_view rh_dictionary_look(const rh_dictionary *d);

#endif
