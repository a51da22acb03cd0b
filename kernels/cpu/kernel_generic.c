/* The reference: every inner loop in plain C, written to be read. */
#include "kernels/cpu/elementwise.inc"
#include "kernels/cpu/soften.inc"
#include "kernels/cpu/panel.h"
#include "kernels/dequantize.inc"

/* How q of 16 bits has each four columns, and NF4's panels their codes. */
static const int crossed[4] = { 0, 2, 1, 3 };

/* s = max|x| / 32512, q = round(x / s). A block that holds a NaN or an infinity becomes all NaN;
 * one whose largest value is below 1e-30 becomes zero. */
static void quantize(rh_xblock *out, size_t stride, const float *x, int32_t blocks)
{
    for (int32_t b = 0; b < blocks; b++, x += RH_BLOCK) {
        rh_xblock *o = out + (size_t)b * stride;
        uint32_t largest = 0; /* as bits, so that NaN > infinity > all numbers */
        for (int i = 0; i < RH_BLOCK; i++) {
            uint32_t a = bits_of(x[i]) & 0x7fffffff;
            largest = a > largest ? a : largest;
        }
        float amax = float_of(largest), inv = amax >= 1e-30f ? 32512 / amax : 0;
        *o = (rh_xblock){ .s = inv > 0 ? amax / 32512 : 0 };
        if (largest >= 0x7f800000) {
            o->s = o->sum = float_of(0x7fc00000);
            continue;
        }
        for (int i = 0; i < RH_BLOCK; i++) {
            int q = (int)rintf(x[i] * inv);
            o->u.q[i / 4 * 4 + crossed[i % 4]] = (int16_t)q;
            o->minus -= q;
            if (i < 16) o->minus_first -= q;
        }
        o->sum = o->s * (float)-o->minus;
    }
}

/* One block of a panel, unpacked: w[r][c] = scale[r][c / 16] (code[r][c] - offset) + min[r]. */
typedef struct unpacked {
    int16_t code[RH_PANEL][RH_BLOCK];
    float scale[RH_PANEL][2], min[RH_PANEL];
} unpacked;

static float float_at(const uint8_t *p)
{
    float f;
    memcpy(&f, p, sizeof f);
    return f;
}

static void unpack(unpacked *u, const uint8_t *header, const uint8_t *record, rh_dtype type)
{
    static const int16_t nf4[16] = RH_NF4_WHOLE;
    const rh_panel_layout *l = rh_panel_layout_of(type);
    const uint8_t *bits = record + l->codes, *scales = bits + l->bits;
    for (int r = 0; r < RH_PANEL; r++) {
        for (int c = 0; c < RH_BLOCK; c++) {
            int v = c / 4, lane = 4 * r + (type == RH_NF4 ? crossed[c % 4] : c % 4), code;
            if (l->codes == 512) code = record[64 * v + lane];
            else code = record[64 * (v % 4) + lane] >> v / 4 * 4 & 15;
            if (l->bits == 64) code |= (bits[8 * v + lane / 8] >> lane % 8 & 1) << 4;
            if (l->bits == 128) code |= (bits[64 * (v / 4) + lane] >> v % 4 * 2 & 3) << 4;
            u->code[r][c] = type == RH_NF4 ? nf4[code] : (int16_t)code;
        }
        if (type == RH_NF4) {
            u->scale[r][0] = u->scale[r][1] = float_at(header + 4 * r) * (1 / RH_NF4_UNIT);
            u->min[r] = 0;
            continue;
        }
        const uint8_t *d = l->header ? header : scales;
        float first = half_at(d + 2 * r), second = l->min ? half_at(d + 32 + 2 * r) : 0;
        float sc0 = 1, sc1 = 1, mn = 1;
        if (type == RH_Q6_K) {
            sc0 = (float)(int8_t)scales[r];
            sc1 = (float)(int8_t)scales[16 + r];
        } else if (l->header) {
            sc0 = sc1 = (float)scales[r];
            mn = -(float)scales[16 + r];
        }
        u->scale[r][0] = first * sc0;
        u->scale[r][1] = first * sc1;
        u->min[r] = second * mn;
    }
}

/* The integer sum over a block (or the halves of it) is exact; scales and mins in float:
 *   out[r] += (scale[r] s) sum_c (code - offset) q[c] + min[r] (s sum_c q[c]) */
static void add_block(float *out, const unpacked *u, const rh_xblock *x, int offset, bool halves)
{
    for (int r = 0; r < RH_PANEL; r++) {
        int sum[2] = { 0, 0 };
        for (int c = 0; c < RH_BLOCK; c++)
            sum[c / 16] += (u->code[r][c] - offset) * x->u.q[c / 4 * 4 + crossed[c % 4]];
        if (halves) {
            out[r] += u->scale[r][0] * x->s * (float)sum[0];
            out[r] += u->scale[r][1] * x->s * (float)sum[1];
        } else {
            out[r] += u->scale[r][0] * x->s * (float)(sum[0] + sum[1]);
        }
        out[r] += u->min[r] * x->sum;
    }
}

static void panels(float *out, size_t ldo, const uint8_t *panel, size_t panel_bytes, int n_panels,
                   rh_dtype type, int32_t blocks, const rh_xblock *x, int n, const uint8_t *next)
{
    (void)next;
    const rh_panel_layout *l = rh_panel_layout_of(type);
    size_t record = (size_t)(l->codes + l->bits + l->scales);
    for (int p = 0; p < n_panels; p++, panel += panel_bytes, out += RH_PANEL) {
        const uint8_t *at = panel, *header = panel;
        for (int t = 0; t < n; t++) memset(out + (size_t)t * ldo, 0, RH_PANEL * sizeof *out);
        for (int32_t b = 0; b < blocks; b++, at += record) {
            unpacked u;
            if (b % l->per_header == 0) {
                header = at;
                at += l->header;
            }
            unpack(&u, header, at, type);
            for (int t = 0; t < n; t++)
                add_block(out + (size_t)t * ldo, &u, x + (size_t)b * (size_t)n + t, l->offset,
                          type == RH_Q6_K);
        }
    }
}

static void dots(RH_DOTS_PARAMS)
{
    enum { PIECE = 256 };
    size_t size = rh_row_bytes(type, 1);
    for (int r = 0; r < nw; r++) {
        for (int t = 0; t < nx; t++) out[(size_t)t * ldo + r] = 0;
        for (int32_t k = 0; k < cols; k += PIECE) {
            float piece[PIECE];
            int32_t n = cols - k < PIECE ? cols - k : PIECE;
            dequantize_row(piece, w[r] + (size_t)k * size, type, n);
            for (int t = 0; t < nx; t++) out[(size_t)t * ldo + r] += dot(x + (size_t)t * ldx + k, piece, n);
        }
    }
}

static float dot_product(const float *x, const float *y, int32_t n) { return dot(x, y, n); }

static void cosine_rows(RH_COSINE_ROWS_PARAMS)
{
    enum { PIECE = 256 };
    (void)ahead;
    for (int r = 0; r < 4; r++) {
        dot[r] = square[r] = 0;
        for (int32_t k = 0; k < cols; k += PIECE) {
            float piece[PIECE];
            int32_t n = cols - k < PIECE ? cols - k : PIECE;
            dequantize_row(piece, w[r] + (size_t)k * rh_row_bytes(type, 1), type, n);
            dot[r] += dot_product(v + k, piece, n);
            square[r] += dot_product(piece, piece, n);
        }
    }
}

static void cosine_columns(RH_COSINE_COLUMNS_PARAMS)
{
    enum { PIECE = 256 };
    (void)ahead;
    for (int c = 0; c < 4; c++)
        for (int32_t i = 0; i < n; i += PIECE) {
            float piece[PIECE];
            int32_t m = n - i < PIECE ? n - i : PIECE;
            dequantize_row(piece, w[c] + (size_t)i * rh_row_bytes(type, 1), type, m);
            for (int32_t k = 0; k < m; k++) {
                dot[i + k] += x[c] * piece[k];
                square[i + k] += piece[k] * piece[k];
            }
        }
}

static void screen(RH_SCREEN_PARAMS)
{
    for (int t = 0; t < n; t++, u += wide) {
        out[t] = 0;
        for (int r = 0; r < RH_PANEL; r++) {
            int32_t sum = -p->offset[r];
            for (int32_t k = 0; k < wide; k++) sum += codes[k / 4 * 64 + 4 * r + k % 4] * u[k];
            const float about = (float)sum * p->scale[r] * x[t].scale;
            const float most = about + p->norm[r] * x[t].error + p->error[r] * x[t].norm;
            if (!(most < base[r] + gain[r] * floor[t])) out[t] |= (uint16_t)(1 << r);
        }
    }
}

static void split_bf16(uint16_t *out, size_t ldo, const float *x, int32_t cols)
{
    memset(out, 0, 2 * ldo * sizeof *out);
    for (int32_t k = 0; k < cols; k++) {
        out[k] = rh_f32_to_bf16(x[k]);
        out[ldo + (size_t)k] = rh_f32_to_bf16(x[k] - rh_bf16_to_f32(out[k]));
    }
}

static void bf16_dots(float *out, size_t ldo, const uint8_t *const *w, int nw, const uint16_t *x,
                      size_t ldx, int nx, int32_t cols)
{
    for (int t = 0; t < nx; t++, x += 2 * ldx)
        for (int r = 0; r < nw; r++) {
            float sum = 0;
            for (int32_t k = 0; k < cols; k++) {
                uint16_t wk;
                memcpy(&wk, w[r] + 2 * (size_t)k, sizeof wk);
                sum += rh_bf16_to_f32(wk) * rh_bf16_to_f32(x[k]);
                sum += rh_bf16_to_f32(wk) * rh_bf16_to_f32(x[ldx + (size_t)k]);
            }
            out[(size_t)t * ldo + r] = sum;
        }
}

static void tile(float *c, size_t ldc, bool add, const float *a, size_t lda, const float *b,
                 size_t ldb, int m, int k, int nv)
{
    for (int i = 0; i < m; i++) {
        float *row = c + (size_t)i * ldc;
        if (!add) memset(row, 0, (size_t)nv * 16 * sizeof *row);
        for (int j = 0; j < k; j++) axpy(row, a[(size_t)i * lda + j], b + (size_t)j * ldb, 16 * nv);
    }
}

static void narrow(uint16_t *out, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) out[i] = rh_f32_to_f16(x[i] > 65504.0f ? 65504.0f : x[i] < -65504.0f ? -65504.0f : x[i]);
}

static void widen(float *out, const uint16_t *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) out[i] = rh_f16_to_f32(x[i]);
}

static void transpose(float *out, size_t ldo, const float *const *rows, int32_t n, int32_t d)
{
    for (int32_t c = 0; c < d; c++)
        for (int32_t i = 0; i < n; i++) out[(size_t)c * ldo + i] = rows[i][c];
}

const rh_cpu_kernels rh_cpu_generic = {
    .name = "cpu/generic", .quantize = quantize, .panels = panels, .pack = rh_pack_generic, .dequantize = dequantize_row,
    .dots = dots, .cosine_rows = cosine_rows, .cosine_columns = cosine_columns, .screen = screen, .bf16_dots = bf16_dots, .split_bf16 = split_bf16, .tile = tile, .narrow = narrow, .widen = widen,
    .transpose = transpose, .dot = dot, .axpy = axpy, .scale = scale, .rmsnorm = rmsnorm,
    .glu = glu, .softcap = softcap, .soften = soften, .rotate = rotate,
};
