/* folder_rules.c - what a tokenizer.json says beside its model: normalizer, pre_tokenizer,
 * post_processor. Each kind is one row of a table or one branch; what has none is refused by name. */
#include <stdio.h>
#include <string.h>

#include "engine/tokenizer/hub.h"
#include "engine/tokenizer/normalize.h"
#include "engine/tokenizer/pretokenize.h"

enum { MAX_NESTING = 8 };

typedef struct rules {
    const char *path;
    rh_error *err;
    int form;
    rh_cut_rule cuts[RH_MAX_CUT_RULES];
    int n_cuts;
    bool byte_level;
    bool metaspace, splits; /* ▁ for spaces, put by normalizer (said.marks_spaces) or pre_tokenizer */
    int prefix;             /* RH_PREFIX_* */
    rh_hub_said said;
} rules;

static rh_status refuse(const rules *r, const char *where, const char *what, const char *name)
{
    return rh_hinted(rh_fail(r->err, RH_EUNSUPPORTED, "'%s': %s %s \"%.60s\", which is not there yet", r->path, where, what, name),
                     r->err, "a GGUF file of the model may serve");
}

static const char *type_of(const json_t *o)
{
    const char *type = json_string_value(json_object_get(o, "type"));
    return type ? type : "?";
}

/* Calls `one` for an object, or for each member of a Sequence of them. null: nothing to do. */
typedef rh_status (*rule_reader)(rules *r, const json_t *o, const char *where);
static rh_status each(rules *r, const json_t *o, const char *where, const char *members, rule_reader one, int depth)
{
    if (!o || json_is_null(o)) return RH_OK;
    if (strcmp(type_of(o), "Sequence") != 0) return one(r, o, where);
    const json_t *list = json_object_get(o, members);
    if (!json_is_array(list)) return rh_fail(r->err, RH_EFORMAT, "'%s': %s is a Sequence without %s", r->path, where, members);
    if (depth == MAX_NESTING) return rh_fail(r->err, RH_ELIMIT, "'%s': %s is nested too deeply", r->path, where);
    for (size_t i = 0; i < json_array_size(list); i++) RH_TRY(each(r, json_array_get(list, i), where, members, one, depth + 1));
    return RH_OK;
}

static bool is_text(const json_t *o, const char *key, const char *text)
{
    const char *value = json_string_value(json_object_get(o, key));
    return value && !strcmp(value, text);
}

static const char mark[] = "\xe2\x96\x81"; /* ▁ */

/* SentencePiece's: {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"} */
static rh_status mark_spaces(rules *r, const json_t *o, const char *where)
{
    const bool replaces = !strcmp(type_of(o), "Replace");
    if (r->form != RH_FORM_NONE) return refuse(r, where, "has behind a normal form", type_of(o));
    if (replaces && (!is_text(json_object_get(o, "pattern"), "String", " ") || !is_text(o, "content", mark)))
        return refuse(r, where, "has for something else than a space", "Replace");
    if (!replaces && !is_text(o, "prepend", mark)) return refuse(r, where, "puts something else than \xe2\x96\x81 in front", "Prepend");
    if (replaces) r->said.marks_spaces = true;
    else r->prefix = RH_PREFIX_ALL;
    return RH_OK;
}

static rh_status normalizer(rules *r, const json_t *o, const char *where)
{
    static const char *const forms[] = {[RH_FORM_NFC] = "NFC", [RH_FORM_NFD] = "NFD", [RH_FORM_NFKC] = "NFKC", [RH_FORM_NFKD] = "NFKD"};
    for (int i = RH_FORM_NFC; i <= RH_FORM_NFKD; i++) {
        if (strcmp(forms[i], type_of(o)) != 0) continue;
        if (r->said.marks_spaces || r->prefix) return refuse(r, where, "has behind a mark for spaces", forms[i]);
        if (r->form != RH_FORM_NONE && r->form != i) return refuse(r, where, "has after another form", forms[i]);
        r->form = i;
        return RH_OK;
    }
    if (!strcmp(type_of(o), "Prepend") || !strcmp(type_of(o), "Replace")) return mark_spaces(r, o, where);
    return refuse(r, where, "has", type_of(o));
}

static rh_status push_cut(rules *r, rh_cut_kind kind, const char *text, const char *where)
{
    if (r->n_cuts == RH_MAX_CUT_RULES)
        return rh_fail(r->err, RH_ELIMIT, "'%s': %s has more than %d rules", r->path, where, RH_MAX_CUT_RULES);
    r->cuts[r->n_cuts++] = (rh_cut_rule){kind, text};
    return RH_OK;
}

static rh_status split(rules *r, const json_t *o, const char *where)
{
    const json_t *pattern = json_object_get(o, "pattern");
    const char *behavior = json_string_value(json_object_get(o, "behavior"));
    const char *regex = json_string_value(json_object_get(pattern, "Regex"));
    const char *literal = json_string_value(json_object_get(pattern, "String"));
    if (r->said.marks_spaces && literal && !strcmp(literal, " ")) return RH_OK; /* there is none left (Gemma) */
    if (!behavior || strcmp(behavior, "Isolated") != 0) return refuse(r, where, "splits with the behavior", behavior ? behavior : "?");
    if (!regex && !literal) return rh_fail(r->err, RH_EFORMAT, "'%s': %s has a Split without a pattern", r->path, where);
    if (literal && !*literal) return rh_fail(r->err, RH_EFORMAT, "'%s': %s splits at an empty text", r->path, where);
    return push_cut(r, regex ? RH_CUT_REGEX : RH_CUT_LITERAL, regex ? regex : literal, where);
}

/* {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false}, and add_prefix_space of older ones */
static rh_status metaspace(rules *r, const json_t *o, const char *where)
{
    const json_t *named = json_object_get(o, "prepend_scheme");
    const char *scheme = named ? json_string_value(named) : json_is_false(json_object_get(o, "add_prefix_space")) ? "never" : "always";
    if (!is_text(o, "replacement", mark)) return refuse(r, where, "replaces spaces by something else than \xe2\x96\x81", "Metaspace");
    if (r->metaspace) return refuse(r, where, "has a second time", "Metaspace");
    if (scheme && !strcmp(scheme, "always")) r->prefix = r->prefix ? r->prefix : RH_PREFIX_UNSPACED;
    else if (scheme && !strcmp(scheme, "first")) r->prefix = r->prefix ? r->prefix : RH_PREFIX_FIRST;
    else if (!scheme || strcmp(scheme, "never") != 0) return refuse(r, where, "sets the prepend_scheme", scheme ? scheme : "?");
    r->metaspace = true;
    r->splits = !json_is_false(json_object_get(o, "split"));
    return RH_OK;
}

static rh_status pre_tokenizer(rules *r, const json_t *o, const char *where)
{
    const char *type = type_of(o);
    if (r->byte_level) return refuse(r, where, "has behind ByteLevel", type);
    if (!strcmp(type, "Split")) return split(r, o, where);
    if (!strcmp(type, "Metaspace")) return metaspace(r, o, where);
    if (!strcmp(type, "Digits"))
        return push_cut(r, json_is_true(json_object_get(o, "individual_digits")) ? RH_CUT_DIGIT : RH_CUT_DIGITS, NULL, where);
    if (strcmp(type, "ByteLevel") != 0) return refuse(r, where, "has", type);
    if (json_is_true(json_object_get(o, "add_prefix_space"))) return refuse(r, where, "sets", "add_prefix_space");
    r->byte_level = true;
    return json_is_false(json_object_get(o, "use_regex")) ? RH_OK : push_cut(r, RH_CUT_GPT2, NULL, where);
}

/* single: [{"SpecialToken": {"id": "<|begin_of_text|>", …}}, {"Sequence": {"id": "A", …}}] */
static rh_status template_of_text(rules *r, const json_t *o, const char *where)
{
    const json_t *single = json_object_get(o, "single");
    bool text = false;
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *item = json_array_get(single, i);
        const char *token = json_string_value(json_object_get(json_object_get(item, "SpecialToken"), "id"));
        if (json_object_get(item, "Sequence")) text = true;
        else if (!token) return rh_fail(r->err, RH_EFORMAT, "'%s': %s has a template that is neither text nor token", r->path, where);
        else if (text) return refuse(r, where, "puts behind a text", token);
        else if (r->said.bos) return refuse(r, where, "puts as a second token in front of a text", token);
        else r->said.bos = token;
    }
    if (!text) return rh_fail(r->err, RH_EFORMAT, "'%s': %s has a template without the text", r->path, where);
    return RH_OK;
}

static rh_status post_processor(rules *r, const json_t *o, const char *where)
{
    if (!strcmp(type_of(o), "ByteLevel")) return RH_OK; /* about offsets only */
    if (!strcmp(type_of(o), "TemplateProcessing")) return template_of_text(r, o, where);
    return refuse(r, where, "has", type_of(o));
}

/* ByteLevel's, or SentencePiece's ▁: not both, nor neither. */
static rh_status check_kind(const rules *r)
{
    const bool marks = r->metaspace || r->said.marks_spaces;
    if (r->byte_level && (marks || r->prefix)) return refuse(r, "pre_tokenizer", "has beside \xe2\x96\x81 for spaces", "ByteLevel");
    if (r->byte_level) return RH_OK;
    if (marks && r->form != RH_FORM_NONE) return refuse(r, "normalizer", "has beside \xe2\x96\x81 for spaces", "a normal form");
    if (marks && r->n_cuts) return refuse(r, "pre_tokenizer", "has beside \xe2\x96\x81 for spaces", "a Split");
    if (marks) return RH_OK;
    return rh_hinted(rh_fail(r->err, RH_EUNSUPPORTED, "'%s': its pre_tokenizer is neither byte-level nor SentencePiece's, which is "
                             "not there yet", r->path),
                     r->err, "a GGUF file of the model may serve, or a tokenizer.model beside it");
}

rh_status rh_hub_rules(rh_bpe_parts *out, rh_hub_said *said, const json_t *root, const char *path, rh_error *err)
{
    rules r = {.path = path, .err = err};
    RH_TRY(each(&r, json_object_get(root, "normalizer"), "normalizer", "normalizers", normalizer, 0));
    RH_TRY(each(&r, json_object_get(root, "pre_tokenizer"), "pre_tokenizer", "pretokenizers", pre_tokenizer, 0));
    RH_TRY(each(&r, json_object_get(root, "post_processor"), "post_processor", "processors", post_processor, 0));
    RH_TRY(check_kind(&r));
    *said = r.said;
    out->normal_form = r.form;
    out->chars = !r.byte_level;
    out->space_prefix = r.prefix;
    out->splits_at_spaces = r.splits;
    if (out->chars) return RH_OK;
    rh_status status = rh_pretokenizer_from_rules(&out->pre, r.cuts, r.n_cuts, err);
    if (status && status != RH_ENOMEM && err) {
        rh_error inner = *err;
        rh_hinted(rh_fail(err, status, "'%s': pre_tokenizer: %s", path, inner.message), err, "a GGUF file of the model may serve");
    }
    return status;
}
