/* actions.c - an evaluation's actions for one prompt: vectors become sites, masks become
 * positions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algebra/algebra.h"
#include "base/mem.h"
#include "concepts/concepts.h"

typedef struct binder {
    rh_arena *arena;
    const rh_evaluation *e;
    const rh_prompt *p;
    double strength;
    rh_diags *diags;
    rh_actions out;
    size_t cap;
} binder;

/* ---- masks -------------------------------------------------------------------------------- */

/* Mark the tokens that overlap an occurrence; true if the text occurs. */
static bool mark_occurrences(bool *covered, const rh_prompt *p, const char *needle, size_t len)
{
    bool found = false;
    for (size_t at = 0; len && at + len <= p->user_len; at++) {
        if (p->user[at] != needle[0] || memcmp(p->user + at, needle, len) != 0) continue;
        for (int32_t i = 0; i < p->n; i++) {
            const rh_token *t = &p->tokens[i];
            if (t->start >= t->end || (size_t)t->start >= at + len || (size_t)t->end <= at) continue;
            covered[i] = found = true;
        }
    }
    return found;
}

static bool same_letters(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char x = (unsigned char)a[i], y = (unsigned char)b[i];
        if (x >= 'A' && x <= 'Z') x = (unsigned char)(x + 32);
        if (y >= 'A' && y <= 'Z') y = (unsigned char)(y + 32);
        if (x != y) return false;
    }
    return true;
}

static void complain(binder *b, const rh_selector *s)
{
    if (!b->diags) return;
    const rh_prompt *p = b->p;
    rh_diag *d = rh_diag_add(b->diags, RH_EVALUE, s->range, "\"%.200s\" does not occur in the prompt", s->text);
    for (size_t at = 0; s->text_len && at + s->text_len <= p->user_len; at++)
        if (same_letters(p->user + at, s->text, s->text_len)) {
            rh_diag_hint(d, "the prompt has \"%.*s\", and letters must match in case", (int)s->text_len, p->user + at);
            return;
        }
    int shown = p->user_len > 120 ? 120 : (int)p->user_len;
    while (shown && (size_t)shown < p->user_len && ((unsigned char)p->user[shown] & 0xC0) == 0x80) shown--;
    rh_diag_hint(d, "the prompt is \"%.*s%s\"; templates and generated text are not searched", shown, p->user,
                 (size_t)shown < p->user_len ? "…" : "");
}

/* A text selector's positions; n 0 and RH_OK if it does not occur (that has been said). */
static rh_status bind_text(binder *b, rh_mask_term *term, const rh_selector *s, rh_error *err)
{
    const rh_prompt *p = b->p;
    bool *covered = rh_arena_alloc(b->arena, (size_t)p->n + 1, sizeof *covered);
    int32_t *positions = rh_arena_alloc(b->arena, (size_t)p->n + 1, sizeof *positions);
    if (!covered || !positions) return rh_fail_nomem(err);
    if (!mark_occurrences(covered, p, s->text, s->text_len)) {
        complain(b, s);
        return RH_OK;
    }
    for (int32_t i = 0; i < p->n; i++)
        if (covered[i]) positions[term->n++] = i;
    term->positions = positions;
    return RH_OK;
}

static rh_status bind_term(binder *b, rh_mask_term *term, const rh_selector *s, bool *missed, rh_error *err)
{
    static const rh_mask_kind kinds[] = {
        [RH_SEL_ALL] = RH_MASK_ALL, [RH_SEL_PROMPT] = RH_MASK_PROMPT, [RH_SEL_LAST] = RH_MASK_LAST,
        [RH_SEL_SPECIAL] = RH_MASK_SPECIAL, [RH_SEL_GENERATED] = RH_MASK_GENERATED,
        [RH_SEL_TOKENS] = RH_MASK_TOKENS, [RH_SEL_TEXT] = RH_MASK_LIST};
    *term = (rh_mask_term){.kind = kinds[s->kind], .negated = s->negated, .lo = s->lo, .hi = s->hi};
    if (s->kind != RH_SEL_TEXT) return RH_OK;
    RH_TRY(bind_text(b, term, s, err));
    if (!term->n) *missed = true;
    return RH_OK;
}

static rh_status bind_mask(binder *b, rh_mask *out, const rh_eval_action *a, bool *missed, rh_error *err)
{
    rh_mask_term *terms = rh_arena_alloc(b->arena, (size_t)a->n_mask + 1, sizeof *terms);
    if (!terms) return rh_fail_nomem(err);
    for (int32_t i = 0; i < a->n_mask; i++) RH_TRY(bind_term(b, &terms[i], &a->mask[i], missed, err));
    *out = (rh_mask){.terms = terms, .n = a->n_mask};
    return RH_OK;
}

/* ---- values ------------------------------------------------------------------------------- */

static rh_status push(binder *b, rh_action action, rh_error *err)
{
    if (!RH_GROW(b->out.items, b->cap, (size_t)b->out.n)) return rh_fail_nomem(err);
    b->out.items[b->out.n++] = action;
    return RH_OK;
}

static rh_status no_place(const rh_eval_action *a, rh_error *err)
{
    return rh_hinted(rh_fail(err, RH_ESITE, "'%.200s' has no layer to act at", a->text),
                     err, "--layer L, `layer L` in the book, or @ L");
}

/* Number of a scalar at a layer: one without a place holds everywhere. */
static rh_status scalar_at(double *out, const rh_value *v, int32_t layer, const rh_eval_action *a, rh_error *err)
{
    if (!v->layers) {
        *out = v->scalar[0];
        return RH_OK;
    }
    for (int32_t i = 0; i < v->n_layers; i++)
        if (v->layers[i] == layer) {
            *out = v->scalar[i];
            return RH_OK;
        }
    return rh_fail(err, RH_ESITE, "'%.200s' has no number at layer %d", a->text, (int)layer);
}

/* v/‖v‖, in double and rounded once. */
static rh_status unit_of(const float **out, binder *b, const float *v, int32_t d, const rh_eval_action *a,
                         int32_t layer, rh_error *err)
{
    double norm = rh_norm(v, d);
    if (!(norm > 0)) return rh_fail(err, RH_EVALUE, "'%.200s' is zero at layer %d", a->text, (int)layer);
    float *unit = rh_arena_alloc(b->arena, (size_t)d, sizeof *unit);
    if (!unit) return rh_fail_nomem(err);
    for (int32_t j = 0; j < d; j++) unit[j] = (float)(v[j] / norm);
    *out = unit;
    return RH_OK;
}

static rh_status bind_guard(binder *b, const rh_guard **out, const rh_eval_action *a, int32_t layer, rh_error *err)
{
    static const rh_compare compares[] = {[RH_WHEN_GT] = RH_COMPARE_GT, [RH_WHEN_GE] = RH_COMPARE_GE,
                                          [RH_WHEN_LT] = RH_COMPARE_LT, [RH_WHEN_LE] = RH_COMPARE_LE};
    if (!a->guard) return RH_OK;
    const rh_vector *v = a->guard->vector.vector;
    double threshold = 0;
    rh_vector_view w = rh_vector_at(v, v->layers[0] < 0 ? -1 : layer);
    if (!w.data) return rh_fail(err, RH_ESITE, "the guard of '%.200s' has no vector at layer %d", a->text, (int)layer);
    RH_TRY(scalar_at(&threshold, &a->guard->threshold, layer, a, err));
    rh_guard *g = rh_arena_alloc(b->arena, 1, sizeof *g);
    int64_t *counts = rh_arena_alloc(b->arena, 2, sizeof *counts);
    if (!g || !counts) return rh_fail_nomem(err);
    *g = (rh_guard){.test = {.cosine = a->guard->cosine, .compare = compares[a->guard->compare],
                             .norm = (float)rh_norm(w.data, v->d), .threshold = (float)threshold},
                    .v = w.data, .tested = &counts[0], .fired = &counts[1]};
    *out = g;
    return RH_OK;
}

/* One action a layer: steer takes v as it is, the others its direction. */
static rh_status bind_vector(binder *b, const rh_eval_action *a, rh_mask mask, rh_error *err)
{
    static const rh_action_kind kinds[] = {
        [RH_VERB_STEER] = RH_STEER, [RH_VERB_ABLATE] = RH_ABLATE, [RH_VERB_SCALE] = RH_SCALE,
        [RH_VERB_CAP] = RH_CAP, [RH_VERB_CLAMP] = RH_CLAMP};
    const rh_vector *v = a->value.vector;
    for (int32_t i = 0; i < v->n_layers; i++) {
        const float *row = v->data + (size_t)i * (size_t)v->d;
        rh_action action = {.kind = kinds[a->verb], .layer = v->layers[i], .hook = v->hook, .v = row, .rank = 1,
                            .strength = 1, .mask = mask};
        if (v->layers[i] < 0) return no_place(a, err);
        if (a->verb == RH_VERB_STEER)
            action.strength = (float)b->strength;
        else if (!a->sae)
            RH_TRY(unit_of(&action.v, b, row, v->d, a, v->layers[i], err));
        if (a->verb != RH_VERB_STEER && a->verb != RH_VERB_ABLATE) {
            double amount = 0;
            RH_TRY(scalar_at(&amount, &a->amount, v->layers[i], a, err));
            action.amount = (float)amount;
        }
        if (a->sae) {
            action.kind = RH_FEATURE_CLAMP;
            action.sae = a->sae;
            action.feature = a->feature;
        }
        RH_TRY(bind_guard(b, &action.guard, a, v->layers[i], err));
        RH_TRY(push(b, action, err));
    }
    return RH_OK;
}

static rh_status bind_span(binder *b, const rh_eval_action *a, rh_mask mask, rh_error *err)
{
    const rh_value *v = &a->value;
    if (!v->layers) return no_place(a, err);
    for (int32_t i = 0; i < v->n_layers; i++) {
        if (!v->span[i].rank) continue; /* nothing to take away */
        rh_action action = {.kind = RH_ABLATE, .layer = v->layers[i], .hook = v->hook, .v = v->span[i].basis,
                            .rank = v->span[i].rank, .strength = 1, .mask = mask};
        RH_TRY(bind_guard(b, &action.guard, a, v->layers[i], err));
        RH_TRY(push(b, action, err));
    }
    return RH_OK;
}

/* ---- all ---------------------------------------------------------------------------------- */

rh_status rh_actions_bind(rh_actions *out, const rh_evaluation *e, const rh_prompt *p, double strength,
                          rh_diags *diags, rh_error *err)
{
    binder b = {.arena = rh_arena_new(), .e = e, .p = p, .strength = strength, .diags = diags};
    bool missed = false;
    rh_status status = b.arena ? RH_OK : rh_fail_nomem(err);
    for (int32_t i = 0; i < e->n_actions && !status; i++) {
        const rh_eval_action *a = &e->actions[i];
        rh_mask mask = {0};
        status = bind_mask(&b, &mask, a, &missed, err);
        if (status) break;
        if (a->value.kind == RH_VALUE_VECTOR) status = bind_vector(&b, a, mask, err);
        else if (a->value.kind == RH_VALUE_SPAN) status = bind_span(&b, a, mask, err);
        else status = rh_fail(err, RH_EKIND, "'%.200s' is a number, and acts on nothing", a->text);
    }
    if (!status && missed)
        status = diags && diags->n ? rh_diags_error(diags, err)
                                   : rh_fail(err, RH_EVALUE, "a text selector matches nothing in the prompt");
    b.out.memory = b.arena;
    if (status && diags) rh_diags_settle(diags); /* they outlive the program whose text they point into */
    if (status)
        rh_actions_free(&b.out);
    else
        *out = b.out;
    return status;
}

void rh_actions_free(rh_actions *a)
{
    if (!a) return;
    free(a->items);
    rh_arena_free(a->memory);
    *a = (rh_actions){0};
}
