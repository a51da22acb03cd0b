#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

/* A position's cosines and sines are needed in every layer, for queries and keys, and cost
 * more than the rotation: they are kept, by frequencies and position, in chunks of 64
 * positions. A model has one or two sets of frequencies. Where memory fails, or a position is
 * beyond FAR, the values are computed on the spot; they are the same. */
enum { FAR = 1 << 20 };

/* out [2 half]: cosines, then sines, of position * inv_freq */
static void fill(float *out, int32_t position, const float *inv_freq, int32_t half)
{
    for (int32_t i = 0; i < half; i++) {
        double angle = (double)position * (double)inv_freq[i];
        out[i] = (float)cos(angle);
        out[half + i] = (float)sin(angle);
    }
}

static void free_table(rh_rope_table *t)
{
    for (int32_t i = 0; i < t->n_chunks; i++) free(t->chunks[i]);
    free(t->chunks);
    free(t->inv_freq);
    *t = (rh_rope_table){ 0 };
}

void rh_cpu_rope_free(rh_cpu *c)
{
    for (int i = 0; i < RH_ROPE_TABLES; i++) free_table(&c->rope[i]);
}

static rh_rope_table *find_table(rh_cpu *c, const float *inv_freq, int32_t half)
{
    size_t bytes = (size_t)half * sizeof *inv_freq;
    for (int i = 0; i < RH_ROPE_TABLES; i++) {
        rh_rope_table *t = &c->rope[i];
        if (t->half == half && !memcmp(t->inv_freq, inv_freq, bytes)) return t;
    }
    float *copy = malloc(bytes);
    if (!copy) return NULL;
    memcpy(copy, inv_freq, bytes);
    rh_rope_table *t = &c->rope[c->rope_next];
    c->rope_next = (c->rope_next + 1) % RH_ROPE_TABLES;
    free_table(t);
    t->inv_freq = copy;
    t->half = half;
    return t;
}

static bool grow_chunks(rh_rope_table *t, int32_t chunk)
{
    if (chunk < t->n_chunks) return true;
    float **chunks = realloc(t->chunks, ((size_t)chunk + 1) * sizeof *chunks);
    if (!chunks) return false;
    memset(chunks + t->n_chunks, 0, (size_t)(chunk + 1 - t->n_chunks) * sizeof *chunks);
    t->chunks = chunks;
    t->n_chunks = chunk + 1;
    return true;
}

typedef struct fill_job {
    const rh_rope_table *t;
    float *values;
    int32_t first; /* position */
} fill_job;

static void fill_item(void *job, int32_t i, int thread)
{
    const fill_job *j = job;
    (void)thread;
    fill(j->values + (size_t)i * 2 * (size_t)j->t->half, j->first + i, j->t->inv_freq, j->t->half);
}

/* Make sure that the chunks of all positions are filled; false: no memory, or too far. */
static bool prepare(rh_cpu *c, rh_rope_table *t, const int32_t *positions, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        int32_t chunk = positions[i] / RH_ROPE_CHUNK;
        assert(positions[i] >= 0);
        if (positions[i] >= FAR || !grow_chunks(t, chunk)) return false;
        if (t->chunks[chunk]) continue;
        fill_job job = { t, malloc(RH_ROPE_CHUNK * 2 * (size_t)t->half * sizeof(float)), chunk * RH_ROPE_CHUNK };
        if (!job.values) return false;
        rh_cpu_run(c, RH_ROPE_CHUNK, fill_item, &job);
        t->chunks[chunk] = job.values;
    }
    return true;
}

static void rotate_row(const rh_cpu_kernels *k, float *x, int32_t n_heads, int32_t half,
                       const float *cos_sin)
{
    for (int32_t h = 0; h < n_heads; h++) k->rotate(x + (size_t)h * 2 * (size_t)half, cos_sin, half);
}

enum { ROWS = 16 }; /* an item */

typedef struct rope_job {
    const rh_cpu_kernels *k;
    const rh_rope_table *t;
    float *x;
    const int32_t *positions;
    int32_t n, n_heads;
} rope_job;

static void rope_item(void *job, int32_t item, int thread)
{
    const rope_job *j = job;
    size_t width = 2 * (size_t)j->t->half;
    (void)thread;
    for (int32_t i = item * ROWS; i < (item + 1) * ROWS && i < j->n; i++) {
        int32_t p = j->positions[i];
        rotate_row(j->k, j->x + (size_t)i * (size_t)j->n_heads * width, j->n_heads, j->t->half,
                   j->t->chunks[p / RH_ROPE_CHUNK] + (size_t)(p % RH_ROPE_CHUNK) * width);
    }
}

/* Without a table: a pair at a time. */
static void rotate_plain(float *x, int32_t n_heads, int32_t half, int32_t position,
                         const float *inv_freq)
{
    for (int32_t i = 0; i < half; i++) {
        double angle = (double)position * (double)inv_freq[i];
        float c = (float)cos(angle), s = (float)sin(angle);
        for (int32_t h = 0; h < n_heads; h++) {
            float *head = x + (size_t)h * 2 * (size_t)half, a = head[i], b = head[i + half];
            head[i] = a * c - b * s;
            head[i + half] = b * c + a * s;
        }
    }
}

void rh_cpu_rope(rh_backend *be, rh_buf *x, int32_t n, int32_t n_heads, int32_t head_dim,
                 const int32_t *positions, const float *inv_freq)
{
    rh_cpu *c = rh_cpu_of(be);
    size_t width = (size_t)n_heads * (size_t)head_dim;
    assert((size_t)n * width * sizeof(float) <= x->bytes && head_dim % 2 == 0);
    if (n < 1) return;
    rh_rope_table *t = find_table(c, inv_freq, head_dim / 2);
    if (!t || !prepare(c, t, positions, n)) {
        for (int32_t i = 0; i < n; i++)
            rotate_plain(x->data + (size_t)i * width, n_heads, head_dim / 2, positions[i], inv_freq);
        return;
    }
    rope_job job = { c->k, t, x->data, positions, n, n_heads };
    rh_cpu_run(c, (n + ROWS - 1) / ROWS, rope_item, &job);
}
