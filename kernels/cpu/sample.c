#include <assert.h>

#include "kernels/cpu/cpu.h"
#include "kernels/sample.h"

/* Rows beside each other, in a few strands, each with candidates of its own. */
enum { STRANDS = 8 };

typedef struct job {
    int32_t *ids;
    float *logits;
    int32_t n, n_vocab, strands;
    const rh_sample_spec *specs;
    rh_candidate *scratch; /* [strands, n_vocab] */
} job;

static void sample_strand(void *job_, int32_t strand, int thread)
{
    const job *j = job_;
    const size_t vocab = (size_t)j->n_vocab;
    (void)thread;
    for (int32_t i = strand; i < j->n; i += j->strands)
        j->ids[i] = rh_sample_row(j->logits + (size_t)i * vocab, j->n_vocab, &j->specs[i],
                                  j->scratch + (size_t)strand * vocab);
}

rh_status rh_cpu_sample(rh_backend *be, rh_buf *ids, rh_buf *logits, int32_t n, int32_t n_vocab,
                        const rh_sample_spec *specs, rh_error *err)
{
    rh_cpu *c = rh_cpu_of(be);
    job j = {.ids = (int32_t *)(void *)ids->data, .logits = logits->data, .n = n, .n_vocab = n_vocab,
             .strands = n < STRANDS ? n : STRANDS, .specs = specs};
    assert((size_t)n * sizeof(int32_t) <= ids->bytes);
    assert((size_t)n * (size_t)n_vocab * sizeof(float) <= logits->bytes);
    j.scratch = rh_cpu_scratch(c, (size_t)j.strands * (size_t)n_vocab * sizeof *j.scratch);
    if (!j.scratch) return rh_fail_nomem(err);
    rh_cpu_run(c, j.strands, sample_strand, &j);
    return RH_OK;
}
