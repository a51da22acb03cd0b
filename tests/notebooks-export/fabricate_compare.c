#include "fabricate_compare.h"

#include <math.h>

enum { N = FABRICATED_VECTORS, L = FABRICATED_LAYERS, PAIRS = N * (N - 1) / 2, ZERO = 2 };

const rh_compare_report *fabricate_compare(void)
{
    static char model[] = "smol", site[] = "15.resid_post", prompt[] = "Say \"it\"\n\xff.", notes[] = "0*rain is zero: it does nothing";
    static char names[N][96] = {"sf", "\x1b[31m東京の塔 is a very long name for a vector, and goes on\xff", "0*rain"};
    static char *expressions[N], *sites[N], *prompts[] = {prompt};
    static double norm[N], cosine[N * N], median_h[L], effect_norm[L * N], effect_cosine[L * N * N], moved[L * N * N], sum[PAIRS][2 * L];
    static int32_t layers[L] = {16, 20, 24, 29};
    static rh_compare_pair pairs[PAIRS];
    for (int i = 0; i < N; i++) {
        if (i > ZERO) names[i][0] = (char)('a' + i);
        expressions[i] = names[i];
        sites[i] = site;
        norm[i] = i == ZERO ? 0 : 80.5 + i;
        for (int k = 0; k < N; k++) cosine[i * N + k] = i == ZERO || k == ZERO ? NAN : i == k ? 1 : 0.01 * (i - k);
    }
    for (int l = 0; l < L; l++) {
        median_h[l] = 120.25 * (l + 1);
        for (int i = 0; i < N; i++) {
            effect_norm[l * N + i] = i == ZERO ? 0 : 40 + 10 * l;
            for (int k = 0; k < N; k++) {
                effect_cosine[(l * N + i) * N + k] = cosine[i * N + k];
                moved[(l * N + i) * N + k] = k == ZERO ? NAN : 1234.5 * (i == k) - k;
            }
        }
    }
    int n = 0;
    for (int a = 0; a < N; a++)
        for (int b = a + 1; b < N; b++, n++) {
            for (int l = 0; l < L; l++) {
                sum[n][l] = 1 - 0.01 * l;
                sum[n][L + l] = a == ZERO || b == ZERO ? 1 : 0.9;
            }
            pairs[n] = (rh_compare_pair){a, b, sum[n], sum[n] + L};
        }
    static rh_compare_report r;
    r = (rh_compare_report){.model = model, .strength = 2, .n = N, .expressions = expressions, .sites = sites, .norm = norm, .cosine = cosine,
                            .prompts = prompts, .n_prompts = 1, .n_tokens = 7, .n_layers = L, .layers = layers, .median_h = median_h,
                            .effect_norm = effect_norm, .effect_cosine = effect_cosine, .moved = moved, .pairs = pairs, .n_pairs = PAIRS,
                            .notes = notes, .seconds = 1.25};
    return &r;
}
