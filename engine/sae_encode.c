/* From normalised rows to active features: products by the backend, then what each architecture keeps. Large
 * SAEs go through a screen, which computes only products that may matter, and those as matmul does: what is
 * active, and its value, is the same to the bit as with every product computed. */
#include <omp.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/sae_coder.h"

enum { BLOCK_FLOATS = 1 << 24 }; /* pre-activations held at once: 64 MiB */

/* ---- what is held --------------------------------------------------------------------------- */

/* The guess of topk's last, for a block of rows. */
static rh_status guesses_new(rh_sae_coder *c, rh_error *err)
{
    const size_t floats = (size_t)c->block * (size_t)c->layout->n_sampled;
    c->guesses = rh_calloc(floats, sizeof *c->guesses);
    c->cuts = rh_calloc((size_t)c->block, sizeof *c->cuts);
    if (!c->guesses || !c->cuts) return rh_fail_nomem(err);
    return c->be->ops->buf_new(c->be, &c->g, floats * sizeof(float), err);
}

/* A heap for each thread. */
static rh_status heaps_new(rh_sae_coder *c, int32_t items, rh_error *err)
{
    if (c->best) return RH_OK;
    c->heap = items;
    c->best = rh_calloc((size_t)c->be->threads * (size_t)items, sizeof *c->best);
    return c->best ? RH_OK : rh_fail_nomem(err);
}

static rh_status screen_new(rh_sae_coder *c, rh_error *err)
{
    const rh_sae_facts *f = &c->s->facts;
    RH_TRY(rh_sae_layout_take(&c->layout, c->s, c->be, err));
    RH_TRY(rh_sae_layout_screen(c->layout, c->s, err));
    c->floor = rh_calloc((size_t)c->block, sizeof *c->floor);
    c->lowered = rh_calloc((size_t)c->block, sizeof *c->lowered);
    if (!c->floor || !c->lowered) return rh_fail_nomem(err);
    RH_TRY(heaps_new(c, f->k > c->layout->rank ? f->k : c->layout->rank, err));
    if (f->kind == RH_SAE_TOPK) RH_TRY(guesses_new(c, err));
    c->screened = true;
    return RH_OK;
}

static rh_status all_products_new(rh_sae_coder *c, rh_error *err)
{
    const rh_sae_facts *f = &c->s->facts;
    const int32_t fit = BLOCK_FLOATS / f->d_sae;
    c->pre_rows = c->screened || fit < 1 ? 1 : fit < c->block ? fit : c->block;
    const size_t floats = (size_t)c->pre_rows * (size_t)f->d_sae;
    RH_TRY(heaps_new(c, f->k, err));
    if (!c->pre && !(c->pre = rh_calloc(floats, sizeof *c->pre))) return rh_fail_nomem(err);
    if (!c->layout) RH_TRY(rh_sae_layout_take(&c->layout, c->s, c->be, err));
    RH_TRY(rh_sae_layout_encoder(c->layout, c->s, err));
    if (!c->p) RH_TRY(c->be->ops->buf_new(c->be, &c->p, floats * sizeof(float), err));
    c->full = true;
    return RH_OK;
}

void rh_sae_encoder_free(rh_sae_coder *c)
{
    rh_sae_layout_give_back(c->layout, c->s);
    c->be->ops->buf_free(c->be, c->p);
    c->be->ops->buf_free(c->be, c->g);
    free(c->pre);
    free(c->floor);
    free(c->lowered);
    free(c->guesses);
    free(c->cuts);
    free(c->best);
    c->layout = NULL;
    c->p = c->g = NULL;
    c->pre = c->floor = c->lowered = c->guesses = NULL;
    c->cuts = NULL;
    c->best = NULL;
    c->screened = c->full = false;
}

/* ---- the k largest -------------------------------------------------------------------------- */

/* heap [k] of the best, of which n are there: a heap from n = k on. */
static void consider(rh_best *heap, int32_t *n, int32_t k, rh_best x)
{
    if (*n < k) {
        heap[(*n)++] = x;
        if (*n == k) rh_best_heap(heap, k);
    } else if (rh_worse(heap[0], x)) {
        heap[0] = x;
        rh_best_sink(heap, k, 0);
    }
}

static float topk_value(const rh_sae *s, int32_t i, float p) { return (p + s->b_enc[i]) * (s->norms ? s->norms[i] : 1); }

/* ---- one row -------------------------------------------------------------------------------- */

static rh_status add_if_above(rh_sae_active *a, const rh_sae *s, int32_t i, float p, rh_error *err)
{
    float v = p + s->b_enc[i];
    if (!rh_sae_passes(s, i, v)) return RH_OK;
    if (s->facts.kind == RH_SAE_GATED) v = p * s->gain[i] + s->b_mag[i];
    return v > 0 ? rh_sae_active_add(a, i, v, err) : RH_OK;
}

/* The least of the k largest of n products p; all of them are, where they are fewer. */
static rh_topk_cut cut_of(rh_best *heap, const rh_sae *s, const int32_t *row, const float *p, int32_t n)
{
    int32_t have = 0;
    for (int32_t j = 0; j < n; j++) {
        const int32_t i = row ? row[j] : j;
        consider(heap, &have, s->facts.k, (rh_best){ topk_value(s, i, p[j]), i });
    }
    return (rh_topk_cut){ .least = heap[0], .all = have < s->facts.k, .enough = true };
}

/* The k largest above 0, in order. */
static rh_status add_topk(rh_sae_active *a, const rh_sae *s, const rh_topk_cut *cut, const int32_t *row, const float *p,
                          int32_t n, rh_error *err)
{
    for (int32_t j = 0; j < n; j++) {
        const int32_t i = row ? row[j] : j;
        const rh_best x = { topk_value(s, i, p[j]), i };
        if (x.p > 0 && (cut->all || !rh_worse(x, cut->least))) RH_TRY(rh_sae_active_add(a, i, x.p, err));
    }
    return RH_OK;
}

/* n products p of features row, or, NULL, of 0 .. n - 1. cut: topk's. */
static rh_status add_row(rh_sae_active *a, const rh_sae *s, const rh_topk_cut *cut, const int32_t *row, const float *p, int32_t n,
                         rh_error *err)
{
    if (s->facts.kind == RH_SAE_TOPK) return add_topk(a, s, cut, row, p, n, err);
    for (int32_t j = 0; j < n; j++) RH_TRY(add_if_above(a, s, row ? row[j] : j, p[j], err));
    return RH_OK;
}

static rh_status in_full(rh_sae_active *a, rh_sae_coder *c, const float *x, int32_t n, rh_error *err)
{
    const rh_sae_facts *f = &c->s->facts;
    if (!c->full) RH_TRY(all_products_new(c, err));
    for (int32_t t = 0, many; t < n; t += many) {
        many = n - t < c->pre_rows ? n - t : c->pre_rows;
        RH_TRY(rh_sae_product(c, c->layout->encoder, c->p, c->pre, x + (size_t)t * (size_t)f->d_in, many, f->d_in, f->d_sae, err));
        for (int32_t i = 0; i < many; i++, a->n++) {
            const float *p = c->pre + (size_t)i * (size_t)f->d_sae;
            rh_topk_cut cut = { 0 };
            if (f->kind == RH_SAE_TOPK) cut = cut_of(c->best, c->s, NULL, p, f->d_sae);
            rh_sae_active_begin(a);
            RH_TRY(add_row(a, c->s, &cut, NULL, p, f->d_sae, err));
        }
    }
    return RH_OK;
}

/* ---- through the screen --------------------------------------------------------------------- */

/* Of the sampled features' products p [n_sampled], the one of the layout's rank; at least 0. */
static float guess_of(rh_best *heap, const rh_sae *s, const rh_sae_layout *l, const float *p)
{
    int32_t have = 0;
    for (int32_t i = 0; i < l->n_sampled; i++)
        consider(heap, &have, l->rank, (rh_best){ topk_value(s, l->sampled[i], p[i]), l->sampled[i] });
    return have == l->rank && heap[0].p > 0 ? heap[0].p : 0;
}

/* c->floor [n]: a value that the k-th largest of a row is almost surely not below, at least 0. */
static rh_status guess(rh_sae_coder *c, int32_t n, rh_error *err)
{
    const rh_sae_layout *l = c->layout;
    RH_TRY(rh_sae_product(c, l->sample, c->g, c->guesses, c->rows, n, c->s->facts.d_in, l->n_sampled, err));
#pragma omp parallel for num_threads(c->be->threads) schedule(static)
    for (int32_t t = 0; t < n; t++)
        c->floor[t] = guess_of(c->best + (size_t)omp_get_thread_num() * (size_t)c->heap, c->s, l,
                               c->guesses + (size_t)t * (size_t)l->n_sampled);
    return RH_OK;
}

/* Are the k largest surely among these? Whatever reaches the floor is. */
static bool enough(const rh_sae *s, float floor, const int32_t *row, const float *p, int32_t n)
{
    int32_t reach = 0;
    for (int32_t j = 0; j < n; j++) reach += topk_value(s, row[j], p[j]) >= floor;
    return floor == 0 || reach >= s->facts.k;
}

/* c->cuts [n] of what the screen let through. */
static void cut_hits(rh_sae_coder *c, const rh_hits *h, int32_t n)
{
#pragma omp parallel for num_threads(c->be->threads) schedule(static)
    for (int32_t t = 0; t < n; t++) {
        const int32_t *row = h->row + h->start[t], many = (int32_t)(h->start[t + 1] - h->start[t]);
        const float *p = h->p + h->start[t];
        c->cuts[t] = cut_of(c->best + (size_t)omp_get_thread_num() * (size_t)c->heap, c->s, row, p, many);
        c->cuts[t].enough = enough(c->s, c->floor[t], row, p, many);
    }
}

static rh_status add_hits(rh_sae_active *a, rh_sae_coder *c, const rh_hits *h, int32_t n, rh_error *err)
{
    for (int32_t t = 0; t < n; t++) {
        const rh_topk_cut *cut = c->cuts ? &c->cuts[t] : NULL;
        if (cut && !cut->enough) {
            RH_TRY(in_full(a, c, c->rows + (size_t)t * (size_t)c->s->facts.d_in, 1, err));
            continue;
        }
        rh_sae_active_begin(a);
        RH_TRY(add_row(a, c->s, cut, h->row + h->start[t], h->p + h->start[t], (int32_t)(h->start[t + 1] - h->start[t]), err));
        a->n++;
    }
    return RH_OK;
}

/* The floor is lowered a little: 1/‖W_dec‖ and the products with it are rounded. */
static rh_status screened(rh_sae_active *a, rh_sae_coder *c, int32_t n, rh_error *err)
{
    const rh_ops *ops = c->be->ops;
    const size_t floats = (size_t)n * (size_t)c->s->facts.d_in;
    const rh_screen_level level = { c->layout->base, c->layout->gain, c->lowered };
    rh_hits h = { 0 };
    if (c->layout->gain) RH_TRY(guess(c, n, err));
    for (int32_t t = 0; t < n && c->layout->gain; t++) c->lowered[t] = c->floor[t] * (1 - 1.0f / 1048576);
    ops->upload(c->be, c->x, 0, c->rows, floats * sizeof(float));
    RH_TRY(ops->screen(c->be, &h, c->layout->screen, c->x, n, &level, err));
    if (c->cuts) cut_hits(c, &h, n);
    rh_status status = add_hits(a, c, &h, n, err);
    rh_hits_free(&h);
    return status;
}

void rh_sae_coder_compute_all(rh_sae_coder *c) { c->all = true; }

rh_status rh_sae_encode_rows(rh_sae_active *a, rh_sae_coder *c, int32_t n, rh_error *err)
{
    if (c->all || !rh_sae_screened(&c->s->facts)) return in_full(a, c, c->rows, n, err);
    if (!c->screened) {
        rh_status status = screen_new(c, err);
        if (status) rh_sae_encoder_free(c); /* a later call begins anew */
        RH_TRY(status);
    }
    return screened(a, c, n, err);
}
