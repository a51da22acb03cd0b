/* sources.c - atoms: what dim("pairs.csv", at=mean) asks the resolver for (LANGUAGE.md §4). */
#include <stdlib.h>
#include <string.h>

#include "dsl/book.h"
#include "dsl/calls.h"
#include "dsl/words.h"

static const struct { const char *word; rh_at at; } POSITIONS[] = {
    {"last", RH_AT_LAST}, {"text_last", RH_AT_TEXT_LAST}, {"mean", RH_AT_MEAN}, {"all", RH_AT_ALL}, {"marked", RH_AT_MARKED},
};
enum { N_POSITIONS = (int)(sizeof POSITIONS / sizeof *POSITIONS) };

/* ---- options ------------------------------------------------------------------------------------------ */

static bool bad_option(rh_checker *c, rh_range at, const char *message, const char *hint)
{
    rh_diag *d = rh_diag_add(c->diags, RH_EVALUE, at, "%s", message);
    rh_diag_hint(d, "%s", hint);
    return false;
}

static bool unknown_option(rh_checker *c, const rh_arg *arg, const rh_function *f)
{
    rh_diag *d = rh_diag_add(c->diags, RH_ENAME, arg->option_range, "%s has no option '%.*s'", f->name,
                             arg->option.len > 60 ? 60 : (int)arg->option.len, arg->option.text);
    const char *near = rh_option_nearest(arg->option, f->options);
    char options[RH_OPTIONS_TEXT];
    rh_options_text(options, f->options);
    if (near)
        rh_diag_hint(d, "did you mean %s?", near);
    else if (!f->options)
        rh_diag_hint(d, "it has none: %s", f->usage);
    else if (f->id == RH_FN_TOKEN || f->id == RH_FN_UNEMBED)
        rh_diag_hint(d, "its option is at=mean");
    else
        rh_diag_hint(d, strchr(options, ',') ? "its options are %s" : "its option is %s", options);
    return false;
}

static bool read_at_option(rh_checker *c, const rh_arg *arg, const rh_function *f, rh_atom_spec *spec)
{
    bool vocabulary = f->id == RH_FN_TOKEN || f->id == RH_FN_UNEMBED;
    for (int i = 0; i < N_POSITIONS; i++) {
        if (!rh_is_word(arg->text.text, arg->text.len, POSITIONS[i].word)) continue;
        if (vocabulary && POSITIONS[i].at != RH_AT_MEAN) break;
        spec->at = POSITIONS[i].at;
        return true;
    }
    rh_diag *d = rh_diag_add(c->diags, RH_EVALUE, arg->value_range, "%s has no position '%.*s'", f->name,
                             arg->text.len > 60 ? 60 : (int)arg->text.len, arg->text.text);
    rh_diag_hint(d, vocabulary ? "at=mean averages the rows of several tokens" : "at is last, text_last, mean, all or marked");
    return false;
}

static bool wrong_kind(rh_checker *c, const rh_arg *arg, const rh_option_type *type)
{
    static const char *const takes[] = {[RH_OPTION_WORD] = "this option takes a word", [RH_OPTION_STRING] = "this option takes a string",
                                        [RH_OPTION_NUMBER] = "this option takes a number"};
    const char *example = NULL;
    switch (type->option) {
    case RH_OPT_AT: example = "at=mean"; break;
    case RH_OPT_CHAT: example = "chat=true"; break;
    case RH_OPT_CENTER: example = "center=false"; break;
    case RH_OPT_SHRINK: example = "shrink=0.1"; break;
    case RH_OPT_L2: example = "l2=1"; break;
    case RH_OPT_PREFIX:
    case RH_OPT_POSITIVE:
    case RH_OPT_NEGATIVE:
    case RH_OPT_NAME: example = "strings stand in double quotes: \"…\""; break;
    }
    return bad_option(c, arg->value_range, takes[type->kind], example);
}

/* true or false; false if the word is neither */
static bool read_switch(bool *out, const rh_arg *arg)
{
    *out = rh_is_word(arg->text.text, arg->text.len, "true");
    return *out || rh_is_word(arg->text.text, arg->text.len, "false");
}

static bool read_option(rh_checker *c, const rh_arg *arg, const rh_function *f, rh_atom_spec *spec, unsigned *seen)
{
    const rh_option_type *type = rh_option_find(arg->option);
    bool on;
    if (!type || !(type->option & f->options)) return unknown_option(c, arg, f);
    if (*seen & type->option) return bad_option(c, arg->range, "this option is given twice", "leave one of them out");
    *seen |= type->option;
    if (arg->kind != type->kind) return wrong_kind(c, arg, type);
    switch (type->option) {
    case RH_OPT_AT: return read_at_option(c, arg, f, spec);
    case RH_OPT_CHAT:
        return read_switch(&spec->chat, arg) ||
               bad_option(c, arg->value_range, "chat is true or false", "chat=true makes each text a user turn");
    case RH_OPT_CENTER:
        if (!read_switch(&on, arg))
            return bad_option(c, arg->value_range, "center is true or false", "center=false keeps the mean of the differences");
        spec->no_center = !on;
        break;
    case RH_OPT_SHRINK:
        spec->shrink = arg->number + 0.0; /* no -0 */
        return (arg->number >= 0 && arg->number <= 1) ||
               bad_option(c, arg->value_range, "shrink is a number from 0 to 1", "shrink=0.1 is what it takes unless told");
    case RH_OPT_L2:
        spec->l2 = arg->number;
        return arg->number > 0 || bad_option(c, arg->value_range, "l2 is a number above 0", "l2=1 is what it takes unless told");
    case RH_OPT_PREFIX: spec->prefix = arg->text.text; break;
    case RH_OPT_POSITIVE: spec->positive = arg->text.text; break;
    case RH_OPT_NEGATIVE: spec->negative = arg->text.text; break;
    case RH_OPT_NAME: spec->name = arg->text.text; break;
    }
    return true;
}

/* ---- the first argument ---------------------------------------------------------------------------------- */

static bool read_seed(rh_checker *c, const rh_arg *arg, rh_atom_spec *spec)
{
    const rh_expr *e = arg->expr;
    if (!e || e->kind != RH_EXPR_NUMBER || !e->integer)
        return bad_option(c, arg->range, "a seed is a whole number from 0", "random(7)");
    if (!e->integer_fits) return bad_option(c, arg->range, "this seed is too large", "at most 18446744073709551615");
    spec->seed = e->whole;
    return true;
}

/* A number, or names and sums of numbers: what folds before anything is computed. */
static bool read_quantile(rh_checker *c, const rh_arg *arg, rh_atom_spec *spec)
{
    rh_operand q;
    if (!arg->expr) return bad_option(c, arg->range, "a quantile is a number from 0 to 1", "resid_norm(0.9)");
    if (!rh_check_expr(c, arg->expr, &q)) return false;
    const rh_node *n = rh_operand_node(c, &q);
    if (n->kind != RH_VALUE_SCALAR) return rh_kind_error(c, &q, 1, "a quantile is a number from 0 to 1", "resid_norm(0.9)");
    if (n->op != RH_OP_NUMBER)
        return bad_option(c, arg->range, "a quantile must be known before anything is computed", "write the number: resid_norm(0.9)");
    spec->quantile = n->number + 0.0; /* no -0 */
    return (n->number >= 0 && n->number <= 1) ||
           bad_option(c, arg->range, "a quantile is a number from 0 to 1", "resid_norm(0.9): nine of ten states are shorter");
}

static bool read_text(rh_checker *c, const rh_expr *e, const rh_arg *arg, const rh_function *f, rh_atom_spec *spec)
{
    bool file = f->id != RH_FN_ACT && f->id != RH_FN_TOKEN && f->id != RH_FN_UNEMBED;
    if (arg->expr) {
        rh_diag *d = rh_diag_add(c->diags, RH_EKIND, arg->range, file ? "%s takes a file name in quotes" : "%s takes a text in quotes", f->name);
        rh_diag_hint(d, "%s", f->usage);
        return false;
    }
    spec->text = arg->text.text;
    spec->text_len = arg->text.len;
    if (!file) return true;
    if (arg->text.len == 0) return bad_option(c, arg->range, "an empty file name", f->usage);
    char *path = rh_path_beside(e->range.source, arg->text);
    if (path) spec->text = rh_arena_strndup(c->arena, path, strlen(path));
    if (!path || !spec->text) {
        c->no_memory = true;
        free(path);
        return false;
    }
    spec->text_len = strlen(path);
    free(path);
    return true;
}

static bool read_argument(rh_checker *c, const rh_expr *e, const rh_arg *arg, const rh_function *f, rh_atom_spec *spec)
{
    spec->text_range = arg->range;
    if (f->id == RH_FN_RANDOM) return read_seed(c, arg, spec);
    if (f->id == RH_FN_RESID_NORM) return read_quantile(c, arg, spec);
    return read_text(c, e, arg, f, spec);
}

static bool read_spec(rh_checker *c, const rh_expr *e, const rh_function *f, rh_atom_spec *spec)
{
    unsigned seen = 0;
    bool ok = true;
    *spec = (rh_atom_spec){.kind = (rh_atom_kind)f->id, .text = "", .prefix = "", .range = e->range, .text_range = e->range};
    if (f->id == RH_FN_LDA) spec->shrink = 0.1;
    if (f->id == RH_FN_LOGREG) spec->l2 = 1;
    if (f->id == RH_FN_RESID_NORM) spec->quantile = 0.5;
    for (int32_t i = 0; i < e->n_args; i++) {
        const rh_arg *arg = &e->args[i];
        if (arg->option.text) {
            ok &= read_option(c, arg, f, spec, &seen);
            continue;
        }
        ok &= read_argument(c, e, arg, f, spec);
    }
    return ok;
}

/* ---- asking the resolver ------------------------------------------------------------------------------------ */

static bool copy_message(rh_checker *c, rh_atom *atom, const rh_error *err)
{
    rh_str text = {0};
    if (err->file[0] && err->line > 0)
        rh_str_printf(&text, "%s:%d: %s", err->file, err->line, err->message);
    else
        rh_str_puts(&text, err->message);
    if (!text.failed) atom->message = rh_arena_strndup(c->arena, text.data ? text.data : "", text.len);
    atom->hint = rh_arena_strndup(c->arena, err->hint, strlen(err->hint));
    rh_str_free(&text);
    return atom->message && atom->hint;
}

/* The answer must make sense: layers ascending, and one of them if it is pinned. */
static bool sound(const rh_atom_info *info)
{
    bool has_site = info->place == RH_PLACE_PINNED || info->place == RH_PLACE_FAMILY;
    if (has_site != (info->n_layers > 0) || info->d < 0) return false;
    for (int32_t i = 0; i < info->n_layers; i++)
        if (info->layers[i] < 0 || (i && info->layers[i] <= info->layers[i - 1])) return false;
    return true;
}

static bool describe(rh_checker *c, rh_atom *atom)
{
    rh_error err = {0};
    atom->asked = true;
    atom->status = c->resolver->describe(c->resolver->self, &atom->spec, &atom->info, &err);
    if (atom->status == RH_OK && !sound(&atom->info)) atom->status = rh_fail(&err, RH_EFORMAT, "its layers make no sense");
    if (atom->status == RH_ENOMEM || (atom->status && !copy_message(c, atom, &err))) {
        c->no_memory = true;
        return false;
    }
    atom->ok = atom->status == RH_OK;
    if (atom->spec.kind == RH_ATOM_RESID_NORM) atom->info = (rh_atom_info){.place = RH_PLACE_FLOATING}; /* a number has no width */
    if (!atom->ok || atom->info.n_layers == 0) return true;
    atom->info.place = atom->info.n_layers > 1 ? RH_PLACE_FAMILY : RH_PLACE_PINNED;
    atom->site = rh_graph_site(c->graph, atom->info.hook, atom->info.n_layers, atom->info.layers);
    if (atom->site < 0) c->no_memory = true;
    return atom->site >= 0;
}

/* A site outside the model, or of another width, is an error here whatever made the file. */
static bool fits_model(rh_checker *c, const rh_atom *atom, rh_range at)
{
    const rh_atom_info *info = &atom->info;
    int32_t width = atom->site < 0 || c->resolver->n_layers <= 0 ? 0 : rh_hook_width(c->resolver, info->hook);
    char layers[64];
    rh_model_layers(layers, c->resolver);
    if (width > 0 && info->layers[info->n_layers - 1] >= c->resolver->n_layers) {
        rh_diag *d = rh_diag_add(c->diags, RH_ESITE, at, "this is for layer %d", (int)info->layers[info->n_layers - 1]);
        rh_diag_hint(d, "%s: it was made for another one", layers);
        return false;
    }
    if (width > 0 && info->d > 0 && info->d != width) {
        rh_diag *d = rh_diag_add(c->diags, RH_ESITE, at, "this has width %d, and %s of the model %d", (int)info->d,
                                 rh_hook_name(info->hook), (int)width);
        rh_diag_hint(d, "it was made for another model");
        return false;
    }
    return true;
}

int32_t rh_check_atom(rh_checker *c, const rh_atom_spec *spec)
{
    int32_t id = rh_graph_atom(c->graph, spec);
    if (id < 0) {
        c->no_memory = true;
        return -1;
    }
    rh_atom *atom = &c->graph->atoms[id];
    if (!atom->asked && !describe(c, atom)) return -1;
    if (atom->ok) return id;
    if (c->quiet || atom->reported) return -1;
    atom->reported = true;
    rh_diag *d = rh_diag_add(c->diags, atom->status, spec->text_range, "%s", atom->message);
    if (atom->hint[0]) rh_diag_hint(d, "%s", atom->hint);
    return -1;
}

bool rh_make_atom(rh_checker *c, int32_t id, rh_range range, rh_operand *out)
{
    const rh_atom *atom = &c->graph->atoms[id];
    if (!fits_model(c, atom, range)) return false;
    rh_node node = {.op = RH_OP_ATOM, .kind = rh_atom_is_scalar(atom->spec.kind) ? RH_VALUE_SCALAR : RH_VALUE_VECTOR,
                    .place = atom->info.place, .site = atom->site, .d = atom->info.d, .model = atom->info.model,
                    .atom = id, .range = range};
    if (node.site >= 0 && !node.d) node.d = rh_hook_width(c->resolver, atom->info.hook);
    node.inner_d = node.d;
    if (atom->spec.kind == RH_ATOM_MAX_ACT) node.d = 0; /* a number, of what is inner_d wide */
    *out = (rh_operand){rh_graph_node(c->graph, &node), range, range};
    if (out->node < 0) c->no_memory = true;
    return out->node >= 0;
}

bool rh_check_source(rh_checker *c, rh_expr *e, const rh_function *f, rh_operand *out)
{
    rh_atom_spec spec;
    if (!rh_check_count(c, e, f) || !read_spec(c, e, f, &spec)) return false;
    int32_t id = rh_check_atom(c, &spec);
    return id >= 0 && rh_make_atom(c, id, e->range, out);
}
