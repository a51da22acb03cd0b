/* sae.c - `rhumb sae encode|decode SAE`: arrays through a sparse autoencoder, block by block, so that
 * neither many rows nor wide features fill the memory. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/sae.h"
#include "engine/files/safetensors.h"
#include "engine/sae.h"

enum { BLOCK_FLOATS = 1 << 22 }; /* of dense features at a time */

static const cli_sae_flags DEFAULTS = {.original = "x", .k = 32};

typedef struct rows { const rh_tensor *t; int64_t n; int32_t width; } rows; /* a tensor as [n, width] */

typedef struct job {
    cli *c;
    const char *input;
    rh_sae *sae;
    rh_backend *backend;
    rh_sae_coder *coder;
    rh_safetensors *in;
    rh_st_writer *writer;
    float *x, *features, *out; /* a block's rows */
    int64_t active;
} job;

/* ---- input -------------------------------------------------------------------------------- */

static rh_status pick(const rh_tensor **out, cli *c, const job *j, const char *name, rh_error *err)
{
    const int64_t n = rh_safetensors_n(j->in);
    rh_str names = {0};
    *out = name ? rh_safetensors_find(j->in, name) : n == 1 ? rh_safetensors_tensor(j->in, 0) : NULL;
    if (*out) return RH_OK;
    for (int64_t i = 0; i < n && i < 12; i++) rh_str_printf(&names, "%s%s", i ? ", " : "", rh_safetensors_tensor(j->in, i)->name);
    rh_status status = name ? rh_fail(err, RH_ENAME, "'%s' has no tensor '%s'", j->input, name)
                            : cli_wrong(c, err, "'%s' has %lld tensors: say which with --tensor", j->input, (long long)n);
    rh_hint(err, "it has %.400s", names.data ? names.data : "none");
    rh_str_free(&names);
    return status;
}

/* The last dimension is the width; those in front count rows. */
static rh_status as_rows(rows *out, const rh_tensor *t, const char *input, rh_error *err)
{
    if (t->dtype != RH_F32 && t->dtype != RH_F16 && t->dtype != RH_BF16)
        return rh_fail(err, RH_EUNSUPPORTED, "'%s': tensor '%s' is stored as %s; F32, F16 and BF16 can be read", input, t->name,
                       t->raw_type);
    *out = (rows){t, 1, 0};
    for (int32_t i = 0; i + 1 < t->n_dims; i++) out->n *= t->shape[i];
    if (t->n_dims && t->shape[t->n_dims - 1] <= INT32_MAX) out->width = (int32_t)t->shape[t->n_dims - 1];
    if (!out->width || !out->n) return rh_fail(err, RH_EVALUE, "'%s': tensor '%s' has no rows", input, t->name);
    return RH_OK;
}

static void read_rows(float *out, const rows *r, int64_t first, int64_t n)
{
    rh_dequantize_row(out, r->t->data + (size_t)first * rh_row_bytes(r->t->dtype, r->width), r->t->dtype, n * r->width);
}

static rh_status wrong_width(const rows *r, const job *j, bool decode, rh_error *err)
{
    const rh_sae_facts *f = rh_sae_about(j->sae);
    rh_fail(err, RH_EVALUE, "'%s': tensor '%s' has rows of %d; the SAE reads rows of %d", j->input, r->t->name, r->width, f->d_in);
    if (decode) rh_hint(err, "or give it features, rows of %d", f->d_sae);
    return RH_EVALUE;
}

/* ---- through the SAE ---------------------------------------------------------------------- */

/* A block's activations, from x or as they are given. */
static rh_status activations(rh_sae_active *out, job *j, const rows *in, bool given, int64_t first, int32_t n, rh_error *err)
{
    float *to = given ? j->features : j->x;
    read_rows(to, in, first, n);
    rh_status status = given ? rh_sae_active_from(out, to, n, in->width, err) : rh_sae_encode(out, j->coder, to, n, err);
    if (!status) j->active += (int64_t)out->start[n];
    return status;
}

static rh_status run_block(job *j, const rows *in, const rows *x, bool given, bool decode, int64_t first, int32_t n, rh_error *err)
{
    const rh_sae_facts *f = rh_sae_about(j->sae);
    rh_sae_active a = {0};
    RH_TRY(activations(&a, j, in, given, first, n, err));
    rh_status status = RH_OK;
    if (!decode) {
        rh_sae_active_dense(j->features, &a, 0, n, f->d_sae);
        status = rh_st_writer_put(j->writer, j->features, (size_t)n * (size_t)f->d_sae * sizeof(float), err);
    } else {
        if (given && x->t) read_rows(j->x, x, first, n);
        status = rh_sae_decode(j->out, j->coder, &a, j->x, err);
        if (!status) status = rh_st_writer_put(j->writer, j->out, (size_t)n * (size_t)f->d_out * sizeof(float), err);
    }
    rh_sae_active_free(&a);
    return status;
}

/* Where decoding needs what was encoded, and only the features are given. */
static rh_status find_original(rows *out, cli *c, const job *j, const char *name, int64_t n, rh_error *err)
{
    const rh_tensor *t = rh_safetensors_find(j->in, name);
    if (!t)
        return rh_hinted(cli_wrong(c, err, "this SAE %s, so decoding needs the rows that were encoded, and '%s' has no tensor '%s'",
                                   rh_sae_about(j->sae)->skip ? "has a skip connection" : "normalises its input", j->input, name),
                         err, "name them with --original, or give them with --tensor");
    RH_TRY(as_rows(out, t, j->input, err));
    if (out->width != rh_sae_about(j->sae)->d_in) return wrong_width(out, j, false, err);
    if (out->n != n)
        return rh_fail(err, RH_EVALUE, "'%s': '%s' has %lld rows, but there are %lld of features", j->input, name,
                       (long long)out->n, (long long)n);
    return RH_OK;
}

static rh_status run_all(job *j, const cli_sae_flags *flags, bool decode, rh_error *err)
{
    const rh_sae_facts *f = rh_sae_about(j->sae);
    const rh_tensor *t;
    rows in = {0}, x = {0};
    RH_TRY(pick(&t, j->c, j, flags->tensor, err));
    RH_TRY(as_rows(&in, t, j->input, err));
    const bool given = decode && in.width == f->d_sae; /* features */
    if (!given && in.width != f->d_in) return wrong_width(&in, j, decode, err);
    if (given && rh_sae_decode_needs_x(j->sae)) RH_TRY(find_original(&x, j->c, j, flags->original, in.n, err));

    const int32_t block = BLOCK_FLOATS / f->d_sae > 0 ? BLOCK_FLOATS / f->d_sae : 1;
    const rh_safetensors_entry entry = {decode ? "recon" : "features", RH_F32, 2, {in.n, decode ? f->d_out : f->d_sae}};
    const size_t n = (size_t)(in.n < block ? in.n : block);
    j->x = rh_calloc(n * (size_t)f->d_in, sizeof *j->x);
    j->features = rh_calloc(n * (size_t)f->d_sae, sizeof *j->features);
    j->out = rh_calloc(n * (size_t)f->d_out, sizeof *j->out);
    if (!j->x || !j->features || !j->out) return rh_fail_nomem(err);
    RH_TRY(rh_st_writer_open(&j->writer, flags->out, &entry, 1, NULL, 0, err));
    for (int64_t at = 0; at < in.n; at += block) {
        RH_TRY(run_block(j, &in, &x, given, decode, at, (int32_t)(in.n - at < block ? in.n - at : block), err));
        if (!cli_progress(j->c, "rows", at, in.n)) return rh_fail(err, RH_ECANCELLED, "interrupted");
    }
    cli_clear_bar(j->c);
    RH_TRY(rh_safetensors_check(j->in, err));
    RH_TRY(rh_sae_check(j->sae, err));
    rh_status status = rh_st_writer_commit(j->writer, err);
    j->writer = NULL;
    if (status) return status;
    const double mean = (double)j->active / (double)in.n;
    if (!j->c->common.json) {
        cli_note(j->c, "%s written: %s of %lld rows, %.1f features active on average", flags->out, entry.name, (long long)in.n, mean);
        return RH_OK;
    }
    return cli_print_json(j->c, json_pack("{s:s, s:s, s:[I,I], s:f}", "path", flags->out, "tensor", entry.name, "shape",
                                          (json_int_t)entry.shape[0], (json_int_t)entry.shape[1], "active", mean), err);
}

static rh_status run(cli *c, const cli_args *args, const void *flags, rh_error *err)
{
    const cli_sae_flags *f = flags;
    const char *what = args->items[0];
    const bool decode = !strcmp(what, "decode");
    if (!strcmp(what, "train")) return cli_sae_train(c, args, f, err);
    if (!strcmp(what, "eval")) return cli_sae_eval(c, args, f, err);
    if (!decode && strcmp(what, "encode"))
        return rh_hinted(cli_wrong(c, err, "sae knows no '%s'", what), err, "it is train, eval, encode or decode");
    if (args->n > 2) return cli_wrong(c, err, "sae %s takes one SAE, and there is '%.80s' too", what, args->items[2]);
    if (args->n < 2) return cli_wrong(c, err, "sae %s needs an SAE", what);
    if (!f->input) return rh_hinted(cli_wrong(c, err, "sae %s needs rows to %s", what, what), err, "--input x.safetensors");
    if (!f->out) return rh_hinted(cli_wrong(c, err, "sae %s needs a file to write", what), err, "-o out.safetensors");

    job j = {.c = c, .input = f->input};
    rh_settings settings = cli_settings(c);
    settings.exact = true; /* float32 throughout, also where the weights are narrower */
    rh_status status = rh_safetensors_open(&j.in, f->input, err);
    if (!status) status = rh_sae_open(&j.sae, args->items[1], RH_SAE_ENCODE, err);
    if (!status) status = rh_backend_for(&j.backend, &settings, err);
    if (!status) status = rh_sae_coder_new(&j.coder, j.sae, j.backend, err);
    if (!status && c->common.exact) rh_sae_coder_compute_all(j.coder);
    if (!status) status = run_all(&j, f, decode, err);
    rh_st_writer_discard(j.writer);
    rh_sae_coder_free(j.coder);
    rh_backend_free(j.backend);
    rh_safetensors_close(j.in);
    rh_sae_free(j.sae);
    free(j.x);
    free(j.features);
    free(j.out);
    return status;
}

#define AT(field) offsetof(cli_sae_flags, field)
static const cli_option OPTIONS[] = {
    {"site", 's', CLI_TEXT, AT(site), "L[.HOOK]", "train: layer and hook, as 16 or 16.mlp_out (default hook resid_post)", 0, 0, NULL},
    {"width", 'w', CLI_INT, AT(width), "M", "train: features (default 8 times the site's width)", 1, 1 << 24, NULL},
    {"k", 'k', CLI_INT, AT(k), "K", "train: features active at a token; jumprelu: on average, aimed at (default 32)", 1, 1 << 20, NULL},
    {"arch", 0, CLI_CHOICE, AT(arch), "ARCH", "train: topk (default) or jumprelu", 0, 0, CLI_SAE_ARCHS},
    {"corpus", 'c', CLI_TEXTS, AT(corpus), "FILE…", "train, eval: plain text or JSON lines, gzip or not; several, or repeated", 0, 0, NULL},
    {"tokens", 0, CLI_NUMBER, AT(tokens), "N", "train: token states learned from (default 3000000); eval: tokens read (default 50000)", 1, 1e12, NULL},
    {"batch", 0, CLI_INT, AT(batch), "N", "train: states a step (default 1024)", 16, 1 << 20, NULL},
    {"context", 0, CLI_INT, AT(context), "N", "train, eval: tokens of a piece of text (default 256)", 2, 1 << 20, NULL},
    {"buffer", 0, CLI_INT, AT(buffer), "N", "train: states kept to draw from (default 131072, less where they would take over 1 GiB)", 16, 1 << 28, NULL},
    {"reuse", 0, CLI_INT, AT(reuse), "N", "train: how often a state is learned from before it gives way (default 4)", 1, 1000, NULL},
    {"rate", 0, CLI_NUMBER, AT(rate), "R", "train: Adam's learning rate (default 0.002)", 1e-9, 10, NULL},
    {"sparsity", 0, CLI_NUMBER, AT(sparsity), "S", "train, jumprelu: weight of the term that holds K, beside the share of variance that is left (default 1)", 0, 1e9, NULL},
    {"bandwidth", 0, CLI_NUMBER, AT(bandwidth), "B", "train, jumprelu: width of the threshold's rectangle (default 0.05)", 1e-9, 1e3, NULL},
    {"products", 0, CLI_CHOICE, AT(products), "TYPE", "train: the dense product in float32 or bf16 (default auto: bf16 where the processor multiplies "
     "it, unless --exact)", 0, 0, CLI_SAE_PRODUCTS},
    {"save-every", 0, CLI_NUMBER, AT(save_every), "SECONDS", "train: between two checkpoints (default 120)", 0, 1e9, NULL},
    {"restart", 0, CLI_FLAG, AT(restart), NULL, "train: do not go on from DIR's checkpoint", 0, 0, NULL},
    {"input", 'i', CLI_TEXT, AT(input), "FILE", "encode, decode: safetensors with the rows", 0, 0, NULL},
    {"tensor", 't', CLI_TEXT, AT(tensor), "NAME", "encode, decode: which tensor of it (needed if it has several)", 0, 0, NULL},
    {"output", 'o', CLI_TEXT, AT(out), "OUT", "train: folder to write; encode, decode: safetensors, tensor features or recon, float32", 0, 0, NULL},
    {"original", 0, CLI_TEXT, AT(original), "NAME",
     "decode features: the tensor that was encoded, for SAEs that normalise or have a skip connection (default x)", 0, 0, NULL},
};

const cli_verb CLI_SAE = {
    .name = "sae", .brief = "train, measure and use sparse autoencoders", .arguments = "train|eval|encode|decode …",
    .about = "sae train MODEL --site L --corpus FILE… -o DIR: trains an SAE on the states that MODEL has at the site while it reads "
             "the corpus, and writes it as SAELens does. The first position of every piece of text is left out. Ctrl-C leaves a "
             "checkpoint in DIR, from which the same command goes on; the result has the same bits either way.\n"
             "sae eval MODEL SAE --corpus FILE…: fraction of variance unexplained, active features, dead features, and how much of the "
             "model's loss is recovered when the reconstruction takes the place of the states, against zeros.\n"
             "sae encode|decode SAE --input FILE -o OUT: encode writes the features of rows that were read at the SAE's site; decode writes "
             "what the SAE makes of features, or of rows, which it encodes first (told apart by their width). Computed in float32 "
             "throughout. SAE is a file or folder of Gemma Scope, Gemma Scope 2, SAELens or Sparsify; `rhumb info SAE` says what it is.",
    .examples = "  rhumb sae train smollm2 --site 16 --width 8192 --corpus corpus.txt -o sae-16\n"
                "  rhumb sae eval smollm2 sae-16 --corpus held-out.txt\n"
                "  rhumb sae encode layer_20/width_16k/average_l0_91 --input x.safetensors --tensor x -o f.safetensors\n"
                "  rhumb sae decode layer_20/width_16k/average_l0_91 --input f.safetensors -o recon.safetensors\n",
    .options = OPTIONS, .n_options = CLI_COUNT(OPTIONS), .flags_size = sizeof(cli_sae_flags), .defaults = &DEFAULTS,
    .min_args = 1, .max_args = 1000, .run = run};
