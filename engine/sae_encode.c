/* From normalised rows to active features: products by the backend, then what each architecture keeps. Large
 * SAEs go through a screen, which computes only products that may matter, and those as matmul does: what is
 * active, and its value, is the same to the bit as with every product computed. */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/plan_memory.h"
#include "engine/sae_coder.h"

enum {
    BLOCK_FLOATS = 1 << 24, BLOCK_ROWS = 512, /* pre-activations held at once: 64 MiB */
    SCREEN_FROM = 256, /* features: below, all products are soon computed */
    SCREEN_WIDTH = 1 << 17, /* the backend's limit */
    SAMPLE = 16        /* one feature in so many is looked at to guess topk's last */
};

/* ---- what is held --------------------------------------------------------------------------- */

static rh_status weight(rh_weight **out, const rh_sae_coder *c, int32_t rows, const int32_t *order, rh_error *err)
{
    const rh_sae_matrix *m = &c->s->encoder;
    return c->be->ops->weight_new(c->be, out, m->data, m->dtype, rows, m->cols, order, err);
}

/* Room for all of W_enc, before it is read. */
static rh_status plan(const rh_sae_coder *c, rh_error *err)
{
    const rh_sae_matrix *m = &c->s->encoder;
    const rh_memory_plan p = {.what = c->s->path, .sae = rh_plan_sae(m->cols, m->rows, m->dtype)};
    return rh_plan_check_on(&p, c->be, err);
}

/* The guess must almost never lie above the k-th largest of all, for then a row is computed in full. Of the
 * k largest, a sample of one in SAMPLE has about e = k/SAMPLE, seldom more than e + 3.5 sqrt(e) + 1. */
static rh_status sample_new(rh_sae_coder *c, rh_error *err)
{
    const rh_sae_facts *f = &c->s->facts;
    const int32_t n = f->d_sae / SAMPLE;
    const double expected = (double)f->k * n / f->d_sae;
    c->rank = (int32_t)(expected + 3.5 * sqrt(expected)) + 2;
    if (!(c->sampled = rh_calloc((size_t)n, sizeof *c->sampled))) return rh_fail_nomem(err);
    for (int32_t i = 0; i < n; i++) c->sampled[i] = i * SAMPLE + i % SAMPLE;
    c->n_sampled = n;
    if (!(c->guesses = rh_calloc((size_t)c->block * (size_t)n, sizeof *c->guesses))) return rh_fail_nomem(err);
    RH_TRY(weight(&c->sample, c, n, c->sampled, err));
    return c->be->ops->buf_new(c->be, &c->g, (size_t)c->block * (size_t)n * sizeof(float), err);
}

/* The float below or at x. */
static float at_most(double x)
{
    const float f = (float)x;
    return f > x ? nextafterf(f, -INFINITY) : f;
}

/* p + b > θ, rounded or not, only where p > θ - b. Of topk (p + b)·‖W_dec‖ is compared with a floor. */
static void levels(rh_sae_coder *c)
{
    const rh_sae *s = c->s;
    for (int32_t i = 0; i < s->facts.d_sae; i++) {
        const double threshold = s->facts.kind == RH_SAE_JUMPRELU && s->threshold[i] > 0 ? s->threshold[i] : 0;
        c->base[i] = at_most(threshold - s->b_enc[i]);
        if (c->gain) c->gain[i] = s->norms ? 1 / s->norms[i] : 1;
    }
}

static rh_status screen_new(rh_sae_coder *c, rh_error *err)
{
    const rh_sae_facts *f = &c->s->facts;
    const rh_sae_matrix *m = &c->s->encoder;
    const size_t n = (size_t)f->d_sae;
    const bool topk = f->kind == RH_SAE_TOPK;
    c->base = rh_calloc(n, sizeof *c->base);
    c->floor = rh_calloc((size_t)c->block, sizeof *c->floor);
    c->lowered = rh_calloc((size_t)c->block, sizeof *c->lowered);
    if (topk) c->gain = rh_calloc(n, sizeof *c->gain);
    if (!c->base || !c->floor || !c->lowered || (topk && !c->gain)) return rh_fail_nomem(err);
    levels(c);
    if (topk) RH_TRY(sample_new(c, err));
    c->best = rh_calloc((size_t)(f->k > c->rank ? f->k : c->rank), sizeof *c->best);
    if (!c->best) return rh_fail_nomem(err);
    RH_TRY(plan(c, err));
    return c->be->ops->screen_new(c->be, &c->screen, m->data, m->dtype, m->rows, m->cols, err);
}

static rh_status all_products_new(rh_sae_coder *c, rh_error *err)
{
    const rh_sae_facts *f = &c->s->facts;
    const int32_t fit = BLOCK_FLOATS / f->d_sae;
    c->pre_rows = c->screen || fit < 1 ? 1 : fit < c->block ? fit : c->block;
    const size_t floats = (size_t)c->pre_rows * (size_t)f->d_sae;
    if (!c->best && !(c->best = rh_calloc((size_t)f->k, sizeof *c->best))) return rh_fail_nomem(err);
    if (!c->pre && !(c->pre = rh_calloc(floats, sizeof *c->pre))) return rh_fail_nomem(err);
    RH_TRY(plan(c, err));
    if (!c->p) RH_TRY(c->be->ops->buf_new(c->be, &c->p, floats * sizeof(float), err));
    return weight(&c->encoder, c, f->d_sae, NULL, err);
}

bool rh_sae_screened(const rh_sae_facts *f) { return f->d_sae >= SCREEN_FROM && f->d_in <= SCREEN_WIDTH; }

void rh_sae_encoder_free(rh_sae_coder *c)
{
    const rh_ops *ops = c->be->ops;
    ops->weight_free(c->be, c->encoder);
    ops->weight_free(c->be, c->sample);
    ops->screen_free(c->be, c->screen);
    ops->buf_free(c->be, c->p);
    ops->buf_free(c->be, c->g);
    free(c->pre);
    free(c->base);
    free(c->gain);
    free(c->floor);
    free(c->lowered);
    free(c->sampled);
    free(c->guesses);
    free(c->best);
    c->encoder = c->sample = NULL;
    c->screen = NULL;
    c->p = c->g = NULL;
    c->pre = c->base = c->gain = c->floor = c->lowered = c->guesses = NULL;
    c->sampled = NULL;
    c->best = NULL;
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

/* The k largest above 0: when the least of them is known, all that are not worse, in order. */
static rh_status add_topk(rh_sae_active *a, rh_sae_coder *c, const int32_t *row, const float *p, int32_t n, rh_error *err)
{
    const int32_t k = c->s->facts.k;
    int32_t have = 0;
    for (int32_t j = 0; j < n; j++) {
        const int32_t i = row ? row[j] : j;
        consider(c->best, &have, k, (rh_best){ topk_value(c->s, i, p[j]), i });
    }
    for (int32_t j = 0; j < n; j++) {
        const int32_t i = row ? row[j] : j;
        const rh_best x = { topk_value(c->s, i, p[j]), i };
        if (x.p > 0 && (have < k || !rh_worse(x, c->best[0]))) RH_TRY(rh_sae_active_add(a, i, x.p, err));
    }
    return RH_OK;
}

/* n products p of features row, or, NULL, of 0 .. n - 1. */
static rh_status add_row(rh_sae_active *a, rh_sae_coder *c, const int32_t *row, const float *p, int32_t n, rh_error *err)
{
    if (c->s->facts.kind == RH_SAE_TOPK) return add_topk(a, c, row, p, n, err);
    for (int32_t j = 0; j < n; j++) RH_TRY(add_if_above(a, c->s, row ? row[j] : j, p[j], err));
    return RH_OK;
}

static rh_status in_full(rh_sae_active *a, rh_sae_coder *c, const float *x, int32_t n, rh_error *err)
{
    const rh_sae_facts *f = &c->s->facts;
    if (!c->encoder) RH_TRY(all_products_new(c, err));
    for (int32_t t = 0, many; t < n; t += many) {
        many = n - t < c->pre_rows ? n - t : c->pre_rows;
        RH_TRY(rh_sae_product(c, c->encoder, c->p, c->pre, x + (size_t)t * (size_t)f->d_in, many, f->d_in, f->d_sae, err));
        for (int32_t i = 0; i < many; i++, a->n++) {
            rh_sae_active_begin(a);
            RH_TRY(add_row(a, c, NULL, c->pre + (size_t)i * (size_t)f->d_sae, f->d_sae, err));
        }
    }
    return RH_OK;
}

/* ---- through the screen --------------------------------------------------------------------- */

/* c->floor [n]: a value that the k-th largest of a row is almost surely not below, at least 0. */
static rh_status guess(rh_sae_coder *c, int32_t n, rh_error *err)
{
    const rh_sae_facts *f = &c->s->facts;
    const int32_t m = c->n_sampled;
    RH_TRY(rh_sae_product(c, c->sample, c->g, c->guesses, c->rows, n, f->d_in, m, err));
    for (int32_t t = 0; t < n; t++) {
        int32_t have = 0;
        for (int32_t i = 0; i < m; i++)
            consider(c->best, &have, c->rank,
                     (rh_best){ topk_value(c->s, c->sampled[i], c->guesses[(size_t)t * (size_t)m + (size_t)i]), c->sampled[i] });
        const float last = have == c->rank ? c->best[0].p : 0;
        c->floor[t] = last > 0 ? last : 0;
    }
    return RH_OK;
}

/* Are the k largest surely among these? Whatever reaches the floor is. */
static bool enough(const rh_sae_coder *c, int32_t t, const int32_t *row, const float *p, int32_t n)
{
    int32_t reach = 0;
    if (!c->gain || c->floor[t] == 0) return true;
    for (int32_t j = 0; j < n; j++) reach += topk_value(c->s, row[j], p[j]) >= c->floor[t];
    return reach >= c->s->facts.k;
}

static rh_status add_hits(rh_sae_active *a, rh_sae_coder *c, const rh_hits *h, int32_t n, rh_error *err)
{
    for (int32_t t = 0; t < n; t++) {
        const int32_t *row = h->row + h->start[t], many = (int32_t)(h->start[t + 1] - h->start[t]);
        const float *p = h->p + h->start[t];
        if (!enough(c, t, row, p, many)) {
            RH_TRY(in_full(a, c, c->rows + (size_t)t * (size_t)c->s->facts.d_in, 1, err));
            continue;
        }
        rh_sae_active_begin(a);
        RH_TRY(add_row(a, c, row, p, many, err));
        a->n++;
    }
    return RH_OK;
}

/* The floor is lowered a little: 1/‖W_dec‖ and the products with it are rounded. */
static rh_status screened(rh_sae_active *a, rh_sae_coder *c, int32_t n, rh_error *err)
{
    const rh_ops *ops = c->be->ops;
    const size_t floats = (size_t)n * (size_t)c->s->facts.d_in;
    const rh_screen_level level = { c->base, c->gain, c->lowered };
    rh_hits h = { 0 };
    if (c->gain) RH_TRY(guess(c, n, err));
    for (int32_t t = 0; t < n && c->gain; t++) c->lowered[t] = c->floor[t] * (1 - 1.0f / 1048576);
    ops->upload(c->be, c->x, 0, c->rows, floats * sizeof(float));
    RH_TRY(ops->screen(c->be, &h, c->screen, c->x, n, &level, err));
    rh_status status = add_hits(a, c, &h, n, err);
    rh_hits_free(&h);
    return status;
}

void rh_sae_coder_compute_all(rh_sae_coder *c) { c->all = true; }

rh_status rh_sae_encode_rows(rh_sae_active *a, rh_sae_coder *c, int32_t n, rh_error *err)
{
    if (c->all || !rh_sae_screened(&c->s->facts)) return in_full(a, c, c->rows, n, err);
    if (!c->screen) {
        rh_status status = screen_new(c, err);
        if (status) rh_sae_encoder_free(c); /* a later call begins anew */
        RH_TRY(status);
    }
    return screened(a, c, n, err);
}
