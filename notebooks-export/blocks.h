/* blocks.h - the blocks of text that reports are put together from. For this room alone. */
#ifndef RH_EXPORT_BLOCKS_H
#define RH_EXPORT_BLOCKS_H

#include "notebooks-export/layout.h"

/* s made fit for one line of the terminal; malloc'd, never NULL: "" and p->out->failed without memory.
 * rh_line_free. */
char *rh_clean_line(const rh_pen *p, const char *s);
void rh_line_free(char *s);

/* texts.c: all runs' texts side by side, or one below the other where columns would be too narrow. */
void rh_put_texts(const rh_pen *p, const rh_steer_report *r);
/* "unsteered", "strength 1.5"; "steered" where nothing is multiplied by a strength */
void rh_run_label(char out[RH_NUMBER], const rh_steer_report *r, const rh_steer_run *run);
/* "collapsed: repeats itself" and the like, or "" */
const char *rh_collapse_words(const rh_steer_run *run);

/* figures.c */
void rh_put_figures(const rh_pen *p, const rh_steer_report *r);
void rh_put_guards(const rh_pen *p, const rh_steer_report *r);
void rh_put_projections(const rh_pen *p, const rh_steer_report *r);

/* tokens.c: `" San" +12.1  " Fran" +9.2`, wrapped behind indent; `used` columns are there already.
 * scores: after alone, else after - before. */
void rh_put_tokens(const rh_pen *p, const rh_token_change *t, int32_t n, bool scores, int used, int indent);

/* parts.c */
void rh_put_geometry(const rh_pen *p, const rh_geometry *g);

/* shade.c */
void rh_put_watches(const rh_pen *p, const rh_steer_report *r);
/* One text's tokens, wrapped behind indent; `used` columns are there already. */
void rh_put_track(const rh_pen *p, const rh_watch_track *t, int used, int indent, rh_clean_mode mode);
void rh_put_scale(const rh_pen *p, const rh_watch_track *t, bool generated);

/* features.c */
void rh_put_switches(const rh_pen *p, const rh_steer_report *r);

void rh_put_notes(const rh_pen *p, const char *notes);

#endif
