/* pairs.h - the readers of contrastive texts that the room itself needs. Knows CSV and marks;
 * no model. (rh_pairs_read itself is in concepts.h.) */
#ifndef RH_CONCEPTS_PAIRS_H
#define RH_CONCEPTS_PAIRS_H

#include "concepts/concepts.h"

/* Only the first row: does the file exist, and does it have the columns? */
rh_status rh_pairs_check_header(const char *path, const char *positive, const char *negative,
                                rh_error *err);

/* The same, and whether it is positive,negative (or text,label). */
rh_status rh_pairs_check_paired(bool *paired, const char *path, const char *positive, const char *negative,
                                rh_error *err);

/* Take the marks `<<…>>` out of a row's text, in place, and record what they enclosed.
 * RH_EFORMAT: unbalanced, nested, empty, or none. No place is set. */
rh_status rh_marks_take(rh_text_row *row, rh_error *err);

#endif
