#include "fabricate.h"

#include <math.h>
#include <string.h>

/* ---- a sweep ------------------------------------------------------------------------------------ */

static rh_token_change up[] = {{10, " San", 1, 9.5}, {11, " Francisco", 0, 7.25}, {12, "\n", 0, 0.5}};
static rh_token_change down[] = {{13, " Tokyo", 8, 2}, {14, "\xE2\x9C", 1, 0.98}};

static rh_projection weak[] = {
    {0, 16, RH_RESID_POST, true, false, 19, -12.1, 72.1, -3, 81.2},
    {0, 29, RH_RESID_POST, false, false, 19, 4, -9.5, 2, -1e-9},
};
static rh_projection strong[] = {
    {0, 16, RH_RESID_POST, true, false, 19, -12.1, 156.3, -3, 165.4},
    {0, 29, RH_RESID_POST, false, false, 19, 4, 60, 2, 55},
};
static rh_projection none[] = {
    {0, 16, RH_RESID_POST, true, false, 19, -12.1, -12.1, -3, -3},
    {0, 29, RH_RESID_POST, false, false, 19, 4, 4, 2, 2},
};

static rh_shaded tokens_plain[] = {
    {1, "<|im_start|>", 952, false}, {2, "Name", -6, false}, {3, " it", 0, false}, {4, " The", -7.5, true},
    {5, " City", 6.98, true},
};
static rh_shaded tokens_steered[] = {
    {1, "<|im_start|>", 952, false}, {2, "Name", -6, false}, {3, " it", 94, false}, {6, " San", 97.1, true},
    {7, "\n\nFrancisco", 82, true}, {8, "\xF0\x9F", 80, true}, {9, "\x8C\x89", 20, true},
};
static rh_watch_track watch_plain[] = {{"sf", 16, RH_RESID_POST, tokens_plain, 5, -7.5, 97.1, false}};
static rh_watch_track watch_steered[] = {{"sf", 16, RH_RESID_POST, tokens_steered, 7, -7.5, 97.1, false}};
static rh_watch_track watch_strong[] = {{"sf", 16, RH_RESID_POST, tokens_steered, 4, -7.5, 97.1, false}};

static int32_t ids[] = {4, 5, 6, 7, 8, 9, 10, 11, 12, 13};

static rh_steer_run runs[] = {
    {.unsteered = true, .text = "The City of Light is a fictional world created by its makers.", .ids = ids, .n_ids = 10,
     .stop = "token", .first = {.position = -1}, .next = {.position = -1}, .surprisal = 0.621, .repeated = 0.03,
     .projections = none, .n_projections = 2, .watches = watch_plain, .n_watches = 1},
    {.strength = 1, .text = "San Francisco, of course: a city of fog, of hills and of bridges.\nIs there another?",
     .ids = ids, .n_ids = 10, .stop = "length", .first = {.position = 0, .kl = 0.0034},
     .next = {19, 3.414, up, down, 3, 2}, .surprisal = 1.93, .repeated = 0, .relative_norm = 0.46,
     .projections = weak, .n_projections = 2, .watches = watch_steered, .n_watches = 1},
    {.strength = 2.5, .text = "San San San San San San San San San San", .ids = ids, .n_ids = 10, .stop = "length",
     .first = {.position = 0, .kl = 0.02}, .next = {19, 11.02, up, down, 1, 1}, .surprisal = 7.7, .repeated = 0.88,
     .loops = true, .garbled = true, .collapsed = true, .relative_norm = 1.15, .projections = strong,
     .n_projections = 2, .watches = watch_strong, .n_watches = 1},
};

static char *labels[] = {"sf", "rain", "dim(\"a/long/path/to/the/pairs/of/tokyo.csv\")", "result"};
static double coefficient[] = {1, 0.5, -1, 1}, norm[] = {89.2, 83.3, 77.9, 113.9}, share[] = {0.487, 0.135, 0.378, 1};
static double cosine[] = {1, -0.06, 0.2, 0.62, -0.06, 1, -0.08, 0.37, 0.2, -0.08, 1, -0.55, 0.62, 0.37, -0.55, 1};
static rh_geometry geometry[] = {
    {"sf + 0.5*rain - tokyo", 16, RH_RESID_POST, 4, labels, coefficient, norm, share, cosine}};

static char *actions[] = {"sf + 0.5*rain - tokyo"};

const rh_steer_report *fabricate_steer(void)
{
    static const rh_steer_report r = {
        .model = "SmolLM2-135M-Instruct", .expression = "sf + 0.5*rain - tokyo", .prompt = "Name a city.",
        .site = "16.resid_post", .actions = actions, .n_actions = 1, .n_prompt_tokens = 20, .n_vocab = 49152,
        .norm = 113.9, .median_h = 185.2, .norm_layer = 16, .norm_hook = RH_RESID_POST, .geometry = geometry,
        .n_geometry = 1, .runs = runs, .n_runs = 3, .notes = "first note\nsecond note", .seconds_extract = 2.41,
        .seconds_run = 1.3, .tokens_generated = 30};
    return &r;
}

/* ---- hostile ------------------------------------------------------------------------------------ */

static rh_guard_count guards[] = {{0, 7, 3}};
static rh_projection generated[] = {{0, 3, RH_ATTN_OUT, true, true, 5, 1, 0, 2, 2}};

static rh_steer_run hostile_runs[] = {
    {.unsteered = true, .text = "", .stop = "token", .first = {.position = -1}, .next = {.position = -1}},
    {.strength = 1, .text = "\x1b[31mred\x1b[0m \x07\r\nnext\rover \xC2\x9B" "2J \xE2\x80\xAE" "reversed\xE2\x80\xAC\t|",
     .stop = "string", .first = {.position = 7, .kl = 0.25}, .next = {.position = 7, .kl = 0.25}, .surprisal = 12,
     .repeated = 1, .loops = true, .collapsed = true, .guards = guards, .n_guards = 1, .projections = generated, .n_projections = 1},
    {.strength = -1, .text = "東京は日本の首都です。人口は約千四百万人で、世界最大級の都市のひとつです。 🌧️🌉 fog \xF0\x9F\x8C",
     .stop = "length", .first = {.position = -1}, .next = {.position = -1}},
};

const rh_steer_report *fabricate_hostile(void)
{
    static char *verbs[] = {"ablate \"\x1b]0;title\x07\" on generated"};
    hostile_runs[0].surprisal = NAN;
    hostile_runs[2].surprisal = NAN;
    hostile_runs[1].relative_norm = hostile_runs[2].relative_norm = NAN;
    static rh_steer_report r = {
        .model = "m\x1b[2J", .expression = "ablate \"\x1b]0;title\x07\" on generated",
        .prompt = "line one\nline\ttwo \xFF", .site = "3.attn_out", .actions = verbs, .n_actions = 1,
        .n_prompt_tokens = 5, .n_vocab = 1000, .norm_layer = -1, .runs = hostile_runs, .n_runs = 3, .notes = "",
        .seconds_run = 0.5, .tokens_generated = 12};
    r.norm = r.median_h = NAN;
    return &r;
}

const rh_steer_report *fabricate_plain(void)
{
    static rh_steer_report r = {
        .model = "gemma", .expression = "", .prompt = "Name a city.", .site = "", .n_prompt_tokens = 5,
        .n_vocab = 262144, .norm_layer = -1, .runs = runs, .n_runs = 1, .notes = "", .seconds_run = 0.4,
        .tokens_generated = 10};
    r.norm = r.median_h = NAN;
    return &r;
}

/* ---- vec ---------------------------------------------------------------------------------------- */

const rh_vec_report *fabricate_vector(void)
{
    static int32_t layers[] = {14, 16};
    static double norms[] = {102.3, 113.9};
    static rh_name_cosine cosines[] = {
        {"sf", 14, 0.671, 83.8}, {"sf", 16, 0.6211, 89.2}, {"東京", 16, -0.553, 77.9}, {"a_rather_long_name_of_a_concept", 16, 0, 1e-5}};
    static rh_token_change near_up[] = {{1, " rain", 0, 4.8}, {2, " Rain", 0, 3.2}};
    static rh_token_change near_down[] = {{3, " snow", 0, -4.47}};
    static rh_nearest nearest[] = {{16, near_up, near_down, 2, 1}};
    static const rh_vec_report r = {
        .expression = "(sf + 0.5*rain - tokyo) @ [14, 16]", .kind = RH_VALUE_VECTOR, .hook = RH_RESID_POST, .d = 576,
        .n_layers = 2, .layers = layers, .norm = norms, .cosines = cosines, .n_cosines = 4, .nearest = nearest,
        .n_nearest = 1, .geometry = geometry, .n_geometry = 1, .notes = ""};
    return &r;
}

const rh_vec_report *fabricate_scalar(void)
{
    static double value[] = {0.312712345678, NAN};
    static int32_t layers[] = {3, 4};
    static const rh_vec_report r = {
        .expression = "cos(a, b)", .kind = RH_VALUE_SCALAR, .scalar = value, .n_scalar = 2, .scalar_layers = layers, .notes = ""};
    return &r;
}

const rh_vec_report *fabricate_span(void)
{
    static int32_t layers[] = {16}, ranks[] = {2};
    static const rh_vec_report r = {
        .expression = "span(a, b, a+b)", .kind = RH_VALUE_SPAN, .span_rank = 2, .span_given = 3, .ranks = ranks,
        .hook = RH_RESID_POST, .d = 576, .n_layers = 1, .layers = layers,
        .notes = "the 3 vectors are linearly dependent: their span has rank 2"};
    return &r;
}
