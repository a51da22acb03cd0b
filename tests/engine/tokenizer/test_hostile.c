/* Vocabularies that are not what they claim to be: one clear error, nothing leaked, no crash. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "help.h"
#include "tiny.h"

static char huge[70000];

static void no_model(tiny_vocab *v) { v->model = NULL; }
static void other_model(tiny_vocab *v) { v->model = "rwkv"; }
static void other_pre(tiny_vocab *v) { v->pre = "klingon"; }
static void no_tokens(tiny_vocab *v) { v->n = 0; }
static void few_types(tiny_vocab *v) { v->n_types--; }
static void bad_type(tiny_vocab *v) { v->types[7] = 9; }
static void negative_type(tiny_vocab *v) { v->types[7] = -1; }
static void many_scores(tiny_vocab *v) { v->n_scores--; }
static void no_scores(tiny_vocab *v) { v->n_scores = 0; }
static void nan_score(tiny_vocab *v) { v->scores[5] = NAN; }
static void far_bos(tiny_vocab *v) { v->bos = 100000; }
static void far_unk(tiny_vocab *v) { v->unk = 4000000000; }
static void empty_token(tiny_vocab *v) { v->pieces[9].len = 0; }
static void bad_utf8(tiny_vocab *v) { v->pieces[9] = (rh_bytes){ "a\xff", 2 }; }
static void twice(tiny_vocab *v) { v->pieces[9] = v->pieces[10]; }
static void long_token(tiny_vocab *v) { v->pieces[9] = (rh_bytes){ huge, sizeof huge }; }
static void one_byte_less(tiny_vocab *v) { v->types[20] = 1; }
static void wrong_byte(tiny_vocab *v) { v->pieces[20] = (rh_bytes){ "<0xZZ>", 6 }; }
static void no_unk(tiny_vocab *v)
{
    v->unk = UINT32_MAX;
    v->types[0] = 1;
}
static void no_merges(tiny_vocab *v) { v->has_merges = false; }
static void merge_one(tiny_vocab *v) { tiny_merge(v, "ab"); }
static void merge_space(tiny_vocab *v) { tiny_merge(v, " a"); }
static void merge_left(tiny_vocab *v) { tiny_merge(v, "zz a"); }
static void merge_right(tiny_vocab *v) { tiny_merge(v, "a zz"); }
static void merge_result(tiny_vocab *v) { tiny_merge(v, "a d"); }
static void no_bytes(tiny_vocab *v) { v->n = v->n_types = 4; }

typedef struct hostile {
    const char *name;
    void (*make)(tiny_vocab *v); /* the valid one first */
    void (*change)(tiny_vocab *v);
    rh_status status;
    const char *message; /* a part of it */
} hostile;
#define BPE tiny_byte_level
#define SPM tiny_sentencepiece
static const hostile cases[] = {
    { "no model", BPE, no_model, RH_ENAME, "tokenizer.ggml.model" },
    { "other model", BPE, other_model, RH_EUNSUPPORTED, "'rwkv'" },
    { "other pre-tokenizer", BPE, other_pre, RH_EUNSUPPORTED, "'klingon'" },
    { "no tokens", BPE, no_tokens, RH_EFORMAT, "0 tokens" },
    { "types too few", BPE, few_types, RH_EFORMAT, "262 entries for 263 tokens" },
    { "type 9", BPE, bad_type, RH_EFORMAT, "token 7 has the unknown type 9" },
    { "type -1", SPM, negative_type, RH_EFORMAT, "token 7 has the unknown type -1" },
    { "scores too few", SPM, many_scores, RH_EFORMAT, "266 entries for 267 tokens" },
    { "no scores", SPM, no_scores, RH_ENAME, "tokenizer.ggml.scores" },
    { "score NaN", SPM, nan_score, RH_EFORMAT, "token 5 is not a number" },
    { "bos out of range", BPE, far_bos, RH_EFORMAT, "bos_token_id is 100000, but there are 263" },
    { "unk out of range", SPM, far_unk, RH_EFORMAT, "unknown_token_id is 4000000000" },
    { "empty token", BPE, empty_token, RH_EFORMAT, "token 9 is empty" },
    { "empty token", SPM, empty_token, RH_EFORMAT, "token 9 is empty" },
    { "invalid UTF-8", BPE, bad_utf8, RH_EFORMAT, "token 9, 'a\\xff'" },
    { "invalid UTF-8", SPM, bad_utf8, RH_EFORMAT, "token 9, 'a\\xff'" },
    { "doubled", BPE, twice, RH_EFORMAT, "tokens 9 and 10 are both" },
    { "doubled", SPM, twice, RH_EFORMAT, "libsentencepiece refuses the vocabulary" },
    { "long token", BPE, long_token, RH_EFORMAT, "token 9 is 70000 bytes long" },
    { "255 bytes", SPM, one_byte_less, RH_EFORMAT, "libsentencepiece refuses the vocabulary" },
    { "bad byte", SPM, wrong_byte, RH_EFORMAT, "libsentencepiece refuses the vocabulary" },
    { "no unknown token", SPM, no_unk, RH_EFORMAT, "no unknown token" },
    { "no merges", BPE, no_merges, RH_ENAME, "tokenizer.ggml.merges" },
    { "merge of one", BPE, merge_one, RH_EFORMAT, "merge 3, 'ab', is not two tokens" },
    { "merge of a space", BPE, merge_space, RH_EFORMAT, "merge 3, ' a', is not two tokens" },
    { "merge, left", BPE, merge_left, RH_EFORMAT, "'zz' 'a': the left part is not in" },
    { "merge, right", BPE, merge_right, RH_EFORMAT, "'a' 'zz': the right part is not in" },
    { "merge, result", BPE, merge_result, RH_EFORMAT, "'a' 'd': the result is not in" },
    { "no bytes", BPE, no_bytes, RH_EFORMAT, "no token of a single byte" },
};

static void table(void **state)
{
    (void)state;
    static tiny_vocab v;
    scratch s;
    scratch_open(&s);
    memset(huge, 'a', sizeof huge);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const hostile *c = &cases[i];
        rh_gguf *g;
        rh_tokenizer *t;
        rh_error err = { 0 };
        c->make(&v);
        c->change(&v);
        rh_status status = tiny_open(&g, &t, &s, &v, &err);
        if (status != c->status || err.code != c->status || !strstr(err.message, c->message))
            fail_msg("%s: %s '%s'", c->name, rh_status_name(status), err.message);
        if (status == RH_EUNSUPPORTED) assert_true(err.hint[0] != 0);
    }
    scratch_close(&s);
}

/* The same with nobody to tell. */
static void no_error_struct(void **state)
{
    (void)state;
    static tiny_vocab v;
    scratch s;
    scratch_open(&s);
    tiny_byte_level(&v);
    merge_left(&v);
    rh_gguf *g;
    rh_tokenizer *t;
    assert_int_equal(tiny_open(&g, &t, &s, &v, NULL), RH_EFORMAT);
    scratch_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(table), cmocka_unit_test(no_error_struct) };
    return cmocka_run_group_tests_name("hostile vocabularies", tests, NULL, NULL);
}
