/* Values against oracles in plain double: linear plans to 1e-6, and random trees of every
 * function against a direct recursive evaluation. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "fake_resolver.h"

/* Compile and evaluate an expression as a value; the caller frees both. */
static rh_evaluation *evaluate(rh_program **p, fake_resolver *fake, const char *book, const char *expr, const char *layers)
{
    rh_error err = {0};
    rh_evaluation *e = NULL;
    rh_program_input in = {.book_path = book ? "b" : NULL, .book_text = book, .expr = expr, .layers = layers, .bare_value = true};
    fake_init(fake);
    if (rh_program_compile(p, &in, &fake->resolver, NULL, &err) || rh_program_eval(&e, *p, NULL, &err))
        fail_msg("%s: %s\n%s", expr, err.message, err.excerpt);
    return e;
}

/* ---- linear expressions ---------------------------------------------------------------------------- */

typedef struct term { rh_atom_kind kind; const char *text; double c; bool no_center; double shrink, l2; rh_at at; int32_t feature; const char *name; } term;
typedef struct linear_case {
    const char *expr, *layers;
    int n_layers, first_layer; /* -1: constant */
    rh_hook hook;
    int requests;              /* atoms read */
    term terms[4];
} linear_case;
#define A {.kind = RH_ATOM_DIM, .text = "a.csv", .c =
#define B {.kind = RH_ATOM_DIM, .text = "b.csv", .c =
#define T {.kind = RH_ATOM_TOKEN, .text = "t", .c =
#define SF {.kind = RH_ATOM_LOAD, .text = "sf.safetensors", .c =
#define FAM {.kind = RH_ATOM_LOAD, .text = "fam.safetensors", .c =
#define NEUTRAL {.kind = RH_ATOM_NEUTRAL, .text = "", .c =

#define S(i) {.kind = RH_ATOM_SAE, .text = "params.npz", .name = "s", .feature = i, .c =
#define Z(i) {.kind = RH_ATOM_SAE, .text = "params.npz", .name = "z", .feature = i, .c =

static const char BOOK[] = "sae s = \"layer_31/params.npz\"; sae s20 = \"layer_20/params.npz\" @ 20; sae z = \"att/params.npz\" @ 20.attn_z\n"
                           "sae nowhere = \"none.npz\"; let f = s[3]\n"
                           "let a = dim(\"a.csv\"); let b = dim(\"b.csv\")\n"
                           "let t = token(\"t\"); let sf = load(\"sf.safetensors\"); let fam = load(\"fam.safetensors\")\n"
                           "let k = 2 * -3; let ab = a - b; let dim = t  # a function's name counts before ( only\n"
                           "let at = a; let on = b; let last = t\n";
static const linear_case LINEAR[] = {
    {"a", "16", 1, 16, RH_RESID_POST, 1, {A 1}}},
    {"2*(a-b)+a", "16", 1, 16, RH_RESID_POST, 2, {A 3}, B -2}}},
    {"a + b - b", "16", 1, 16, RH_RESID_POST, 1, {A 1}}},
    {"a - a + 0*b", "16", 1, 16, RH_RESID_POST, 0, {A 0}}},
    {"-a*2", "16", 1, 16, RH_RESID_POST, 1, {A -2}}},
    {"-(a + 2*-b)/4", "16", 1, 16, RH_RESID_POST, 2, {A -0.25}, B 0.5}}},
    {"k*a*2/3", "16", 1, 16, RH_RESID_POST, 1, {A -4}}},
    {"1e2*a + .5*b - 1.5E-1*t", "16", 1, 16, RH_RESID_POST, 3, {A 100}, B 0.5}, T -0.15}}},
    {"sf + 0.5*a - b", NULL, 1, 31, RH_RESID_POST, 3, {SF 1}, A 0.5}, B -1}}},
    {"sf + ab*2", "16", 1, 31, RH_RESID_POST, 3, {SF 1}, A 2}, B -2}}},
    {"fam + a + t", NULL, 5, 14, RH_RESID_POST, 3, {FAM 1}, A 1}, T 1}}},
    {"a @ 14..18", NULL, 5, 14, RH_RESID_POST, 1, {A 1}}},
    {"a @ [3, 4] + b", NULL, 2, 3, RH_RESID_POST, 2, {A 1}, B 1}}},
    {"a @ [3] + b @ 3..3 + t @ 3", NULL, 1, 3, RH_RESID_POST, 3, {A 1}, B 1}, T 1}}},
    {"a @ all", NULL, 42, 0, RH_RESID_POST, 1, {A 1}}},
    {"a @ 20.mlp_out + t", NULL, 1, 20, RH_MLP_OUT, 2, {A 1}, T 1}}},
    {"(a - b) @ 20.resid_pre", NULL, 1, 20, RH_RESID_PRE, 2, {A 1}, B -1}}},
    {"a @ 20.attn_z", NULL, 1, 20, RH_ATTN_Z, 1, {A 1}}},
    {"(a @ all) @ 14", NULL, 1, 14, RH_RESID_POST, 1, {A 1}}},
    {"((a + b) @ all) @ 3..4", NULL, 2, 3, RH_RESID_POST, 2, {A 1}, B 1}}},
    {"fam @ 15..16", NULL, 2, 15, RH_RESID_POST, 1, {FAM 1}}},
    {"(fam + a) @ 17", NULL, 1, 17, RH_RESID_POST, 2, {FAM 1}, A 1}}},
    {"sf @ 31", NULL, 1, 31, RH_RESID_POST, 1, {SF 1}}},
    {"sf @ 31.resid_post", NULL, 1, 31, RH_RESID_POST, 1, {SF 1}}},
    {"mean(a, b, t)", "7", 1, 7, RH_RESID_POST, 3, {A 1 / 3.0}, B 1 / 3.0}, T 1 / 3.0}}},
    {"lerp(a, b, 0.25)", "7", 1, 7, RH_RESID_POST, 2, {A 0.75}, B 0.25}}},
    {"mean(1, 3)*a + lerp(0, 4, 0.5)*b", "7", 1, 7, RH_RESID_POST, 2, {A 2}, B 2}}},
    {"at - on + last + dim", "7", 1, 7, RH_RESID_POST, 3, {A 1}, B -1}, T 2}}},
    {"dim(\"a.csv\")", "7", 1, 7, RH_RESID_POST, 1, {A 1}}},
    {"neutral()", "7", 1, 7, RH_RESID_POST, 1, {NEUTRAL 1}}},
    {"a - 2*neutral() @ 20.attn_z", NULL, 1, 20, RH_ATTN_Z, 2, {A 1}, NEUTRAL -2}}},
    {"fam - neutral()", NULL, 5, 14, RH_RESID_POST, 2, {FAM 1}, NEUTRAL -1}}},
    {"pca(\"p.csv\") @ 3..4 + t", NULL, 2, 3, RH_RESID_POST, 2, {{.kind = RH_ATOM_PCA, .text = "p.csv", .c = 1}, T 1}}},
    {"2*pca(\"p.csv\", center=false)", "7", 1, 7, RH_RESID_POST, 1, {{.kind = RH_ATOM_PCA, .text = "p.csv", .c = 2, .no_center = true}}},
    {"lda(\"p.csv\") + sf", NULL, 1, 31, RH_RESID_POST, 2, {{.kind = RH_ATOM_LDA, .text = "p.csv", .c = 1, .shrink = 0.1}, SF 1}}},
    {"lda(\"p.csv\", shrink=0) - lda(\"p.csv\", shrink=1)", "7", 1, 7, RH_RESID_POST, 2, {{.kind = RH_ATOM_LDA, .text = "p.csv", .c = 1}, {.kind = RH_ATOM_LDA, .text = "p.csv", .c = -1, .shrink = 1}}},
    {"logreg(\"p.csv\", at=mean)", "7", 1, 7, RH_RESID_POST, 1, {{.kind = RH_ATOM_LOGREG, .text = "p.csv", .c = 1, .l2 = 1, .at = RH_AT_MEAN}}},
    {"logreg(\"p.csv\", l2=2.5e-1)", "7", 1, 7, RH_RESID_POST, 1, {{.kind = RH_ATOM_LOGREG, .text = "p.csv", .c = 1, .l2 = 0.25}}},
    {"s[3]", NULL, 1, 31, RH_RESID_POST, 1, {S(3) 1}}},
    {"s[3] @ 31", "7", 1, 31, RH_RESID_POST, 1, {S(3) 1}}},
    {"40*s[131071] - a", NULL, 1, 31, RH_RESID_POST, 2, {S(131071) 40}, A -1}}},
    {"s[3, 17, 0]", NULL, 1, 31, RH_RESID_POST, 3, {S(3) 1}, S(17) 1}, S(0) 1}}},
    {"s[3, 17]/2 - f + t", NULL, 1, 31, RH_RESID_POST, 3, {S(3) -0.5}, S(17) 0.5}, T 1}}},
    {"s[3, 3]", NULL, 1, 31, RH_RESID_POST, 1, {S(3) 2}}},
    {"s[\"san francisco\"]", NULL, 1, 31, RH_RESID_POST, 1, {S(120353) 1}}},
    {"2*s[3, \"san francisco\"]", NULL, 1, 31, RH_RESID_POST, 2, {S(3) 2}, S(120353) 2}}},
    {"s[3] + sf", NULL, 1, 31, RH_RESID_POST, 2, {S(3) 1}, SF 1}}},
    {"z[5] - 2*a", NULL, 1, 20, RH_ATTN_Z, 2, {Z(5) 1}, A -2}}},
    {"mean(s20[1], a)", NULL, 1, 20, RH_RESID_POST, 2, {{.kind = RH_ATOM_SAE, .text = "params.npz", .name = "s20", .feature = 1, .c = 0.5}, A 0.5}}},
    {"t", NULL, 1, -1, RH_RESID_POST, 1, {T 1}}},
    {"t", "3", 1, 3, RH_RESID_POST, 1, {T 1}}},
    {"(a +\n b) # two lines\n", "3", 1, 3, RH_RESID_POST, 2, {A 1}, B 1}}},
};

static void linear_plans(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof LINEAR / sizeof *LINEAR; i++) {
        const linear_case *c = &LINEAR[i];
        fake_resolver fake;
        rh_program *p = NULL;
        rh_evaluation *e = evaluate(&p, &fake, BOOK, c->expr, c->layers);
        const rh_vector *v = e->value->vector;
        assert_int_equal(e->value->kind, RH_VALUE_VECTOR);
        assert_int_equal(v->n_layers, c->n_layers);
        assert_int_equal(v->hook, c->hook);
        assert_int_equal(v->d, c->hook == RH_ATTN_Z ? FAKE_Z : FAKE_D);
        assert_int_equal(fake.computes, c->requests > 0);
        assert_int_equal(fake.n_requests, c->requests);
        for (int l = 0; l < v->n_layers; l++) {
            double want[FAKE_Z] = {0}, worst = 0, largest = 0;
            assert_int_equal(v->layers[l], c->first_layer < 0 ? -1 : c->first_layer + l);
            for (int t = 0; t < 4 && c->terms[t].text; t++) {
                rh_atom_spec spec = {.kind = c->terms[t].kind, .text = c->terms[t].text, .prefix = "", .no_center = c->terms[t].no_center,
                                     .shrink = c->terms[t].shrink, .l2 = c->terms[t].l2, .at = c->terms[t].at, .feature = c->terms[t].feature, .name = c->terms[t].name};
                float row[FAKE_Z];
                bool constant = spec.kind == RH_ATOM_TOKEN;
                fake_vector(row, &spec, constant ? RH_RESID_POST : c->hook, constant ? -1 : v->layers[l], v->d);
                for (int j = 0; j < v->d; j++) want[j] += c->terms[t].c * row[j];
            }
            for (int j = 0; j < v->d; j++) {
                worst = fmax(worst, fabs(want[j] - v->data[l * v->d + j]));
                largest = fmax(largest, fabs(want[j]));
            }
            if (!(worst <= 1e-6 * largest)) fail_msg("%s: off by %g of %g", c->expr, worst, largest);
        }
        rh_evaluation_free(e);
        rh_program_free(p);
    }
}

/* A family list with a gap: layers 3 and 7 of fam2. */
static void free_and_random(void **state)
{
    (void)state;
    fake_resolver fake;
    rh_program *p = NULL;
    float row[FAKE_D];
    rh_evaluation *e = evaluate(&p, &fake, NULL, "free(load(\"sf.safetensors\")) @ [3, 7] + load(\"fam2.gguf\") - load(\"fam2.gguf\")", NULL);
    rh_atom_spec sf = {.kind = RH_ATOM_LOAD, .text = "sf.safetensors", .prefix = ""};
    fake_vector(row, &sf, RH_RESID_POST, 31, FAKE_D);
    assert_int_equal(e->value->vector->n_layers, 2);
    for (int l = 0; l < 2; l++) assert_memory_equal(e->value->vector->data + l * FAKE_D, row, sizeof row);
    rh_evaluation_free(e);
    rh_program_free(p);

    static const struct { const char *expr; const char *layers; int d; } widths[] = {
        {"random(7) + token(\"x\")", NULL, FAKE_D},      {"random(7) @ 3.attn_z", NULL, FAKE_Z},
        {"random(7)", "4", FAKE_D},                      {"norm(random(7)) * token(\"x\")", NULL, FAKE_D},
        {"random(1) - free(load(\"z.safetensors\"))", NULL, FAKE_Z}, {"random(1) + dim(\"a.csv\") @ 4.attn_z", NULL, FAKE_Z},
        {"dot(random(1), token(\"x\")) * random(2) @ 4.attn_z", NULL, FAKE_Z},
    };
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        e = evaluate(&p, &fake, NULL, widths[i].expr, widths[i].layers);
        assert_int_equal(e->value->vector->d, widths[i].d);
        rh_evaluation_free(e);
        rh_program_free(p);
    }
}

static void scalars(void **state)
{
    (void)state;
    static const struct { const char *expr; double want; } cases[] = {
        {"2+3*4", 14}, {"-2*3", -6}, {"--2", 2}, {"(2+3)*4/5-1", 3}, {"1/4", 0.25}, {"7/2/2", 1.75}, {"1e308", 1e308}, {".5", .5}, {"5e-324", 5e-324},
        {"0e-999", 0}, {"norm(3*unit(token(\"x\")))", 3}, {"norm(rescale(token(\"x\"), 8))", 8}, {"angle(token(\"x\"), 2*token(\"x\"))", 0},
        {"angle(token(\"x\"), -token(\"x\"))", 180}, {"cos(token(\"x\"), -token(\"x\"))", -1}, {"dot(reject(token(\"x\"), token(\"y\")), token(\"y\"))", 0},
        {"norm(proj(token(\"x\"), span(token(\"x\"), token(\"y\"))) - token(\"x\"))", 0}, {"mean(1, 2, 6)", 3}, {"lerp(1, 3, 0.25)", 1.5},
        {"lerp(norm(token(\"x\")), norm(token(\"x\")), norm(unit(token(\"x\")))) / norm(token(\"x\"))", 1},
        {"9007199254740993", 9007199254740992.0}, {"0.1+0.2", 0.1 + 0.2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fake_resolver fake;
        rh_program *p = NULL;
        rh_evaluation *e = evaluate(&p, &fake, NULL, cases[i].expr, NULL);
        assert_int_equal(e->value->kind, RH_VALUE_SCALAR);
        assert_null(e->value->layers);
        if (!(fabs(e->value->scalar[0] - cases[i].want) <= 2e-6 * fmax(1, fabs(cases[i].want))))
            fail_msg("%s: %.17g, not %.17g", cases[i].expr, e->value->scalar[0], cases[i].want);
        rh_evaluation_free(e);
        rh_program_free(p);
    }
}

/* A scalar made of a family has a value a layer, and scales each layer by its own. */
static void scalars_of_families(void **state)
{
    (void)state;
    fake_resolver fake;
    rh_program *p = NULL, *q = NULL;
    rh_evaluation *e = evaluate(&p, &fake, NULL, "norm(load(\"fam.safetensors\"))", NULL);
    fake_resolver other;
    rh_evaluation *f = evaluate(&q, &other, NULL, "norm(load(\"fam.safetensors\")) * unit(dim(\"a.csv\"))", NULL);
    assert_int_equal(e->value->n_layers, 5);
    assert_int_equal(e->value->layers[4], 18);
    for (int l = 0; l < 5; l++) {
        double norm = rh_norm(f->value->vector->data + l * FAKE_D, FAKE_D);
        assert_true(fabs(norm - e->value->scalar[l]) < 1e-6 * norm);
        if (l) assert_true(e->value->scalar[l] != e->value->scalar[0]);
    }
    rh_evaluation_free(e);
    rh_evaluation_free(f);
    rh_program_free(p);
    rh_program_free(q);
}

/* resid_norm is asked for with width 1 at the hook and layers where it is used. */
/* A number that lives where its feature does; the resolver is asked once for each feature. */
static void max_acts(void **state)
{
    (void)state;
    static const struct { const char *expr; rh_value_kind kind; rh_hook hook; int32_t layer, feature; double c; int asked; } cases[] = {
        {"max_act(s[3])", RH_VALUE_SCALAR, RH_RESID_POST, 31, 3, 1, 1},
        {"max_act(f)/2 + max_act(s[3])", RH_VALUE_SCALAR, RH_RESID_POST, 31, 3, 1.5, 1},
        {"max_act(z[5]) @ 20.attn_z", RH_VALUE_SCALAR, RH_ATTN_Z, 20, 5, 1, 1},
        {"max_act(s20[\"san francisco\"])", RH_VALUE_SCALAR, RH_RESID_POST, 20, 120353, 1, 1},
        {"1.5*max_act(s[3])*unit(s[3])", RH_VALUE_VECTOR, RH_RESID_POST, 31, 3, 1.5, 2},
        {"rescale(t, max_act(s[3]))", RH_VALUE_VECTOR, RH_RESID_POST, 31, 3, 1, 2},
        {"rescale(a, max_act(s[3]))", RH_VALUE_VECTOR, RH_RESID_POST, 31, 3, 1, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fake_resolver fake;
        rh_program *p = NULL;
        rh_evaluation *e = evaluate(&p, &fake, BOOK, cases[i].expr, NULL);
        const rh_value *v = e->value;
        const char *name = cases[i].layer == 31 ? "s" : cases[i].hook == RH_ATTN_Z ? "z" : "s20";
        const rh_atom_spec spec = {.kind = RH_ATOM_MAX_ACT, .text = "params.npz", .prefix = "", .name = name, .feature = cases[i].feature};
        float want;
        fake_vector(&want, &spec, cases[i].hook, cases[i].layer, 1);
        assert_int_equal(v->kind, cases[i].kind);
        assert_int_equal(v->n_layers, v->kind == RH_VALUE_VECTOR ? v->n_layers : 1);
        assert_int_equal(v->kind == RH_VALUE_VECTOR ? v->vector->layers[0] : v->layers[0], cases[i].layer);
        assert_int_equal(v->kind == RH_VALUE_VECTOR ? v->vector->hook : v->hook, cases[i].hook);
        const double got = v->kind == RH_VALUE_VECTOR ? rh_norm(v->vector->data, v->vector->d) : v->scalar[0];
        if (fabs(got - cases[i].c * want) > 1e-5 * want) fail_msg("%s: %g, not %g", cases[i].expr, got, cases[i].c * want);
        assert_int_equal(fake.n_requests, cases[i].asked);
        rh_evaluation_free(e);
        rh_program_free(p);
    }
}

static void resid_norms(void **state)
{
    (void)state;
    static const struct { const char *expr, *layers; rh_value_kind kind; rh_hook hook; int n, first; double c, q; int asked; } cases[] = {
        {"resid_norm()", "16", RH_VALUE_SCALAR, RH_RESID_POST, 1, 16, 1, 0.5, 1},
        {"resid_norm(0.9)", "3..5", RH_VALUE_SCALAR, RH_RESID_POST, 3, 3, 1, 0.9, 1},
        {"resid_norm(0)", "16", RH_VALUE_SCALAR, RH_RESID_POST, 1, 16, 1, 0, 1},
        {"resid_norm(2/2)", "16", RH_VALUE_SCALAR, RH_RESID_POST, 1, 16, 1, 1, 1},
        {"resid_norm(q) @ 7", "16", RH_VALUE_SCALAR, RH_RESID_POST, 1, 7, 1, 0.75, 1},
        {"resid_norm() @ 7.mlp_out", NULL, RH_VALUE_SCALAR, RH_MLP_OUT, 1, 7, 1, 0.5, 1},
        {"resid_norm() @ all", NULL, RH_VALUE_SCALAR, RH_RESID_POST, FAKE_LAYERS, 0, 1, 0.5, 1},
        {"(resid_norm() @ 3..9) @ 5..6", NULL, RH_VALUE_SCALAR, RH_RESID_POST, 2, 5, 1, 0.5, 1},
        {"2*resid_norm() + resid_norm()", "16", RH_VALUE_SCALAR, RH_RESID_POST, 1, 16, 3, 0.5, 1},
        {"mean(resid_norm(), resid_norm(), 0)", "16", RH_VALUE_SCALAR, RH_RESID_POST, 1, 16, 2 / 3.0, 0.5, 1},
        {"norm(0.2*resid_norm()*unit(sf))", NULL, RH_VALUE_SCALAR, RH_RESID_POST, 1, 31, 0.2, 0.5, 2},
        {"0.2*resid_norm()*unit(sf)", NULL, RH_VALUE_VECTOR, RH_RESID_POST, 1, 31, 0.2, 0.5, 2},
        {"unit(sf)*resid_norm()/5", NULL, RH_VALUE_VECTOR, RH_RESID_POST, 1, 31, 0.2, 0.5, 2},
        {"rescale(a, 0.1*resid_norm(0.9))", "16", RH_VALUE_VECTOR, RH_RESID_POST, 1, 16, 0.1, 0.9, 2},
        {"rescale(a, resid_norm()) @ 3.attn_z", "16", RH_VALUE_VECTOR, RH_ATTN_Z, 1, 3, 1, 0.5, 2},
        {"unit(fam)*resid_norm()", NULL, RH_VALUE_VECTOR, RH_RESID_POST, 5, 14, 1, 0.5, 2},
        {"unit(t)*(resid_norm() @ 3..5)", NULL, RH_VALUE_VECTOR, RH_RESID_POST, 3, 3, 1, 0.5, 2},
        {"unit(random(7))*resid_norm()", "16", RH_VALUE_VECTOR, RH_RESID_POST, 1, 16, 1, 0.5, 2},
        {"unit(random(7))*resid_norm() @ 3.attn_z", "16", RH_VALUE_VECTOR, RH_ATTN_Z, 1, 3, 1, 0.5, 2},
        {"free(resid_norm() @ 7)", NULL, RH_VALUE_SCALAR, RH_RESID_POST, 1, -7, 1, 0.5, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fake_resolver fake;
        rh_program *p = NULL;
        rh_evaluation *e = evaluate(&p, &fake, "let a = dim(\"a.csv\"); let t = token(\"t\"); let sf = load(\"sf.safetensors\"); let q = 3/4\n"
                                               "let fam = load(\"fam.safetensors\")", cases[i].expr, cases[i].layers);
        const rh_value *v = e->value;
        bool freed = cases[i].first < 0;
        assert_int_equal(v->kind, cases[i].kind);
        assert_int_equal(v->n_layers, cases[i].n);
        assert_int_equal(v->layers == NULL, freed);
        assert_int_equal(fake.n_requests, cases[i].asked);
        for (int r = 0; r < fake.n_requests; r++)
            if (fake.requests[r].text[0] == '\0' && fake.requests[r].first >= 0) {
                assert_int_equal(fake.requests[r].d, 1);
                assert_int_equal(fake.requests[r].hook, cases[i].hook);
                assert_int_equal(fake.requests[r].n_layers, cases[i].n);
            }
        for (int l = 0; l < v->n_layers; l++) {
            rh_atom_spec spec = {.kind = RH_ATOM_RESID_NORM, .text = "", .prefix = "", .quantile = cases[i].q};
            float x;
            double got = v->kind == RH_VALUE_SCALAR ? v->scalar[l] : rh_norm(v->vector->data + (size_t)l * v->vector->d, v->vector->d);
            fake_vector(&x, &spec, cases[i].hook, freed ? -cases[i].first : cases[i].first + l, 1);
            if (!(fabs(got - cases[i].c * x) <= 1e-6 * x)) fail_msg("%s: %.9g, not %.9g", cases[i].expr, got, cases[i].c * x);
        }
        rh_evaluation_free(e);
        rh_program_free(p);
    }
}

/* ---- random trees --------------------------------------------------------------------------------------- */

typedef struct slow_value { bool vector; double x, v[FAKE_D]; } slow_value;
typedef struct maker {
    uint64_t seed, at;
    rh_str text, lets; /* expression being written; names bound so far */
    int names;
    int layer;
    double scale;      /* largest number met: what rounding is relative to */
    bool unsafe;       /* a division or a direction of nearly nothing */
} maker;

static uint32_t pick(maker *m, uint32_t n) { return (uint32_t)(rh_random_u64(m->seed, 0, m->at++) % n); }

static void atom(maker *m, slow_value *out, rh_str *text)
{
    static const struct { rh_atom_kind kind; const char *call, *text; bool constant; } atoms[] = {
        {RH_ATOM_DIM, "dim(\"a.csv\")", "a.csv", false}, {RH_ATOM_DIM, "dim(\"b.csv\")", "b.csv", false},
        {RH_ATOM_ACT, "act(\"some text\")", "some text", false}, {RH_ATOM_TOKEN, "token(\"x\")", "x", true},
        {RH_ATOM_LOAD, "load(\"const.npy\")", "const.npy", true}, {RH_ATOM_UNEMBED, "unembed(\"y\")", "y", true},
        {RH_ATOM_PCA, "pca(\"a.csv\")", "a.csv", false}, {RH_ATOM_NEUTRAL, "neutral()", "", false},
    };
    uint32_t k = pick(m, 8);
    rh_atom_spec spec = {.kind = atoms[k].kind, .text = atoms[k].text, .prefix = ""};
    float row[FAKE_D];
    fake_vector(row, &spec, RH_RESID_POST, atoms[k].constant ? -1 : m->layer, FAKE_D);
    rh_str_puts(text, atoms[k].call);
    out->vector = true;
    for (int j = 0; j < FAKE_D; j++) out->v[j] = row[j];
}

static double slow_dot(const slow_value *a, const slow_value *b)
{
    double sum = 0;
    for (int j = 0; j < FAKE_D; j++) sum += a->v[j] * b->v[j];
    return sum;
}

static double direction(maker *m, const slow_value *a) /* norm of something that is divided by its norm */
{
    double norm = sqrt(slow_dot(a, a));
    if (norm < 1e-2 * m->scale) m->unsafe = true;
    return norm > 0 ? norm : 1;
}

static void blend(slow_value *out, double x, const slow_value *a, double y, const slow_value *b)
{
    for (int j = 0; j < FAKE_D; j++) out->v[j] = x * a->v[j] + y * b->v[j];
    out->x = x * a->x + y * b->x;
}

static void make(maker *m, slow_value *out, rh_str *text, bool vector, int depth);

static void make_vector(maker *m, slow_value *out, rh_str *text, int depth)
{
    slow_value a = {0}, b = {0}, c = {0};
    static const char *const two[] = {" + ", " - "};
    switch (pick(m, 11)) {
    case 0: case 1: case 2: { /* a ± b */
        uint32_t minus = pick(m, 2);
        rh_str_puts(text, "(");
        make(m, &a, text, true, depth);
        rh_str_puts(text, two[minus]);
        make(m, &b, text, true, depth);
        rh_str_puts(text, ")");
        blend(out, 1, &a, minus ? -1 : 1, &b);
        break;
    }
    case 3: case 4: /* x * a */
        make(m, &a, text, false, depth);
        rh_str_puts(text, "*");
        make(m, &b, text, true, depth);
        blend(out, a.x, &b, 0, &b);
        break;
    case 5: /* a / x */
        make(m, &a, text, true, depth);
        rh_str_puts(text, "/");
        make(m, &b, text, false, depth);
        if (fabs(b.x) < 1e-2) m->unsafe = true;
        blend(out, b.x ? 1 / b.x : 1, &a, 0, &a);
        break;
    case 6:
        rh_str_puts(text, "unit(");
        make(m, &a, text, true, depth);
        rh_str_puts(text, ")");
        blend(out, 1 / direction(m, &a), &a, 0, &a);
        break;
    case 7:
        rh_str_puts(text, "proj(");
        make(m, &a, text, true, depth);
        rh_str_puts(text, ", ");
        make(m, &b, text, true, depth);
        rh_str_puts(text, ")");
        direction(m, &b);
        blend(out, slow_dot(&a, &b) / (slow_dot(&b, &b) + (slow_dot(&b, &b) == 0)), &b, 0, &b);
        break;
    case 8:
        rh_str_puts(text, "reject(");
        make(m, &a, text, true, depth);
        rh_str_puts(text, ", ");
        make(m, &b, text, true, depth);
        rh_str_puts(text, ")");
        direction(m, &b);
        blend(out, 1, &a, -slow_dot(&a, &b) / (slow_dot(&b, &b) + (slow_dot(&b, &b) == 0)), &b);
        break;
    case 9: /* lerp with a computed t, or a mean */
        rh_str_puts(text, "lerp(");
        make(m, &a, text, true, depth);
        rh_str_puts(text, ", ");
        make(m, &b, text, true, depth);
        rh_str_puts(text, ", ");
        make(m, &c, text, false, depth);
        rh_str_puts(text, ")");
        blend(out, 1 - c.x, &a, c.x, &b);
        break;
    default: /* -a, or a name */
        rh_str_puts(text, "-");
        make(m, &a, text, true, depth);
        blend(out, -1, &a, 0, &a);
        break;
    }
    out->vector = true;
}

static void make_scalar(maker *m, slow_value *out, rh_str *text, int depth)
{
    slow_value a = {0}, b = {0};
    switch (pick(m, 5)) {
    case 0:
        rh_str_puts(text, "norm(");
        make(m, &a, text, true, depth);
        rh_str_puts(text, ")");
        out->x = sqrt(slow_dot(&a, &a));
        break;
    case 1:
        rh_str_puts(text, "dot(");
        make(m, &a, text, true, depth);
        rh_str_puts(text, ", ");
        make(m, &b, text, true, depth);
        rh_str_puts(text, ")");
        out->x = slow_dot(&a, &b);
        break;
    case 2:
        rh_str_puts(text, "cos(");
        make(m, &a, text, true, depth);
        rh_str_puts(text, ", ");
        make(m, &b, text, true, depth);
        rh_str_puts(text, ")");
        out->x = slow_dot(&a, &b) / direction(m, &a) / direction(m, &b);
        break;
    case 3:
        rh_str_puts(text, "(");
        make(m, &a, text, false, depth);
        rh_str_puts(text, " - ");
        make(m, &b, text, false, depth);
        rh_str_puts(text, ")");
        out->x = a.x - b.x;
        break;
    default:
        make(m, &a, text, false, depth);
        rh_str_puts(text, "*");
        make(m, &b, text, false, depth);
        out->x = a.x * b.x;
        break;
    }
}

static void make(maker *m, slow_value *out, rh_str *text, bool vector, int depth)
{
    *out = (slow_value){.vector = vector};
    bool name = pick(m, 5) == 0;
    rh_str inner = {0};
    rh_str *into = name ? &inner : text;
    if (depth == 0 || pick(m, 6) == 0) {
        if (vector) {
            atom(m, out, into);
        } else if (pick(m, 4) == 0) {
            rh_atom_spec spec = {.kind = RH_ATOM_RESID_NORM, .text = "", .prefix = "", .quantile = 0.5};
            float x;
            fake_vector(&x, &spec, RH_RESID_POST, m->layer, 1);
            out->x = x / 8.0;
            rh_str_puts(into, "(resid_norm()/8)");
        } else {
            out->x = (double)pick(m, 9) / 4;
            rh_str_printf(into, "(%d/4)", (int)(out->x * 4));
        }
    } else if (vector) {
        rh_str_puts(into, "(");
        make_vector(m, out, into, depth - 1);
        rh_str_puts(into, ")");
    } else {
        rh_str_puts(into, "(");
        make_scalar(m, out, into, depth - 1);
        rh_str_puts(into, ")");
    }
    if (name) {
        rh_str_printf(&m->lets, "let n%d = %s\n", m->names, inner.data);
        rh_str_printf(text, "n%d", m->names++);
        rh_str_free(&inner);
    }
    for (int j = 0; j < FAKE_D && vector; j++) m->scale = fmax(m->scale, fabs(out->v[j]));
    m->scale = fmax(m->scale, fabs(out->x));
}

static void random_trees(void **state)
{
    (void)state;
    int compared = 0;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        maker m = {.seed = seed, .layer = 16};
        slow_value want;
        make(&m, &want, &m.text, true, 4);
        rh_str_puts(&m.lets, "");
        if (!m.unsafe && m.scale < 1e6) {
            fake_resolver fake;
            rh_program *p = NULL;
            rh_evaluation *e = evaluate(&p, &fake, m.lets.data, m.text.data, "16");
            assert_true(fake.computes <= 1);
            for (int j = 0; j < FAKE_D; j++)
                if (!(fabs(e->value->vector->data[j] - want.v[j]) <= 1e-4 * m.scale))
                    fail_msg("seed %d: %s%s\n[%d] = %.9g, not %.9g (scale %g)", (int)seed, m.lets.data, m.text.data, j,
                             (double)e->value->vector->data[j], want.v[j], m.scale);
            compared++;
            rh_evaluation_free(e);
            rh_program_free(p);
        }
        rh_str_free(&m.text);
        rh_str_free(&m.lets);
    }
    assert_true(compared > 1500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_plans), cmocka_unit_test(free_and_random),     cmocka_unit_test(scalars),
        cmocka_unit_test(scalars_of_families), cmocka_unit_test(resid_norms), cmocka_unit_test(max_acts), cmocka_unit_test(random_trees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
