/* geometry.c - see geometry.h. */
#include "probes/geometry.h"

#include <math.h>
#include <stdlib.h>

static rh_status allocate(rh_geometry *g, const char *label, int32_t n, rh_error *err)
{
    size_t count = (size_t)n;
    g->n = n;
    g->label = rh_strdup(label);
    g->labels = rh_calloc(count, sizeof *g->labels);
    g->coefficient = rh_calloc(count, sizeof *g->coefficient);
    g->norm = rh_calloc(count, sizeof *g->norm);
    g->share = rh_calloc(count, sizeof *g->share);
    g->cosine = rh_calloc(count, count * sizeof *g->cosine);
    if (!g->label || !g->labels || !g->coefficient || !g->norm || !g->share || !g->cosine)
        return rh_fail_nomem(err);
    return RH_OK;
}

rh_status rh_geometry_make(rh_geometry *out, const char *label, const rh_part *parts, int32_t n_parts,
                           const rh_vector *v, int32_t layer, rh_error *err)
{
    int32_t n = n_parts + 1;
    const float *result = rh_vector_at(v, layer).data;
    const float **rows = rh_calloc((size_t)n, sizeof *rows);
    rh_status status = RH_OK;
    if (!rows) return rh_fail_nomem(err);
    out->layer = layer;
    out->hook = v->hook;
    status = allocate(out, label, n, err);
    for (int32_t i = 0; !status && i < n; i++) {
        rows[i] = i < n_parts ? rh_vector_at(parts[i].v, layer).data : result;
        out->labels[i] = rh_strdup(i < n_parts ? parts[i].label : "result");
        if (!out->labels[i])
            status = rh_fail_nomem(err);
        else if (!rows[i] || (i < n_parts && parts[i].v->d != v->d))
            status = rh_fail(err, RH_ESITE, "'%s' does not exist at layer %d", out->labels[i], (int)layer);
    }
    if (status) goto done;
    double v2 = rh_dot(result, result, v->d);
    for (int32_t i = 0; i < n; i++) {
        double c = i < n_parts ? parts[i].c : 1;
        out->coefficient[i] = c;
        out->norm[i] = rh_norm(rows[i], v->d);
        out->share[i] = v2 > 0 ? c * rh_dot(rows[i], result, v->d) / v2 : NAN;
    }
    rh_cosine_matrix(out->cosine, rows, n, v->d);
done:
    free(rows);
    return status;
}
