#include "cuda/script.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/help.h"

enum { D = 256, HEADS = 4, KV = 2, E = 64, FF = 256, VOCAB = 300, LAYERS = 2, SLOTS = 64, FIRST = 3, BUFS = 24, ROWS = 200, COLS = 96, DECODED = 3, TOKENS = 20 };
enum { H, X, Y, Q, K, V, Z, GATE, UP, LOGITS, HEAD, FLAGS, IDS, GAIN, HEAD_GAIN, DIRECTION, BASIS, BIAS, KEYS, VALUES = KEYS + LAYERS };
enum { W_Q, W_K, W_V, W_O, W_GATE, W_UP, W_DOWN, W_EMBED, WEIGHTS };

static const struct { int32_t rows, cols; } shapes[WEIGHTS] = {{HEADS * E, D}, {KV * E, D}, {KV * E, D}, {D, HEADS * E},
                                                               {FF, D}, {FF, D}, {D, FF}, {VOCAB, D}};

struct script_data {
    rh_dtype type;
    uint8_t *weights[WEIGHTS], *screen, *matrix;
    float filled[BUFS][SLOTS * KV * E], v[COLS];
};

typedef struct script {
    const script_data *d;
    rh_backend *be;
    const rh_ops *ops;
    script_results *out;
    rh_error *err;
    int32_t n;
    rh_buf *b[BUFS];
    rh_weight *w[WEIGHTS];
    rh_screen *screen;
    int32_t ids[64], rows[64], positions[64], slots[64], n_groups;
    rh_attention_group groups[DECODED];
    rh_kv_span spans[DECODED];
} script;

static rh_status results_room(script_results *r, size_t n, rh_error *err)
{
    if (r->n + n <= r->capacity) return RH_OK;
    float *x = rh_realloc_array(r->x, r->capacity + n + 65536, sizeof *x);
    if (!x) return rh_fail_nomem(err);
    r->x = x;
    r->capacity += n + 65536;
    return RH_OK;
}

void script_free(script_results *r)
{
    free(r->x);
    *r = (script_results){0};
}

static rh_status keep(script *s, int buf, size_t floats)
{
    RH_TRY(results_room(s->out, floats, s->err));
    s->ops->download(s->be, s->out->x + s->out->n, s->b[buf], 0, floats * sizeof(float));
    s->out->n += floats;
    return RH_OK;
}

/* ---- before the step ----------------------------------------------------------------------------- */

script_data *script_data_new(rh_dtype weights)
{
    uint64_t random = 77;
    script_data *d = must_malloc(sizeof *d);
    d->type = weights;
    for (int i = 0; i < WEIGHTS; i++) d->weights[i] = random_rows(&random, weights, shapes[i].rows, shapes[i].cols);
    d->screen = random_rows(&random, RH_F32, VOCAB, D);
    d->matrix = random_rows(&random, RH_BF16, ROWS, COLS); /* turned, it is [COLS, ROWS] */
    for (int i = 0; i < BUFS; i++) random_floats(&random, d->filled[i], SLOTS * KV * E);
    random_floats(&random, d->v, COLS);
    for (int b = DIRECTION; b <= BASIS; b++) { /* unit length, orthogonal */
        memset(d->filled[b], 0, sizeof d->filled[b]);
        for (size_t i = 0; i < 3; i++) d->filled[b][i * D + 7 * i + 2] = 0.6f, d->filled[b][i * D + 7 * i + 5] = 0.8f;
    }
    return d;
}

void script_data_free(script_data *d)
{
    for (int i = 0; i < WEIGHTS; i++) free(d->weights[i]);
    free(d->screen);
    free(d->matrix);
    free(d);
}

static rh_status new_buf(script *s, int buf, size_t floats, bool filled)
{
    RH_TRY(s->ops->buf_new(s->be, &s->b[buf], floats * sizeof(float), s->err));
    if (filled) s->ops->upload(s->be, s->b[buf], 0, s->d->filled[buf], floats * sizeof(float));
    return RH_OK;
}

static rh_status new_bufs(script *s)
{
    const size_t n = (size_t)s->n;
    const struct { int buf; size_t floats; bool filled; } all[] = {
        {H, n * D, false}, {X, n * D, false}, {Y, n * D, false}, {Q, n * HEADS * E, false}, {K, n * KV * E, false},
        {V, n * KV * E, false}, {Z, n * HEADS * E, false}, {GATE, n * FF, false}, {UP, n * FF, false},
        {LOGITS, n * VOCAB, false}, {HEAD, n * D, false}, {FLAGS, 2 * n, false}, {IDS, n, false}, {GAIN, D, true},
        {HEAD_GAIN, E, true}, {DIRECTION, D, true}, {BASIS, 3 * D, true}, {BIAS, D, true}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) RH_TRY(new_buf(s, all[i].buf, all[i].floats, all[i].filled));
    for (int l = 0; l < LAYERS; l++) {
        RH_TRY(new_buf(s, KEYS + l, SLOTS * KV * E, true));
        RH_TRY(new_buf(s, VALUES + l, SLOTS * KV * E, true));
    }
    return RH_OK;
}

static rh_status new_weights(script *s)
{
    int32_t order[VOCAB];
    for (int32_t r = 0; r < KV * E; r++) order[r] = KV * E - 1 - r;
    for (int i = 0; i < WEIGHTS; i++)
        RH_TRY(s->ops->weight_new(s->be, &s->w[i], s->d->weights[i], s->d->type, shapes[i].rows, shapes[i].cols,
                                  i == W_K ? order : NULL, s->err));
    return RH_OK;
}

static void release(script *s)
{
    s->ops->screen_free(s->be, s->screen);
    for (int i = 0; i < WEIGHTS; i++) s->ops->weight_free(s->be, s->w[i]);
    for (int i = 0; i < BUFS; i++) s->ops->buf_free(s->be, s->b[i]);
}

/* ---- the step ------------------------------------------------------------------------------------ */

static rh_status attend(script *s, int layer)
{
    const int32_t n = s->n;
    float frequencies[E / 2];
    const rh_attention_params p = {HEADS, KV, E, layer ? 4 : 0, 0.125f, layer ? 20 : 0, RH_F32};
    const rh_matmul_target qkv[] = {{.w = s->w[W_Q], .out = s->b[Q]}, {.w = s->w[W_K], .out = s->b[K]}, {.w = s->w[W_V], .out = s->b[V]}};
    for (int i = 0; i < E / 2; i++) frequencies[i] = powf(10000, -2.0f * (float)i / E);
    s->ops->rmsnorm(s->be, s->b[X], s->b[H], s->b[GAIN], n, D, 1e-5f);
    RH_TRY(s->ops->matmul(s->be, s->b[X], n, qkv, 3, s->err));
    if (layer) {
        s->ops->rmsnorm(s->be, s->b[Q], s->b[Q], s->b[HEAD_GAIN], n * HEADS, E, 1e-5f);
        s->ops->rmsnorm(s->be, s->b[K], s->b[K], s->b[HEAD_GAIN], n * KV, E, 1e-5f);
    }
    s->ops->rope(s->be, s->b[Q], n, HEADS, E, s->positions, frequencies);
    s->ops->rope(s->be, s->b[K], n, KV, E, s->positions, frequencies);
    s->ops->scatter_rows(s->be, s->b[KEYS + layer], RH_F32, s->slots, s->b[K], n, KV * E);
    s->ops->scatter_rows(s->be, s->b[VALUES + layer], RH_F32, s->slots, s->b[V], n, KV * E);
    return s->ops->attention(s->be, s->b[Z], s->b[Q], s->b[KEYS + layer], s->b[VALUES + layer], s->groups, s->n_groups, &p, s->err);
}

/* What an experiment does at a site of layer 1: a guard, then an action of each kind. */
static void act(script *s)
{
    const rh_gate gate = {s->b[FLAGS], s->n};
    const rh_guard_test test = {.cosine = true, .compare = RH_COMPARE_GT, .norm = 1, .threshold = -0.01f};
    const int32_t n = s->n, half = (n + 1) / 2;
    s->ops->guard_rows(s->be, s->b[FLAGS], n, s->b[H], s->rows, n, D, s->b[DIRECTION], &test);
    s->ops->steer_rows(s->be, s->b[H], s->rows, n, D, s->b[DIRECTION], 1.5f, &gate);
    s->ops->ablate_rows(s->be, s->b[H], s->rows, half, D, s->b[BASIS], 3, NULL);
    s->ops->move_rows(s->be, s->b[H], s->rows + half, n - half, D, s->b[DIRECTION], RH_MOVE_CAP, 0.25f, NULL);
    s->ops->move_rows(s->be, s->b[H], s->rows, 1, D, s->b[DIRECTION], RH_MOVE_CLAMP, -2, NULL);
}

static rh_status layer(script *s, int i)
{
    const int32_t n = s->n;
    const rh_matmul_target o = {.w = s->w[W_O], .bias = s->b[BIAS], .out = i ? s->b[Y] : s->b[H], .add = !i};
    const rh_matmul_target gate_up[] = {{.w = s->w[W_GATE], .out = s->b[GATE]}, {.w = s->w[W_UP], .out = s->b[UP]}};
    const rh_matmul_target down = {.w = s->w[W_DOWN], .out = s->b[H], .add = true};
    RH_TRY(attend(s, i));
    RH_TRY(s->ops->matmul(s->be, s->b[Z], n, &o, 1, s->err));
    if (i) {
        s->ops->rmsnorm(s->be, s->b[Y], s->b[Y], s->b[GAIN], n, D, 1e-6f);
        s->ops->add(s->be, s->b[H], s->b[Y], (int64_t)n * D);
        act(s);
    }
    s->ops->rmsnorm(s->be, s->b[X], s->b[H], s->b[GAIN], n, D, 1e-6f);
    RH_TRY(s->ops->matmul(s->be, s->b[X], n, gate_up, 2, s->err));
    s->ops->glu(s->be, s->b[GATE], s->b[GATE], s->b[UP], n, FF, i ? RH_ACT_GELU_TANH : RH_ACT_SILU);
    return s->ops->matmul(s->be, s->b[GATE], n, &down, 1, s->err);
}

/* The last two rows: logits, and a token of the last with all penalties. */
static rh_status head(script *s)
{
    static const int32_t seen[] = {1, 5, 299}, count[] = {2, 1, 7};
    const rh_sample_spec spec = {.temperature = 0.7, .top_p = 0.95, .min_p = 0.01, .repetition = 1.3, .frequency = 0.1, .presence = 0.2,
                                 .u = 0.4, .top_k = 40, .seen = seen, .count = count, .n_seen = 3};
    const int32_t last = s->n - 1;
    const rh_matmul_target out = {.w = s->w[W_EMBED], .out = s->b[LOGITS]};
    s->ops->gather_rows(s->be, s->b[HEAD], 0, s->b[H], &last, 1, D);
    s->ops->rmsnorm(s->be, s->b[HEAD], s->b[HEAD], s->b[GAIN], 1, D, 1e-5f);
    RH_TRY(s->ops->matmul(s->be, s->b[HEAD], 1, &out, 1, s->err));
    s->ops->softcap(s->be, s->b[LOGITS], VOCAB, 30);
    RH_TRY(keep(s, LOGITS, VOCAB));
    RH_TRY(s->ops->sample(s->be, s->b[IDS], s->b[LOGITS], 1, VOCAB, &spec, s->err));
    s->ops->fetch(s->be, &s->out->token, s->b[IDS], 0, sizeof s->out->token);
    return s->ops->wait(s->be, s->err);
}

static rh_status step(script *s)
{
    float *captured;
    const size_t width = (size_t)s->n * D;
    s->n_groups = 1;
    s->spans[0] = (rh_kv_span){40, 0, FIRST}; /* what another sequence began */
    s->spans[1] = (rh_kv_span){1, FIRST, s->n};
    s->groups[0] = (rh_attention_group){0, s->n, FIRST, 2, s->spans};
    for (int32_t i = 0; i < s->n; i++) {
        s->rows[i] = i;
        s->ids[i] = (i * 37 + 5) % VOCAB;
        s->positions[i] = FIRST + i;
        s->slots[i] = 1 + i;
    }
    s->ops->embed(s->be, s->b[H], s->w[W_EMBED], s->ids, s->n, 2);
    for (int i = 0; i < LAYERS; i++) {
        RH_TRY(layer(s, i));
        RH_TRY(results_room(s->out, width, s->err));
        captured = s->out->x + s->out->n;
        s->out->n += width;
        s->ops->fetch(s->be, captured, s->b[H], 0, width * sizeof(float));
        RH_TRY(s->ops->wait(s->be, s->err)); /* results may move as they grow */
    }
    RH_TRY(keep(s, FLAGS, 2 * (size_t)s->n));
    for (size_t i = s->out->n - 2 * (size_t)s->n; i < s->out->n; i++) { /* flags are whole numbers */
        int32_t flag;
        memcpy(&flag, &s->out->x[i], sizeof flag);
        s->out->x[i] = (float)flag;
    }
    return head(s);
}

/* ---- tokens -------------------------------------------------------------------------------------- */

static void place_token(script *s, int32_t t, int32_t room)
{
    s->n_groups = s->n;
    for (int32_t i = 0; i < s->n; i++) {
        s->rows[i] = i;
        s->positions[i] = t;
        s->slots[i] = i * room + t;
        s->spans[i] = (rh_kv_span){i * room, 0, t + 1};
        s->groups[i] = (rh_attention_group){i, 1, t, 1, &s->spans[i]};
    }
}

/* Penalties of all tokens so far, drawn [t, n]. */
static rh_status draw(script *s, int32_t *drawn, int32_t t)
{
    int32_t seen[DECODED][VOCAB], count[DECODED][VOCAB];
    rh_sample_spec specs[DECODED];
    for (int32_t i = 0; i < s->n; i++) {
        specs[i] = (rh_sample_spec){.temperature = 1, .top_p = 1, .repetition = 1.2, .presence = 0.3, .u = (double)(t * 7 % 10) / 10,
                                    .seen = seen[i], .count = count[i]};
        for (int32_t id = 0; id < VOCAB; id++) {
            int32_t many = 0;
            for (int32_t k = 0; k < t; k++) many += drawn[k * s->n + i] == id;
            if (!many) continue;
            seen[i][specs[i].n_seen] = id;
            count[i][specs[i].n_seen++] = many;
        }
    }
    RH_TRY(s->ops->sample(s->be, s->b[IDS], s->b[LOGITS], s->n, VOCAB, specs, s->err));
    s->ops->fetch(s->be, drawn + t * s->n, s->b[IDS], 0, (size_t)s->n * sizeof *drawn);
    return s->ops->wait(s->be, s->err);
}

static rh_status token(script *s, int32_t *drawn, int32_t t)
{
    const rh_matmul_target out = {.w = s->w[W_EMBED], .out = s->b[LOGITS]};
    for (int32_t i = 0; i < s->n; i++) s->ids[i] = t ? drawn[(t - 1) * s->n + i] : i;
    s->ops->embed(s->be, s->b[H], s->w[W_EMBED], s->ids, s->n, 2);
    for (int l = 0; l < LAYERS; l++) RH_TRY(layer(s, l));
    s->ops->gather_rows(s->be, s->b[HEAD], 0, s->b[H], s->rows, s->n, D);
    s->ops->rmsnorm(s->be, s->b[HEAD], s->b[HEAD], s->b[GAIN], s->n, D, 1e-5f);
    RH_TRY(s->ops->matmul(s->be, s->b[HEAD], s->n, &out, 1, s->err));
    return draw(s, drawn, t);
}

rh_status script_decode(rh_backend *be, int32_t *drawn, const script_data *d, int32_t n, int32_t tokens, rh_error *err)
{
    script s = {.d = d, .be = be, .ops = be->ops, .err = err, .n = n};
    rh_status status = new_bufs(&s);
    if (!status) status = new_weights(&s);
    for (int32_t t = 0; t < tokens && !status; t++) {
        place_token(&s, t, TOKENS);
        status = token(&s, drawn, t);
    }
    release(&s);
    return status;
}

/* ---- the two that look through many rows --------------------------------------------------------- */

static rh_status hits(script *s)
{
    float base[VOCAB], gain[VOCAB], floor[64];
    const rh_screen_level level = {base, gain, floor};
    rh_hits h = {0};
    for (int i = 0; i < VOCAB; i++) base[i] = 0.5f, gain[i] = 0.001f * (float)i;
    for (int i = 0; i < 64; i++) floor[i] = 0.25f * (float)i;
    rh_status status = s->ops->screen_new(s->be, &s->screen, s->d->screen, RH_F32, VOCAB, D, s->err);
    if (!status) status = s->ops->screen(s->be, &h, s->screen, s->b[H], s->n, &level, s->err);
    if (!status) status = results_room(s->out, 2 * h.start[s->n], s->err);
    for (size_t i = 0; !status && i < h.start[s->n]; i++) {
        s->out->x[s->out->n++] = (float)h.row[i];
        s->out->x[s->out->n++] = h.p[i];
    }
    rh_hits_free(&h);
    s->ops->screen_free(s->be, s->screen);
    s->screen = NULL;
    return status;
}

static rh_status cosines(script *s)
{
    for (int turned = 0; turned < 2; turned++) {
        RH_TRY(results_room(s->out, ROWS, s->err));
        RH_TRY(s->ops->cosines(s->be, s->out->x + s->out->n, s->d->matrix, RH_BF16, ROWS, COLS, turned, s->d->v, s->err));
        s->out->n += ROWS;
    }
    return RH_OK;
}

rh_status script_run(rh_backend *be, script_results *out, const script_data *d, int32_t n, rh_error *err)
{
    script s = {.d = d, .be = be, .ops = be->ops, .out = out, .err = err, .n = n};
    out->n = 0;
    rh_status status = new_bufs(&s);
    if (!status) status = new_weights(&s);
    if (!status) status = step(&s);
    if (!status) status = hits(&s);
    if (!status) status = cosines(&s);
    release(&s);
    const rh_status last = be->ops->wait(be, status ? NULL : err);
    return status ? status : last;
}
