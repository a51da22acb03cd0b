/* feature_find.c - what is known of features, as the language asks for it: by label, and how large they become. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "concepts/feature_notes.h"
#include "concepts/room.h"

/* Opened once, and kept. */
static rh_status notes_of(const rh_feature_notes **out, rh_concepts *c, const rh_named_sae *s, rh_error *err)
{
    *out = s->notes;
    if (s->notes) return RH_OK;
    for (size_t i = 0; i < c->n_saes; i++)
        if (c->saes[i] == s) {
            RH_TRY(rh_feature_notes_open(&c->saes[i]->notes, c->cache_dir, s->sae, err));
            *out = s->notes;
        }
    return RH_OK;
}

/* ---- labels ------------------------------------------------------------------------------------- */

static int shown(size_t len) { return len > 60 ? 60 : (int)len; }

/* s[3] "rain and snow", s[17] "…", and 4 more */
static void list(rh_str *out, const rh_feature_notes *n, const char *name, const int32_t *features, int32_t count)
{
    enum { MOST = 6 };
    for (int32_t i = 0; i < count && i < MOST; i++) {
        const char *label = rh_feature_notes_get(n, features[i]).label;
        int len = shown(strlen(label));
        while (len && ((unsigned char)label[len] & 0xC0) == 0x80) len--; /* no half code point */
        rh_str_printf(out, "%s%s[%d] \"%.*s%s\"", i ? ", " : "", name, (int)features[i], len, label, label[len] ? "…" : "");
    }
    if (count > MOST) rh_str_printf(out, ", and %d more", (int)(count - MOST));
}

/* How many of the three-letter pieces of a (lower case) b has, too; of a shorter a: is it in there? */
static int pieces_in_common(const char *a, size_t len, const char *b)
{
    int common = 0;
    for (size_t i = 0; i + 3 <= len; i++)
        for (const char *at = b; at[0] && at[1] && at[2]; at++)
            if (tolower((unsigned char)at[0]) == a[i] && tolower((unsigned char)at[1]) == a[i + 1] && tolower((unsigned char)at[2]) == a[i + 2]) {
                common++;
                break;
            }
    return common;
}

/* The labels most like the wanted one, best first; how many (0: none is like it). */
static int32_t nearest(int32_t best[3], const rh_feature_notes *n, const rh_sae *sae, const char *label, size_t len)
{
    char lower[64];
    int score[3] = {0};
    int32_t found = 0;
    if (len > sizeof lower) len = sizeof lower;
    for (size_t i = 0; i < len; i++) lower[i] = (char)tolower((unsigned char)label[i]);
    for (int32_t i = 0; i < rh_sae_about(sae)->d_sae; i++) {
        const char *have = rh_feature_notes_get(n, i).label;
        if (!have) continue;
        const int common = pieces_in_common(lower, len, have);
        if (2 * common < (int)len - 2 || !common || common <= score[2]) continue;
        int at = 2;
        for (; at > 0 && score[at - 1] < common; at--) {
            score[at] = score[at - 1];
            best[at] = best[at - 1];
        }
        score[at] = common;
        best[at] = i;
        if (found < 3) found++;
    }
    return found;
}

static rh_status no_labels(const char *path, const char *name, rh_error *err)
{
    return rh_hinted(rh_fail(err, RH_ENAME, "no labels are loaded for '%.200s'", path), err,
                     "import them: rhumb labels %.200s LABELS.jsonl.gz (from Neuronpedia, or a .csv); or write the feature's number: %.100s[3]", path, name);
}

static rh_status none_has_it(const rh_feature_notes *n, const rh_sae *sae, const char *path, const char *name, const char *label, size_t len, rh_error *err)
{
    int32_t near[3];
    rh_str text = {0};
    if (!rh_feature_notes_labels(n)) return no_labels(path, name, err);
    const int32_t count = nearest(near, n, sae, label, len);
    rh_fail(err, RH_ENAME, "no feature of '%.200s' has the label \"%.*s\"", path, shown(len), label);
    list(&text, n, name, near, count);
    if (count && !text.failed) rh_hint(err, "did you mean %s?", text.data);
    const bool failed = text.failed;
    rh_str_free(&text);
    return failed ? rh_fail_nomem(err) : RH_ENAME;
}

rh_status rh_feature_by_label(int32_t *out, const rh_feature_notes *notes, const rh_sae *sae, const char *path, const char *name, const char *label,
                              size_t len, rh_error *err)
{
    int32_t *found = NULL, n = 0;
    RH_TRY(rh_feature_notes_find(&found, &n, notes, label, len, err));
    rh_status status = RH_OK;
    if (n == 1) *out = found[0];
    if (n == 0) status = none_has_it(notes, sae, path, name, label, len, err);
    if (n > 1) {
        rh_str text = {0};
        list(&text, notes, name, found, n);
        status = text.failed ? rh_fail_nomem(err)
                             : rh_hinted(rh_fail(err, RH_ENAME, "%d features of '%.200s' match \"%.*s\"", (int)n, path, shown(len), label), err,
                                         "write the number of the one you mean: %s", text.data);
        rh_str_free(&text);
    }
    free(found);
    return status;
}

rh_status rh_feature_find(int32_t *out, rh_concepts *c, const rh_atom_spec *spec, const char *label, size_t len, rh_error *err)
{
    const rh_named_sae *s = NULL;
    const rh_feature_notes *notes = NULL;
    RH_TRY(rh_named_sae_get(&s, c, spec, err));
    RH_TRY(notes_of(&notes, c, s, err));
    return rh_feature_by_label(out, notes, s->sae, s->path, spec->name, label, len, err);
}

rh_status rh_feature_label(const char **out, rh_concepts *c, int32_t sae, int32_t feature, rh_error *err)
{
    const rh_feature_notes *notes = NULL;
    RH_TRY(notes_of(&notes, c, c->saes[sae], err));
    *out = rh_feature_notes_get(notes, feature).label;
    return RH_OK;
}

/* ---- how large it becomes ----------------------------------------------------------------------- */

rh_status rh_feature_max_act(double *out, rh_concepts *c, const rh_atom_spec *spec, rh_error *err)
{
    const rh_named_sae *s = NULL;
    const rh_feature_notes *notes = NULL;
    RH_TRY(rh_named_sae_get(&s, c, spec, err));
    RH_TRY(notes_of(&notes, c, s, err));
    const rh_feature_note note = rh_feature_notes_get(notes, spec->feature);
    if (note.measured && note.max_act > 0) {
        if (out) *out = note.max_act;
        return RH_OK;
    }
    if (note.measured)
        return rh_hinted(rh_fail(err, RH_EVALUE, "feature %d of '%.200s' was never active in %lld tokens", (int)spec->feature, s->path,
                                 (long long)note.tokens), err, "measure it on texts that it answers to, or write a number");
    return rh_hinted(rh_fail(err, RH_EVALUE, "nothing says how large feature %d of '%.200s' becomes", (int)spec->feature, s->path), err,
                     "measure it: rhumb test MODEL '%.200s[%d]' --corpus FILE; or write a number", s->path, (int)spec->feature);
}

rh_status rh_atom_fill_max_act(rh_concepts *c, const rh_atom_request *r, rh_error *err)
{
    const rh_named_sae *s = NULL;
    double most = 0;
    RH_TRY(rh_named_sae_get(&s, c, r->spec, err));
    RH_TRY(rh_feature_max_act(&most, c, r->spec, err));
    r->out[0] = (float)most;
    return rh_note_feature(c, r->spec, s, err);
}
