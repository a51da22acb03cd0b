/* The cache: what is found again, what is added, and what is not trusted. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "concepts/cache.h"
#include "concepts/help.h"

static const char pairs_csv[] = "positive,negative\nThe mayor of San Francisco,The mayor of Paris\nI love rain,I love snow\n";

typedef struct { folder f; rh_model *m; char cache[300], vectors[320]; const char *csv; } setting;

static setting set_up(void)
{
    setting s = {.f = folder_new(), .m = open_model("words.gguf")};
    snprintf(s.cache, sizeof s.cache, "%s/cache", s.f.path);
    snprintf(s.vectors, sizeof s.vectors, "%s/vectors", s.cache);
    s.csv = write_text(&s.f, "pairs.csv", pairs_csv);
    return s;
}

static void tear_down(setting *s)
{
    rh_model_free(s->m);
    folder_remove(&s->f);
}

/* Compute layers first .. first+n-1; stats of it. */
static float *ask(const setting *s, const rh_atom_spec *spec, rh_hook hook, int32_t first, int32_t n, rh_extract_stats *stats)
{
    rh_concepts *c = new_concepts(s->m, s->cache);
    float *v = compute(c, spec, hook, first, n, RH_OK, NULL);
    *stats = rh_concepts_stats(c);
    assert_string_equal(rh_concepts_warnings(c), "");
    rh_concepts_free(c);
    return v;
}

static void test_found_again(void **state)
{
    (void)state;
    setting s = set_up();
    rh_atom_spec spec = dim_spec(s.csv);
    rh_extract_stats stats;
    float *a = ask(&s, &spec, RH_RESID_POST, 1, 1, &stats);
    assert_int_equal(stats.cached_atoms, 0);
    assert_int_equal(stats.prompts, 4);
    float *b = ask(&s, &spec, RH_RESID_POST, 1, 1, &stats);
    assert_int_equal(stats.cached_atoms, 1);
    assert_int_equal(stats.prompts, 0);
    assert_memory_equal(a, b, 32 * sizeof *a);
    assert_int_equal(count_files(s.vectors), 1);
    free(b);
    /* More layers: only what is missing, and the old ones stay as they were. */
    b = ask(&s, &spec, RH_RESID_POST, 0, 3, &stats);
    assert_int_equal(stats.prompts, 4);
    assert_memory_equal(a, b + 32, 32 * sizeof *a);
    assert_int_equal(count_files(s.vectors), 1);
    free(b);
    b = ask(&s, &spec, RH_RESID_POST, 0, 3, &stats);
    assert_int_equal(stats.cached_atoms, 1);
    assert_memory_equal(a, b + 32, 32 * sizeof *a);
    free(a);
    free(b);
    tear_down(&s);
}

/* Whatever the numbers depend on gives another entry; the folder the CSV lies in does not. */
static void test_keys(void **state)
{
    (void)state;
    setting s = set_up();
    rh_extract_stats stats;
    rh_atom_spec base = dim_spec(s.csv), specs[12];
    int n = 0;
    for (int i = 0; i < 12; i++) specs[i] = base;
    specs[n++] = base;
    specs[n++].at = RH_AT_MEAN;
    specs[n++].at = RH_AT_ALL;
    specs[n++].chat = true;
    specs[n++].prefix = "The ";
    specs[n++] = dim_spec(write_text(&s.f, "other.csv", "positive,negative\nThe rain,The snow\n"));
    specs[n++] = act_spec("The rain");
    specs[n++] = act_spec("The snow");
    for (int i = 0; i < n; i++) {
        free(ask(&s, &specs[i], RH_RESID_POST, 0, 1, &stats));
        assert_int_equal(stats.cached_atoms, 0);
        assert_int_equal(count_files(s.vectors), i + 1);
    }
    free(ask(&s, &base, RH_MLP_OUT, 0, 1, &stats));
    assert_int_equal(count_files(s.vectors), n + 1);
    rh_atom_spec moved = dim_spec(write_text(&s.f, "moved.csv", pairs_csv));
    free(ask(&s, &moved, RH_RESID_POST, 0, 1, &stats));
    assert_int_equal(stats.cached_atoms, 1);
    assert_int_equal(count_files(s.vectors), n + 1);
    tear_down(&s);
}

/* ---- damage ------------------------------------------------------------------------------- */

typedef enum { FLIP_DATA, FLIP_CLAIM, CUT, EMPTY, NOTHING_LIKE_IT, OTHER_ENTRY, NOT_FINITE, A_FOLDER, N_DAMAGES } damage;

static char *slurp(const char *path, size_t *n)
{
    char *bytes = NULL;
    assert_int_equal(rh_read_file(&bytes, n, path, 1 << 20, NULL), RH_OK);
    return bytes;
}

static void spit(const char *path, const char *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static char *find(char *bytes, size_t n, const char *word)
{
    for (size_t i = 0; i + strlen(word) <= n; i++)
        if (memcmp(bytes + i, word, strlen(word)) == 0) return bytes + i;
    return NULL;
}

static void harm(const char *path, const char *other, damage kind)
{
    size_t n, n_other;
    char *bytes = slurp(path, &n), *others = slurp(other, &n_other), *at;
    float bad = NAN;
    switch (kind) {
    case FLIP_DATA: bytes[n - 5] ^= 1; break;
    case FLIP_CLAIM: /* a number in the metadata: ..."tokens\": 19 */
        at = find(bytes, n, "tokens");
        assert_non_null(at);
        while (*at < '0' || *at > '9') at++;
        *at = *at == '9' ? '8' : (char)(*at + 1);
        break;
    case CUT: n -= 1; break;
    case EMPTY: n = 0; break;
    case NOTHING_LIKE_IT: memset(bytes, 'x', n); break;
    case OTHER_ENTRY:
        free(bytes);
        bytes = others;
        n = n_other;
        others = NULL;
        break;
    case NOT_FINITE: memcpy(bytes + n - sizeof bad, &bad, sizeof bad); break;
    default: break;
    }
    if (kind == A_FOLDER) {
        assert_int_equal(unlink(path), 0);
        assert_int_equal(mkdir(path, 0777), 0);
    } else {
        spit(path, bytes, n);
    }
    free(bytes);
    free(others);
}

static void test_damage_is_rebuilt(void **state)
{
    (void)state;
    for (damage kind = 0; kind < N_DAMAGES; kind++) {
        setting s = set_up();
        rh_atom_spec spec = dim_spec(s.csv), act = act_spec("The rain");
        rh_extract_stats stats;
        char path[400], other[400];
        float *a = ask(&s, &act, RH_RESID_POST, 0, 2, &stats);
        free(a);
        snprintf(other, sizeof other, "%s/other", s.f.path);
        assert_int_equal(rename(only_file(s.vectors), other), 0);
        a = ask(&s, &spec, RH_RESID_POST, 0, 2, &stats);
        snprintf(path, sizeof path, "%s", only_file(s.vectors));
        harm(path, other, kind);
        rh_concepts *c = new_concepts(s.m, s.cache);
        float *b = compute(c, &spec, RH_RESID_POST, 0, 2, RH_OK, NULL);
        assert_int_equal(rh_concepts_stats(c).cached_atoms, 0);
        assert_memory_equal(a, b, 64 * sizeof *a);
        if (kind == A_FOLDER) assert_non_null(strstr(rh_concepts_warnings(c), "not cached"));
        rh_concepts_free(c);
        free(b);
        if (kind != A_FOLDER) { /* and the file is whole again */
            b = ask(&s, &spec, RH_RESID_POST, 0, 2, &stats);
            assert_int_equal(stats.cached_atoms, 1);
            assert_memory_equal(a, b, 64 * sizeof *a);
            free(b);
        }
        free(a);
        tear_down(&s);
    }
}

/* Every bit of a small entry, one after the other: it is read as it was, or not at all. */
static void test_every_byte(void **state)
{
    (void)state;
    setting s = set_up();
    rh_atom_spec spec = dim_spec(s.csv);
    rh_extract_stats stats;
    rh_entry e;
    char key[65], path[400];
    size_t n;
    free(ask(&s, &spec, RH_RESID_POST, 1, 1, &stats));
    snprintf(path, sizeof path, "%s", only_file(s.vectors));
    const char *slash = strrchr(path, '/');
    memcpy(key, slash + 1, 64);
    key[64] = '\0';
    char *bytes = slurp(path, &n);
    assert_int_equal(rh_cache_get(&e, s.cache, key, RH_RESID_POST, 32, NULL), RH_OK);
    assert_non_null(e.vector);
    rh_entry whole = e;
    int refused = 0;
    for (size_t i = 0; i < n; i++) {
        bytes[i] ^= (char)(1 << (i % 8));
        spit(path, bytes, n);
        bytes[i] ^= (char)(1 << (i % 8));
        assert_int_equal(rh_cache_get(&e, s.cache, key, RH_RESID_POST, 32, NULL), RH_OK);
        if (!e.vector) {
            refused++;
            continue;
        }
        assert_int_equal(e.vector->n_layers, 1);
        assert_int_equal(e.vector->layers[0], 1);
        assert_int_equal(e.tokens, whole.tokens);
        assert_memory_equal(e.vector->data, whole.vector->data, 32 * sizeof(float));
        rh_entry_free(&e);
    }
    assert_true(refused > (int)n / 2);
    rh_entry_free(&whole);
    free(bytes);
    tear_down(&s);
}

/* Several processes, one folder: each gets the right vectors, and what is left in the folder can be used. */
static void test_many_writers(void **state)
{
    (void)state;
    enum { PROCESSES = 4, ROUNDS = 12 };
    setting s = set_up();
    rh_atom_spec spec = dim_spec(s.csv);
    rh_extract_stats stats;
    pid_t children[PROCESSES];
    rh_concepts *c = new_concepts(s.m, NULL);
    float *want = compute(c, &spec, RH_RESID_POST, 0, 3, RH_OK, NULL);
    rh_concepts_free(c);
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i]) continue;
        int wrong = 0;
        for (int round = 0; round < ROUNDS; round++) {
            int32_t layer = (i + round) % 3;
            float *v = ask(&s, &spec, RH_RESID_POST, layer, 1, &stats);
            wrong += memcmp(v, want + layer * 32, 32 * sizeof *v) != 0;
            free(v);
        }
        _exit(wrong);
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status = -1;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(count_files(s.vectors), 1); /* and no temporary ones */
    float *v = ask(&s, &spec, RH_RESID_POST, 0, 3, &stats);
    assert_memory_equal(v, want, 96 * sizeof *v);
    v = (free(v), ask(&s, &spec, RH_RESID_POST, 0, 3, &stats));
    assert_int_equal(stats.cached_atoms, 1);
    free(v);
    free(want);
    tear_down(&s);
}

/* A folder that cannot be written costs a warning, not the vector. */
static void test_no_place(void **state)
{
    (void)state;
    setting s = set_up();
    rh_atom_spec spec = dim_spec(s.csv);
    rh_concepts *c = new_concepts(s.m, write_text(&s.f, "file", "in the way"));
    free(compute(c, &spec, RH_RESID_POST, 0, 1, RH_OK, NULL));
    assert_non_null(strstr(rh_concepts_warnings(c), "not cached"));
    rh_concepts_free(c);
    tear_down(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_found_again), cmocka_unit_test(test_keys),
                                       cmocka_unit_test(test_damage_is_rebuilt), cmocka_unit_test(test_every_byte),
                                       cmocka_unit_test(test_many_writers),
                                       cmocka_unit_test(test_no_place)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
