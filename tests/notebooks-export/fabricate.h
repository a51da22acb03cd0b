/* fabricate.h - small made-up reports, all in static storage: never freed. */
#ifndef RH_TEST_FABRICATE_H
#define RH_TEST_FABRICATE_H

#include "probes/report.h"

/* Unsteered and two strengths, the second collapsed; three parts; a watch. */
const rh_steer_report *fabricate_steer(void);
/* One action `on generated`, texts with CJK, emoji, escape sequences and a cut code point. */
const rh_steer_report *fabricate_hostile(void);
/* Only the unsteered run. */
const rh_steer_report *fabricate_plain(void);
/* Two strengths of a feature: its activation watched, and features of two SAEs switched. */
const rh_steer_report *fabricate_features(void);
const rh_vec_report *fabricate_vector(void);
const rh_vec_report *fabricate_scalar(void);
const rh_vec_report *fabricate_span(void);

#endif
