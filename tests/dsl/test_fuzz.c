/* Mutated books and expressions, a fixed number from a fixed seed: nothing crashes (run under
 * sanitizers too), and what fails says where. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "fuzz_language.h"

enum { ROUNDS = 30000, MAX_TEXT = 4096 };

static const char *const SEEDS[] = {
    "model \"m\"\nlayer 16\nlet a = dim(\"a.csv\", at=mean, prefix=\"x\")\nlet b = 2*(a-token(\"t\"))+a\nsteer 1.5*b on last, generated 0..20, not \"x\"\n",
    "let sf = load(\"sf.safetensors\"); let f = load(\"fam.safetensors\") @ 14..16\nsteer norm(f)*f on not special\nablate span(sf, sf) on tokens 3..\n",
    "sae s31 = \"layer_31/params.npz\" @ 31\nlet x = s31[120353, \"san\"]\nclamp x at 3 on prompt when dot(h, x) >= .5\n",
    "unit(dim(\"a.csv\")) @ [3, 7].attn_out + random(7)/norm(act(\"<<x>>\", at=marked, chat=true))",
    "free(load(\"sf.safetensors\") @ 31.resid_post) @ all - slerp(token(\"a\"), unembed(\"b\"), 0.25)*-1e-3",
    "lerp(mean(dim(\"a.csv\"), token(\"x\")), reject(dim(\"b.csv\"), span(token(\"x\"), token(\"y\"))), angle(token(\"x\"), token(\"y\"))/180)",
    "let a = b; let b = c; let c = a # cycle \xe6\x9d\xb1\xe4\xba\xac\ncap a at dot(neutral(), unit(pca(\"x.csv\", center=false)))\nscale a by resid_norm(0.5)",
    "layer 3\nlet w = lda(\"a.csv\", shrink=0.5); let v = logreg(\"b.csv\", l2=1e-2); let f = load(\"fam.safetensors\")\ncap f at 0.5*norm(f) on last when cos(h, w) > 0.2\nclamp w at dot(neutral(), unit(v)) when dot(h, v) <= resid_norm(0.9)\n",
    "scale pca(\"a.csv\", center=true) @ 14..18 by resid_norm() / 8 on generated when cos(h, token(\"x\") - neutral()) < -.5",
    "0.2*resid_norm(1/2)*unit(load(\"sf.safetensors\")) + free(resid_norm(0) @ 7)*neutral()",
    "((((((((1))))))))*-----dim(\"a.csv\")/(3 - 2.5e0)",
    "include \"books/none.rhumb\"\nlet \xc3\xa9 = rescale(dim(\"a.csv\"), 8)\nsteer proj(\xc3\xa9, token(\"x\")) + cos(\xc3\xa9, \xc3\xa9)*\xc3\xa9 @ 16",
};
enum { N_SEEDS = (int)(sizeof SEEDS / sizeof *SEEDS) };
static const char *const PIECES[] = {
    "(", ")", "[", "]", "@", " @ 14", ".", "..", ",", "=", "+", "-", "*", "/", "\"", "\\", "\n", ";", "#", " on ", "not ", "let x = ", "steer ",
    "ablate ", "include \"a\"", "layer ", "1e308", "99999999999999999999", "0", "14..18", "all", "unit(", "norm(", "span(", "free(", "random(1)",
    "dim(\"bad.csv\")", "dim(\"missing.csv\")", "dim(\"nan.csv\")", "load(\"huge.npy\")", "load(\"zero.npy\")", "load(\"z.safetensors\")", "\xff",
    "\xe6\x9d", "\xcc\x88", "\t", "\r", "a", "b", "x", "h", "when ", "at=", "true", "1e-400", "<", ">=", "\x01", "cap ", "clamp ", "scale ",
    " at ", " by ", "resid_norm()", "resid_norm(0.25)", "neutral()", "pca(\"labels.csv\")", " when cos(h, ", "shrink=", "l2=", "center=", "free(",
};
enum { N_PIECES = (int)(sizeof PIECES / sizeof *PIECES) };

typedef struct dice { uint64_t round, at; } dice;
static size_t roll(dice *d, size_t n) { return (size_t)(rh_random_u64(2024, d->round, d->at++) % n); }

/* text[len] with [at, at+drop) replaced. */
static void splice(char *text, size_t *len, size_t at, size_t drop, const char *bytes, size_t n)
{
    if (at > *len) at = *len;
    if (drop > *len - at) drop = *len - at;
    if (*len - drop + n >= MAX_TEXT) return;
    memmove(text + at + n, text + at + drop, *len - at - drop);
    memcpy(text + at, bytes, n);
    *len = *len - drop + n;
}

static void mutate(dice *d, char *text, size_t *len)
{
    const char *other = SEEDS[roll(d, N_SEEDS)], *piece = PIECES[roll(d, N_PIECES)];
    size_t at = roll(d, *len + 1), from = roll(d, strlen(other)), n = roll(d, strlen(other) - from + 1);
    char byte = (char)(1 + roll(d, 255));
    switch (roll(d, 7)) {
    case 0: splice(text, len, at, roll(d, 8), "", 0); break;
    case 1: splice(text, len, at, 1, &byte, 1); break;
    case 2: splice(text, len, at, 0, other + from, n); break;
    case 3: case 4: splice(text, len, at, 0, piece, strlen(piece)); break;
    case 5: splice(text, len, at, strlen(piece), piece, strlen(piece)); break;
    default: *len = at; break; /* cut off */
    }
}

static void mutated(void **state)
{
    (void)state;
    char text[MAX_TEXT + 1];
    int good = 0;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        dice d = {.round = round};
        const char *seed = SEEDS[roll(&d, N_SEEDS)];
        size_t len = strlen(seed), times = roll(&d, 6);
        memcpy(text, seed, len);
        for (size_t i = 0; i < times; i++) mutate(&d, text, &len);
        text[len] = '\0';
        char *exact = malloc(len + 1); /* so that reading past the end is seen */
        memcpy(exact, text, len + 1);
        fuzz_choice choice = {.layers = (unsigned)roll(&d, 4), .all_names = roll(&d, 2), .value = roll(&d, 2), .book = !roll(&d, 2),
                              .no_model = !roll(&d, 8)};
        good += fuzz_language(exact, choice);
        free(exact);
    }
    assert_true(good > ROUNDS / 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(mutated)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
