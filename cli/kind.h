/* kind.h - is a path a model, a vector or a sparse autoencoder? By name and header alone. */
#ifndef RH_CLI_KIND_H
#define RH_CLI_KIND_H

typedef enum cli_file_kind { CLI_IS_MODEL, CLI_IS_VECTOR, CLI_IS_SAE } cli_file_kind;

/* What cannot be told is taken for a model, whose opening then says what is wrong. */
cli_file_kind cli_kind_of(const char *path);

#endif
