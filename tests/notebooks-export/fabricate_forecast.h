/* fabricate_forecast.h - a made-up forecast in static storage: never freed. */
#ifndef RH_TEST_FABRICATE_FORECAST_H
#define RH_TEST_FABRICATE_FORECAST_H

#include "probes/forecast.h"

const rh_forecast *fabricate_forecast(void);

#endif
