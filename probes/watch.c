/* watch.c - `--watch EXPR`: every token of every run shaded by its projection, or by a feature's activation.
 *
 * Generation captures only the prompt. So prompt and text are read once more, each run with its own
 * actions and the same n_prompt, without logits, up to the deepest watched layer. What is captured is
 * the state that decoding had, to rounding. */
#include <math.h>
#include <stdlib.h>

#include "engine/sae_action.h"
#include "probes/axis.h"
#include "probes/diagnose.h"
#include "probes/experiment.h"

enum { STATE_BYTES = 128 * 1024 * 1024 }; /* of one pass; a longer run goes alone */

/* All axes of all watches, each with its label. Of a feature the axis says where and how wide the state is that its
 * SAE reads, and reader, which serves all runs, that it is one. */
typedef struct watch { rh_axis axis; char *label; rh_sae_actor *reader; int32_t feature; } watch;
typedef struct watches { watch *items; int32_t n; rh_axes *axes; int32_t n_axes; size_t width; } watches;

static void watches_free(watches *w)
{
    for (int32_t i = 0; w->items && i < w->n; i++) {
        rh_sae_actor_free(w->items[i].reader);
        free(w->items[i].label);
    }
    for (int32_t i = 0; w->axes && i < w->n_axes; i++) rh_axes_free(&w->axes[i]);
    free(w->items);
    free(w->axes);
}

/* The site where the run's first action acts: where a watch without a place of its own looks. */
static rh_status place_constant(rh_axis *a, const rh_experiment *x, const char *label, rh_error *err)
{
    for (int32_t r = 0; r < x->n_runs; r++) {
        if (!x->actions[r].n) continue;
        a->layer = x->actions[r].items[0].layer;
        a->hook = x->actions[r].items[0].hook;
        return RH_OK;
    }
    return rh_hinted(rh_fail(err, RH_ESITE, "the watch '%s' has no layer, and nothing is steered", label),
                     err, "say where to look: (%s) @ %d", label, (int)(x->m->config.n_layers / 2));
}

static char *track_label(const char *label, const rh_axis *a, bool several)
{
    rh_str s = {0};
    rh_str_puts(&s, label);
    if (several) rh_str_printf(&s, " @ %d.%s", (int)a->layer, rh_hook_name(a->hook));
    if (s.failed) rh_str_free(&s);
    return s.data;
}

static rh_status add_watch(watches *w, const rh_experiment *x, const char *label, const rh_axes *axes, rh_error *err)
{
    if (!axes->n) return rh_fail(err, RH_EVALUE, "the watch '%s' is the zero vector", label);
    watch *grown = rh_realloc_array(w->items, (size_t)(w->n + axes->n), sizeof *grown);
    if (!grown) return rh_fail_nomem(err);
    w->items = grown;
    for (int32_t i = 0; i < axes->n; i++) {
        rh_axis a = axes->items[i];
        if (a.layer < 0) RH_TRY(place_constant(&a, x, label, err));
        if (a.layer >= x->m->config.n_layers || a.d != rh_model_width(x->m, a.hook))
            return rh_fail(err, RH_ESITE, "the watch '%s' (width %d) does not fit %d.%s of this model", label,
                           (int)a.d, (int)a.layer, rh_hook_name(a.hook));
        char *text = track_label(label, &a, axes->n > 1);
        if (!text) return rh_fail_nomem(err);
        w->items[w->n++] = (watch){.axis = a, .label = text};
        w->width += (size_t)a.d;
    }
    return RH_OK;
}

static rh_status add_feature(watches *w, const rh_experiment *x, const char *label, const rh_atom_spec *spec, rh_error *err)
{
    const rh_sae *sae = NULL;
    int32_t which;
    RH_TRY(rh_concepts_acting(&sae, x->o->concepts, spec, err));
    RH_TRY(rh_concepts_sae_of(&which, x->o->concepts, spec, err));
    const rh_concept_sae s = rh_concepts_sae(x->o->concepts, which);
    const rh_axis a = {.layer = s.layer, .hook = s.reads, .d = rh_sae_about(sae)->d_in};
    if (a.d != rh_model_width(x->m, a.hook))
        return rh_fail(err, RH_ESITE, "the watch '%s' reads %d numbers, and %s of this model has %d", label, (int)a.d, rh_hook_name(a.hook),
                       (int)rh_model_width(x->m, a.hook));
    watch *grown = rh_realloc_array(w->items, (size_t)w->n + 1, sizeof *grown);
    char *text = grown ? rh_strdup(label) : NULL;
    if (grown) w->items = grown;
    if (!text) return rh_fail_nomem(err);
    watch *added = &w->items[w->n++];
    *added = (watch){.axis = a, .label = text, .feature = spec->feature};
    w->width += (size_t)a.d;
    return rh_sae_actor_new(&added->reader, sae, x->m->backend, err);
}

static rh_status collect(watches *w, const rh_experiment *x, rh_error *err)
{
    const rh_steer_options *o = x->o;
    w->axes = rh_calloc((size_t)o->n_watches, sizeof *w->axes);
    if (!w->axes) return rh_fail_nomem(err);
    for (int32_t i = 0; i < o->n_watches; i++) {
        const rh_value *v = o->watches[i]->value;
        const char *label = o->watch_labels[i];
        if (!v || v->kind == RH_VALUE_SCALAR) {
            return rh_hinted(rh_fail(err, RH_EKIND, "the watch '%s' is a number", label),
                             err, "a watch needs a vector or a span, on which every token's state is projected");
        }
        const rh_eval_feature *f = &o->watches[i]->of_feature;
        if (f->stored && o->concepts) {
            RH_TRY(add_feature(w, x, label, f->spec, err));
            continue;
        }
        w->n_axes = i + 1;
        RH_TRY(rh_axes_make(&w->axes[i], v, err));
        RH_TRY(add_watch(w, x, label, &w->axes[i], err));
    }
    return RH_OK;
}

/* values [n]: NaN where a state overflowed. */
static rh_status activations(float *values, const watch *w, const float *states, int32_t n, rh_error *err)
{
    rh_status status = rh_sae_activation(values, w->reader, w->feature, states, n, err);
    for (int32_t i = 0; status == RH_EVALUE && i < n; i++) values[i] = NAN;
    return status == RH_EVALUE ? RH_OK : status;
}

/* states [n, d], one row a token. */
static rh_status make_track(rh_watch_track *out, const watch *w, const rh_experiment *x, int32_t run,
                            const float *states, rh_error *err)
{
    int32_t n = x->n_tokens[run];
    out->layer = w->axis.layer;
    out->hook = w->axis.hook;
    out->label = rh_strdup(w->label);
    out->tokens = rh_calloc((size_t)n, sizeof *out->tokens);
    out->activation = w->reader != NULL;
    float *values = w->reader ? rh_calloc((size_t)n, sizeof *values) : NULL;
    rh_status status = out->label && out->tokens && (values || !w->reader) ? RH_OK : rh_fail_nomem(err);
    if (!status && values) status = activations(values, w, states, n, err);
    for (int32_t i = 0; i < n && !status; i++) {
        int32_t id = x->tokens[run][i];
        out->tokens[i] = (rh_shaded){.id = id, .generated = i >= x->prompt.n, .text = rh_piece_text(x->m->tokenizer, id)};
        out->n = i + 1;
        if (!out->tokens[i].text) status = rh_fail_nomem(err);
        out->tokens[i].value = values ? values[i] : rh_axis_project(&w->axis, states + (size_t)i * (size_t)w->axis.d);
    }
    free(values);
    return status;
}

/* Runs first..first+n-1 in one pass. */
static rh_status watch_group(rh_steer_run *runs, const watches *w, const rh_experiment *x, int32_t first,
                             int32_t n, rh_error *err)
{
    rh_status status = RH_OK;
    size_t tokens = 0, used = 0;
    for (int32_t r = first; r < first + n; r++) tokens += (size_t)x->n_tokens[r];
    float *states = rh_calloc(tokens, w->width * sizeof *states);
    rh_capture *captures = rh_calloc((size_t)n, (size_t)w->n * sizeof *captures);
    rh_reading *readings = rh_calloc((size_t)n, sizeof *readings);
    if (!states || !captures || !readings) {
        status = rh_fail_nomem(err);
        goto done;
    }
    for (int32_t i = 0; i < n; i++) {
        int32_t r = first + i;
        rh_capture *c = captures + (size_t)i * (size_t)w->n;
        for (int32_t k = 0; k < w->n; k++) {
            const rh_axis *a = &w->items[k].axis;
            c[k] = (rh_capture){.layer = a->layer, .hook = a->hook, .n = x->n_tokens[r], .out = states + used};
            used += (size_t)x->n_tokens[r] * (size_t)a->d;
        }
        readings[i] = (rh_reading){.ids = x->tokens[r], .n = x->n_tokens[r], .n_prompt = x->prompt.n,
                                   .actions = x->actions[r].items, .n_actions = x->actions[r].n,
                                   .captures = c, .n_captures = w->n};
    }
    status = rh_read(x->m, readings, n, err);
    for (int32_t i = 0; !status && i < n; i++) {
        rh_steer_run *run = &runs[first + i];
        run->watches = rh_calloc((size_t)w->n, sizeof *run->watches);
        if (!run->watches) status = rh_fail_nomem(err);
        for (int32_t k = 0; !status && k < w->n; k++) {
            run->n_watches = k + 1;
            status = make_track(&run->watches[k], &w->items[k], x, first + i, readings[i].captures[k].out, err);
        }
    }
done:
    free(states);
    free(captures);
    free(readings);
    return status;
}

/* One scale over all runs. Position 0 is an attention sink in many models, a hundred times larger
 * than the rest: it would leave no shade for the others. */
static void set_scales(rh_steer_run *runs, int32_t n_runs)
{
    for (int32_t k = 0; k < runs[0].n_watches; k++) {
        double lo = runs[0].watches[k].activation ? 0 : INFINITY, hi = -INFINITY;
        for (int32_t r = 0; r < n_runs; r++) {
            const rh_watch_track *t = &runs[r].watches[k];
            for (int32_t i = t->n > 1; i < t->n; i++) {
                if (t->tokens[i].value < lo) lo = t->tokens[i].value;
                if (t->tokens[i].value > hi) hi = t->tokens[i].value;
            }
        }
        for (int32_t r = 0; r < n_runs; r++) {
            runs[r].watches[k].lo = lo;
            runs[r].watches[k].hi = hi;
        }
    }
}

rh_status rh_watch_runs(rh_steer_run *runs, const rh_experiment *x, rh_error *err)
{
    watches w = {0};
    if (!x->o->n_watches) return RH_OK;
    rh_status status = collect(&w, x, err);
    for (int32_t first = 0, n; !status && first < x->n_runs; first += n) {
        size_t bytes = 0;
        for (n = 0; first + n < x->n_runs; n++) {
            bytes += (size_t)x->n_tokens[first + n] * w.width * sizeof(float);
            if (n > 0 && bytes > STATE_BYTES) break;
        }
        status = watch_group(runs, &w, x, first, n, err);
    }
    if (!status) set_scales(runs, x->n_runs);
    watches_free(&w);
    return status;
}
