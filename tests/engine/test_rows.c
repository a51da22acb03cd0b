/* Which rows a step computes, and where sequences split. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "engine/rows.h"

enum { MAX = 4 };
static const float unit[1] = {1};

typedef struct {
    const char *what;
    int32_t ids[MAX][8]; /* -1 ends */
    int32_t action_layer[MAX]; /* -1: none */
    rh_hook hook;
    rh_mask_kind mask;
    int32_t rows_start, rows_all; /* computed at layer 0, and at the end */
    int32_t own_from[MAX];        /* layer from which the sequence has keys of its own; 0: n/a */
} row_case;

static const row_case cases[] = {
    {"one prompt", {{1, 2, 3, -1}}, {-1}, RH_RESID_POST, RH_MASK_ALL, 3, 3, {0}},
    {"equal prompts", {{1, 2, 3, -1}, {1, 2, 3, -1}}, {-1, -1}, RH_RESID_POST, RH_MASK_ALL, 3, 3, {0, INT32_MAX}},
    {"a common prefix", {{1, 2, 3, -1}, {1, 2, 4, 5, -1}}, {-1, -1}, RH_RESID_POST, RH_MASK_ALL, 5, 5, {0, INT32_MAX}},
    {"nothing in common", {{1, -1}, {2, -1}}, {-1, -1}, RH_RESID_POST, RH_MASK_ALL, 2, 2, {0}},
    {"steered from layer 2 on", {{1, 2, 3, -1}, {1, 2, 3, -1}}, {-1, 2}, RH_RESID_POST, RH_MASK_ALL, 3, 6, {0, 3}},
    {"at resid_pre the layer's own keys change", {{1, 2, 3, -1}, {1, 2, 3, -1}}, {-1, 2}, RH_RESID_PRE, RH_MASK_ALL,
     3, 6, {0, 2}},
    {"the steered one first", {{1, 2, 3, -1}, {1, 2, 3, -1}}, {2, -1}, RH_RESID_POST, RH_MASK_ALL, 3, 6, {3, 0}},
    {"three strengths", {{1, 2, -1}, {1, 2, -1}, {1, 2, -1}, {1, 2, -1}}, {-1, 1, 1, 1}, RH_RESID_POST, RH_MASK_ALL,
     2, 8, {0, 2, 2, 2}},
    {"only the last position is steered", {{1, 2, 3, -1}, {1, 2, 4, -1}}, {-1, 2}, RH_RESID_POST, RH_MASK_LAST, 4, 4,
     {0, INT32_MAX}},
    {"only generated positions", {{1, 2, 3, -1}, {1, 2, 3, -1}}, {-1, 2}, RH_RESID_POST, RH_MASK_GENERATED, 3, 3,
     {0, INT32_MAX}},
    {"a prefix of a prefix", {{1, 2, 3, 4, -1}, {1, 2, 3, 5, -1}, {1, 2, 6, -1}}, {-1, -1, -1}, RH_RESID_POST,
     RH_MASK_ALL, 6, 6, {0, INT32_MAX, INT32_MAX}},
};

static void rows_are_planned(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const row_case *c = &cases[i];
        rh_sequence seqs[MAX] = {{0}};
        rh_step_input in[MAX] = {{0}};
        rh_action actions[MAX];
        rh_mask_term term = {.kind = c->mask, .hi = INT32_MAX};
        rh_rows rows;
        int32_t n = 0, n_blocks;
        print_message("%s\n", c->what);
        for (; n < MAX && c->ids[n][0] > 0; n++) {
            int32_t len = 0;
            while (c->ids[n][len] > 0) len++;
            actions[n] = (rh_action){.kind = RH_STEER, .layer = c->action_layer[n], .hook = c->hook, .v = unit,
                                     .strength = 1, .mask = {&term, 1}};
            in[n] = (rh_step_input){.seq = n, .ids = c->ids[n], .n = len};
            seqs[n] = (rh_sequence){.n_prompt = len, .actions = &actions[n], .n_actions = c->action_layer[n] >= 0};
        }
        assert_int_equal(rh_rows_plan(&rows, seqs, n, in, n, true, NULL, NULL), RH_OK);
        assert_int_equal(rh_rows_active(&rows, RH_SITE_START, &n_blocks), c->rows_start);
        assert_int_equal(rows.n_rows, c->rows_all);
        for (int32_t s = 0; s < n; s++) {
            if (c->own_from[s]) assert_int_equal(seqs[s].own_from_layer, c->own_from[s]);
            for (int32_t pos = 0; pos < in[s].n; pos++) { /* every position is somewhere, at every site */
                const int32_t first = rh_rows_find(&rows, seqs, in, s, pos, RH_SITE_START);
                const int32_t last = rh_rows_find(&rows, seqs, in, s, pos, RH_SITE_NEVER);
                assert_in_range(first, 0, c->rows_start - 1);
                assert_in_range(last, 0, c->rows_all - 1);
            }
        }
        rh_rows_free(&rows);
    }
}

static void keys_are_found_through_parents(void **state)
{
    (void)state;
    rh_sequence seqs[3] = {{.len = 6, .parent = -1, .own_from_layer = INT32_MAX},
                           {.len = 6, .parent = 0, .shared_len = 4, .own_from_layer = 2},
                           {.len = 5, .parent = 1, .shared_len = 5, .own_from_layer = INT32_MAX}};
    rh_kv_span *spans = NULL;
    size_t cap = 0, n = 0;
    assert_int_equal(rh_kv_spans(&spans, &cap, &n, seqs, 2, 8, 0, 10, NULL), RH_OK);
    assert_int_equal(n, 3); /* 0..3 of sequence 0, 4 of sequence 1, 5..7 its own */
    assert_int_equal(spans[0].slot, 0);
    assert_int_equal(spans[0].len, 4);
    assert_int_equal(spans[1].slot, 14);
    assert_int_equal(spans[1].len, 1);
    assert_int_equal(spans[2].slot, 25);
    assert_int_equal(spans[2].len, 3);
    n = 0;
    assert_int_equal(rh_kv_spans(&spans, &cap, &n, seqs, 2, 8, 2, 10, NULL), RH_OK);
    assert_int_equal(n, 2); /* from layer 2 on sequence 1 has 0..4 of its own */
    assert_int_equal(spans[0].slot, 10);
    assert_int_equal(spans[0].len, 5);
    free(spans);
}

static void masks_cover(void **state)
{
    (void)state;
    static const int32_t list[] = {2, 5};
    static const struct { rh_mask_term terms[2]; int32_t n; bool control; const char *covered; } masks[] = {
        /* prompt of 4, positions 0..7 */
        {{{0}}, 0, false, "11111111"},
        {{{.kind = RH_MASK_PROMPT}}, 1, false, "11110000"},
        {{{.kind = RH_MASK_LAST}}, 1, false, "00010000"},
        {{{.kind = RH_MASK_GENERATED, .hi = INT32_MAX}}, 1, false, "00001111"},
        {{{.kind = RH_MASK_GENERATED, .lo = 1, .hi = 2}}, 1, false, "00000110"},
        {{{.kind = RH_MASK_LAST}, {.kind = RH_MASK_GENERATED, .hi = INT32_MAX}}, 2, false, "00011111"},
        {{{.kind = RH_MASK_TOKENS, .lo = 1, .hi = 5}, {.kind = RH_MASK_LIST, .negated = true, .positions = list, .n = 2}},
         2, false, "01011000"},
        {{{.kind = RH_MASK_LIST, .positions = list, .n = 2}}, 1, false, "00100100"},
        {{{.kind = RH_MASK_TOKENS, .negated = true, .lo = 0, .hi = 0}}, 1, false, "01111111"},
        {{{.kind = RH_MASK_SPECIAL}}, 1, true, "11111111"},
        {{{.kind = RH_MASK_SPECIAL}}, 1, false, "00000000"},
    };
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
        const rh_mask m = {masks[i].terms, masks[i].n};
        for (int32_t pos = 0; pos < 8; pos++)
            assert_int_equal(rh_mask_covers(&m, pos, 4, masks[i].control), masks[i].covered[pos] == '1');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_are_planned),
                                       cmocka_unit_test(keys_are_found_through_parents), cmocka_unit_test(masks_cover)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
