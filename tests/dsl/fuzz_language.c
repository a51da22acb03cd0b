#include "fuzz_language.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "fake_resolver.h"

/* No test framework here: what a fuzzer finds is a crash. */
#define must(condition) ((condition) ? (void)0 : broken(#condition, __LINE__))

static void broken(const char *what, int line)
{
    fprintf(stderr, "fuzz_language.c:%d: not so: %s\n", line, what);
    abort();
}

static void check_diag(const rh_diag *d)
{
    must(d->code != RH_OK);
    must(strlen(d->message) > 0);
    must(rh_utf8_valid(d->message, strlen(d->message)) == strlen(d->message));
    must(rh_utf8_valid(d->excerpt, strlen(d->excerpt)) == strlen(d->excerpt));
    must(d->settled);
    if (d->n_labels == 0) return; /* a file that cannot be read, an expression as such */
    must(d->line >= 1 && d->column >= 1);
    must(strstr(d->excerpt, " | "));
    must(strchr(d->excerpt, '^'));
    for (int i = 0; i < d->n_labels; i++) must(d->labels[i].range.start <= d->labels[i].range.end);
}

static void all_finite(const rh_value *v)
{
    for (int i = 0; v->scalar && i < v->n_layers; i++) must(isfinite(v->scalar[i]));
    for (int i = 0; v->vector && i < v->vector->n_layers * v->vector->d; i++) must(isfinite(v->vector->data[i]));
    for (int i = 0; v->span && i < v->n_layers; i++)
        for (int j = 0; j < v->span[i].rank * v->span[i].d; j++) must(isfinite(v->span[i].basis[j]));
}

static void check_action(const rh_eval_action *a)
{
    bool has_amount = a->verb >= RH_VERB_SCALE;
    all_finite(&a->value);
    all_finite(&a->amount);
    must(a->value.layers != NULL); /* an action has a place */
    must((a->amount.scalar != NULL) == has_amount);
    if (has_amount) must(a->amount.n_layers == a->value.n_layers);
    if (!a->guard) return;
    all_finite(&a->guard->vector);
    all_finite(&a->guard->threshold);
    must(a->guard->vector.n_layers == a->value.n_layers);
    must(a->guard->threshold.n_layers == a->value.n_layers);
}

static void check_errors(const rh_diags *diags, const rh_error *err)
{
    rh_str out = {0};
    must(diags->n > 0);
    must(err->code == diags->items[0].code);
    for (int i = 0; i < diags->n; i++) check_diag(&diags->items[i]);
    for (int i = 0; i < diags->n; i++) rh_diag_render(&out, &diags->items[i]);
    rh_str_free(&out);
}

static void check_evaluation(const rh_evaluation *e)
{
    for (int i = 0; i < e->n_actions; i++) check_action(&e->actions[i]);
    for (int i = 0; i < e->n_names; i++) all_finite(&e->names[i].value);
    if (e->value) all_finite(e->value);
}

bool fuzz_language(const char *text, fuzz_choice choice)
{
    static const char *const layers[] = {NULL, "16", "3..5", "[1, 9]"};
    fake_resolver fake;
    rh_program *p = NULL;
    rh_evaluation *e = NULL;
    rh_error err = {0};
    rh_diags *diags = calloc(1, sizeof *diags);
    rh_program_input in = {.layers = layers[choice.layers % 4], .all_names = choice.all_names, .bare_value = choice.value};
    must(diags != NULL);
    if (choice.book) in.book_text = text;
    else in.expr = text;
    if (choice.no_model) fake_no_model(&fake);
    else fake_init(&fake);
    rh_status status = rh_program_compile(&p, &in, &fake.resolver, diags, &err);
    if (!status) {
        rh_str out = {0};
        must(rh_program_explain(&out, p, NULL) == RH_OK);
        must(rh_program_explain_json(&out, p, NULL) == RH_OK);
        rh_str_free(&out);
        status = rh_program_eval(&e, p, diags, &err);
    }
    if (status) check_errors(diags, &err);
    else check_evaluation(e);
    rh_evaluation_free(e);
    rh_program_free(p);
    free(diags);
    return status == RH_OK;
}

/* The first byte chooses, the rest is the text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) return 0;
    char *text = malloc(size); /* exact, so that reading past the end is seen */
    must(text != NULL);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    fuzz_language(text, (fuzz_choice){.book = data[0] & 1, .no_model = data[0] & 2, .all_names = data[0] & 4, .value = data[0] & 8,
                                      .layers = data[0] >> 4});
    free(text);
    return 0;
}
