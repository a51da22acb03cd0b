/* Sets of active features. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/sae_coder.h"

void rh_sae_active_free(rh_sae_active *a)
{
    free(a->start);
    free(a->index);
    free(a->value);
    *a = (rh_sae_active){ 0 };
}

rh_status rh_sae_active_rows(rh_sae_active *a, int32_t n, rh_error *err)
{
    *a = (rh_sae_active){ 0 };
    a->start = rh_calloc((size_t)n + 1, sizeof *a->start);
    return a->start ? RH_OK : rh_fail_nomem(err);
}

rh_status rh_sae_active_add(rh_sae_active *a, int32_t i, float value, rh_error *err)
{
    size_t n = a->start[a->n + 1];
    if (n == a->capacity) {
        size_t more = a->capacity ? 2 * a->capacity : 1024;
        int32_t *index = rh_realloc_array(a->index, more, sizeof *index);
        if (index) a->index = index;
        float *values = index ? rh_realloc_array(a->value, more, sizeof *values) : NULL;
        if (values) a->value = values;
        if (!values) return rh_fail_nomem(err);
        a->capacity = more;
    }
    a->index[n] = i;
    a->value[n] = value;
    a->start[a->n + 1]++;
    return RH_OK;
}

rh_status rh_sae_active_from(rh_sae_active *out, const float *f, int32_t n, int32_t d_sae, rh_error *err)
{
    rh_sae_active a;
    RH_TRY(rh_sae_active_rows(&a, n, err));
    rh_status status = RH_OK;
    for (; !status && a.n < n; a.n++) {
        const float *row = f + (size_t)a.n * (size_t)d_sae;
        rh_sae_active_begin(&a);
        for (int32_t i = 0; !status && i < d_sae; i++) {
            if (!isfinite(row[i])) status = rh_fail(err, RH_EVALUE, "feature %d of row %d is not finite", i, a.n);
            else if (row[i] != 0) status = rh_sae_active_add(&a, i, row[i], err);
        }
    }
    if (status) rh_sae_active_free(&a);
    else *out = a;
    return status;
}

void rh_sae_active_dense(float *f, const rh_sae_active *a, int32_t first, int32_t n, int32_t d_sae)
{
    memset(f, 0, (size_t)n * (size_t)d_sae * sizeof *f);
    for (int32_t t = 0; t < n; t++)
        for (size_t j = a->start[first + t]; j < a->start[first + t + 1]; j++)
            f[(size_t)t * (size_t)d_sae + (size_t)a->index[j]] = a->value[j];
}
