/* vectors.c - dot products, norms, cosines and linear combinations.
 *
 * Four accumulators, not one: they break the chain of dependent additions, and shorten the
 * longest sum. BLAS' dsdot is not used: OpenBLAS sums it in float32 blocks. */
#include "algebra/algebra.h"

#include <math.h>

/* a·b = sum_j a[j] b[j]; a product of two floats is exact in double. */
double rh_dot(const float *a, const float *b, int32_t d)
{
    double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    int32_t j = 0;
    for (; j + 4 <= d; j += 4) {
        s0 += (double)a[j] * b[j];
        s1 += (double)a[j + 1] * b[j + 1];
        s2 += (double)a[j + 2] * b[j + 2];
        s3 += (double)a[j + 3] * b[j + 3];
    }
    for (; j < d; j++) s0 += (double)a[j] * b[j];
    return (s0 + s1) + (s2 + s3);
}

double rh_norm(const float *a, int32_t d) { return sqrt(rh_dot(a, a, d)); }

static double cosine_of(double dot, double norm_a, double norm_b)
{
    if (norm_a == 0 || norm_b == 0) return 0;
    double c = dot / norm_a / norm_b;
    return c > 1 ? 1 : c < -1 ? -1 : c; /* rounding must not leave acos' domain */
}

double rh_cosine(const float *a, const float *b, int32_t d)
{
    return cosine_of(rh_dot(a, b, d), rh_norm(a, d), rh_norm(b, d));
}

/* out[j] = sum_i c[i] v[i][j]. By blocks, so that the sums stay in the first cache and no
 * memory is needed. */
rh_status rh_linear_combination(float *out, const double *c, const float *const *v, int32_t n,
                                int32_t d, rh_error *err)
{
    enum { BLOCK = 256 };
    double sum[BLOCK];
    for (int32_t start = 0; start < d; start += BLOCK) {
        int32_t len = d - start < BLOCK ? d - start : BLOCK;
        for (int32_t j = 0; j < len; j++) sum[j] = 0;
        for (int32_t i = 0; i < n; i++) {
            const float *vi = v[i] + start;
            for (int32_t j = 0; j < len; j++) sum[j] += c[i] * vi[j];
        }
        for (int32_t j = 0; j < len; j++) {
            out[start + j] = (float)sum[j];
            if (!isfinite(out[start + j]))
                return rh_fail(err, RH_EVALUE, "the sum leaves the range of float32");
        }
    }
    return RH_OK;
}

/* The diagonal is 1, or 0 for a zero vector. */
void rh_cosine_matrix(double *out, const float *const *v, int32_t n, int32_t d)
{
    for (int32_t i = 0; i < n; i++) out[(size_t)i * n + i] = rh_norm(v[i], d);
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = 0; j < i; j++) {
            double c = cosine_of(rh_dot(v[i], v[j], d), out[(size_t)i * n + i], out[(size_t)j * n + j]);
            out[(size_t)i * n + j] = out[(size_t)j * n + i] = c;
        }
    for (int32_t i = 0; i < n; i++) out[(size_t)i * n + i] = out[(size_t)i * n + i] > 0;
}
