/* generation_config.json and config.json: what they say about generating, and what is wrong in them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/model.h"
#include "support/scratch.h"

static const struct {
    const char *own, *config; /* NULL: no such file */
    rh_status status;
    const char *words;        /* of the error */
    int n;
    int32_t stops[3];
    double temperature;
} rows[] = {
    { NULL, NULL, RH_OK, NULL, 0, { 0 }, -1 },
    { NULL, "{\"eos_token_id\": 7}", RH_OK, NULL, 1, { 7 }, -1 },
    { "{}", "{\"eos_token_id\": 7}", RH_OK, NULL, 0, { 0 }, -1 },
    { "{\"eos_token_id\": [1, 106, 5], \"temperature\": 0.6}", NULL, RH_OK, NULL, 2, { 1, 5 }, 0.6 },
    { "{\"eos_token_id\": null, \"temperature\": null}", NULL, RH_OK, NULL, 0, { 0 }, -1 },
    { "{\"eos_token_id\": -1}", NULL, RH_OK, NULL, 0, { 0 }, -1 },
    { "{\"eos_token_id\": [1, 2.5]}", NULL, RH_EFORMAT, "\"eos_token_id\" is not a token id", 0, { 0 }, 0 },
    { "{\"eos_token_id\": {}}", NULL, RH_EFORMAT, "\"eos_token_id\"", 0, { 0 }, 0 },
    { "{\"eos_token_id\": [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}", NULL, RH_ELIMIT, "more than 16", 0, { 0 }, 0 },
    { "{\"top_k\": 1e300}", NULL, RH_EFORMAT, "\"top_k\"", 0, { 0 }, 0 },
    { "{\"top_p\": \"0.9\"}", NULL, RH_EFORMAT, "\"top_p\"", 0, { 0 }, 0 },
    { "{\"min_p\": -0.1}", NULL, RH_EFORMAT, "\"min_p\"", 0, { 0 }, 0 },
    { "[]", NULL, RH_EFORMAT, "not a JSON object", 0, { 0 }, 0 },
    { "{", NULL, RH_EFORMAT, "not valid JSON", 0, { 0 }, 0 },
    { "", NULL, RH_EFORMAT, "not valid JSON", 0, { 0 }, 0 },
};

static void reading(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        scratch s;
        rh_error err = { 0 };
        rh_generation_config c = { 0 };
        scratch_open(&s);
        if (rows[i].own) scratch_write(&s, "generation_config.json", rows[i].own, strlen(rows[i].own));
        if (rows[i].config) scratch_write(&s, "config.json", rows[i].config, strlen(rows[i].config));
        rh_status status = rh_generation_config_read(&c, s.dir, 100, &err);
        if (status != rows[i].status) fail_msg("row %zu: %d, %s", i, status, err.message);
        if (status) {
            if (!strstr(err.message, rows[i].words) || !strstr(err.message, s.dir)) fail_msg("row %zu: %s", i, err.message);
        } else {
            assert_int_equal(c.n_stops, rows[i].n);
            assert_memory_equal(c.stops, rows[i].stops, (size_t)c.n_stops * sizeof *c.stops);
            assert_true(c.temperature == rows[i].temperature);
        }
        scratch_close(&s);
    }
}

/* The family's stops come first, and none comes twice. */
static void stops_of_a_model(void **state)
{
    (void)state;
    rh_model m = { .generation = { .stops = { 9, 4, 9 }, .n_stops = 3 } };
    int32_t out[RH_MAX_STOPS];
    assert_int_equal(rh_model_stops(&m, RH_CHAT_NONE, out), 2);
    assert_int_equal(out[0], 9);
    assert_int_equal(out[1], 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(reading), cmocka_unit_test(stops_of_a_model) };
    return cmocka_run_group_tests_name("generation config", tests, NULL, NULL);
}
