#include "engine/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kernels/sample.h"

struct rh_sampler {
    rh_sampling set;
    int32_t n_vocab;
    float *logits;       /* [n_vocab] after penalties */
    rh_seen seen;
    rh_candidate *candidates; /* [n_vocab] */
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
    s->candidates = rh_calloc((size_t)n_vocab, sizeof *s->candidates);
    if (!s->logits || !s->candidates || rh_seen_new(&s->seen, set, n_vocab, n_vocab, err)) {
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
    rh_seen_free(&s->seen);
    free(s->candidates);
    free(s);
}

bool rh_sampling_penalizes(const rh_sampling *set)
{
    return set->penalty_last != 0 && (set->repetition != 1 || set->frequency != 0 || set->presence != 0);
}

/* ---- the window of the penalties ------------------------------------------------------------------- */

rh_status rh_seen_new(rh_seen *out, const rh_sampling *set, int32_t n_vocab, int32_t room, rh_error *err)
{
    *out = (rh_seen){.last = set->penalty_last, .n_vocab = n_vocab};
    if (!rh_sampling_penalizes(set)) {
        out->last = 0;
        return RH_OK;
    }
    room = room < n_vocab ? room : n_vocab;
    out->id = rh_calloc((size_t)room, sizeof *out->id);
    out->count = rh_calloc((size_t)room, sizeof *out->count);
    if (out->id && out->count) return RH_OK;
    rh_seen_free(out);
    return rh_fail_nomem(err);
}

void rh_seen_free(rh_seen *s)
{
    free(s->id);
    free(s->count);
    *s = (rh_seen){0};
}

/* Where id stands, or would stand. */
static int32_t place_of(const rh_seen *s, int32_t id)
{
    int32_t lo = 0, hi = s->n;
    while (lo < hi) {
        const int32_t mid = lo + (hi - lo) / 2;
        if (s->id[mid] < id) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

static void shift(int32_t *x, int32_t from, int32_t to, int32_t n)
{
    memmove(x + to, x + from, (size_t)(n - from) * sizeof *x);
}

static void enter(rh_seen *s, int32_t id)
{
    const int32_t at = place_of(s, id);
    if (at < s->n && s->id[at] == id) {
        s->count[at]++;
        return;
    }
    shift(s->id, at, at + 1, s->n);
    shift(s->count, at, at + 1, s->n++);
    s->id[at] = id;
    s->count[at] = 1;
}

static void leave(rh_seen *s, int32_t id)
{
    const int32_t at = place_of(s, id);
    if (--s->count[at]) return;
    shift(s->id, at + 1, at, s->n);
    shift(s->count, at + 1, at, s->n--);
}

static bool is_token(const rh_seen *s, int32_t id) { return id >= 0 && id < s->n_vocab; }

void rh_seen_upto(rh_seen *s, const int32_t *history, int32_t n)
{
    for (; s->last != 0 && s->end < n; s->end++) {
        const int32_t gone = s->last > 0 ? s->end - s->last : -1;
        if (gone >= 0 && is_token(s, history[gone])) leave(s, history[gone]);
        if (is_token(s, history[s->end])) enter(s, history[s->end]);
    }
}

/* ---- a pick ------------------------------------------------------------------------------------------ */

void rh_sampling_spec(rh_sample_spec *out, const rh_sampling *set, const rh_seen *seen, uint64_t draw)
{
    *out = (rh_sample_spec){.temperature = set->temperature, .top_p = set->top_p, .min_p = set->min_p,
                            .repetition = set->repetition, .frequency = set->frequency, .presence = set->presence,
                            .u = rh_random_unit(set->seed, 0x73616d706c65, draw), .top_k = set->top_k,
                            .seen = seen->id, .count = seen->count, .n_seen = seen->n};
}

int32_t rh_sampler_pick(rh_sampler *s, const float *logits, const int32_t *history, int32_t n_history, uint64_t draw)
{
    rh_sample_spec spec;
    s->seen.n = s->seen.end = 0;
    rh_seen_upto(&s->seen, history, n_history);
    rh_sampling_spec(&spec, &s->set, &s->seen, draw);
    memcpy(s->logits, logits, (size_t)s->n_vocab * sizeof *logits);
    return rh_sample_row(s->logits, s->n_vocab, &spec, s->candidates);
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
