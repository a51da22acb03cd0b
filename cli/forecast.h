/* forecast.h - near --forecast: its flags, and the run behind them. */
#ifndef RH_CLI_FORECAST_H
#define RH_CLI_FORECAST_H

#include "cli/expression.h"
#include "cli/prompt.h"
#include "engine/sae.h"

typedef struct cli_forecast_flags {
    bool on;
    const char *prompt, *strength;
    cli_prompt_flags how;
    int32_t max_tokens;
    bool no_cache;          /* of the verb: then the fit is not looked at */
} cli_forecast_flags;

#define CLI_FORECAST_DEFAULTS {.max_tokens = 64}
#define CLI_FORECAST_OPTIONS(type, field)                                                                              \
    {"forecast", 0, CLI_FLAG, offsetof(type, field.on), NULL,                                                          \
     "say from PROMPT which features steering with EXPR at the SAE's site will switch on and off, steer, and compare", \
     0, 0, NULL},                                                                                                      \
    {"prompt", 'p', CLI_TEXT, offsetof(type, field.prompt), "PROMPT", "with --forecast: what the model goes on from",  \
     0, 0, NULL},                                                                                                      \
    {"strength", 0, CLI_TEXT, offsetof(type, field.strength), "S",                                                     \
     "with --forecast: multiplies EXPR (default 1); 0.2resid, 1.5maxact as in steer", 0, 0, NULL},                     \
    {"max-tokens", 0, CLI_INT, offsetof(type, field.max_tokens), "N", "with --forecast: tokens to generate (default 64)", \
     1, 100000, NULL},                                                                                                 \
    CLI_PROMPT_OPTIONS(type, field.how),                                                                               \
    CLI_BOS_OPTIONS(type, field.how)

/* Flags that need one another. RH_EVALUE is wrong usage. */
rh_status cli_forecast_check(cli *c, const cli_forecast_flags *f, rh_error *err);

/* v: e's value at the SAE's site, (layer, hook). Appends text, or sets "forecast" of json. */
rh_status cli_forecast(rh_str *text, json_t *json, cli *c, const cli_expression *e, const rh_model *m, const char *sae, int32_t layer,
                       rh_hook hook, const float *v, const char *expr, int32_t top, const cli_forecast_flags *f, rh_error *err);

#endif
