/* clock.h - a clock that only goes forward, for durations. */
#ifndef RH_BASE_CLOCK_H
#define RH_BASE_CLOCK_H

double rh_seconds(void);

#endif
