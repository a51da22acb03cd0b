#include "engine/plan_memory.h"

#include <stdio.h>

/* ---- what things take ------------------------------------------------------------------------------- */

static int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* CUDA's allocator takes pages of 2 MiB, of which small blocks share one. */
int64_t rh_plan_block(int64_t bytes)
{
    enum { PAGE = 2 << 20, SMALL = 512 };
    return up(bytes, bytes < PAGE / 2 ? SMALL : PAGE);
}

/* A row may be parted in two, each at a multiple of 16. */
int64_t rh_plan_matrix(rh_dtype t, int64_t rows, int64_t cols)
{
    return rh_plan_block(rows * (up((int64_t)rh_row_bytes(t, cols), 16) + 16));
}

static int64_t floats(int64_t rows, int64_t width) { return rh_plan_block(rows * width * (int64_t)sizeof(float)); }

/* Widths of all activations (session_internal.h). */
enum { N_WIDTHS = 9 };
static void widths(int64_t out[N_WIDTHS], const rh_model_config *c)
{
    const int64_t q = (int64_t)c->n_heads * c->head_dim, kv = (int64_t)c->n_kv_heads * c->head_dim;
    const int64_t all[N_WIDTHS] = {c->d_model, c->d_model, c->d_model, q, q, kv, kv, c->d_ff, c->d_ff};
    for (int i = 0; i < N_WIDTHS; i++) out[i] = all[i];
}

int32_t rh_plan_step_rows(const rh_model_config *c)
{
    int64_t all[N_WIDTHS], row = 0;
    widths(all, c);
    for (int i = 0; i < N_WIDTHS; i++) row += all[i] * (int64_t)sizeof(float);
    const int64_t fits = RH_STEP_BYTES / row;
    return (int32_t)(fits > RH_STEP_ROWS ? RH_STEP_ROWS : fits < RH_FEWEST_STEP_ROWS ? RH_FEWEST_STEP_ROWS : fits);
}

int64_t rh_plan_step(const rh_model_config *c, int64_t rows, int64_t logit_rows)
{
    int64_t all[N_WIDTHS], sum = 0;
    if (rows > rh_plan_step_rows(c)) rows = rh_plan_step_rows(c);
    if (logit_rows > RH_LOGIT_ROWS) logit_rows = RH_LOGIT_ROWS;
    widths(all, c);
    for (int i = 0; i < N_WIDTHS; i++) sum += floats(up(rows, 64), all[i]);
    return sum + floats(logit_rows, c->d_model) + floats(logit_rows, c->n_vocab);
}

/* The encoder, and a block of rows before it. */
int64_t rh_plan_sae(int64_t d_in, int64_t d_sae, rh_dtype t)
{
    enum { BLOCK_ROWS = 512 };
    return rh_plan_matrix(t, d_sae, d_in) + floats(BLOCK_ROWS, d_in);
}

/* ---- does it fit ------------------------------------------------------------------------------------ */

void rh_plan_caches(rh_memory_plan *p, const rh_model_config *c, int32_t layers, rh_dtype kv, int64_t seqs, int64_t len)
{
    p->seqs = seqs;
    p->len = len;
    p->blocks = 2 * (int64_t)layers;
    p->row = (int64_t)rh_row_bytes(kv, (int64_t)c->n_kv_heads * c->head_dim);
}

static int64_t caches(const rh_memory_plan *p, int64_t seqs, int64_t len) { return p->blocks * rh_plan_block(seqs * len * p->row); }
int64_t rh_plan_cache(const rh_memory_plan *p) { return caches(p, p->seqs, p->len); }
int64_t rh_plan_total(const rh_memory_plan *p) { return p->weights + rh_plan_cache(p) + p->step + p->sae; }

static double gb(int64_t bytes) { return (double)bytes / 1e9; }

/* "weights 17.2 GB, …" */
static void list_parts(char out[160], const rh_memory_plan *p)
{
    const struct { const char *name; int64_t bytes; } parts[] = {
        {"weights", p->weights}, {"keys and values", rh_plan_cache(p)}, {"activations and logits", p->step}, {"the SAE's encoder", p->sae}};
    size_t used = 0;
    out[0] = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i].bytes)
            used += (size_t)snprintf(out + used, 160 - used, "%s%s %.2f GB", used ? ", " : "", parts[i].name, gb(parts[i].bytes));
}

/* The most sequences of p->len positions, or positions of p->seqs sequences, whose caches fit. */
static int64_t most(const rh_memory_plan *p, int64_t room, bool of_sequences)
{
    int64_t lo = 0, hi = of_sequences ? p->seqs : p->len; /* lo fits, hi does not */
    while (hi - lo > 1) {
        const int64_t mid = lo + (hi - lo) / 2;
        if (caches(p, of_sequences ? mid : p->seqs, of_sequences ? p->len : mid) <= room) lo = mid;
        else hi = mid;
    }
    return lo;
}

static void hint_session(const rh_memory_plan *p, int64_t room, rh_error *err)
{
    enum { WORTH_IT = 16 };
    const int64_t left = p->blocks ? room - p->step : 0, len = most(p, left, false), seqs = most(p, left, true);
    if (p->seqs > 1 && seqs > 0)
        rh_hint(err, "there is room for %lld of these at once, or for all with %lld tokens each", (long long)seqs, (long long)len);
    else if (len >= WORTH_IT)
        rh_hint(err, "there is room for %lld tokens%s: shorten the prompt, lower --max-tokens, or use --device cpu", (long long)len,
                p->seqs > 1 ? " each" : "");
    else rh_hint(err, "use --device cpu, or a smaller model");
}

static void hint_model(const rh_memory_plan *p, int64_t room, rh_error *err)
{
    const int64_t smaller = rh_plan_total(p) - p->weights + p->as_nf4;
    if (p->as_nf4 < p->weights && smaller <= room) rh_hint(err, "with --quantize nf4 it takes %.2f GB", gb(smaller));
    else if (p->as_nf4 < p->weights)
        rh_hint(err, "with --quantize nf4 it would still take %.2f GB: use --device cpu, or a smaller model", gb(smaller));
    else rh_hint(err, "use --device cpu, or a smaller model");
}

rh_status rh_plan_check(const rh_memory_plan *p, size_t free_bytes, size_t all_bytes, rh_error *err)
{
    char parts[160];
    const int64_t need = rh_plan_total(p);
    if (free_bytes >= (size_t)need) return RH_OK;
    const int64_t room = (int64_t)free_bytes;
    list_parts(parts, p);
    rh_fail(err, RH_ENOMEM, "%s would take %.2f GB of the device's memory, but of its %.2f GB %.2f GB are free: %.2f GB are missing (%s)",
            p->what, gb(need), gb((int64_t)all_bytes), gb(room), gb(need - room), parts);
    if (p->weights) hint_model(p, room, err);
    else if (p->sae) rh_hint(err, "use fewer SAEs at once, a shorter context, or --device cpu");
    else hint_session(p, room, err);
    return RH_ENOMEM;
}

rh_status rh_plan_check_on(const rh_memory_plan *p, rh_backend *be, rh_error *err)
{
    size_t free_bytes, all_bytes;
    be->ops->memory(be, &free_bytes, &all_bytes);
    return free_bytes == SIZE_MAX ? RH_OK : rh_plan_check(p, free_bytes, all_bytes, err);
}
