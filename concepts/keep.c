/* keep.c - what a pass keeps of an atom's samples: sums, scatter, the samples, their norms. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "concepts/pass.h"

static size_t sum_count(const rh_pass_atom *a)
{
    return (size_t)RH_CLASSES * (size_t)a->n_layers * (size_t)a->d;
}

static size_t row_width(const rh_pass_atom *a) { return a->keep == RH_KEEP_NORMS ? 1 : (size_t)a->d; }

/* ---- room ---------------------------------------------------------------------------------- */

/* In double: an estimate needs no care with overflow. */
static double bytes_of(const rh_pass_atom *a)
{
    double layers = a->n_layers, d = a->d;
    switch (a->keep) {
    case RH_KEEP_SUMS: return layers * d * RH_CLASSES * sizeof(double);
    case RH_KEEP_SCATTER: return layers * d * (d + RH_CLASSES * (RH_SCATTER_BLOCK + 1)) * sizeof(double);
    case RH_KEEP_ROWS:
    case RH_KEEP_NORMS: return layers * (double)a->n_rows * (double)row_width(a) * sizeof(float);
    }
    return 0;
}

double rh_keep_bytes(const rh_pass *p)
{
    double bytes = 0;
    for (size_t i = 0; i < p->n_atoms; i++)
        if (p->atoms[i].keep != RH_KEEP_SUMS) bytes += bytes_of(&p->atoms[i]);
    return bytes;
}

static rh_status alloc_atom(rh_pass_atom *a, rh_error *err)
{
    switch (a->keep) {
    case RH_KEEP_SUMS: break; /* there since it was added */
    case RH_KEEP_SCATTER:
        a->scatter = rh_calloc((size_t)a->n_layers, sizeof *a->scatter);
        if (!a->scatter) return rh_fail_nomem(err);
        for (int32_t l = 0; l < a->n_layers; l++) RH_TRY(rh_scatter_new(&a->scatter[l], a->d, RH_CLASSES, err));
        break;
    case RH_KEEP_ROWS:
    case RH_KEEP_NORMS:
        a->rows = rh_calloc((size_t)a->n_layers, a->n_rows * row_width(a) * sizeof *a->rows);
        if (!a->rows) return rh_fail_nomem(err);
        break;
    }
    return RH_OK;
}

rh_status rh_keep_alloc(rh_pass *p, rh_error *err)
{
    static const double GiB = 1024.0 * 1024.0 * 1024.0;
    double bytes = rh_keep_bytes(p);
    if (bytes > (double)RH_KEEP_MAX) {
        return rh_hinted(rh_fail(err, RH_ELIMIT, "what these sources keep in memory while the model runs takes %.1f GiB; the bound is %.0f GiB",
                bytes / GiB, (double)RH_KEEP_MAX / GiB),
                         err, "ask for fewer layers (… @ 14), or give fewer texts; dim keeps sums alone");
    }
    for (size_t i = 0; i < p->n_atoms; i++) RH_TRY(alloc_atom(&p->atoms[i], err));
    return RH_OK;
}

void rh_keep_free(rh_pass_atom *a)
{
    for (int32_t l = 0; a->scatter && l < a->n_layers; l++) rh_scatter_free(&a->scatter[l]);
    free(a->scatter);
    free(a->rows);
    free(a->sum);
    a->scatter = NULL;
    a->rows = NULL;
    a->sum = NULL;
}

/* ---- samples ------------------------------------------------------------------------------- */

void rh_keep_sample(rh_pass_atom *a, int32_t layer, int32_t cls, size_t row, const double *x, double weight)
{
    size_t d = (size_t)a->d, at = (size_t)layer * a->n_rows + row;
    double square = 0;
    switch (a->keep) {
    case RH_KEEP_SUMS: break;
    case RH_KEEP_SCATTER: rh_scatter_add_double(&a->scatter[layer], cls, x, weight); break;
    case RH_KEEP_ROWS:
        for (size_t j = 0; j < d; j++) a->rows[at * d + j] = (float)x[j];
        break;
    case RH_KEEP_NORMS:
        for (size_t j = 0; j < d; j++) square += x[j] * x[j];
        a->rows[at] = (float)sqrt(square);
        break;
    }
}

void rh_keep_settle(rh_pass *p)
{
    for (size_t i = 0; i < p->n_atoms; i++)
        for (int32_t l = 0; p->atoms[i].scatter && l < p->atoms[i].n_layers; l++)
            rh_scatter_flush(&p->atoms[i].scatter[l]);
}

/* ---- as bytes ------------------------------------------------------------------------------ */

bool rh_keep_part(const rh_pass_atom *a, size_t i, void **bytes, size_t *size)
{
    size_t d = (size_t)a->d;
    if (i == 0) {
        *bytes = (void *)(uintptr_t)a->n;
        *size = sizeof a->n;
        return true;
    }
    if (a->keep == RH_KEEP_SCATTER) {
        if ((i - 1) / 3 >= (size_t)a->n_layers) return false;
        const rh_scatter *s = a->scatter ? &a->scatter[(i - 1) / 3] : NULL;
        static const int N = 0, MEAN = 1;
        int what = (int)((i - 1) % 3);
        *bytes = !s ? NULL : what == N ? s->n : what == MEAN ? s->mean : s->s;
        *size = (what == N ? RH_CLASSES : what == MEAN ? RH_CLASSES * d : d * d) * sizeof(double);
        return true;
    }
    if (i > 1) return false;
    *bytes = a->keep == RH_KEEP_SUMS ? (void *)a->sum : (void *)a->rows;
    *size = a->keep == RH_KEEP_SUMS ? sum_count(a) * sizeof(double)
                                    : (size_t)a->n_layers * a->n_rows * row_width(a) * sizeof(float);
    return true;
}
