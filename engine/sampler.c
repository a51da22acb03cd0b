#include "engine/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

struct rh_sampler {
    rh_sampling set;
    int32_t n_vocab;
    float *logits;       /* [n_vocab] after penalties */
    int32_t *count;      /* [n_vocab] how often in the window; zero between picks */
    struct candidate { float logit; int32_t id; double p; } *candidates; /* [n_vocab] */
};

rh_sampling rh_sampling_default(void)
{
    return (rh_sampling){.top_p = 1, .repetition = 1, .penalty_last = -1};
}

rh_status rh_sampling_check(const rh_sampling *s, rh_error *err)
{
    const struct { const char *name; double value, lo, hi; } ranges[] = {
        {"temperature", s->temperature, 0, 100},    {"top-k", s->top_k, 0, INT32_MAX},
        {"top-p", s->top_p, 0, 1},                  {"min-p", s->min_p, 0, 1},
        {"repetition penalty", s->repetition, 1e-3, 1e3}, {"frequency penalty", s->frequency, -100, 100},
        {"presence penalty", s->presence, -100, 100},     {"penalty window", s->penalty_last, -1, INT32_MAX}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (!(ranges[i].value >= ranges[i].lo && ranges[i].value <= ranges[i].hi))
            return rh_fail(err, RH_EVALUE, "%s is %g, outside %g..%g", ranges[i].name, ranges[i].value, ranges[i].lo,
                           ranges[i].hi);
    return RH_OK;
}

rh_status rh_sampler_new(rh_sampler **out, const rh_sampling *set, int32_t n_vocab, rh_error *err)
{
    RH_TRY(rh_sampling_check(set, err));
    rh_sampler *s = rh_calloc(1, sizeof *s);
    if (!s) return rh_fail_nomem(err);
    s->set = *set;
    s->n_vocab = n_vocab;
    s->logits = rh_calloc((size_t)n_vocab, sizeof *s->logits);
    s->count = rh_calloc((size_t)n_vocab, sizeof *s->count);
    s->candidates = rh_calloc((size_t)n_vocab, sizeof *s->candidates);
    if (!s->logits || !s->count || !s->candidates) {
        rh_sampler_free(s);
        return rh_fail_nomem(err);
    }
    *out = s;
    return RH_OK;
}

void rh_sampler_free(rh_sampler *s)
{
    if (!s) return;
    free(s->logits);
    free(s->count);
    free(s->candidates);
    free(s);
}

static void penalize(rh_sampler *s, const int32_t *history, int32_t n)
{
    const rh_sampling *set = &s->set;
    if (set->repetition == 1 && set->frequency == 0 && set->presence == 0) return;
    const int32_t from = set->penalty_last >= 0 && set->penalty_last < n ? n - set->penalty_last : 0;
    for (int32_t i = from; i < n; i++)
        if (history[i] >= 0 && history[i] < s->n_vocab) s->count[history[i]]++;
    for (int32_t i = from; i < n; i++) {
        const int32_t id = history[i];
        if (id < 0 || id >= s->n_vocab || !s->count[id]) continue; /* each id once */
        float l = s->logits[id];
        l = l > 0 ? (float)(l / set->repetition) : (float)(l * set->repetition);
        s->logits[id] = (float)(l - s->count[id] * set->frequency - set->presence);
        s->count[id] = 0;
    }
}

static int32_t argmax(const float *x, int32_t n)
{
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        if (x[i] > x[best] || (isnan(x[best]) && !isnan(x[i]))) best = i;
    return best;
}

static int by_logit(const void *pa, const void *pb)
{
    const struct candidate *a = pa, *b = pb;
    if (a->logit != b->logit) return a->logit > b->logit ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* Only candidates that can matter are sorted: those within `reach` of the largest logit; what
 * lies below has a probability under e^-reach of the largest and never a say in top-p. */
static int32_t collect(rh_sampler *s, float top)
{
    const double reach = 40 * (s->set.temperature > 1 ? s->set.temperature : 1);
    int32_t n = 0;
    for (int32_t i = 0; i < s->n_vocab; i++)
        if (s->logits[i] >= top - reach) s->candidates[n++] = (struct candidate){s->logits[i], i, 0};
    qsort(s->candidates, (size_t)n, sizeof *s->candidates, by_logit);
    return n;
}

int32_t rh_sampler_pick(rh_sampler *s, const float *logits, const int32_t *history, int32_t n_history, uint64_t draw)
{
    const rh_sampling *set = &s->set;
    memcpy(s->logits, logits, (size_t)s->n_vocab * sizeof *logits);
    penalize(s, history, n_history);
    const int32_t best = argmax(s->logits, s->n_vocab);
    if (set->temperature <= 0 || set->top_k == 1 || !isfinite(s->logits[best])) return best;

    int32_t n = collect(s, s->logits[best]);
    if (set->top_k > 0 && n > set->top_k) n = set->top_k;
    double sum = 0, kept = 0;
    for (int32_t i = 0; i < n; i++)
        sum += s->candidates[i].p = exp((s->candidates[i].logit - s->candidates[0].logit) / set->temperature);
    int32_t m = 0; /* top-p keeps the fewest whose mass reaches it; min-p those above its share of the largest */
    while (m < n && (m == 0 || (kept < set->top_p * sum && s->candidates[m].p >= set->min_p * s->candidates[0].p)))
        kept += s->candidates[m++].p;
    double u = rh_random_unit(set->seed, 0x73616d706c65, draw) * kept;
    for (int32_t i = 0; i < m; i++)
        if ((u -= s->candidates[i].p) < 0) return s->candidates[i].id;
    return s->candidates[m - 1].id;
}

double rh_log_sum_exp(const float *x, int32_t n)
{
    float top = -INFINITY;
    double sum = 0;
    for (int32_t i = 0; i < n; i++)
        if (x[i] > top) top = x[i];
    if (!isfinite(top)) return top;
    for (int32_t i = 0; i < n; i++) sum += exp((double)x[i] - top);
    return top + log(sum);
}

double rh_kl(const float *p, const float *q, int32_t n)
{
    const double zp = rh_log_sum_exp(p, n), zq = rh_log_sum_exp(q, n);
    double kl = 0;
    for (int32_t i = 0; i < n; i++) {
        const double lp = p[i] - zp;
        if (lp > -700) kl += exp(lp) * (lp - (q[i] - zq));
    }
    return kl > 0 ? kl : 0; /* rounding may leave -1e-17 */
}
