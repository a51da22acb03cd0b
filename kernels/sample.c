#include "kernels/sample.h"

#include <math.h>
#include <stdlib.h>

static void penalize(float *logits, int32_t n_vocab, const rh_sample_spec *s)
{
    if (s->repetition == 1 && s->frequency == 0 && s->presence == 0) return;
    for (int32_t i = 0; i < s->n_seen; i++) {
        const int32_t id = s->seen[i];
        if (id < 0 || id >= n_vocab) continue;
        float l = logits[id];
        l = l > 0 ? (float)(l / s->repetition) : (float)(l * s->repetition);
        logits[id] = (float)(l - s->count[i] * s->frequency - s->presence);
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
    const rh_candidate *a = pa, *b = pb;
    if (a->logit != b->logit) return a->logit > b->logit ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* Only candidates that can matter are sorted: those within `reach` of the largest logit; what
 * lies below has a probability under e^-reach of the largest and never a say in top-p. */
static int32_t collect(rh_candidate *out, const float *logits, int32_t n_vocab, float top, double temperature)
{
    const double reach = 40 * (temperature > 1 ? temperature : 1);
    int32_t n = 0;
    for (int32_t i = 0; i < n_vocab; i++)
        if (logits[i] >= top - reach) out[n++] = (rh_candidate){logits[i], i, 0};
    qsort(out, (size_t)n, sizeof *out, by_logit);
    return n;
}

int32_t rh_sample_row(float *logits, int32_t n_vocab, const rh_sample_spec *s, rh_candidate *c)
{
    penalize(logits, n_vocab, s);
    const int32_t best = argmax(logits, n_vocab);
    if (s->temperature <= 0 || s->top_k == 1 || !isfinite(logits[best])) return best;

    int32_t n = collect(c, logits, n_vocab, logits[best], s->temperature);
    if (s->top_k > 0 && n > s->top_k) n = s->top_k;
    double sum = 0, kept = 0;
    for (int32_t i = 0; i < n; i++) sum += c[i].p = exp((c[i].logit - c[0].logit) / s->temperature);
    int32_t m = 0; /* top-p keeps the fewest whose mass reaches it; min-p those above its share of the largest */
    while (m < n && (m == 0 || (kept < s->top_p * sum && c[m].p >= s->min_p * c[0].p))) kept += c[m++].p;
    double u = s->u * kept;
    for (int32_t i = 0; i < m; i++)
        if ((u -= c[i].p) < 0) return c[i].id;
    return c[m - 1].id;
}
