/* bpe_merge.c - of all neighbours that form a known pair the one of lowest rank (leftmost if equal) is
 * merged until there is none. Source: Sennrich et al. 2016. */
#include <stdlib.h>

#include "engine/tokenizer/bpe.h"

void rh_bpe_work_free(rh_bpe_work *w)
{
    free(w->symbols);
    free(w->heap);
    free(w->ends.items);
    rh_str_free(&w->spelled);
}

bool rh_bpe_symbol_add(rh_bpe_work *w, int32_t id, size_t start, size_t end)
{
    if (!RH_GROW(w->symbols, w->symbols_cap, w->n)) return false;
    const int32_t i = (int32_t)w->n++;
    if (i) w->symbols[i - 1].next = i;
    w->symbols[i] = (rh_bpe_symbol){ id, i - 1, -1, (int32_t)start, (int32_t)end };
    return true;
}

uint64_t rh_bpe_pair_hash(uint64_t pair)
{
    pair *= 0x9E3779B97F4A7C15u;
    return pair ^ pair >> 32;
}

static const rh_bpe_merge *find_merge(const rh_bpe *b, int32_t left, int32_t right)
{
    if (left < 0 || right < 0) return NULL;
    uint64_t pair = (uint64_t)left << 32 | (uint32_t)right;
    for (uint64_t i = rh_bpe_pair_hash(pair) & b->mask;; i = (i + 1) & b->mask) {
        if (b->merges[i].pair == pair) return &b->merges[i];
        if (b->merges[i].pair == RH_NO_PAIR) return NULL;
    }
}

static bool before(const rh_bpe_candidate *a, const rh_bpe_candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->left < b->left;
}

static bool heap_push(rh_bpe_work *w, rh_bpe_candidate c)
{
    if (!RH_GROW(w->heap, w->heap_cap, w->heap_n)) return false;
    size_t i = w->heap_n++;
    for (; i && before(&c, &w->heap[(i - 1) / 2]); i = (i - 1) / 2) w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = c;
    return true;
}

static rh_bpe_candidate heap_pop(rh_bpe_work *w)
{
    rh_bpe_candidate top = w->heap[0], last = w->heap[--w->heap_n];
    size_t i = 0, n = w->heap_n;
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && before(&w->heap[child + 1], &w->heap[child])) child++;
        if (!before(&w->heap[child], &last)) break;
        w->heap[i] = w->heap[child];
    }
    if (n) w->heap[i] = last;
    return top;
}

static bool consider(const rh_bpe *b, rh_bpe_work *w, int32_t left)
{
    if (left < 0 || w->symbols[left].next < 0) return true;
    const rh_bpe_symbol *l = &w->symbols[left], *r = &w->symbols[l->next];
    const rh_bpe_merge *m = find_merge(b, l->id, r->id);
    if (!m) return true;
    return heap_push(w, (rh_bpe_candidate){ m->rank, left, l->id, r->id, m->id });
}

static bool merge_all(const rh_bpe *b, rh_bpe_work *w)
{
    while (w->heap_n) {
        rh_bpe_candidate c = heap_pop(w);
        rh_bpe_symbol *l = &w->symbols[c.left];
        if (l->id != c.left_id || l->next < 0) continue;
        rh_bpe_symbol *r = &w->symbols[l->next];
        if (r->id != c.right_id) continue;
        l->id = c.id;
        l->end = r->end;
        l->next = r->next;
        r->id = -1;
        if (l->next >= 0) w->symbols[l->next].prev = c.left;
        if (!consider(b, w, l->prev) || !consider(b, w, c.left)) return false;
    }
    return true;
}

static rh_status push_unknown(const rh_tokenizer *t, rh_bpe_work *w, rh_tokens *out, const rh_bpe_symbol *s,
                              int32_t base, rh_error *err)
{
    const rh_bpe *b = t->state;
    if (b->fuses_unknown && w->unknown_end == s->start) out->items[out->n - 1].end = base + s->end;
    else RH_TRY(rh_tokens_push(out, (rh_token){ t->unk, base + s->start, base + s->end }, err));
    w->unknown_end = s->end;
    return RH_OK;
}

rh_status rh_bpe_merge_symbols(const rh_tokenizer *t, rh_bpe_work *w, rh_tokens *out, int32_t base, rh_error *err)
{
    const rh_bpe *b = t->state;
    w->heap_n = 0;
    w->unknown_end = -1;
    for (size_t i = 0; i + 1 < w->n; i++)
        if (!consider(b, w, (int32_t)i)) return rh_fail_nomem(err);
    if (!merge_all(b, w)) return rh_fail_nomem(err);
    for (int32_t i = w->n ? 0 : -1; i >= 0; i = w->symbols[i].next) {
        const rh_bpe_symbol *s = &w->symbols[i];
        if (s->id < 0 && !b->marks_unknown) continue; /* left out, as in llama.cpp */
        if (s->id < 0) {
            RH_TRY(push_unknown(t, w, out, s, base, err));
            continue;
        }
        w->unknown_end = -1;
        RH_TRY(rh_tokens_push(out, (rh_token){ s->id, base + s->start, base + s->end }, err));
    }
    return RH_OK;
}
