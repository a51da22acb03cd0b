#include "engine/rows.h"

#include <stdlib.h>
#include <string.h>

static int32_t common_prefix(const rh_step_input *a, const rh_step_input *b)
{
    const int32_t n = a->n < b->n ? a->n : b->n;
    int32_t k = 0;
    while (k < n && a->ids[k] == b->ids[k]) k++;
    return k;
}

/* First site at which the sequence's own actions change a position below end. */
static int32_t first_touch(const rh_sequence *q, const rh_step_input *in, int32_t end, const rh_tokenizer *tokenizer)
{
    int32_t first = RH_SITE_NEVER;
    for (int32_t i = 0; i < q->n_actions; i++) {
        const rh_action *a = &q->actions[i];
        const int32_t site = rh_site_index(a->layer, a->hook);
        if (site >= first || (a->kind == RH_STEER && a->strength == 0)) continue;
        for (int32_t pos = 0; pos < end; pos++) {
            const bool control = tokenizer && rh_token_is_control(tokenizer, in->ids[pos]);
            if (!rh_mask_covers(&a->mask, pos, q->n_prompt, control)) continue;
            first = site;
            break;
        }
    }
    return first;
}

/* ---- who shares with whom -------------------------------------------------------------------------- */

typedef struct sorted_input { const rh_step_input *in; int32_t index, n_actions; } sorted_input;

static int by_tokens(const void *pa, const void *pb)
{
    const sorted_input *a = pa, *b = pb;
    const int32_t k = common_prefix(a->in, b->in);
    if (k < a->in->n && k < b->in->n) return a->in->ids[k] < b->in->ids[k] ? -1 : 1;
    if (a->in->n != b->in->n) return a->in->n < b->in->n ? -1 : 1;
    if (a->n_actions != b->n_actions) return a->n_actions < b->n_actions ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

static void own_from(rh_sequence *q, int32_t fork_site)
{
    q->own_from_layer = INT32_MAX;
    if (fork_site == RH_SITE_NEVER) return;
    const int32_t layer = fork_site / RH_N_HOOKS;
    q->own_from_layer = fork_site % RH_N_HOOKS == RH_RESID_PRE ? layer : layer + 1;
}

/* In token order each input's best partner is its predecessor: no other shares more. Where the
 * predecessor itself only borrows all of that prefix, borrow from its lender. */
static rh_status find_parents(int32_t *fork_site, rh_sequence *seqs, const rh_step_input *inputs, int32_t n,
                              const rh_rows *rows, const rh_tokenizer *tokenizer, rh_error *err)
{
    int32_t n_fresh = 0;
    sorted_input *order = rh_calloc((size_t)n, sizeof *order);
    if (!order) return rh_fail_nomem(err);
    for (int32_t i = 0; i < n; i++)
        if (seqs[inputs[i].seq].len == 0) order[n_fresh++] = (sorted_input){&inputs[i], i, seqs[inputs[i].seq].n_actions};
    qsort(order, (size_t)n_fresh, sizeof *order, by_tokens);
    for (int32_t k = 1; k < n_fresh; k++) {
        const int32_t i = order[k].index;
        rh_sequence *q = &seqs[inputs[i].seq];
        int32_t parent = inputs[order[k - 1].index].seq;
        const int32_t shared = common_prefix(order[k - 1].in, order[k].in);
        if (!shared) continue;
        const int32_t theirs = first_touch(&seqs[parent], order[k - 1].in, shared, tokenizer);
        const int32_t mine = first_touch(q, order[k].in, shared, tokenizer);
        const int32_t fork = theirs < mine ? theirs : mine;
        while (seqs[parent].parent >= 0 && seqs[parent].shared_len >= shared &&
               fork_site[rows->input_of_seq[parent]] >= fork)
            parent = seqs[parent].parent;
        q->parent = parent;
        q->shared_len = shared;
        fork_site[i] = fork;
        own_from(q, fork);
    }
    free(order);
    return RH_OK;
}

/* ---- blocks ------------------------------------------------------------------------------------------ */

static int by_site(const void *pa, const void *pb)
{
    const rh_row_block *a = pa, *b = pb;
    if (a->from_site != b->from_site) return a->from_site < b->from_site ? -1 : 1;
    return a->input < b->input ? -1 : a->input > b->input;
}

/* Behind those that are there, which come from sites no later than its own. */
static void append_block(rh_rows *r, rh_row_block block)
{
    block.row = r->n_rows;
    r->n_rows += block.n;
    *(block.from_site == RH_SITE_START ? &r->base[block.input] : &r->fork[block.input]) = r->n_blocks;
    r->blocks[r->n_blocks++] = block;
}

static void make_blocks(rh_rows *r, const rh_sequence *seqs, const rh_step_input *inputs, int32_t n,
                        const int32_t *fork_site)
{
    for (int32_t i = 0; i < n; i++) {
        const rh_sequence *q = &seqs[inputs[i].seq];
        const int32_t start = q->len == 0 ? q->shared_len : q->len, end = q->len + inputs[i].n;
        r->asked += inputs[i].n;
        if (start < end)
            r->blocks[r->n_blocks++] = (rh_row_block){i, inputs[i].seq, start, end - start, 0, RH_SITE_START};
        if (q->len == 0 && q->shared_len > 0 && fork_site[i] != RH_SITE_NEVER)
            r->blocks[r->n_blocks++] = (rh_row_block){i, inputs[i].seq, 0, q->shared_len, 0, fork_site[i]};
    }
    qsort(r->blocks, (size_t)r->n_blocks, sizeof *r->blocks, by_site);
    const int32_t n_blocks = r->n_blocks;
    r->n_blocks = 0;
    for (int32_t b = 0; b < n_blocks; b++) append_block(r, r->blocks[b]);
}

/* Room for n_blocks blocks; no input has one yet. */
static rh_status rows_new(rh_rows *out, int32_t n_blocks, int32_t n_inputs, int32_t n_seqs, rh_error *err)
{
    rh_rows r = {.hi = INT32_MAX};
    r.blocks = rh_calloc((size_t)n_blocks, sizeof *r.blocks);
    r.base = rh_calloc((size_t)n_inputs, sizeof *r.base);
    r.fork = rh_calloc((size_t)n_inputs, sizeof *r.fork);
    r.input_of_seq = rh_calloc((size_t)n_seqs, sizeof *r.input_of_seq);
    if (!r.blocks || !r.base || !r.fork || !r.input_of_seq) {
        rh_rows_free(&r);
        return rh_fail_nomem(err);
    }
    for (int32_t i = 0; i < n_inputs; i++) r.base[i] = r.fork[i] = -1;
    for (int32_t s = 0; s < n_seqs; s++) r.input_of_seq[s] = -1;
    *out = r;
    return RH_OK;
}

rh_status rh_rows_plan(rh_rows *out, rh_sequence *seqs, int32_t n_seqs, const rh_step_input *inputs, int32_t n,
                       bool share, const rh_tokenizer *tokenizer, rh_error *err)
{
    rh_rows r = {0};
    int32_t *fork_site = rh_calloc((size_t)n, sizeof *fork_site);
    rh_status status = fork_site ? rows_new(&r, 2 * n, n, n_seqs, err) : rh_fail_nomem(err);
    if (!status) {
        for (int32_t i = 0; i < n; i++) {
            r.input_of_seq[inputs[i].seq] = i;
            fork_site[i] = RH_SITE_NEVER;
            rh_sequence *q = &seqs[inputs[i].seq];
            if (q->len > 0) continue;
            q->parent = -1; /* a failed step may have left its plan here */
            q->forgotten = 0;
            q->shared_len = 0;
            q->own_from_layer = INT32_MAX;
        }
        if (share) status = find_parents(fork_site, seqs, inputs, n, &r, tokenizer, err);
    }
    if (!status) make_blocks(&r, seqs, inputs, n, fork_site);
    free(fork_site);
    if (status) {
        rh_rows_free(&r);
        return status;
    }
    *out = r;
    return RH_OK;
}

/* ---- parts ------------------------------------------------------------------------------------------- */

/* How many positions of a block lie below pos. */
static int32_t below(const rh_row_block *b, int32_t pos) { return pos < b->pos ? 0 : pos > b->pos + b->n ? b->n : pos - b->pos; }

static int64_t rows_between(const rh_rows *r, int32_t lo, int32_t hi)
{
    int64_t n = 0;
    for (int32_t b = 0; b < r->n_blocks; b++) n += below(&r->blocks[b], hi) - below(&r->blocks[b], lo);
    return n;
}

int32_t rh_rows_end(const rh_rows *r)
{
    int32_t end = 0;
    for (int32_t b = 0; b < r->n_blocks; b++)
        if (r->blocks[b].pos + r->blocks[b].n > end) end = r->blocks[b].pos + r->blocks[b].n;
    return end;
}

/* The largest end of a part from lo on, by bisection: fits holds, breaks does not. */
static int32_t part_end(const rh_rows *r, int32_t lo, int32_t max_rows)
{
    int32_t fits = lo + 1, breaks = rh_rows_end(r) + 1;
    while (breaks - fits > 1) {
        const int32_t mid = fits + (breaks - fits) / 2;
        if (rows_between(r, lo, mid) <= max_rows) fits = mid;
        else breaks = mid;
    }
    return fits;
}

rh_status rh_rows_part(rh_rows *out, const rh_rows *whole, int32_t n_inputs, int32_t n_seqs, int32_t lo,
                       int32_t max_rows, rh_error *err)
{
    rh_rows r;
    RH_TRY(rows_new(&r, whole->n_blocks, n_inputs, n_seqs, err));
    r.lo = lo;
    r.hi = part_end(whole, lo, max_rows);
    r.asked = whole->asked;
    memcpy(r.input_of_seq, whole->input_of_seq, (size_t)n_seqs * sizeof *r.input_of_seq);
    for (int32_t b = 0; b < whole->n_blocks; b++) {
        rh_row_block block = whole->blocks[b];
        const int32_t from = below(&block, r.lo), to = below(&block, r.hi);
        if (from == to) continue;
        block.pos += from;
        block.n = to - from;
        append_block(&r, block);
    }
    *out = r;
    return RH_OK;
}

void rh_rows_free(rh_rows *r)
{
    free(r->blocks);
    free(r->base);
    free(r->fork);
    free(r->input_of_seq);
    memset(r, 0, sizeof *r);
}

int32_t rh_rows_active(const rh_rows *r, int32_t site, int32_t *n_blocks)
{
    int32_t rows = 0, b = 0;
    for (; b < r->n_blocks && r->blocks[b].from_site <= site; b++) rows += r->blocks[b].n;
    *n_blocks = b;
    return rows;
}

int32_t rh_rows_find(const rh_rows *r, const rh_sequence *seqs, const rh_step_input *inputs, int32_t input, int32_t pos,
                     int32_t site)
{
    for (;;) {
        const rh_sequence *q = &seqs[inputs[input].seq];
        const rh_row_block *base = r->base[input] < 0 ? NULL : &r->blocks[r->base[input]];
        const rh_row_block *fork = r->fork[input] < 0 ? NULL : &r->blocks[r->fork[input]];
        if (base && pos >= base->pos) return base->row + pos - base->pos;
        if (fork && site >= fork->from_site) return fork->row + pos - fork->pos;
        input = r->input_of_seq[q->parent]; /* only fresh sequences get here: their parent is in this step */
    }
}

rh_status rh_kv_spans(rh_kv_span **spans, size_t *cap, size_t *n, const rh_sequence *seqs, int32_t seq, int32_t end,
                      int32_t layer, int32_t max_len, rh_error *err)
{
    const rh_sequence *q = &seqs[seq];
    const bool borrows = q->parent >= 0 && layer < q->own_from_layer;
    const int32_t own = borrows ? q->shared_len : 0;
    if (borrows)
        RH_TRY(rh_kv_spans(spans, cap, n, seqs, q->parent, end < own ? end : own, layer, max_len, err));
    if (end <= own) return RH_OK;
    if (!RH_GROW(*spans, *cap, *n)) return rh_fail_nomem(err);
    (*spans)[(*n)++] = (rh_kv_span){.slot = seq * max_len + own, .pos = own, .len = end - own};
    return RH_OK;
}

/* ---- for explain ------------------------------------------------------------------------------------ */

rh_status rh_shared_rows(int64_t *out, const int32_t *const *ids, const int32_t *n, int32_t n_prompts, rh_error *err)
{
    rh_step_input *inputs = rh_calloc((size_t)n_prompts, sizeof *inputs);
    sorted_input *order = rh_calloc((size_t)n_prompts, sizeof *order);
    int64_t rows = 0;
    if (!inputs || !order) {
        free(inputs);
        free(order);
        return rh_fail_nomem(err);
    }
    for (int32_t i = 0; i < n_prompts; i++) {
        inputs[i] = (rh_step_input){.ids = ids[i], .n = n[i]};
        order[i] = (sorted_input){&inputs[i], i, 0};
    }
    qsort(order, (size_t)n_prompts, sizeof *order, by_tokens);
    for (int32_t i = 0; i < n_prompts; i++)
        rows += order[i].in->n - (i ? common_prefix(order[i - 1].in, order[i].in) : 0);
    free(inputs);
    free(order);
    *out = rows;
    return RH_OK;
}
