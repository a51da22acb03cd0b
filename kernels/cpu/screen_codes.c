/* screen_codes.c - a matrix in codes of 8 bits, and its bounds; inputs, too. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/cpu/screen.h"

/* A product is wanted only where it exceeds a level. Codes of 8 bits say of most that it does not; the others
 * are computed again as matmul does it.
 *
 * Why no row is missed. H is orthogonal (mix), w' = H w and x' = H x, so w.x = w'.x'. With what codes stand
 * for, w' = w^ + e and x' = x^ + f, all exact,
 *     w.x = w^.x^ + w^.f + e.x',  so by Cauchy and Schwarz  |w.x - w^.x^| <= |w^| |f| + |e| |x'|.
 * w^.x^ is a whole number, summed without error, times two scales; |w^|, |f|, |e| and |x'| are measured. What
 * is left are roundings, each at most |w| |x| times
 *     mix, twice: 2 * 6.1 * 2^-24              matmul's sums: at most 2 cols 2^-24, with bf16 in two parts 2^-18 too
 *     this formula: 8 * 2^-24
 * and their sum is below ROUNDINGS(cols), which stands in rh_screen_panel.error. The level's own roundings are
 * met by lowering it (lowered).
 *
 * H mixes so that no coordinate is large beside the others: states have a few that are twenty times the rest,
 * and one scale for all would leave the rest no bits. Before it, columns are padded with zeros to a multiple
 * of 64. */
#define ROUNDINGS(cols) ((2.0 * (cols) + 128) / 16777216 + 1.0 / 131072)

enum {
    MIXED = 64,
    X_LEVELS = 63, W_LEVELS = 127, W_EIGHT = 254 /* and eight of w of one sign, unrounded */
};

static int32_t wide_of(int32_t cols) { return (cols + MIXED - 1) / MIXED * MIXED; }
static int32_t panels_of(int32_t rows) { return (rows + RH_PANEL - 1) / RH_PANEL; }

size_t rh_screen_bytes(int32_t rows, int32_t cols)
{
    return (size_t)panels_of(rows) * (RH_PANEL * (size_t)wide_of(cols) + sizeof(rh_screen_panel));
}

/* ---- codes ---------------------------------------------------------------------------------- */

/* x [wide] = H x: six steps of sums and differences between 64 stretches; each doubles squares. */
static void mix(float *x, int32_t wide)
{
    for (int32_t h = wide / MIXED; h < wide; h *= 2)
        for (int32_t i = 0; i < wide; i += 2 * h)
            for (int32_t j = i; j < i + h; j++) {
                const float a = x[j], b = x[j + h];
                x[j] = a + b;
                x[j + h] = a - b;
            }
    for (int32_t j = 0; j < wide; j++) x[j] *= 0.125f;
}

/* The largest size of what is above 0, or below, of the eight columns that a kernel adds up in 16 bits (cpu.h). */
static float largest_eight(const float *x, int32_t wide)
{
    float most = 0;
    for (int32_t j = 0; j < wide; j += 16)
        for (int32_t k = j; k < j + 4; k += 2) {
            float above = 0, below = 0;
            for (int32_t i = k; i < j + 16; i += 4) {
                above += (x[i] > 0 ? x[i] : 0) + (x[i + 1] > 0 ? x[i + 1] : 0);
                below += (x[i] < 0 ? x[i] : 0) + (x[i + 1] < 0 ? x[i + 1] : 0);
            }
            most = above > most ? above : most;
            most = -below > most ? -below : most;
        }
    return most;
}

/* x [wide], which is mixed, in codes -levels .. levels, any eight of one sign within `eight` (0: no matter): screen.h
 * says the rest. */
static rh_screen_coded code(int8_t *out, float *x, int32_t wide, int levels, int eight)
{
    const float magic = 12582912.0f; /* 1.5 2^23: adding it rounds to whole numbers */
    float most = 0;
    mix(x, wide);
    for (int32_t j = 0; j < wide; j++) most = fabsf(x[j]) > most ? fabsf(x[j]) : most;
    const float eights = eight ? largest_eight(x, wide) * (float)levels / (float)eight : 0;
    most = eights > most ? eights : most;
    double all = 0, left = 0;
    for (int32_t j = 0; j < wide; j++) all += (double)x[j] * x[j];
    if (!(all < 1e72)) {
        memset(out, 0, (size_t)wide);
        return (rh_screen_coded){ .norm = INFINITY, .error = INFINITY };
    }
    const float scale = most > 1e-30f ? most / (float)levels : 0, inverse = scale > 0 ? (float)levels / most : 0;
    rh_screen_coded c = { .scale = scale, .norm = sqrt(all) };
    for (int32_t j = 0; j < wide; j++) {
        const float q = (x[j] * inverse + magic) - magic;
        const double e = x[j] - (double)scale * q;
        out[j] = (int8_t)q;
        c.sum += out[j];
        c.squares += out[j] * out[j];
        left += e * e;
    }
    c.error = sqrt(left);
    return c;
}

rh_screen_coded rh_screen_code_input(int8_t *out, float *x, int32_t wide) { return code(out, x, wide, X_LEVELS, 0); }

/* ---- of a matrix ---------------------------------------------------------------------------- */

typedef struct make_job { const rh_cpu_kernels *k; rh_screen *s; float *row; int8_t *code; } make_job;

/* A row's codes go where its panel has them; padding rows stay zero. */
static void make_panel(void *job, int32_t panel, int thread)
{
    const make_job *j = job;
    rh_screen *s = j->s;
    rh_screen_panel *p = &s->panels[panel];
    float *x = j->row + (size_t)thread * (size_t)s->wide;
    int8_t *codes = j->code + (size_t)thread * (size_t)s->wide;
    int8_t *to = s->codes + (size_t)panel * RH_PANEL * (size_t)s->wide;
    memset(p, 0, sizeof *p);
    memset(to, 0, RH_PANEL * (size_t)s->wide);
    for (int32_t r = 0; r < RH_PANEL && panel * RH_PANEL + r < s->rows; r++) {
        memset(x + s->cols, 0, (size_t)(s->wide - s->cols) * sizeof *x);
        j->k->dequantize(x, s->data + (size_t)(panel * RH_PANEL + r) * s->row_bytes, s->type, s->cols);
        const rh_screen_coded c = code(codes, x, s->wide, W_LEVELS, W_EIGHT);
        for (int32_t k = 0; k < s->wide; k += 4) memcpy(to + k / 4 * 64 + 4 * r, codes + k, 4);
        p->scale[r] = (float)c.scale;
        p->offset[r] = 64 * c.sum;
        p->norm[r] = (float)(c.scale * sqrt(c.squares) * RH_SCREEN_UP);
        p->error[r] = (float)((c.error + ROUNDINGS(s->cols) * c.norm) * RH_SCREEN_UP);
    }
}

rh_status rh_cpu_screen_new(rh_backend *be, rh_screen **out, const void *data, rh_dtype t, int32_t rows, int32_t cols,
                            rh_error *err)
{
    rh_cpu *c = rh_cpu_of(be);
    const size_t threads = (size_t)be->threads, wide = (size_t)wide_of(cols);
    assert(rh_dtype_get(t)->block == 1 && rows > 0 && cols > 0 && cols <= 1 << 17);
    char *scratch = rh_cpu_scratch(c, threads * wide * (sizeof(float) + 1));
    rh_screen *s = rh_calloc(1, sizeof *s);
    if (!scratch || !s) {
        free(s);
        return rh_fail_nomem(err);
    }
    *s = (rh_screen){ .data = data, .type = t, .row_bytes = rh_row_bytes(t, cols), .rows = rows, .cols = cols,
                      .wide = wide_of(cols), .n_panels = panels_of(rows) };
    s->codes = rh_alloc_pages((size_t)s->n_panels * RH_PANEL * wide);
    s->panels = rh_calloc_aligned((size_t)s->n_panels, sizeof *s->panels);
    if (!s->codes || !s->panels) {
        rh_cpu_screen_free(be, s);
        return rh_fail_nomem(err);
    }
    make_job j = { c->k, s, (float *)scratch, (int8_t *)scratch + threads * wide * sizeof(float) };
    rh_cpu_run(c, s->n_panels, make_panel, &j);
    *out = s;
    return RH_OK;
}

void rh_cpu_screen_free(rh_backend *be, rh_screen *s)
{
    (void)be;
    if (!s) return;
    free(s->codes);
    free(s->panels);
    free(s);
}
