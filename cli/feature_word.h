/* feature_word.h - what SAE[3,5] means on the command line: a path and features, or with a book a name of its own. */
#ifndef RH_CLI_FEATURE_WORD_H
#define RH_CLI_FEATURE_WORD_H

#include "cli/cli.h"
#include "engine/model.h"
#include "engine/sae.h"

typedef struct cli_features {
    char *path;              /* of the SAE; owned */
    int32_t layer;           /* as the book says; -1 */
    char *inside;            /* between the brackets, owned; NULL without them */
    int32_t *items; int32_t n;
} cli_features;

/* The path, and features given by number. book: NULL, or where SAE is a name. m: may be NULL. */
rh_status cli_features_read(cli_features *out, cli *c, const rh_model *m, const char *word, const char *book, rh_error *err);
/* Once the SAE is open (RH_SAE_ROWS): numbers in its range, or the one feature that a label means. */
rh_status cli_features_find(cli_features *f, const cli *c, const rh_sae *s, rh_error *err);
void cli_features_free(cli_features *f);

#endif
