/* sae_layout.c - W_enc in the forms that a backend's products want: as a weight, and in codes of a byte. Both are larger
 * than all else that encoding holds, and take longer to make than a text to encode. */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/plan_memory.h"
#include "engine/sae_coder.h"

enum {
    SCREEN_FROM = 256, /* features: below, all products are soon computed */
    SCREEN_WIDTH = 1 << 17, /* the backend's limit */
    SAMPLE = 16        /* one feature in so many is looked at to guess topk's last */
};

struct rh_sae_layouts { /* of one SAE */
    pthread_mutex_t lock; /* coders are of one thread each; what they share is made by one at a time */
    rh_sae_layout *first;
};

rh_status rh_sae_layouts_new(rh_sae_layouts **out, rh_error *err)
{
    rh_sae_layouts *l = rh_calloc(1, sizeof *l);
    if (!l) return rh_fail_nomem(err);
    if (pthread_mutex_init(&l->lock, NULL)) {
        free(l);
        return rh_fail_nomem(err);
    }
    *out = l;
    return RH_OK;
}

void rh_sae_layouts_free(rh_sae_layouts *l)
{
    if (!l) return;
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* ---- one, and who uses it --------------------------------------------------------------------- */

static void layout_free(rh_sae_layout *l)
{
    const rh_ops *ops = l->be->ops;
    ops->weight_free(l->be, l->encoder);
    ops->weight_free(l->be, l->sample);
    ops->screen_free(l->be, l->screen);
    free(l->base);
    free(l->gain);
    free(l->sampled);
    free(l);
}

rh_status rh_sae_layout_take(rh_sae_layout **out, const rh_sae *s, rh_backend *be, rh_error *err)
{
    rh_status status = RH_OK;
    pthread_mutex_lock(&s->layouts->lock);
    rh_sae_layout *l = s->layouts->first;
    while (l && l->be != be) l = l->next;
    if (!l && !(l = rh_calloc(1, sizeof *l))) {
        status = rh_fail_nomem(err);
    } else {
        if (!l->users++) {
            l->be = be;
            l->next = s->layouts->first;
            s->layouts->first = l;
        }
        *out = l;
    }
    pthread_mutex_unlock(&s->layouts->lock);
    return status;
}

void rh_sae_layout_give_back(rh_sae_layout *l, const rh_sae *s)
{
    if (!l) return;
    pthread_mutex_lock(&s->layouts->lock);
    if (!--l->users) {
        rh_sae_layout **at = &s->layouts->first;
        while (*at != l) at = &(*at)->next;
        *at = l->next;
        layout_free(l);
    }
    pthread_mutex_unlock(&s->layouts->lock);
}

/* ---- what is in it ------------------------------------------------------------------------------ */

static rh_status weight(rh_weight **out, const rh_sae_layout *l, const rh_sae *s, int32_t rows, const int32_t *order, rh_error *err)
{
    const rh_sae_matrix *m = &s->encoder;
    return l->be->ops->weight_new(l->be, out, m->data, m->dtype, rows, m->cols, order, err);
}

/* Room for all of W_enc, before it is read. */
static rh_status plan(const rh_sae_layout *l, const rh_sae *s, rh_error *err)
{
    const rh_sae_matrix *m = &s->encoder;
    const rh_memory_plan p = {.what = s->path, .sae = rh_plan_sae(m->cols, m->rows, m->dtype)};
    return rh_plan_check_on(&p, l->be, err);
}

/* The guess must almost never lie above the k-th largest of all, for then a row is computed in full. Of the
 * k largest, a sample of one in SAMPLE has about e = k/SAMPLE, seldom more than e + 3.5 sqrt(e) + 1. */
static rh_status sample_new(rh_sae_layout *l, const rh_sae *s, rh_error *err)
{
    const rh_sae_facts *f = &s->facts;
    const int32_t n = f->d_sae / SAMPLE;
    const double expected = (double)f->k * n / f->d_sae;
    if (!l->sampled && !(l->sampled = rh_calloc((size_t)n, sizeof *l->sampled))) return rh_fail_nomem(err);
    for (int32_t i = 0; i < n; i++) l->sampled[i] = i * SAMPLE + i % SAMPLE;
    l->n_sampled = n;
    l->rank = (int32_t)(expected + 3.5 * sqrt(expected)) + 2;
    return l->sample ? RH_OK : weight(&l->sample, l, s, n, l->sampled, err);
}

/* The float below or at x. */
static float at_most(double x)
{
    const float f = (float)x;
    return f > x ? nextafterf(f, -INFINITY) : f;
}

/* p + b > θ, rounded or not, only where p > θ - b. Of topk (p + b)·‖W_dec‖ is compared with a floor. */
static void levels(rh_sae_layout *l, const rh_sae *s)
{
    for (int32_t i = 0; i < s->facts.d_sae; i++) {
        const double threshold = s->facts.kind == RH_SAE_JUMPRELU && s->threshold[i] > 0 ? s->threshold[i] : 0;
        l->base[i] = at_most(threshold - s->b_enc[i]);
        if (l->gain) l->gain[i] = s->norms ? 1 / s->norms[i] : 1;
    }
}

/* What failed half way is gone on with by the next call. */
static rh_status screen_new(rh_sae_layout *l, const rh_sae *s, rh_error *err)
{
    const rh_sae_matrix *m = &s->encoder;
    const size_t n = (size_t)s->facts.d_sae;
    const bool topk = s->facts.kind == RH_SAE_TOPK;
    if (!l->base) l->base = rh_calloc(n, sizeof *l->base);
    if (topk && !l->gain) l->gain = rh_calloc(n, sizeof *l->gain);
    if (!l->base || (topk && !l->gain)) return rh_fail_nomem(err);
    levels(l, s);
    if (topk) RH_TRY(sample_new(l, s, err));
    RH_TRY(plan(l, s, err));
    return l->be->ops->screen_new(l->be, &l->screen, m->data, m->dtype, m->rows, m->cols, err);
}

rh_status rh_sae_layout_screen(rh_sae_layout *l, const rh_sae *s, rh_error *err)
{
    pthread_mutex_lock(&s->layouts->lock);
    rh_status status = l->screen ? RH_OK : screen_new(l, s, err);
    pthread_mutex_unlock(&s->layouts->lock);
    return status;
}

rh_status rh_sae_layout_encoder(rh_sae_layout *l, const rh_sae *s, rh_error *err)
{
    pthread_mutex_lock(&s->layouts->lock);
    rh_status status = l->encoder ? RH_OK : plan(l, s, err);
    if (!status && !l->encoder) status = weight(&l->encoder, l, s, s->facts.d_sae, NULL, err);
    pthread_mutex_unlock(&s->layouts->lock);
    return status;
}

bool rh_sae_screened(const rh_sae_facts *f) { return f->d_sae >= SCREEN_FROM && f->d_in <= SCREEN_WIDTH; }
