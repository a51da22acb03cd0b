/* hub.h - what reading a tokenizer from a folder shares; only for folder*.c. */
#ifndef RH_ENGINE_TOKENIZER_HUB_H
#define RH_ENGINE_TOKENIZER_HUB_H

#include "base/json.h"
#include "engine/tokenizer/vocab.h"

typedef struct rh_added_token { int32_t id; uint8_t flags; rh_bytes content; } rh_added_token;

typedef struct rh_hub { /* while a folder is read */
    rh_tokenizer *t;
    const char *dir;
    json_t *config;         /* tokenizer_config.json, or NULL */
    char *config_path;
    rh_added_token *added;  /* contents are t's memory */
    size_t n_added, cap_added;
    rh_bytes *pieces;       /* [t->n], t's */
    int32_t n_rows;
    rh_error *err;
} rh_hub;

/* One added token as tokenizer.json and tokenizer_config.json describe it; id from `id`. */
rh_status rh_hub_add(rh_hub *h, int64_t id, const char *content, size_t len, const json_t *flags,
                     const char *path);
/* Room for n_base pieces and what is added behind them: empty and unused. */
rh_status rh_hub_alloc(rh_hub *h, int64_t n_base, const char *path);
rh_status rh_hub_set(rh_hub *h, int64_t id, const char *piece, size_t len, int type);
/* The added tokens over the pieces. */
rh_status rh_hub_overlay(rh_hub *h, const char *path);

/* The error again, with the file in front if it names none of the folder. */
rh_status rh_hub_named(const rh_hub *h, rh_status status, const char *path);

/* An object in the folder and its path, both the caller's; *out is NULL if there is no such file. */
rh_status rh_hub_load(json_t **out, char **path, const rh_hub *h, const char *name);

/* "Llama", "Gemma": the classes of transformers that put BOS in front themselves. */
bool rh_hub_class_adds_bos(const rh_hub *h);
/* A boolean of tokenizer_config.json; null or absent: otherwise. */
bool rh_hub_flag(const rh_hub *h, const char *key, bool otherwise);

rh_status rh_hub_sentencepiece(rh_hub *h, const char *path); /* folder_spm.c: tokenizer.model */
rh_status rh_hub_bpe(rh_hub *h, const char *path);           /* folder_bpe.c: tokenizer.json */
/* folder_rules.c: what tokenizer.json says beside its model, the rest of it into *out. */
typedef struct rh_hub_said {
    const char *bos;   /* the token that post_processor puts in front, or NULL; borrowed from root */
    bool marks_spaces; /* normalizer has ▁ for them, so that added tokens that see its text have, too */
} rh_hub_said;
rh_status rh_hub_rules(rh_bpe_parts *out, rh_hub_said *said, const json_t *root, const char *path, rh_error *err);

#endif
