#include "fabricate_forecast.h"

#include <math.h>

static rh_forecast_feature said[] = {
    {120353, "references to San Francisco, its bay and all of the bridges in it", 405.2, 1, 0.985},
    {7, NULL, -3.25, 0.12, 0}, {8, "es\x1b[31mcape 東京", NAN, 0.1, 0.3}};
static rh_forecast_feature missed[] = {{9, "rain", 0.001, 0, 0.5}};

const rh_forecast *fabricate_forecast(void)
{
    static rh_forecast f = {
        .model = "small", .expression = "s[120353]", .prompt = "Name a city", .text = "San\x1b[2J \xF0\x9F Fran", .layer = 16, .hook = RH_RESID_POST,
        .strength = 405.29, .norm = 1, .n_prompt = 33, .n_generated = 12, .on = {said, 3, missed, 1, 15, 14, 11}, .seconds = 0.5};
    return &f;
}
