#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "engine/files/gguf.h"
#include "engine/files/npy.h"
#include "engine/files/safetensors.h"
#include "engine/files/vectorfile.h"
#include "make.h"
#include "support/heap_map.h"

/* Damaged files must be refused or read, never crash: N mutations of each good file, always the
 * same ones. The bytes stand on the heap, so that the sanitizer sees a read too far. */
enum { N = 3000, SEED = 1789 };

typedef struct dice {
    uint64_t stream, counter;
} dice;

static size_t below(dice *d, size_t n)
{
    return n ? (size_t)(rh_random_u64(SEED, d->stream, d->counter++) % n) : 0;
}

static const uint64_t extremes[] = {
    0, 1, 2, 7, 8, 9, 31, 32, 33, 127, 128, 255, 256, 65535, 65536, INT32_MAX, UINT32_MAX,
    (uint64_t)1 << 32, INT64_MAX, (uint64_t)1 << 63, UINT64_MAX, UINT64_MAX - 7, UINT64_MAX / 4 + 1,
};

/* One to four small damages. */
static void mutate(rh_str *s, dice *d)
{
    for (size_t k = 1 + below(d, 4); k > 0 && s->len; k--) {
        size_t at = below(d, s->len), n = 1 + below(d, 8);
        if (n > s->len - at) n = s->len - at;
        uint64_t value = extremes[below(d, sizeof extremes / sizeof *extremes)];
        switch (below(d, 8)) {
        case 0: s->data[at] = (char)(s->data[at] ^ 1 << below(d, 8)); break;
        case 1: s->data[at] = (char)below(d, 256); break;
        case 2: s->data[at] = "0123456789-.eE[]{}(),:\"'\\ \n"[below(d, 26)]; break;
        case 3: memcpy(s->data + at, &value, n); break;
        case 4: s->len = below(d, 8) ? s->len - below(d, n) : at; break; /* cut off */
        case 5: memmove(s->data + at, s->data + at + n, s->len - at - n), s->len -= n; break;
        case 6: zeros(s, n); break;
        default: { /* a piece again somewhere else */
            size_t to = below(d, s->len);
            if (n > s->len - to) n = s->len - to;
            memmove(s->data + to, s->data + at, n);
        }
        }
    }
}

static volatile unsigned sink;

/* Reads all bytes that the tensor says it has. */
static void touch(const rh_tensor *t)
{
    unsigned sum = 0;
    for (size_t i = 0; i < t->size; i++) sum += t->data[i];
    sink += sum + (unsigned)strlen(t->name) + (unsigned)strlen(t->raw_type);
}

static bool try_gguf(void)
{
    rh_gguf *g = NULL;
    rh_error e;
    if (rh_gguf_open(&g, "x.gguf", &e)) {
        assert_true(e.message[0]);
        return false;
    }
    for (int64_t i = 0; i < rh_gguf_n_tensors(g); i++) {
        touch(rh_gguf_tensor(g, i));
        assert_ptr_equal(rh_gguf_find(g, rh_gguf_tensor(g, i)->name), rh_gguf_tensor(g, i));
    }
    for (int64_t i = 0; i < rh_gguf_n_keys(g); i++) {
        rh_str value = { 0 };
        const char *key = rh_gguf_key(g, i, &value);
        int64_t whole, n = 0;
        double real;
        bool yes;
        rh_bytes text;
        const rh_bytes *strings = NULL;
        rh_gguf_i64(&whole, g, key, NULL);
        rh_gguf_f64(&real, g, key, NULL);
        rh_gguf_bool(&yes, g, key, NULL);
        if (!rh_gguf_string(&text, g, key, NULL))
            for (size_t j = 0; j < text.len; j++) sink += (unsigned char)text.data[j];
        if (!rh_gguf_strings(&strings, &n, g, key, NULL))
            for (int64_t j = 0; j < n; j++)
                for (size_t c = 0; c < strings[j].len; c++) sink += (unsigned char)strings[j].data[c];
        if (!rh_gguf_array_n(&n, g, key, NULL) && n < 100000) {
            float *floats = rh_calloc((size_t)n, sizeof *floats);
            int64_t *ints = rh_calloc((size_t)n, sizeof *ints);
            rh_gguf_floats(floats, n, g, key, NULL);
            rh_gguf_ints(ints, n, g, key, NULL);
            free(floats);
            free(ints);
        }
        rh_str_free(&value);
    }
    rh_gguf_close(g);
    return true;
}

static bool try_safetensors(void)
{
    rh_safetensors *f = NULL;
    rh_error e;
    if (rh_safetensors_open(&f, "x.safetensors", &e)) {
        assert_true(e.message[0]);
        return false;
    }
    for (int64_t i = 0; i < rh_safetensors_n(f); i++) touch(rh_safetensors_tensor(f, i));
    rh_safetensors_meta(f, "who");
    rh_safetensors_close(f);
    return true;
}

static bool try_npy(void)
{
    float *data = NULL;
    int n_dims;
    int64_t shape[2];
    rh_error e;
    if (rh_npy_read(&data, &n_dims, shape, "x.npy", &e)) {
        assert_true(e.message[0]);
        return false;
    }
    free(data);
    return true;
}

static bool try_vector(const char *path)
{
    rh_vectorfile f = { 0 };
    rh_error e;
    if (rh_vectorfile_read(&f, path, NULL, &e)) {
        assert_true(e.message[0]);
        return false;
    }
    rh_vectorfile_free(&f);
    return true;
}

static bool try_vector_safetensors(void) { return try_vector("x.safetensors"); }
static bool try_vector_gguf(void) { return try_vector("x.gguf"); }
static bool try_vector_npy(void) { return try_vector("x.npy"); }

static void good_npy(rh_str *s)
{
    npy(s, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 24);
}

static void good_npy_vector(rh_str *s)
{
    npy(s, 2, "{'descr': '<f8', 'fortran_order': True, 'shape': (3,), }", 24);
}

static void good_control_vector(rh_str *s)
{
    gguf_header(s, 3, 2, 2);
    gguf_text(s, "general.architecture", "controlvector");
    gguf_text(s, "rhumb", "{\"hook\":\"resid_post\"}");
    gguf_tensor(s, "direction.1", 4, 0, 0, 0);
    gguf_tensor(s, "direction.2", 4, 0, 1, 32);
    pad(s, 32);
    zeros(s, 64);
}

static void good_vector(rh_str *s)
{
    safetensors(s, "{\"__metadata__\":{\"rhumb\":\"{\\\"hook\\\":\\\"mlp_in\\\"}\"},"
                   "\"direction.3\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                   "\"direction.4\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[8,12]}}", 12);
}

static const struct target {
    void (*make)(rh_str *s);
    bool (*try_it)(void);
} targets[] = {
    { good_gguf, try_gguf },
    { good_safetensors, try_safetensors },
    { good_npy, try_npy },
    { good_control_vector, try_vector_gguf },
    { good_vector, try_vector_safetensors },
    { good_npy_vector, try_vector_npy },
};
enum { TARGETS = sizeof targets / sizeof *targets };

static bool try_bytes(const struct target *t, const rh_str *s, size_t n)
{
    heap_map_set(s->data, n);
    bool ok = t->try_it();
    heap_map_set(NULL, 0);
    return ok;
}

static void mutations(void **state)
{
    (void)state;
    for (size_t t = 0; t < TARGETS; t++) {
        int opened = 0;
        for (int i = 0; i < N; i++) {
            rh_str s = { 0 };
            dice d = { t << 32 | (uint64_t)i, 0 };
            targets[t].make(&s);
            mutate(&s, &d);
            opened += try_bytes(&targets[t], &s, s.len);
            rh_str_free(&s);
        }
        /* Some damage is harmless (a name, a value); most is not. */
        assert_in_range(opened, N / 100, N / 2);
    }
}

/* Cut off anywhere: refused. */
static void truncations(void **state)
{
    (void)state;
    for (size_t t = 0; t < TARGETS; t++) {
        rh_str s = { 0 };
        targets[t].make(&s);
        assert_true(try_bytes(&targets[t], &s, s.len));
        /* The last tensor of good_gguf is of a type whose size is not known. */
        size_t needed = targets[t].make == good_gguf ? s.len - 74 : s.len;
        if (targets[t].make == good_control_vector) needed -= 24; /* padding */
        for (size_t n = 0; n < needed; n++)
            if (try_bytes(&targets[t], &s, n)) fail_msg("target %zu opened with %zu of %zu bytes", t, n, s.len);
        rh_str_free(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(mutations), cmocka_unit_test(truncations) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
