#include <math.h>

#include "fabricate.h"

static rh_shaded plain[] = {{1, "Name", 3, false}, {2, " a", 0, false}, {3, " city", 12.5, false}, {4, " Rome", 0, true}};
static rh_shaded steered[] = {{1, "Name", 0, false}, {2, " a", 41, false}, {3, " city", 49.2, false}, {5, " San", 44, true}, {6, "\x1b[1m", NAN, true}};
static rh_watch_track watch_plain[] = {{"s[3]", 16, RH_RESID_POST, plain, 4, 0, 49.2, true}};
static rh_watch_track watch_steered[] = {{"s[3]", 16, RH_RESID_POST, steered, 5, 0, 49.2, true}};

static rh_feature_switch on[] = {
    {3, "references to San Francisco and to its bay, its bridges and its many hills and tramways", 4, 49.2, 150},
    {120353, NULL, 1, 8.25, 8.25}, {7, "es\x1b[31mcape \xC2\x9B 東京", 1, 0.001, 0.001}};
static rh_feature_switch off[] = {{812, "rain", 2, 3.5, 6}};
static rh_sae_switches switches[] = {
    {"s", "sae-16", 16, RH_RESID_POST, 4, 31.75, 32, on, off, 3, 1, 14, 1},
    {"t31", "sae-31", 31, RH_MLP_IN, 4, 12.5, 12.5, NULL, NULL, 0, 0, 0, 0},
};
static rh_sae_switches weaker[] = {
    {"s", "sae-16", 16, RH_RESID_POST, 3, 31.75, 31.5, on + 1, NULL, 1, 0, 1, 0},
    {"t31", "sae-31", 31, RH_MLP_IN, 4, 12.5, 12.75, on + 1, NULL, 1, 0, 1, 0},
};

static rh_steer_run runs[] = {
    {.unsteered = true, .text = "Rome", .stop = "length", .first = {.position = -1}, .next = {.position = -1}, .watches = watch_plain, .n_watches = 1},
    {.strength = 1, .text = "Rome", .stop = "length", .first = {.position = 0}, .next = {.position = 2}, .watches = watch_plain, .n_watches = 1,
     .switches = weaker, .n_switches = 2},
    {.strength = 2, .text = "San", .stop = "length", .first = {.position = 0}, .next = {.position = 2}, .watches = watch_steered, .n_watches = 1,
     .switches = switches, .n_switches = 2},
};

const rh_steer_report *fabricate_features(void)
{
    static char *actions[] = {"2*s[3]"};
    static const rh_steer_report r = {
        .model = "small", .expression = "2*s[3]", .prompt = "Name a city", .site = "16.resid_post", .actions = actions, .n_actions = 1,
        .n_prompt_tokens = 3, .n_vocab = 100, .norm = 2, .median_h = 10, .norm_layer = 16, .norm_hook = RH_RESID_POST, .runs = runs, .n_runs = 3,
        .notes = "", .seconds_run = 0.1, .tokens_generated = 3};
    return &r;
}
