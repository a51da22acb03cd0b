/* groups.c - items that share something stand together, and fall into folds together. */
#include <stdlib.h>
#include <string.h>

#include "algebra/statistics.h"
#include "base/mem.h"
#include "base/rng.h"

/* ---- union-find ------------------------------------------------------------------------------------ */

/* The root of x; every other node on the way is linked to its grandparent. */
static int32_t find(int32_t *parent, int32_t x)
{
    while (parent[x] != x) {
        parent[x] = parent[parent[x]];
        x = parent[x];
    }
    return x;
}

/* The smaller root stays: roots are first appearances. */
static void join(int32_t *parent, int32_t x, int32_t y)
{
    x = find(parent, x);
    y = find(parent, y);
    if (x < y) parent[y] = x;
    else parent[x] = y;
}

static void join_equal(int32_t *parent, int32_t *first, const int32_t *id, int32_t n)
{
    for (int32_t i = 0; i < n; i++) first[i] = -1;
    for (int32_t i = 0; i < n; i++) {
        if (first[id[i]] < 0) first[id[i]] = i;
        else join(parent, first[id[i]], i);
    }
}

rh_status rh_groups(int32_t *group, int32_t *n_groups, const int32_t *a, const int32_t *b, int32_t n, rh_error *err)
{
    int32_t *parent = rh_calloc((size_t)n, sizeof *parent), *first = rh_calloc((size_t)n, sizeof *first);
    rh_status status = parent && first ? RH_OK : rh_fail_nomem(err);
    if (status) goto done;
    for (int32_t i = 0; i < n; i++) parent[i] = i;
    join_equal(parent, first, a, n);
    if (b) join_equal(parent, first, b, n);
    *n_groups = 0;
    for (int32_t i = 0; i < n; i++) {
        int32_t root = find(parent, i);
        group[i] = root == i ? (*n_groups)++ : group[root];
    }
done:
    free(parent);
    free(first);
    return status;
}

/* ---- folds ----------------------------------------------------------------------------------------- */

typedef struct entry { int32_t group, size; uint64_t draw; } entry;

static int compare(const void *x, const void *y)
{
    const entry *a = x, *b = y;
    if (a->size != b->size) return a->size > b->size ? -1 : 1;
    if (a->draw != b->draw) return a->draw < b->draw ? -1 : 1;
    return (a->group > b->group) - (a->group < b->group);
}

rh_status rh_folds(int32_t *fold, int32_t k, const int32_t (*counts)[2], int32_t n_groups, uint64_t seed,
                   rh_error *err)
{
    enum { FOLDS = 0x666f6c64 }; /* a stream of its own */
    entry *order = rh_calloc((size_t)n_groups, sizeof *order);
    int64_t (*load)[2] = rh_calloc((size_t)k, sizeof *load);
    rh_status status = order && load ? RH_OK : rh_fail_nomem(err);
    if (status) goto done;
    for (int32_t g = 0; g < n_groups; g++)
        order[g] = (entry){g, counts[g][0] + counts[g][1], rh_random_u64(seed, FOLDS, (uint64_t)g)};
    qsort(order, (size_t)n_groups, sizeof *order, compare);
    for (int32_t i = 0; i < n_groups; i++) {
        const int32_t *c = counts[order[i].group];
        int32_t best = 0;
        int64_t least = INT64_MAX;
        for (int32_t f = 0; f < k; f++) {
            int64_t cost = load[f][0] * c[0] + load[f][1] * c[1];
            if (cost >= least) continue;
            least = cost;
            best = f;
        }
        fold[order[i].group] = best;
        load[best][0] += c[0];
        load[best][1] += c[1];
    }
done:
    free(order);
    free(load);
    return status;
}
