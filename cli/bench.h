/* bench.h - what `rhumb bench` measures, as numbers. */
#ifndef RH_CLI_BENCH_H
#define RH_CLI_BENCH_H

#include "cli/cli.h"
#include "engine/session.h"

typedef struct bench_setup {
    cli *c;
    const rh_model *m;
    const char *model_path;  /* for start */
    const char *pairs;       /* NULL: built in */
    bool no_share;
    int32_t repeats, prompt, sequences;
    rh_action action;        /* a random direction at the middle layer, on in all of it */
} bench_setup;

typedef struct bench_result {
    double seconds;          /* of the best repeat */
    double tokens;           /* per repeat; 0: not counted */
    double bytes, flops;     /* weights read and multiply-adds*2 done in that time; 0: not counted */
    double alone_tok_s;      /* sweep: one sequence without others */
    double pairs, asked, computed; /* extraction: texts' tokens, and rows computed after sharing */
} bench_result;

rh_status bench_decode(bench_result *out, const bench_setup *s, rh_error *err);
rh_status bench_prefill(bench_result *out, const bench_setup *s, rh_error *err);
rh_status bench_batch(bench_result *out, const bench_setup *s, rh_error *err);
rh_status bench_sweep(bench_result *out, const bench_setup *s, rh_error *err);
rh_status bench_extract(bench_result *out, const bench_setup *s, rh_error *err);
rh_status bench_start(bench_result *out, const bench_setup *s, rh_error *err);

/* n random tokens of the vocabulary. */
void bench_ids(int32_t *ids, int32_t n, const rh_model *m, uint64_t stream);
/* A slow machine is not measured as often as asked: true once a work has had its time. */
bool bench_enough(int32_t done, double begun);

/* Multiply-adds times two of `rows` tokens through all blocks, without attention's products of
 * states with states; and of the logits of one row. */
double bench_block_flops(const rh_model_config *k, double rows);
double bench_logit_flops(const rh_model_config *k);

#endif
