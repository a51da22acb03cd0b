/* labels.c - see labels.h. Both kinds are read line by line through zlib, which reads plain files too. */
#include "concepts/labels.h"

#include <csv.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/json.h"
#include "base/mem.h"

enum { STEP = 64 << 10, LINE = 8 << 20 };

typedef struct reading {
    rh_labels_read *r;
    rh_feature_notes *notes;
    const rh_sae *sae;
    const char *path;
    int line;
    uint8_t *seen;            /* [d_sae] */
    rh_status status;
    rh_error *err;
    char *field[2]; int n_fields; /* of a CSV row */
} reading;

static rh_status wrong(reading *q, const char *what)
{
    rh_fail(q->err, RH_EFORMAT, "%s", what);
    rh_place(q->err, q->path, q->line, 0);
    return RH_EFORMAT;
}

static rh_status take(reading *q, int64_t index, const char *label)
{
    const int32_t n = rh_sae_about(q->sae)->d_sae;
    if (index < 0 || index >= n) {
        rh_fail(q->err, RH_EVALUE, "there is no feature %lld: the SAE has 0..%d", (long long)index, (int)n - 1);
        rh_place(q->err, q->path, q->line, 0);
        return rh_hinted(RH_EVALUE, q->err, "the labels are of another SAE");
    }
    if (!label[strspn(label, " \t\r\n")]) {
        q->r->empty++;
        return RH_OK;
    }
    if (q->seen[index]) {
        q->r->again++;
        return RH_OK;
    }
    RH_TRY(rh_feature_notes_label(q->notes, (int32_t)index, label, q->r->source, q->err));
    q->seen[index] = 1;
    q->r->taken++;
    return RH_OK;
}

/* ---- Neuronpedia --------------------------------------------------------------------------------- */

/* "20-gemmascope-res-16k": what is said of a layer and a site must be this SAE's. */
static bool layer_fits(const char *layer, const rh_sae_facts *f)
{
    static const struct { const char *word; rh_hook hook; } sites[] = {{"-res-", RH_RESID_POST}, {"-att-", RH_ATTN_Z}, {"-mlp-", RH_MLP_OUT}};
    char *rest = NULL;
    const long number = strtol(layer, &rest, 10);
    if (rest != layer && f->layer >= 0 && number != f->layer) return false;
    for (size_t i = 0; f->hook_out_known && i < sizeof sites / sizeof *sites; i++)
        if (strstr(layer, sites[i].word) && (f->hook_out == RH_RESID_POST || f->hook_out == RH_ATTN_Z || f->hook_out == RH_MLP_OUT))
            return f->hook_out == sites[i].hook;
    return true;
}

static bool of_this_sae(reading *q, const json_t *root)
{
    const rh_sae_facts *f = rh_sae_about(q->sae);
    const char *model = json_string_value(json_object_get(root, "modelId")), *layer = json_string_value(json_object_get(root, "layer"));
    const bool model_fits = !model || !f->model[0] || rh_model_names_agree(model, f->model);
    if (model_fits && (!layer || layer_fits(layer, f))) return true;
    if (!q->r->others++) snprintf(q->r->other, sizeof q->r->other, "%.30s/%.40s", model ? model : "?", layer ? layer : "?");
    return false;
}

static rh_status index_of(int64_t *out, reading *q, const json_t *index)
{
    char *end = NULL;
    const char *text = json_string_value(index);
    if (json_is_integer(index)) *out = json_integer_value(index);
    else if (text && *text >= '0' && *text <= '9' && (*out = strtoll(text, &end, 10), !*end)) {}
    else return wrong(q, "no number \"index\": this is no explanation of Neuronpedia's");
    return RH_OK;
}

static rh_status explanation(reading *q, const char *s, size_t n)
{
    json_t *root = NULL;
    int64_t index = 0;
    rh_status status = rh_json_parse(&root, s, n, "this line", q->err);
    if (status == RH_ENOMEM) return status;
    if (status) {
        rh_place(q->err, q->path, q->line, 0);
        return status;
    }
    const char *label = json_string_value(json_object_get(root, "description"));
    if (!json_is_object(root)) status = wrong(q, "no JSON object");
    else if (of_this_sae(q, root)) {
        status = index_of(&index, q, json_object_get(root, "index"));
        if (!status) status = take(q, index, label ? label : "");
    }
    json_decref(root);
    return status;
}

/* ---- CSV ----------------------------------------------------------------------------------------- */

static void on_field(void *field, size_t n, void *data)
{
    reading *q = data;
    if (q->status || q->n_fields >= 2) return;
    char *text = rh_strndup(field ? field : "", n);
    if (!text) q->status = rh_fail_nomem(q->err);
    else q->field[q->n_fields++] = text;
}

static void on_row(int c, void *data)
{
    reading *q = data;
    (void)c;
    if (!q->status && q->n_fields) {
        char *end = NULL;
        const int64_t index = strtoll(q->field[0], &end, 10);
        const bool number = end != q->field[0] && !*end;
        q->r->lines++;
        if (q->n_fields < 2) q->status = wrong(q, "a row is an index and a label");
        else if (number) q->status = take(q, index, q->field[1]);
        else if (q->line > 1) q->status = wrong(q, "the first column is no index of a feature"); /* the first row may be a heading */
    }
    while (q->n_fields) free(q->field[--q->n_fields]);
}

/* ---- files --------------------------------------------------------------------------------------- */

static rh_status gzip_error(gzFile file, const char *path, rh_error *err)
{
    int code = Z_OK;
    const char *why = gzerror(file, &code);
    if (code == Z_ERRNO) return rh_fail_errno(err, "read", path);
    return rh_fail(err, code == Z_MEM_ERROR ? RH_ENOMEM : RH_EFORMAT, "the gzip data of '%.200s' is damaged: %.100s", path, why);
}

/* A quoted field may go over several lines, so the bytes go to the parser as they are, a line at a time. */
static rh_status line_of_csv(reading *q, struct csv_parser *p, const char *s, size_t n)
{
    if (csv_parse(p, s, n, on_field, on_row, q) != n && !q->status)
        q->status = csv_error(p) == CSV_ENOMEM ? rh_fail_nomem(q->err) : wrong(q, csv_strerror(csv_error(p)));
    return q->status;
}

static rh_status lines(reading *q, gzFile file, struct csv_parser *csv)
{
    rh_str line = {0};
    char buffer[STEP];
    rh_status status = RH_OK;
    while (!status && gzgets(file, buffer, STEP)) {
        const size_t n = strlen(buffer);
        rh_str_add(&line, buffer, n);
        if (line.failed) status = rh_fail_nomem(q->err);
        if (!status && line.len > LINE) status = wrong(q, "the line is too long");
        if (status || (buffer[n - 1] != '\n' && !gzeof(file))) continue;
        q->line++;
        if (csv) status = line_of_csv(q, csv, line.data, line.len);
        else if (line.data[strspn(line.data, " \t\r\n")]) {
            q->r->lines++;
            status = explanation(q, line.data, line.len);
        }
        line.len = 0;
    }
    int code = Z_OK;
    gzerror(file, &code);
    if (!status && code != Z_OK && code != Z_STREAM_END) status = gzip_error(file, q->path, q->err);
    rh_str_free(&line);
    return status;
}

static bool is_csv(const char *path)
{
    size_t n = strlen(path);
    if (n > 3 && !strcmp(path + n - 3, ".gz")) n -= 3;
    return n > 4 && !memcmp(path + n - 4, ".csv", 4);
}

static rh_status read_csv(reading *q, gzFile file)
{
    struct csv_parser p;
    if (csv_init(&p, CSV_APPEND_NULL | CSV_STRICT | CSV_STRICT_FINI)) return rh_fail_nomem(q->err);
    csv_set_realloc_func(&p, realloc);
    csv_set_free_func(&p, free);
    rh_status status = lines(q, file, &p);
    if (!status && csv_fini(&p, on_field, on_row, q)) q->status = wrong(q, "a quotation is not closed");
    if (!status) status = q->status;
    while (q->n_fields) free(q->field[--q->n_fields]);
    csv_free(&p);
    return status;
}

rh_status rh_labels_read_file(rh_labels_read *out, rh_feature_notes *notes, const rh_sae *s, const char *path, rh_error *err)
{
    rh_error local = {0};
    rh_labels_read r = {.source = is_csv(path) ? RH_LABEL_CSV : RH_LABEL_NEURONPEDIA};
    reading q = {.r = &r, .notes = notes, .sae = s, .path = path, .err = err ? err : &local};
    errno = 0;
    gzFile file = gzopen(path, "rb");
    if (!file) return errno ? rh_fail_errno(err, "open", path) : rh_fail_nomem(err);
    q.seen = rh_calloc((size_t)rh_sae_about(s)->d_sae, 1);
    rh_status status = q.seen ? RH_OK : rh_fail_nomem(err);
    if (!status) status = r.source == RH_LABEL_CSV ? read_csv(&q, file) : lines(&q, file, NULL);
    gzclose_r(file);
    free(q.seen);
    if (!status) *out = r;
    return status;
}
