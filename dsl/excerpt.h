/* excerpt.h - source lines with carets under the parts an error names. Knows text and display
 * width; not what the error is. */
#ifndef RH_DSL_EXCERPT_H
#define RH_DSL_EXCERPT_H

#include "dsl/diag.h"

/* Line and column (code points) of a byte offset, both from 1. */
void rh_source_position(const rh_source *s, uint32_t offset, int *line, int *column);
/* Write lines, carets and label texts of d into out (NUL-terminated); whole lines only, as many
 * as fit. */
void rh_excerpt(char *out, size_t size, const rh_diag *d);

/* Make a cut or foreign text safe to show, in place: no controls, no broken UTF-8. */
void rh_text_tidy(char *text);

#endif
