/* help.h - what the tests of concepts/ share: small models, folders, sources. */
#ifndef RH_TESTS_CONCEPTS_HELP_H
#define RH_TESTS_CONCEPTS_HELP_H

#include "concepts/room.h"

/* tests/data/models/NAME, exact, one thread. */
rh_model *open_model(const char *name);

/* A folder that goes away with everything in it. */
typedef struct folder { char path[256]; } folder;
folder folder_new(void);
void folder_remove(folder *f);
/* Borrowed until the next but seven call. */
const char *in_folder(const folder *f, const char *name);
const char *write_text(const folder *f, const char *name, const char *text);
int count_files(const char *path);         /* in a folder; 0 if it does not exist */
const char *only_file(const char *path);   /* its one file */

rh_atom_spec dim_spec(const char *path);   /* at=last */
rh_atom_spec act_spec(const char *text);
rh_concepts *new_concepts(const rh_model *m, const char *cache_dir);

/* One request of n_layers layers (from `first` on), memory of the caller's free(). */
float *compute(rh_concepts *c, const rh_atom_spec *spec, rh_hook hook, int32_t first, int32_t n_layers,
               rh_status want, rh_error *err);

#endif
