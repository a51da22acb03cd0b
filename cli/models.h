/* models.h - where models are: the short names, the cache they are fetched into, and what the
 * word MODEL on the command line means. Knows paths; opens nothing but through the engine. */
#ifndef RH_CLI_MODELS_H
#define RH_CLI_MODELS_H

#include "cli/cli.h"
#include "engine/model.h"

/* A piece of a model's file: one member of one wheel. */
typedef struct cli_part {
    const char *package, *version; /* as the package index spells them */
    const char *member;            /* path inside the wheel */
} cli_part;

typedef struct cli_known_model {
    const char *name;
    const char *what, *licence;
    const char *sha256;
    int64_t size;                  /* bytes of the joined file */
    const cli_part *parts;
    int n_parts;
    cli_part notice;               /* kept beside the model; package NULL: none */
} cli_known_model;

const cli_known_model *cli_known(const char *name); /* NULL if unknown */
const cli_known_model *cli_known_at(size_t i);      /* NULL past the end */

/* MODEL_DIR/NAME.gguf; owner free. RH_EIO without a home folder. */
rh_status cli_model_cache_path(char **out, const cli *c, const char *name, rh_error *err);

/* MODEL as a path: a file or folder that exists, else the short name of a fetched model. A
 * missing one is RH_EIO, with the nearest name or `rhumb fetch` in the hint. Owner free. */
rh_status cli_resolve_model(char **out, const cli *c, const char *word, rh_error *err);

/* Resolve and open; light: no weights. */
rh_status cli_open_model(rh_model **out, cli *c, const char *word, bool light, rh_error *err);

#endif
