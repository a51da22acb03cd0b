/* slerp.c - spherical interpolation. */
#include "algebra/algebra.h"

#include <math.h>

/* With â, b̂ unit directions and θ the angle between them,
 *     out = ((1-t)‖a‖ + t‖b‖) (sin((1-t)θ) â + sin(tθ) b̂) / sin θ.
 * θ = 2 atan2(‖â-b̂‖, ‖â+b̂‖) is exact near 0 and π, where acos is not (Kahan). */
rh_status rh_slerp(float *out, const float *a, const float *b, double t, int32_t d, rh_error *err)
{
    static const double OPPOSITE = 1e-6; /* ‖â+b̂‖ below: float32 says nothing about the way round */
    static const double SAME = 1e-4;     /* θ below: sin x / sin θ = x / θ to 2e-9 */
    double norm_a = rh_norm(a, d), norm_b = rh_norm(b, d);
    if (norm_a == 0 || norm_b == 0)
        return rh_fail(err, RH_EVALUE, "a zero vector has no direction to turn from or to");

    double minus = 0, plus = 0;
    for (int32_t j = 0; j < d; j++) {
        double x = a[j] / norm_a, y = b[j] / norm_b;
        minus += (x - y) * (x - y);
        plus += (x + y) * (x + y);
    }
    minus = sqrt(minus);
    plus = sqrt(plus);
    if (plus < OPPOSITE)
        return rh_fail(err, RH_EVALUE, "opposite directions: every way round is as short");

    double theta = 2 * atan2(minus, plus);
    double wa = theta < SAME ? 1 - t : sin((1 - t) * theta) / sin(theta);
    double wb = theta < SAME ? t : sin(t * theta) / sin(theta);
    double length = (1 - t) * norm_a + t * norm_b;
    for (int32_t j = 0; j < d; j++) {
        out[j] = (float)(length * (wa * (a[j] / norm_a) + wb * (b[j] / norm_b)));
        if (!isfinite(out[j])) return rh_fail(err, RH_EVALUE, "slerp leaves the range of float32");
    }
    return RH_OK;
}
