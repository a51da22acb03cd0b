#include <stdlib.h>

#include "engine/session.h"

static bool listed(const rh_mask_term *t, int32_t pos)
{
    int32_t lo = 0, hi = t->n;
    while (lo < hi) {
        const int32_t mid = lo + (hi - lo) / 2;
        if (t->positions[mid] < pos) lo = mid + 1;
        else hi = mid;
    }
    return lo < t->n && t->positions[lo] == pos;
}

static bool term_covers(const rh_mask_term *t, int32_t pos, int32_t n_prompt, bool is_control)
{
    switch (t->kind) {
    case RH_MASK_ALL: return true;
    case RH_MASK_PROMPT: return pos < n_prompt;
    case RH_MASK_LAST: return pos == n_prompt - 1;
    case RH_MASK_SPECIAL: return is_control;
    case RH_MASK_GENERATED: return pos >= n_prompt && pos - n_prompt >= t->lo && pos - n_prompt <= t->hi;
    case RH_MASK_TOKENS: return pos >= t->lo && pos <= t->hi;
    case RH_MASK_LIST: return listed(t, pos);
    }
    return false;
}

bool rh_mask_covers(const rh_mask *m, int32_t pos, int32_t n_prompt, bool is_control)
{
    bool any_plain = false, in = false;
    for (int32_t i = 0; i < m->n; i++) {
        const rh_mask_term *t = &m->terms[i];
        const bool hit = term_covers(t, pos, n_prompt, is_control);
        if (t->negated && hit) return false;
        if (!t->negated) {
            any_plain = true;
            in = in || hit;
        }
    }
    return in || !any_plain;
}
