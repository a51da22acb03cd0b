/* cache.h - extracted vectors on disk, by content (DESIGN §5). Knows keys and files; not how a
 * vector is computed. Several processes may use one folder: files appear whole, by rename. */
#ifndef RH_CONCEPTS_CACHE_H
#define RH_CONCEPTS_CACHE_H

#include "concepts/room.h"

/* What is kept of a source at one hook. `vector` has the layers computed so far. */
typedef struct rh_entry {
    rh_vector *vector;                     /* owned; NULL: nothing */
    int64_t positives, negatives, tokens;  /* texts of each class; tokens of all prompts */
} rh_entry;
void rh_entry_free(rh_entry *e);

/* SHA-256 of everything the numbers depend on. content: the CSV's hash, or that of act's text. */
rh_status rh_cache_key(char key[65], const rh_concepts *c, const rh_atom_spec *spec, rh_hook hook,
                       const char *content, rh_error *err);

/* out->vector stays NULL if there is no entry, or one that is not what it should be. Only
 * RH_ENOMEM is an error. */
rh_status rh_cache_get(rh_entry *out, const char *cache_dir, const char *key, rh_hook hook, int32_t d,
                       rh_error *err);
rh_status rh_cache_put(const char *cache_dir, const char *key, const rh_entry *e, rh_error *err);

/* Layer-rows a second that the last pass over this model reached; < 0: not known. */
double rh_rate_get(const rh_concepts *c);
void rh_rate_put(const rh_concepts *c, double rate);

#endif
