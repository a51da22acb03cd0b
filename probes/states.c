#include "probes/states.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

struct rh_states {
    const rh_model *m;
    int32_t layer;
    rh_hook hook[2];        /* in, out */
    int32_t n_hooks;        /* 1: they are one */
    rh_session *session;
    int32_t max_seqs, max_len;
    int32_t cap_texts, cap_positions;
    int64_t cap_rows;
    rh_step_input *inputs;  /* [cap_texts] */
    rh_capture *captures;   /* [cap_texts, n_hooks] */
    int32_t *positions;     /* [cap_positions] 1, 2, … */
    float *rows[2];         /* [cap_rows, width] */
};

rh_status rh_states_new(rh_states **out, const rh_model *m, int32_t layer, rh_hook in, rh_hook hook_out, rh_error *err)
{
    if (layer < 0 || layer >= m->config.n_layers)
        return rh_fail(err, RH_ESITE, "layer %d: %.80s has layers 0..%d", (int)layer, m->name, (int)m->config.n_layers - 1);
    rh_states *s = rh_calloc(1, sizeof *s);
    if (!s) return rh_fail_nomem(err);
    *s = (rh_states){.m = m, .layer = layer, .hook = {in, hook_out}, .n_hooks = in == hook_out ? 1 : 2};
    *out = s;
    return RH_OK;
}

void rh_states_free(rh_states *s)
{
    if (!s) return;
    rh_session_free(s->session);
    free(s->inputs);
    free(s->captures);
    free(s->positions);
    for (int i = 0; i < 2; i++) free(s->rows[i]);
    free(s);
}

int32_t rh_states_fit(const rh_id_text *texts, int32_t n)
{
    int32_t i = 0;
    int64_t tokens = 0;
    while (i < n && (i == 0 || tokens + texts[i].n <= RH_STATES_BATCH)) tokens += texts[i++].n;
    return i;
}

/* Contents need not survive. */
static rh_status room(void *items, size_t n, size_t size, rh_error *err)
{
    void **p = items;
    free(*p);
    *p = rh_calloc(n, size);
    return *p ? RH_OK : rh_fail_nomem(err);
}

static rh_status make_room(rh_states *s, int32_t n_texts, int32_t longest, int64_t rows, rh_error *err)
{
    if (n_texts > s->cap_texts) {
        s->cap_texts = 0;
        RH_TRY(room(&s->inputs, (size_t)n_texts, sizeof *s->inputs, err));
        RH_TRY(room(&s->captures, (size_t)n_texts * 2, sizeof *s->captures, err));
        s->cap_texts = n_texts;
    }
    if (longest > s->cap_positions) {
        s->cap_positions = 0;
        RH_TRY(room(&s->positions, (size_t)longest, sizeof *s->positions, err));
        for (int32_t i = 0; i < longest; i++) s->positions[i] = i + 1;
        s->cap_positions = longest;
    }
    if (rows > s->cap_rows) {
        s->cap_rows = 0;
        for (int32_t i = 0; i < s->n_hooks; i++)
            RH_TRY(room(&s->rows[i], (size_t)rows * (size_t)rh_model_width(s->m, s->hook[i]), sizeof(float), err));
        s->cap_rows = rows;
    }
    if (s->session && n_texts <= s->max_seqs && longest <= s->max_len) {
        rh_session_reset(s->session);
        return RH_OK;
    }
    if (n_texts < s->max_seqs) n_texts = s->max_seqs;
    if (longest < s->max_len) longest = s->max_len;
    rh_session_free(s->session);
    s->session = NULL;
    RH_TRY(rh_session_new(&s->session, s->m, n_texts, longest, err));
    s->max_seqs = n_texts;
    s->max_len = longest;
    return RH_OK;
}

static rh_status all_finite(const rh_states *s, int64_t rows, rh_error *err)
{
    for (int32_t h = 0; h < s->n_hooks; h++)
        for (int64_t i = 0; i < rows * rh_model_width(s->m, s->hook[h]); i++)
            if (!isfinite(s->rows[h][i]))
                return rh_fail(err, RH_EVALUE, "a state of %.80s at layer %d is not finite", s->m->name, (int)s->layer);
    return RH_OK;
}

rh_status rh_states_read(rh_state_rows *out, rh_states *s, const rh_id_text *texts, int32_t n, rh_error *err)
{
    int32_t longest = 1;
    int64_t rows = 0, at = 0;
    for (int32_t i = 0; i < n; i++) {
        if (texts[i].n > longest) longest = texts[i].n;
        rows += texts[i].n > 1 ? texts[i].n - 1 : 0;
    }
    *out = (rh_state_rows){0};
    if (!rows) return RH_OK;
    RH_TRY(make_room(s, n, longest, rows, err));
    int32_t used = 0;
    for (int32_t i = 0; i < n; i++) {
        if (texts[i].n < 2) continue;
        rh_step_input *in = &s->inputs[used];
        *in = (rh_step_input){.ids = texts[i].ids, .n = texts[i].n, .captures = &s->captures[used * 2], .n_captures = s->n_hooks};
        for (int32_t h = 0; h < s->n_hooks; h++)
            s->captures[used * 2 + h] = (rh_capture){.layer = s->layer, .hook = s->hook[h], .positions = s->positions, .n = texts[i].n - 1,
                                                     .out = s->rows[h] + at * rh_model_width(s->m, s->hook[h])};
        at += texts[i].n - 1;
        RH_TRY(rh_session_add(s->session, &in->seq, texts[i].n, NULL, 0, err));
        used++;
    }
    RH_TRY(rh_session_step(s->session, s->inputs, used, err));
    RH_TRY(all_finite(s, rows, err));
    *out = (rh_state_rows){s->rows[0], s->rows[s->n_hooks - 1], (int32_t)rows};
    return RH_OK;
}
