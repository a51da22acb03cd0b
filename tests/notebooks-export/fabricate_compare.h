/* fabricate_compare.h - a made-up comparison, in static storage: never freed. */
#ifndef RH_TEST_FABRICATE_COMPARE_H
#define RH_TEST_FABRICATE_COMPARE_H

#include "probes/compare.h"

enum { FABRICATED_VECTORS = 9, FABRICATED_LAYERS = 4 };

/* Nine vectors, the second's name wide and hostile, the third zero, so that its figures do not exist. */
const rh_compare_report *fabricate_compare(void);

#endif
