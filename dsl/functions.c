/* functions.c - LANGUAGE.md §4 and §5 as a table. */
#include "dsl/functions.h"

#include <stdio.h>
#include <string.h>

#include "dsl/words.h"

enum { TEXTS = RH_OPT_AT | RH_OPT_CHAT | RH_OPT_PREFIX, PAIRS = TEXTS | RH_OPT_POSITIVE | RH_OPT_NEGATIVE };

static const rh_function FUNCTIONS[] = {
    {"dim", "dim(\"pairs.csv\")", RH_FN_DIM, "s", PAIRS},
    {"act", "act(\"text\")", RH_FN_ACT, "s", TEXTS},
    {"token", "token(\"rain\")", RH_FN_TOKEN, "s", RH_OPT_AT},
    {"unembed", "unembed(\" rain\")", RH_FN_UNEMBED, "s", RH_OPT_AT},
    {"load", "load(\"v.safetensors\")", RH_FN_LOAD, "s", RH_OPT_NAME},
    {"random", "random(7)", RH_FN_RANDOM, "i", 0},
    {"pca", "pca(\"pairs.csv\")", RH_FN_PCA, "s", PAIRS | RH_OPT_CENTER},
    {"lda", "lda(\"pairs.csv\", shrink=0.1)", RH_FN_LDA, "s", PAIRS | RH_OPT_SHRINK},
    {"logreg", "logreg(\"pairs.csv\", l2=1)", RH_FN_LOGREG, "s", PAIRS | RH_OPT_L2},
    {"neutral", "neutral()", RH_FN_NEUTRAL, "", 0},
    {"resid_norm", "resid_norm(0.5)", RH_FN_RESID_NORM, "q?", 0},
    {"unit", "unit(v)", RH_FN_UNIT, "v", 0},
    {"norm", "norm(v)", RH_FN_NORM, "v", 0},
    {"rescale", "rescale(v, 8)", RH_FN_RESCALE, "vn", 0},
    {"dot", "dot(a, b)", RH_FN_DOT, "vv", 0},
    {"cos", "cos(a, b)", RH_FN_COS, "vv", 0},
    {"angle", "angle(a, b)", RH_FN_ANGLE, "vv", 0},
    {"proj", "proj(v, onto)", RH_FN_PROJ, "vo", 0},
    {"reject", "reject(v, from)", RH_FN_REJECT, "vo", 0},
    {"span", "span(a, b)", RH_FN_SPAN, "v+", 0},
    {"mean", "mean(a, b)", RH_FN_MEAN, "e+", 0},
    {"lerp", "lerp(a, b, t)", RH_FN_LERP, "een", 0},
    {"slerp", "slerp(a, b, t)", RH_FN_SLERP, "vvn", 0},
    {"free", "free(v)", RH_FN_FREE, "p", 0},
    {"max_act", "max_act(s[3])", RH_FN_MAX_ACT, "f", 0},
};
enum { N_FUNCTIONS = (int)(sizeof FUNCTIONS / sizeof *FUNCTIONS) };

const rh_function *rh_function_find(rh_slice name)
{
    for (int i = 0; i < N_FUNCTIONS; i++)
        if (rh_is_word(name.text, name.len, FUNCTIONS[i].name)) return &FUNCTIONS[i];
    return NULL;
}

const rh_function *rh_function_at(int i) { return i >= 0 && i < N_FUNCTIONS ? &FUNCTIONS[i] : NULL; }

const char *rh_function_nearest(rh_slice name)
{
    rh_nearest near = rh_nearest_to(name.text, name.len);
    for (int i = 0; i < N_FUNCTIONS; i++) rh_nearest_try(&near, FUNCTIONS[i].name, strlen(FUNCTIONS[i].name));
    return near.best;
}

static const rh_option_type OPTIONS[] = {
    {"at", RH_OPT_AT, RH_OPTION_WORD},           {"chat", RH_OPT_CHAT, RH_OPTION_WORD},
    {"prefix", RH_OPT_PREFIX, RH_OPTION_STRING}, {"positive", RH_OPT_POSITIVE, RH_OPTION_STRING},
    {"negative", RH_OPT_NEGATIVE, RH_OPTION_STRING}, {"name", RH_OPT_NAME, RH_OPTION_STRING},
    {"center", RH_OPT_CENTER, RH_OPTION_WORD},   {"shrink", RH_OPT_SHRINK, RH_OPTION_NUMBER},
    {"l2", RH_OPT_L2, RH_OPTION_NUMBER},
};
enum { N_OPTIONS = (int)(sizeof OPTIONS / sizeof *OPTIONS) };

const rh_option_type *rh_option_find(rh_slice name)
{
    for (int i = 0; i < N_OPTIONS; i++)
        if (rh_is_word(name.text, name.len, OPTIONS[i].name)) return &OPTIONS[i];
    return NULL;
}

const rh_option_type *rh_option_at(int i) { return i >= 0 && i < N_OPTIONS ? &OPTIONS[i] : NULL; }

const char *rh_option_nearest(rh_slice name, unsigned among)
{
    rh_nearest near = rh_nearest_to(name.text, name.len);
    for (int i = 0; i < N_OPTIONS; i++)
        if (OPTIONS[i].option & among) rh_nearest_try(&near, OPTIONS[i].name, strlen(OPTIONS[i].name));
    return near.best;
}

void rh_options_text(char out[RH_OPTIONS_TEXT], unsigned among)
{
    size_t len = 0;
    out[0] = '\0';
    for (int i = 0; i < N_OPTIONS; i++)
        if (OPTIONS[i].option & among && len < RH_OPTIONS_TEXT)
            len += (size_t)snprintf(out + len, RH_OPTIONS_TEXT - len, len ? ", %s" : "%s", OPTIONS[i].name);
}
