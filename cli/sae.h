/* sae.h - what the verbs do with sparse autoencoders: sae, info and convert. */
#ifndef RH_CLI_SAE_H
#define RH_CLI_SAE_H

#include "cli/cli.h"

/* All flags of `rhumb sae`; 0 where a default depends on what is done. */
typedef struct cli_sae_flags {
    const char *input, *tensor, *original, *out, *site;
    cli_texts corpus;
    int32_t width, k, arch, products, batch, context, buffer, reuse;
    double tokens, rate, sparsity, bandwidth, save_every;
    bool restart;
} cli_sae_flags;
extern const char *const CLI_SAE_ARCHS[], *const CLI_SAE_PRODUCTS[];

/* args: train MODEL [FILE…]; eval MODEL SAE [FILE…]. The files join those of --corpus. */
rh_status cli_sae_train(cli *c, const cli_args *args, const cli_sae_flags *f, rh_error *err);
rh_status cli_sae_eval(cli *c, const cli_args *args, const cli_sae_flags *f, rh_error *err);
/* --site: *hook stays where the text has none. Usage error. */
rh_status cli_sae_site(int32_t *layer, rh_hook *hook, cli *c, const char *text, rh_error *err);
/* The corpus's files, borrowed; free(*out). Usage error if there is none. */
rh_status cli_sae_corpus(const char ***out, int32_t *n, cli *c, const cli_args *args, size_t first, const cli_sae_flags *f, rh_error *err);

rh_status cli_info_sae(cli *c, const char *path, rh_error *err);
rh_status cli_convert_sae(cli *c, const char *in, const char *out, rh_error *err);

#endif
