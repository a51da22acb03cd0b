/* bench.c - `rhumb bench MODEL`: how fast it is, beside what this machine can do. */
#include "cli/bench.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/rng.h"
#include "cli/models.h"
#include "cli/text.h"

typedef struct bench_flags {
    const char *only, *pairs;
    int32_t repeats, context, sequences;
    bool no_share;
} bench_flags;

static const bench_flags DEFAULTS = {.repeats = 3, .context = 16, .sequences = 16};

typedef struct work {
    const char *name, *what;
    rh_status (*measure)(bench_result *out, const bench_setup *s, rh_error *err);
} work;

static const work WORK[] = {
    {"decode", "128 tokens one by one", bench_decode},
    {"prefill", "a prompt of 512, last logits", bench_prefill},
    {"batch", "all sequences, 64 tokens each", bench_batch},
    {"sweep", "16 strengths of 64, to text", bench_sweep},
    {"extract", "mean differences, all layers", bench_extract},
    {"start", "process start to first token", bench_start},
};
enum { N_WORK = CLI_COUNT(WORK), FIRST_WITH_TEXT = 3 };

/* --only: names in a comma list; NULL: all. */
static rh_status choose(bool chosen[N_WORK], cli *c, const char *only, rh_error *err)
{
    for (size_t i = 0; i < N_WORK; i++) chosen[i] = !only;
    for (const char *at = only; at;) {
        size_t len = strcspn(at, ","), i = 0;
        while (i < N_WORK && (strlen(WORK[i].name) != len || memcmp(WORK[i].name, at, len))) i++;
        if (i == N_WORK) {
            return rh_hinted(cli_wrong(c, err, "bench knows no '%.*s'", (int)(len < 40 ? len : 40), at), err,
                             "--only takes decode, prefill, batch, sweep, extract and start");
        }
        chosen[i] = true;
        at = at[len] ? at + len + 1 : NULL;
    }
    return RH_OK;
}

/* A random unit direction, acting at every position of the middle layer. */
static rh_status make_action(rh_action *out, const rh_model *m, float **v, rh_error *err)
{
    double norm = 0;
    int32_t d = m->config.d_model;
    *v = rh_calloc((size_t)d, sizeof **v);
    if (!*v) return rh_fail_nomem(err);
    for (int32_t i = 0; i < d; i++) {
        double x = rh_random_normal(7, 0, (uint64_t)i);
        (*v)[i] = (float)x;
        norm += x * x;
    }
    *out = (rh_action){.kind = RH_STEER, .layer = m->config.n_layers / 2, .hook = RH_RESID_POST, .v = *v,
                       .strength = (float)(1 / sqrt(norm))};
    return RH_OK;
}

/* ---- printing ------------------------------------------------------------------------------- */

static double gb_s(const bench_result *r) { return r->seconds > 0 ? r->bytes / r->seconds / 1e9 : 0; }
static double gflop_s(const bench_result *r) { return r->seconds > 0 ? r->flops / r->seconds / 1e9 : 0; }

/* The fastest products this mode could use. */
static double peak_of(const rh_machine_limits *l, bool exact)
{
    double peak = l->f32_gflops;
    if (exact) return peak;
    if (l->bf16_gflops > peak) peak = l->bf16_gflops;
    return l->int8_gops > peak ? l->int8_gops : peak;
}

static json_t *result_json(const work *w, const bench_result *r, const rh_machine_limits *l, double peak)
{
    json_t *o = json_pack("{s:f, s:s}", "s", r->seconds, "what", w->what);
    if (r->tokens > 0) json_object_set_new(o, "tok_s", cli_json_number(r->tokens / r->seconds));
    if (r->bytes > 0) {
        json_object_set_new(o, "gb_s", cli_json_number(gb_s(r)));
        json_object_set_new(o, "of_read", cli_json_number(gb_s(r) / l->read_gbs));
    }
    if (r->flops > 0) {
        json_object_set_new(o, "gflop_s", cli_json_number(gflop_s(r)));
        json_object_set_new(o, "of_peak", cli_json_number(gflop_s(r) / peak));
    }
    if (r->alone_tok_s > 0) {
        json_object_set_new(o, "alone_tok_s", cli_json_number(r->alone_tok_s));
        json_object_set_new(o, "over_alone", cli_json_number(r->tokens / r->seconds / r->alone_tok_s));
    }
    if (r->pairs > 0) {
        json_object_set_new(o, "pairs", json_integer((json_int_t)r->pairs));
        json_object_set_new(o, "tokens", json_integer((json_int_t)r->asked));
        json_object_set_new(o, "computed", json_integer((json_int_t)r->computed));
        json_object_set_new(o, "shared", cli_json_number(r->asked > 0 ? 1 - r->computed / r->asked : 0));
    }
    return o;
}

static void result_text(rh_str *out, const work *w, const bench_result *r, const rh_machine_limits *l, double peak)
{
    char speed[32];
    if (r->tokens > 0) snprintf(speed, sizeof speed, "%.1f tok/s", r->tokens / r->seconds);
    else snprintf(speed, sizeof speed, "%.3f s", r->seconds);
    rh_str_printf(out, "%-9s%-30s%15s", w->name, w->what, speed);
    if (r->bytes > 0) rh_str_printf(out, "%8.1f %4.0f %%", gb_s(r), 100 * gb_s(r) / l->read_gbs);
    else if (r->flops > 0) rh_str_printf(out, "%15s", "");
    if (r->flops > 0) rh_str_printf(out, "%10.1f %4.0f %%", gflop_s(r), 100 * gflop_s(r) / peak);
    rh_str_puts(out, "\n");
    if (r->alone_tok_s > 0)
        rh_str_printf(out, "         one sequence alone %.1f tok/s: together %.2f times that\n", r->alone_tok_s,
                      r->tokens / r->seconds / r->alone_tok_s);
    if (r->pairs > 0)
        rh_str_printf(out, "         %.0f pairs in %.3f s; %.0f tokens, %.0f computed (%.0f %% shared)\n", r->pairs, r->seconds,
                      r->asked, r->computed, r->asked > 0 ? 100 * (1 - r->computed / r->asked) : 0);
}

static void head_text(rh_str *out, const bench_setup *s, const rh_machine_limits *l)
{
    const rh_backend *be = s->m->backend;
    rh_str_printf(out, "%s on %s", s->m->name, be->ops->name);
    if (!strncmp(be->ops->name, "cpu/", 4)) rh_str_printf(out, ", %d thread%s", be->threads, be->threads == 1 ? "" : "s");
    rh_str_printf(out, "%s; steering on at layer %d; best of %d\n", s->c->common.exact ? ", exact" : "", s->action.layer, s->repeats);
    rh_str_printf(out, "this machine, measured now: reads %.1f GB/s; %.0f GFLOP/s float32", l->read_gbs, l->f32_gflops);
    if (l->bf16_gflops > 0) rh_str_printf(out, ", %.0f bf16", l->bf16_gflops);
    if (l->int8_gops > 0) rh_str_printf(out, ", %.0f int8", l->int8_gops);
    rh_str_printf(out, "\n\n%-39s%15s%8s %6s%10s %6s\n", "", "", "GB/s", "read", "GFLOP/s", "peak");
}

static json_t *head_json(const bench_setup *s, const rh_machine_limits *l)
{
    return json_pack("{s:o, s:s, s:i, s:b, s:i, s:{s:f, s:f, s:f, s:f}}", "model", cli_json_text(s->m->name, strlen(s->m->name)),
                     "backend", s->m->backend->ops->name, "threads", s->m->backend->threads, "exact", s->c->common.exact,
                     "layer", s->action.layer, "machine", "read_gbs", l->read_gbs, "f32_gflops", l->f32_gflops,
                     "bf16_gflops", l->bf16_gflops, "int8_gops", l->int8_gops);
}

/* From here on: the machine's limits were measured with a GiB of memory that is no model's. Linux's way. */
static void forget_peak_memory(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "w");
    if (!f) return;
    fputs("5", f);
    fclose(f);
}

/* Of this process, in bytes. */
static double peak_memory(void)
{
    struct rusage use = {0};
    return getrusage(RUSAGE_SELF, &use) ? 0 : 1024.0 * (double)use.ru_maxrss;
}

/* ---- the verb ------------------------------------------------------------------------------- */

/* Text comes out row by row, for a benchmark is watched. */
static rh_status measure_all(cli *c, const bench_setup *s, const bool chosen[N_WORK], rh_error *err)
{
    rh_machine_limits limits = {0};
    rh_str text = {0};
    json_t *o = NULL;
    RH_TRY(s->m->backend->ops->limits(s->m->backend, &limits, err));
    forget_peak_memory();
    double peak = peak_of(&limits, c->common.exact);
    rh_status status = RH_OK;
    if (c->common.json) o = head_json(s, &limits);
    else {
        head_text(&text, s, &limits);
        status = cli_print_str(c, &text, err);
    }
    for (size_t i = 0; i < N_WORK && !status; i++) {
        bench_result r = {0};
        if (!chosen[i]) continue;
        if (!c->common.json) status = cli_flush(c, err);
        if (!status) status = WORK[i].measure(&r, s, err);
        if (status) break;
        if (c->common.json) json_object_set_new(o, WORK[i].name, result_json(&WORK[i], &r, &limits, peak));
        else {
            result_text(&text, &WORK[i], &r, &limits, peak);
            status = cli_print_str(c, &text, err);
        }
    }
    const double peak_bytes = peak_memory();
    if (!status && c->common.json) json_object_set_new(o, "peak_bytes", cli_json_number(peak_bytes));
    else if (!status) {
        rh_str_printf(&text, "\nresident memory at its peak, file pages counted: %.2f GB\n", peak_bytes / 1e9);
        status = cli_print_str(c, &text, err);
    }
    if (status) json_decref(o);
    else if (c->common.json) status = cli_print_json(c, o, err);
    return status;
}

static rh_status run(cli *c, const cli_args *args, const void *flags, rh_error *err)
{
    const bench_flags *f = flags;
    bool chosen[N_WORK];
    char *path = NULL;
    float *v = NULL;
    rh_model *m = NULL;
    RH_TRY(choose(chosen, c, f->only, err));
    rh_status status = cli_resolve_model(&path, c, args->items[0], err);
    if (!status) status = cli_open_model(&m, c, path, false, err);
    bench_setup s = {.c = c, .m = m, .model_path = path, .pairs = f->pairs, .no_share = f->no_share, .repeats = f->repeats,
                     .prompt = f->context, .sequences = f->sequences};
    if (!status && !m->tokenizer && !f->only) { /* no texts without a tokenizer */
        for (size_t i = FIRST_WITH_TEXT; i < N_WORK; i++) chosen[i] = false;
        cli_note(c, "the model has no tokenizer: sweep, extract and start are left out");
    }
    if (!status) status = make_action(&s.action, m, &v, err);
    if (!status) status = measure_all(c, &s, chosen, err);
    free(v);
    free(path);
    rh_model_free(m);
    return status;
}

#define AT(field) offsetof(bench_flags, field)
static const cli_option OPTIONS[] = {
    {"only", 0, CLI_TEXT, AT(only), "WORK,…", "some of decode, prefill, batch, sweep, extract and start", 0, 0, NULL},
    {"pairs", 0, CLI_TEXT, AT(pairs), "FILE", "the CSV to extract from (default: 128 built-in pairs)", 0, 0, NULL},
    {"no-share", 0, CLI_FLAG, AT(no_share), NULL, "extract without sharing prefixes, to see what sharing gains", 0, 0, NULL},
    {"context", 0, CLI_INT, AT(context), "N", "decode, batch: tokens of the prompt (default 16)", 1, 0x1p20, NULL},
    {"sequences", 0, CLI_INT, AT(sequences), "N", "batch: how many (default 16)", 1, 1024, NULL},
    {"repeats", 0, CLI_INT, AT(repeats), "N", "measure N times and take the best (default 3)", 1, 1000, NULL},
};

const cli_verb CLI_BENCH = {
    .name = "bench", .brief = "speed beside the machine's own limits", .arguments = "MODEL",
    .about = "Measures decoding, prefill, 16 sequences at once, a sweep of strengths, extraction and start-up, with a random direction steered at "
             "the middle layer, and prints tokens a second, the weights' GB/s beside this machine's read bandwidth, and "
             "GFLOP/s beside its fastest products, both measured in the same run.",
    .examples = "  rhumb bench smollm2\n  rhumb bench smollm2 --only decode --isa avx2\n",
    .options = OPTIONS, .n_options = CLI_COUNT(OPTIONS), .flags_size = sizeof(bench_flags), .defaults = &DEFAULTS,
    .min_args = 1, .max_args = 1, .run = run};
