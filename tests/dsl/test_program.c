/* Programs as callers see them: actions and masks, books and includes, parts, names, places. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_resolver.h"

typedef struct program { fake_resolver fake; rh_program *p; rh_evaluation *e; } program;

static void open_program(program *x, const rh_program_input *in)
{
    rh_error err = {0};
    x->e = NULL;
    fake_init(&x->fake);
    if (rh_program_compile(&x->p, in, &x->fake.resolver, NULL, &err) || rh_program_eval(&x->e, x->p, NULL, &err))
        fail_msg("%s\n%s%s", err.message, err.excerpt, err.hint);
}

static void close_program(program *x)
{
    rh_evaluation_free(x->e);
    rh_program_free(x->p);
}

static rh_program_input book(const char *text) { return (rh_program_input){.book_path = "b.rhumb", .book_text = text}; }

/* ---- actions ---------------------------------------------------------------------------------------- */

static void actions(void **state)
{
    (void)state;
    program x;
    rh_program_input in = book("model \"m\"\nlayer 16\nlet a = dim(\"a.csv\"); let b = dim(\"b.csv\")\n"
                               "steer 1.5*a on last, generated\nablate span(a, b, a + b) on not special\n"
                               "ablate a @ 14..15\nsteer a - a\n");
    open_program(&x, &in);
    assert_string_equal(rh_program_model(x.p), "m");
    assert_int_equal(rh_program_actions_left_out(x.p), 0);
    assert_int_equal(x.e->n_actions, 4);
    assert_int_equal(x.fake.computes, 1); /* all atoms of all actions at once */
    const rh_eval_action *a = x.e->actions;
    assert_int_equal(a[0].verb, RH_VERB_STEER);
    assert_string_equal(a[0].text, "steer 1.5*a on last, generated");
    assert_int_equal(a[0].value.vector->layers[0], 16);
    assert_int_equal(a[0].n_mask, 2);
    assert_int_equal(a[0].mask[0].kind, RH_SEL_LAST);
    assert_int_equal(a[0].mask[1].kind, RH_SEL_GENERATED);
    assert_int_equal(a[1].verb, RH_VERB_ABLATE);
    assert_int_equal(a[1].value.kind, RH_VALUE_SPAN);
    assert_int_equal(a[1].value.span[0].rank, 2);
    assert_int_equal(a[1].value.span_given, 3);
    assert_true(a[1].mask[0].negated);
    assert_int_equal(a[2].value.n_layers, 2);
    assert_int_equal(a[2].value.vector->layers[1], 15);
    for (int j = 0; j < FAKE_D; j++) assert_true(a[3].value.vector->data[j] == 0);
    close_program(&x);
}

/* What the fake model answers for resid_norm(q) at a layer. */
static double resid_norm(double q, int layer)
{
    rh_atom_spec spec = {.kind = RH_ATOM_RESID_NORM, .text = "", .prefix = "", .quantile = q};
    float x;
    fake_vector(&x, &spec, RH_RESID_POST, layer, 1);
    return x;
}

/* scale, cap, clamp and guards: verbs, places and numbers. amount NAN: there is none; the same for limit. */
static void amounts_and_guards(void **state)
{
    (void)state;
    static const char text[] = "let a = dim(\"a.csv\"); let c = token(\"c\"); let sf = load(\"sf.safetensors\"); let fam = load(\"fam.safetensors\")\n"
                               "let k = 3; layer 16";
    static const struct {
        const char *action; rh_verb verb; int n_layers, first; double amount; bool guard, cosine; int compare; double limit;
    } cases[] = {
        {"scale a by 2", RH_VERB_SCALE, 1, 16, 2, false, false, 0, NAN},
        {"cap a at -k/2", RH_VERB_CAP, 1, 16, -1.5, false, false, 0, NAN},
        {"clamp a at k on last", RH_VERB_CLAMP, 1, 16, 3, false, false, 0, NAN},
        {"clamp c at 0", RH_VERB_CLAMP, 1, 16, 0, false, false, 0, NAN},
        {"cap a @ 3..5 at k", RH_VERB_CAP, 3, 3, 3, false, false, 0, NAN},
        {"cap c at norm(unit(sf))", RH_VERB_CAP, 1, 31, 1, false, false, 0, NAN},
        {"cap a at norm(unit(fam))", RH_VERB_CAP, 5, 14, 1, false, false, 0, NAN},
        {"cap fam at norm(unit(a))", RH_VERB_CAP, 5, 14, 1, false, false, 0, NAN},
        {"scale fam by norm(free(a @ 3))/norm(free(a @ 3))", RH_VERB_SCALE, 5, 14, 1, false, false, 0, NAN},
        {"scale a by 1 when dot(h, c) > 2", RH_VERB_SCALE, 1, 16, 1, true, false, RH_WHEN_GT, 2},
        {"steer a when cos(h, c) >= 0.5", RH_VERB_STEER, 1, 16, NAN, true, true, RH_WHEN_GE, 0.5},
        {"steer a on last when cos(h, a - c) < -k/10", RH_VERB_STEER, 1, 16, NAN, true, true, RH_WHEN_LT, -0.3},
        {"ablate span(a, c) when dot(h, a - a) <= 0", RH_VERB_ABLATE, 1, 16, NAN, true, false, RH_WHEN_LE, 0},
        {"ablate c when cos(h, sf) > norm(unit(a))", RH_VERB_ABLATE, 1, 31, NAN, true, true, RH_WHEN_GT, 1},
        {"ablate fam when cos(h, a) > 0.2", RH_VERB_ABLATE, 5, 14, NAN, true, true, RH_WHEN_GT, 0.2},
        {"steer c when cos(h, a) > norm(unit(fam))/2", RH_VERB_STEER, 5, 14, NAN, true, true, RH_WHEN_GT, 0.5},
        {"a when cos(h, random(7)) > 0.2", RH_VERB_STEER, 1, 16, NAN, true, true, RH_WHEN_GT, 0.2},
        {"cap c at norm(unit(random(7))) when dot(h, random(8)) > k", RH_VERB_CAP, 1, 16, 1, true, false, RH_WHEN_GT, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        program x;
        rh_program_input in = book(text);
        in.expr = cases[i].action;
        open_program(&x, &in);
        const rh_eval_action *a = &x.e->actions[0];
        assert_int_equal(a->verb, cases[i].verb);
        assert_int_equal(a->value.n_layers, cases[i].n_layers);
        assert_int_equal(a->value.layers[0], cases[i].first);
        assert_int_equal(a->amount.n_layers, isnan(cases[i].amount) ? 0 : cases[i].n_layers);
        for (int l = 0; l < a->amount.n_layers; l++) {
            assert_int_equal(a->amount.layers[l], a->value.layers[l]);
            assert_true(fabs(a->amount.scalar[l] - cases[i].amount) < 1e-6);
        }
        assert_int_equal(a->guard != NULL, cases[i].guard);
        if (a->guard) {
            assert_int_equal(a->guard->cosine, cases[i].cosine);
            assert_int_equal(a->guard->compare, cases[i].compare);
            assert_int_equal(a->guard->vector.vector->n_layers, cases[i].n_layers);
            assert_int_equal(a->guard->vector.vector->d, FAKE_D);
            assert_int_equal(a->guard->threshold.n_layers, cases[i].n_layers);
            for (int l = 0; l < cases[i].n_layers; l++) {
                assert_int_equal(a->guard->vector.vector->layers[l], a->value.layers[l]);
                assert_true(fabs(a->guard->threshold.scalar[l] - cases[i].limit) < 1e-6);
            }
        }
        close_program(&x);
    }
}

/* Each layer has its own vector, its own number and its own limit. */
/* One feature, unscaled, is clamped by its activation; all else by its projection. */
static void clamped_features(void **state)
{
    (void)state;
    static const struct { const char *action; int feature; double amount; } cases[] = {
        {"clamp s[3] at 2", 3, 2},         {"clamp f at -1", 7, -1},
        {"clamp s[3] @ 31 at 0", 3, 0},    {"clamp 1*f at 2 on last", 7, 2},
        {"clamp s[\"san francisco\"] at 1.5*norm(unit(f))", 120353, 1.5},
        {"clamp unit(s[3]) at 2", -1, 2},  {"clamp 2*s[3] at 2", -1, 2},
        {"clamp s[3, 4] at 2", -1, 2},     {"scale s[3] by 2", -1, 2},
        {"cap s[3] at 2", -1, 2},          {"steer s[3]", -1, NAN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        program x;
        rh_program_input in = book("sae s = \"layer_31/params.npz\"; let f = s[7]");
        in.expr = cases[i].action;
        open_program(&x, &in);
        const rh_eval_action *a = &x.e->actions[0];
        const bool lone = strncmp(cases[i].action, "clamp s[3, 4]", 13) != 0;
        assert_int_equal(a->of_feature.spec != NULL, lone);
        if (lone) assert_true(a->of_feature.scale != 0 && (cases[i].feature < 0 || (a->of_feature.spec->feature == cases[i].feature && a->of_feature.scale == 1)));
        if ((a->sae != NULL) != (cases[i].feature >= 0)) fail_msg("%s", cases[i].action);
        if (a->sae) assert_int_equal(a->feature, cases[i].feature);
        assert_true(isnan(cases[i].amount) || fabs(a->amount.scalar[0] - cases[i].amount) < 1e-6);
        assert_int_equal(a->value.vector->layers[0], 31);
        close_program(&x);
    }
}

/* v = scale·row, through names and functions; anything else is a vector of its own. */
static void multiples_of_a_feature(void **state)
{
    (void)state;
    static const struct { const char *expr; int feature; double scale; } cases[] = {
        {"s[3]", 3, 1}, {"2*s[3]", 3, 2}, {"-f/4", 7, -0.25}, {"mean(f, f)", 7, 1}, {"f + 2*f", 7, 3}, {"3*unit(2*f)/norm(f)*norm(f)", 7, 0},
        {"norm(f)*unit(f)", 7, 1}, {"rescale(f, 2*norm(f))", 7, 2}, {"s[\"san francisco\"]*norm(s[3])/norm(s[3])", 120353, 1},
        {"s[3] - f", -1, 0}, {"s[3, 4]", -1, 0}, {"dim(\"a.csv\") @ 31", -1, 0}, {"proj(f, s[3])", -1, 0}, {"reject(f, s[3])", -1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        program x;
        rh_program_input in = book("sae s = \"layer_31/params.npz\"; let f = s[7]");
        in.expr = cases[i].expr;
        open_program(&x, &in);
        const rh_eval_feature *f = &x.e->actions[0].of_feature;
        if ((f->spec ? f->spec->feature : -1) != cases[i].feature) fail_msg("%s", cases[i].expr);
        if (f->spec && cases[i].scale && fabs(f->scale - cases[i].scale) > 1e-5) fail_msg("%s: %g", cases[i].expr, f->scale);
        close_program(&x);
    }
}

static void layer_by_layer(void **state)
{
    (void)state;
    program x;
    rh_program_input in = book("let a = dim(\"a.csv\"); let fam = load(\"fam.safetensors\")\n"
                               "cap fam at norm(fam) when dot(h, a) > 0.2*resid_norm(0.9)\n"
                               "clamp a @ 3..5 at dot(neutral(), unit(a))\nscale a by resid_norm() @ [3, 9]\nscale a by free(resid_norm() @ 7) @ 2");
    in.layers = "2";
    open_program(&x, &in);
    assert_int_equal(x.fake.computes, 1);
    assert_int_equal(x.e->n_actions, 4);
    const rh_eval_action *cap = &x.e->actions[0], *clamp = &x.e->actions[1], *scale = &x.e->actions[2];
    for (int l = 0; l < 5; l++) {
        rh_atom_spec spec = {.kind = RH_ATOM_DIM, .text = "a.csv", .prefix = ""};
        float row[FAKE_D];
        fake_vector(row, &spec, RH_RESID_POST, 14 + l, FAKE_D);
        assert_memory_equal(cap->guard->vector.vector->data + l * FAKE_D, row, sizeof row);
        assert_true(cap->amount.scalar[l] == rh_norm(cap->value.vector->data + l * FAKE_D, FAKE_D));
        assert_true(fabs(cap->guard->threshold.scalar[l] - 0.2 * resid_norm(0.9, 14 + l)) < 1e-12);
    }
    for (int l = 0; l < 3; l++) {
        rh_atom_spec spec = {.kind = RH_ATOM_NEUTRAL, .text = "", .prefix = ""};
        float row[FAKE_D];
        const float *v = clamp->value.vector->data + l * FAKE_D;
        fake_vector(row, &spec, RH_RESID_POST, 3 + l, FAKE_D);
        assert_true(fabs(clamp->amount.scalar[l] - rh_dot(row, v, FAKE_D) / rh_norm(v, FAKE_D)) < 1e-5);
    }
    assert_int_equal(scale->value.layers[1], 9);
    assert_true(scale->amount.scalar[0] == resid_norm(0.5, 3) && scale->amount.scalar[1] == resid_norm(0.5, 9));
    assert_int_equal(x.e->actions[3].value.layers[0], 2);
    assert_true(x.e->actions[3].amount.scalar[0] == resid_norm(0.5, 7));
    close_program(&x);
}

static void masks(void **state)
{
    (void)state;
    static const struct { const char *mask; int n; rh_selector_kind kind; bool negated; int lo, hi; const char *text; } cases[] = {
        {"", 0, RH_SEL_ALL, false, 0, 0, NULL},
        {"on all", 1, RH_SEL_ALL, false, 0, 0, NULL},
        {"on not all", 1, RH_SEL_ALL, true, 0, 0, NULL},
        {"on prompt", 1, RH_SEL_PROMPT, false, 0, 0, NULL},
        {"on last", 1, RH_SEL_LAST, false, 0, 0, NULL},
        {"on special", 1, RH_SEL_SPECIAL, false, 0, 0, NULL},
        {"on generated", 1, RH_SEL_GENERATED, false, 0, INT32_MAX, NULL},
        {"on generated 0..20", 1, RH_SEL_GENERATED, false, 0, 20, NULL},
        {"on generated 3..", 1, RH_SEL_GENERATED, false, 3, INT32_MAX, NULL},
        {"on not generated 3", 1, RH_SEL_GENERATED, true, 3, 3, NULL},
        {"on tokens 0", 1, RH_SEL_TOKENS, false, 0, 0, NULL},
        {"on tokens 2..2", 1, RH_SEL_TOKENS, false, 2, 2, NULL},
        {"on \"San \\\"F\\\"\"", 1, RH_SEL_TEXT, false, 0, 0, "San \"F\""},
        {"on last, prompt,tokens 3.., not \"x\"", 4, RH_SEL_LAST, false, 0, 0, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        program x;
        rh_str text = {0};
        rh_str_printf(&text, "steer token(\"x\") @ 3 %s", cases[i].mask);
        rh_program_input in = {.expr = text.data};
        open_program(&x, &in);
        const rh_eval_action *a = &x.e->actions[0];
        assert_int_equal(a->n_mask, cases[i].n);
        if (cases[i].n) {
            assert_int_equal(a->mask[0].kind, cases[i].kind);
            assert_int_equal(a->mask[0].negated, cases[i].negated);
            assert_int_equal(a->mask[0].lo, cases[i].lo);
            assert_int_equal(a->mask[0].hi, cases[i].hi);
            if (cases[i].text) assert_string_equal(a->mask[0].text, cases[i].text);
            if (cases[i].text) assert_int_equal(a->mask[0].text_len, strlen(cases[i].text));
        }
        close_program(&x);
        rh_str_free(&text);
    }
}

/* Words that look like statements, functions or masks, used as names. */
static void contextual_words(void **state)
{
    (void)state;
    program x;
    rh_program_input in = book("layer 3\nlet cos = 1; let dot = 2; let center = 3; let neutral = dim(\"n.csv\"); let resid_norm = 4\nlet on = dim(\"a.csv\"); let last = 2; let unit = on; let h = 3; let at = 1; let by = 1; let when = on\n"
                               "let all = on; let mean = unit(dim(\"b.csv\", at=mean, chat=true)); let true = 2; let not = 1; let generated = 1\n"
                               "steer on on last\nsteer last*unit on not last\nsteer when + mean on generated\nsteer h*all @ all on all\n"
                               "cap at*on at at on last when cos(h, h*neutral) > cos + dot*center*resid_norm\nscale unit by by");
    open_program(&x, &in);
    assert_int_equal(x.e->n_actions, 6);
    assert_int_equal(x.e->actions[3].value.n_layers, FAKE_LAYERS);
    assert_true(x.e->actions[4].amount.scalar[0] == 1 && x.e->actions[4].guard->threshold.scalar[0] == 25);
    assert_true(x.e->actions[5].amount.scalar[0] == 1);
    close_program(&x);
}

static void statements_end(void **state)
{
    (void)state;
    program x;
    rh_program_input in = book("\n\n;;# nothing\nlet a = (1 +\n\n # inside\n 2) ;let b = unit(\ndim(\"a.csv\")\n);;\r\nlayer 3 # l\r\nsteer a*b # end");
    open_program(&x, &in);
    assert_true(fabs(rh_norm(x.e->actions[0].value.vector->data, FAKE_D) - 3) < 1e-6);
    close_program(&x);
}

/* ---- books and expressions ------------------------------------------------------------------------------ */

static void an_expression_with_a_book(void **state)
{
    (void)state;
    program x;
    rh_program_input in = book("layer 16\nlet a = dim(\"a.csv\")\nsteer a; ablate a\ncap a at norm(dim(\"missing.csv\"))");
    in.expr = "a on last";
    open_program(&x, &in);
    assert_int_equal(rh_program_actions_left_out(x.p), 3);
    assert_int_equal(x.e->n_actions, 1);
    assert_string_equal(x.e->actions[0].text, "a on last");
    assert_int_equal(x.e->actions[0].value.vector->layers[0], 16);
    assert_int_equal(x.e->actions[0].mask[0].kind, RH_SEL_LAST);
    close_program(&x);
    in.layers = "[3, 5]"; /* --layer wins over the book */
    in.expr = "ablate a";
    open_program(&x, &in);
    assert_int_equal(x.e->actions[0].verb, RH_VERB_ABLATE);
    assert_int_equal(x.e->actions[0].value.n_layers, 2);
    assert_int_equal(x.e->actions[0].value.layers[1], 5);
    close_program(&x);
}

static void includes(void **state)
{
    (void)state;
    program x;
    rh_program_input in = {.book_path = "books/main.rhumb"};
    open_program(&x, &in);
    assert_string_equal(rh_program_name(x.p, 0), "sf");
    assert_string_equal(rh_program_name(x.p, 1), "rain");
    assert_null(rh_program_name(x.p, 2));
    assert_null(rh_program_name(x.p, -1));
    assert_int_equal(x.e->n_actions, 1);
    assert_int_equal(x.e->actions[0].value.vector->layers[0], 16); /* not the included book's layer */
    close_program(&x);

    fake_resolver fake;
    rh_program *p = NULL;
    rh_error err = {0};
    fake_init(&fake);
    in = (rh_program_input){.book_path = "some/where/b.rhumb", .book_text = "let a = load(\"nope.npy\"); steer a @ 3"};
    assert_int_equal(rh_program_compile(&p, &in, &fake.resolver, NULL, &err), RH_EIO);
    assert_string_equal(err.message, "cannot open 'some/where/nope.npy': No such file or directory");
    in.book_text = "let a = load(\"/tmp/nope.npy\"); steer a @ 3";
    assert_int_equal(rh_program_compile(&p, &in, &fake.resolver, NULL, &err), RH_EIO);
    assert_string_equal(err.message, "cannot open '/tmp/nope.npy': No such file or directory");
}

/* ---- parts and names -------------------------------------------------------------------------------------- */

static void parts(void **state)
{
    (void)state;
    static const char text[] = "layer 16; let a = dim(\"a.csv\"); let b = dim(\"b.csv\"); let c = token(\"c\"); let k = 3\n"
                               "let trip = a + 0.5*b - c; let alias = a; let u = unit(a)";
    static const struct { const char *expr, *parts; } cases[] = {
        {"a + 0.5*b - c", "a 1, b 0.5, c -1"},
        {"1.5*trip", "a 1.5, b 0.75, c -1.5"},
        {"trip + a", "trip 1, a 1"},
        {"2*(a - b) + a", "a 3, b -2"},
        {"a + b - a", "b 1"},
        {"k*a/2", "dim(\"a.csv\") 1.5"},
        {"alias", "a 1"},
        {"a", "dim(\"a.csv\") 1"},
        {"dim(\"a.csv\") + unit(b)", "dim(\"a.csv\") 1, unit(b) 1"},
        {"unit(a)", ""},
        {"u", ""},
        {"norm(b)*a + c", "norm(b)*a 1, c 1"},
        {"0.2*resid_norm()*unit(a)", ""},
        {"0.2*resid_norm()*unit(a) + 2*c", "0.2*resid_norm()*unit(a) 1, c 2"},
        {"pca(\"p.csv\", center=false) - 2*neutral()", "pca(\"p.csv\", center=false) 1, neutral() -2"},
        {"mean(a, b)", "a 0.5, b 0.5"},
        {"-(a +\n b)", "a -1, b -1"},
        {"a - a", ""},
        {"(a - b) @ 16", "a 1, b -1"},
        {"a - b @ 16", "a 1, b @ 16 -1"},
        {"2*(((a + c)/4) @ 16) - b", "a 0.5, c 0.5, b -1"},
        {"trip @ 16", "a 1, b 0.5, c -1"},
        {"(2*trip @ 14..18) @ 16", "a 2, b 1, c -2"},
        {"mean(a, b) @ 16", "a 0.5, b 0.5"},
        {"unit(a - b) @ 16", ""},
        {"(random(1) - random(2)) @ 16", "random(1) 1, random(2) -1"},
        {"free((a - b) @ 3) @ 16", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        program x;
        rh_str got = {0};
        rh_program_input in = book(text);
        in.expr = cases[i].expr;
        open_program(&x, &in);
        const rh_eval_action *a = &x.e->actions[0];
        double sum[FAKE_D] = {0};
        for (int k = 0; k < a->n_parts; k++) {
            rh_str_printf(&got, "%s%s %g", k ? ", " : "", a->parts[k].label, a->parts[k].c);
            assert_int_equal(a->parts[k].v->layers[0], 16);
            for (int j = 0; j < FAKE_D; j++) sum[j] += a->parts[k].c * a->parts[k].v->data[j];
        }
        rh_str_puts(&got, "");
        assert_string_equal(got.data ? got.data : "", cases[i].parts);
        for (int j = 0; j < FAKE_D && a->n_parts; j++) assert_true(fabs(sum[j] - a->value.vector->data[j]) < 1e-5);
        close_program(&x);
        rh_str_free(&got);
    }
}

static void names_beside(void **state)
{
    (void)state;
    program x;
    rh_program_input in = book("let a = dim(\"a.csv\"); let s = norm(a); let t = token(\"t\"); let sf = load(\"sf.safetensors\")\n"
                               "let gone = dim(\"missing.csv\"); let zero = unit(a - a); let narrow = load(\"narrow.npy\"); let r = random(1)\n"
                               "let uses_gone = gone + a; let fam = load(\"fam.safetensors\"); let sp = span(a, t)");
    in.expr = "a @ 20";
    in.bare_value = in.all_names = true;
    open_program(&x, &in);
    static const struct { const char *name; int layer; } want[] = {
        {"a", 20}, {"s", 20}, {"t", 20}, {"sf", 31}, {"narrow", -1}, {"r", 20}, {"fam", 14}, {"sp", 20},
    };
    assert_int_equal(x.e->n_names, 8);
    for (int i = 0; i < 8; i++) {
        assert_string_equal(x.e->names[i].name, want[i].name);
        const rh_value *v = &x.e->names[i].value;
        assert_int_equal(v->layers ? v->layers[0] : -1, want[i].layer);
    }
    close_program(&x);
    in.expr = "token(\"x\")"; /* no place: what floats cannot be shown */
    open_program(&x, &in);
    assert_int_equal(x.e->n_names, 4);
    assert_string_equal(x.e->names[0].name, "t");
    assert_null(x.e->names[0].value.layers);
    assert_string_equal(x.e->names[1].name, "sf");
    assert_string_equal(x.e->names[2].name, "narrow");
    assert_string_equal(x.e->names[3].name, "fam");
    close_program(&x);
}

/* ---- places ------------------------------------------------------------------------------------------------ */

/* Every pair of places, under +, dot and free choice of order: the site of the result, or E. */
static void places_join(void **state)
{
    (void)state;
    static const char *const what[] = {"token(\"x\")", "dim(\"a.csv\")", "load(\"sf.safetensors\")", "load(\"rain20.safetensors\")",
                                       "load(\"fam.safetensors\")", "load(\"fam2.gguf\")", "load(\"attn.safetensors\")"};
    enum { N = 7, C = -1, F = -2, E = -3 };
    static const int want[N][N] = { /* first layer of the result, constant, floating, error */
        {C, F, 31, 20, 14, 3, 20},  {F, F, 31, 20, 14, 3, 20}, {31, 31, 31, E, E, E, E}, {20, 20, E, 20, E, E, E},
        {14, 14, E, E, 14, E, E},   {3, 3, E, E, E, 3, E},     {20, 20, E, E, E, E, 20},
    };
    static const char *const forms[] = {"%s + %s", "dot(%s, %s)", "proj(%s, %s)", "norm(%s) * %s", "cos(%s, unit(%s)) + 1"};
    for (int a = 0; a < N; a++)
        for (int b = 0; b < N; b++)
            for (int f = 0; f < 5; f++) {
                fake_resolver fake;
                rh_program *p = NULL;
                rh_evaluation *e = NULL;
                rh_error err = {0};
                rh_str text = {0};
                const char *second = strstr(forms[f], "%s") + 2, *tail = strstr(second, "%s") + 2;
                rh_str_add(&text, forms[f], (size_t)(second - 2 - forms[f]));
                rh_str_puts(&text, what[a]);
                rh_str_add(&text, second, (size_t)(tail - 2 - second));
                rh_str_puts(&text, what[b]);
                rh_str_puts(&text, tail);
                fake_init(&fake);
                rh_program_input in = {.expr = text.data, .bare_value = true};
                rh_status status = rh_program_compile(&p, &in, &fake.resolver, NULL, &err);
                if (want[a][b] == E || want[a][b] == F) {
                    assert_int_equal(status, RH_ESITE);
                    assert_int_equal(strstr(err.message, "none is chosen") != NULL, want[a][b] == F);
                } else {
                    assert_int_equal(status, RH_OK);
                    assert_int_equal(rh_program_eval(&e, p, NULL, &err), RH_OK);
                    assert_int_equal(e->value->layers ? e->value->layers[0] : C, want[a][b]);
                    assert_int_equal(e->value->hook, a == 6 || b == 6 ? RH_ATTN_OUT : RH_RESID_POST);
                }
                rh_evaluation_free(e);
                rh_program_free(p);
                rh_str_free(&text);
            }
}

/* ---- models ------------------------------------------------------------------------------------------------ */

static void without_a_model(void **state)
{
    (void)state;
    static const struct { const char *expr; rh_status status; } cases[] = {
        {"load(\"sf.safetensors\")", RH_OK},
        {"2*load(\"sf.safetensors\") @ 31 + random(3)", RH_OK},
        {"load(\"const.npy\") @ 3", RH_OK},
        {"cos(load(\"const.npy\"), random(3))", RH_OK},
        {"dim(\"a.csv\")", RH_EMODEL},
        {"neutral()", RH_EMODEL},
        {"resid_norm()*load(\"sf.safetensors\")", RH_EMODEL},
        {"token(\"a\")", RH_EMODEL},
        {"load(\"const.npy\") @ all", RH_EMODEL},
        {"random(3) @ 14", RH_ESITE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fake_resolver fake;
        rh_program *p = NULL;
        rh_evaluation *e = NULL;
        rh_error err = {0};
        fake_no_model(&fake);
        rh_program_input in = {.expr = cases[i].expr, .bare_value = true};
        assert_int_equal(rh_program_compile(&p, &in, &fake.resolver, NULL, &err), cases[i].status);
        if (!cases[i].status) {
            assert_false(rh_program_needs_model(p));
            assert_int_equal(rh_program_eval(&e, p, NULL, &err), RH_OK);
        }
        rh_evaluation_free(e);
        rh_program_free(p);
    }
    program x;
    rh_program_input in = {.expr = "token(\"x\") - token(\"x\")", .bare_value = true};
    open_program(&x, &in);
    assert_false(rh_program_needs_model(x.p)); /* nothing is left to read */
    close_program(&x);
    in.expr = "token(\"x\")";
    open_program(&x, &in);
    assert_true(rh_program_needs_model(x.p));
    close_program(&x);
}

/* Equal atoms are one, whatever the spelling; different options are not. */
static void one_request_an_atom(void **state)
{
    (void)state;
    program x;
    rh_program_input in = book("let a = dim(\"a.csv\"); let b = dim( \"a.csv\", at = last ); let c = dim(\"a.csv\", at=mean)\n"
                               "let d = dim(\"a.csv\", prefix=\"p\"); let e = dim(\"a.csv\", chat=true); layer 16\n"
                               "steer a + b*norm(a) + unit(b); steer c + d + e; steer a @ 14..18; ablate a @ 16");
    open_program(&x, &in);
    assert_int_equal(x.fake.computes, 1);
    assert_int_equal(x.fake.n_requests, 5); /* a at 16, a at 14..18, c, d, e */
    assert_int_equal(x.fake.describes, 4);
    close_program(&x);

    static const struct { const char *same, *other; } options[] = {
        {"pca(\"a.csv\", center=true)", "pca(\"a.csv\", center=false)"}, {"lda(\"a.csv\", shrink=0.1)", "lda(\"a.csv\", shrink=0.2)"},
        {"logreg(\"a.csv\", l2=1.0)", "logreg(\"a.csv\", l2=1e-3)"},      {"resid_norm(1/2)*neutral()", "resid_norm(0.75)*neutral()"},
        {"neutral()", "act(\"\")"},                                     {"pca(\"a.csv\")", "dim(\"a.csv\")"},
        {"lda(\"a.csv\", shrink=-0)", "lda(\"a.csv\", shrink=1)"},
    };
    static const char *const plain[] = {"pca(\"a.csv\")", "lda(\"a.csv\")", "logreg(\"a.csv\")", "resid_norm()*neutral()", "neutral( )", "pca(\"a.csv\", at=last)",
                                        "lda(\"a.csv\", shrink=0)"};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        rh_str text = {0};
        rh_str_printf(&text, "layer 16; steer unit(%s) + %s; steer %s", plain[i], options[i].same, options[i].other);
        in = book(text.data);
        open_program(&x, &in);
        assert_int_equal(x.fake.n_requests, i == 3 ? 3 : 2);
        close_program(&x);
        rh_str_free(&text);
    }
}

static void compute_can_fail(void **state)
{
    (void)state;
    fake_resolver fake;
    rh_program *p = NULL;
    rh_evaluation *e = NULL;
    rh_error err = {0};
    rh_diags *diags = calloc(1, sizeof *diags);
    fake_init(&fake);
    rh_program_input in = {.expr = "dim(\"a.csv\") @ 3"};
    assert_int_equal(rh_program_compile(&p, &in, &fake.resolver, diags, &err), RH_OK);
    fake.fail_memory = true;
    assert_int_equal(rh_program_eval(&e, p, diags, &err), RH_ENOMEM);
    assert_int_equal(err.code, RH_ENOMEM);
    fake.fail_memory = false;
    fake.cancel = true;
    assert_int_equal(rh_program_eval(&e, p, diags, &err), RH_ECANCELLED);
    assert_string_equal(err.message, "interrupted");
    assert_null(e);
    rh_program_free(p);
    free(diags);
}

int main(void)
{
    if (chdir(RH_TEST_DATA "/../dsl") != 0) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(actions), cmocka_unit_test(amounts_and_guards), cmocka_unit_test(clamped_features), cmocka_unit_test(multiples_of_a_feature), cmocka_unit_test(layer_by_layer), cmocka_unit_test(masks), cmocka_unit_test(contextual_words), cmocka_unit_test(statements_end),
        cmocka_unit_test(an_expression_with_a_book), cmocka_unit_test(includes), cmocka_unit_test(parts), cmocka_unit_test(names_beside),
        cmocka_unit_test(places_join), cmocka_unit_test(without_a_model), cmocka_unit_test(one_request_an_atom), cmocka_unit_test(compute_can_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
