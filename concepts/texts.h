/* texts.h - the texts of a dim or act source. Knows CSV files and literals; no model. */
#ifndef RH_CONCEPTS_TEXTS_H
#define RH_CONCEPTS_TEXTS_H

#include "concepts/concepts.h"

/* act's one text is a positive row without a line. rh_pairs_free. */
rh_status rh_texts_read(rh_pairs *out, const rh_atom_spec *spec, rh_error *err);
/* Pairs that add nothing or count twice are worth a word: into a warning, or "" if there is nothing
 * to say. */
rh_status rh_texts_doubts(char *out, size_t size, const rh_pairs *p, rh_error *err);

#endif
