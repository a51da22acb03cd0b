#include "damage.h"

#include <sys/stat.h>

#include "damage_places.h"
#include "engine/files/vectorfile.h"
#include "base/file.h"

#ifndef RH_TEST_DATA
#define RH_TEST_DATA "tests/data"
#endif

/* ---- the bases ------------------------------------------------------------------------------- */

static damage_file *add_file(damage_base *b, const char *name)
{
    if (b->n == DAMAGE_FILES) abort();
    damage_file *f = &b->files[b->n++];
    snprintf(f->name, sizeof f->name, "%s", name);
    return f;
}

damage_file *damage_file_of(damage_base *b, const char *name)
{
    for (int i = 0; i < b->n; i++)
        if (!strcmp(b->files[i].name, name)) return &b->files[i];
    return NULL;
}

static void read_into(damage_base *b, const char *path, const char *name)
{
    rh_map m = {0};
    rh_error err = {0};
    if (rh_map_open(&m, path, &err)) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    rh_str_add(&add_file(b, name)->good, (const char *)m.data, m.size);
    rh_map_close(&m);
}

static void read_model(damage_base *b)
{
    char path[600];
    snprintf(path, sizeof path, RH_TEST_DATA "/%s%s", b->kind == DAMAGE_TOKENIZER ? "tokenizer/" : "models/", b->name);
    if (!rh_is_dir(path)) {
        strcat(path, ".gguf");
        read_into(b, path, b->entry);
        return;
    }
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        char file[900];
        const bool answers = !strncmp(e->d_name, "expected", 8) || !strncmp(e->d_name, "tokens", 6) || !strncmp(e->d_name, "answers", 7);
        if (e->d_name[0] == '.' || answers) continue;
        snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        read_into(b, file, e->d_name);
    }
    if (d) closedir(d);
    if (!b->kind)
        rh_str_puts(&add_file(b, "generation_config.json")->good,
                    "{\"bos_token_id\": 1, \"eos_token_id\": [2, 3], \"do_sample\": true, \"temperature\": 0.6, \"top_k\": 64, \"top_p\": 0.9}");
}

/* By Rhumb's own writers, two layers (npy: one). */
static void make_vector(damage_base *b)
{
    const int32_t layers[] = {1, 2};
    const float values[] = {1, -2, 3, 0.5f, 0, 7, 8, -9};
    rh_vector *v = NULL;
    rh_error err = {0};
    const bool gguf = strstr(b->entry, ".gguf");
    const int32_t n = strstr(b->entry, ".npy") ? 1 : 2;
    char path[600];
    snprintf(path, sizeof path, "%s/%s", b->at.dir, b->entry);
    rh_status status = rh_vector_new(&v, 4, RH_RESID_POST, n > 1 ? layers : (const int32_t[]){-1}, n, &err);
    if (!status) memcpy(v->data, values, 4 * (size_t)n * sizeof *values);
    if (!status)
        status = rh_vectorfile_write(path, v, n > 1 ? "{\"version\":1,\"hook\":\"resid_post\"}" : NULL,
                                     gguf ? "llama" : NULL, gguf ? 4 : 0, &err);
    if (status) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    rh_vector_free(v);
    read_into(b, path, b->entry);
}

damage_base *damage_bases_open(void)
{
    static const damage_base rows[] = {
        {.name = "words", .entry = "model.gguf"}, {.name = "llama-f32", .entry = ""}, {.name = "llama-bf16", .entry = ""},
        {.name = "llama-nf4", .entry = ""}, {.name = "gemma2-nf4", .entry = ""}, {.name = "gemma3-bf16", .entry = ""},
        {.name = "v.safetensors", .entry = "v.safetensors", .kind = DAMAGE_VECTOR}, {.name = "v.gguf", .entry = "v.gguf", .kind = DAMAGE_VECTOR},
        {.name = "v.npy", .entry = "v.npy", .kind = DAMAGE_VECTOR}, {.name = "hub/qwen2", .entry = "", .kind = DAMAGE_TOKENIZER},
        {.name = "hub/llama3.1", .entry = "", .kind = DAMAGE_TOKENIZER}, {.name = "hub/gemma3", .entry = "", .kind = DAMAGE_TOKENIZER},
    };
    enum { N = sizeof rows / sizeof *rows };
    damage_base *all = calloc(N + 1, sizeof *all);
    if (!all) abort();
    memcpy(all, rows, sizeof rows);
    for (damage_base *b = all; b->name; b++) {
        scratch_open(&b->at);
        if (b->kind == DAMAGE_VECTOR) make_vector(b);
        else read_model(b);
        for (int i = 0; i < b->n; i++) scratch_write(&b->at, b->files[i].name, b->files[i].good.data, b->files[i].good.len);
    }
    return all;
}

void damage_bases_close(damage_base *all)
{
    for (damage_base *b = all; b->name; b++) {
        for (int i = 0; i < b->n; i++) rh_str_free(&b->files[i].good);
        scratch_close(&b->at);
    }
    free(all);
}

/* ---- texts ----------------------------------------------------------------------------------- */

void damage_quote(rh_str *out, const char *bytes, size_t n)
{
    rh_str_puts(out, "\"");
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)bytes[i];
        if (c == '"' || c == '\\') rh_str_printf(out, "\\%c", c);
        else if (c < 32 || c > 126) rh_str_printf(out, "\\x%02x", c);
        else rh_str_add(out, bytes + i, 1);
    }
    rh_str_puts(out, "\"");
}

const char *damage_text(rh_str *out, const char *p)
{
    if (*p != '"') return NULL;
    rh_str_add(out, "", 0); /* so that data is there */
    for (p++; *p && *p != '"'; p++) {
        char c = *p;
        if (c == '\\' && p[1] == 'x' && p[2] && p[3]) {
            const char hex[3] = {p[2], p[3], 0};
            c = (char)strtoul(hex, NULL, 16);
            p += 3;
        } else if (c == '\\' && p[1]) {
            c = *++p;
        }
        rh_str_add(out, &c, 1);
    }
    return *p ? p + 1 : NULL;
}

/* ---- edits ----------------------------------------------------------------------------------- */

static void splice(rh_str *s, size_t at, size_t drop, const char *bytes, size_t n)
{
    rh_str new = {0};
    if (at > s->len) at = s->len;
    if (drop > s->len - at) drop = s->len - at;
    if (at) rh_str_add(&new, s->data, at);
    rh_str_add(&new, bytes, n);
    if (s->len > at + drop) rh_str_add(&new, s->data + at + drop, s->len - at - drop);
    rh_str_free(s);
    *s = new;
}

static void add_count(rh_str *s, size_t at, int64_t by)
{
    uint64_t n;
    memcpy(&n, s->data + at, 8);
    n += (uint64_t)by;
    memcpy(s->data + at, &n, 8);
}

/* A GGUF's padding is made anew; a count follows where a whole entry came or went. */
static void head_of_gguf(rh_str *s, size_t at, size_t drop, const char *bytes, size_t n)
{
    places p;
    places_of_gguf(&p, s);
    if (p.end && at <= p.end && drop <= p.end - at) {
        const size_t old = (p.end + 31) / 32 * 32, end = p.end - drop + n, new = (end + 31) / 32 * 32;
        static const char zeros[32];
        splice(s, p.end, old - p.end, zeros, new - end);
        int64_t by = 0;
        for (size_t i = 0; i < p.n; i++)
            if (p.items[i].kind == PLACE_ENTRY && p.items[i].at == at) {
                if (drop == p.items[i].n && !n) by = -1;
                else if (!drop && n) by = 1;
            }
        splice(s, at, drop, bytes, n);
        if (by) add_count(s, at >= p.tensors_at ? 8 : 16, by);
    } else {
        splice(s, at, drop, bytes, n);
    }
    places_free(&p);
}

static void head(damage_file *f, size_t at, size_t drop, const rh_str *text)
{
    rh_str *s = &f->now;
    if (at > s->len) at = s->len;
    if (drop > s->len - at) drop = s->len - at;
    if (strstr(f->name, ".gguf")) {
        head_of_gguf(s, at, drop, text->data, text->len);
    } else if (strstr(f->name, ".safetensors") && !strstr(f->name, ".json") && at >= 8) {
        splice(s, at, drop, text->data, text->len);
        add_count(s, 0, (int64_t)text->len - (int64_t)drop);
    } else {
        splice(s, at, drop, text->data, text->len);
    }
}

static void swap(damage_file *f, const rh_str *old, const rh_str *new)
{
    for (size_t i = 0; i + old->len <= f->now.len; i++)
        if (!memcmp(f->now.data + i, old->data, old->len)) {
            head(f, i, old->len, new);
            return;
        }
}

static void nest(damage_file *f, size_t at, size_t n, const rh_str *text)
{
    rh_str many = {0};
    for (size_t i = 0; i < n; i++) rh_str_add(&many, text->data, text->len);
    rh_str_add(&many, "", 0);
    head(f, at, 0, &many);
    rh_str_free(&many);
}

static const char *word(char out[64], const char *p)
{
    p += strspn(p, " ");
    const size_t n = strcspn(p, " ;\n");
    snprintf(out, 64, "%.*s", (int)(n < 63 ? n : 63), p);
    return p + n;
}

/* Arguments of an edit: numbers N, texts T, words W, in this order of letters. */
typedef struct arguments { size_t number[2]; rh_str text[2]; char word[64]; } arguments;

static const char *read_arguments(arguments *a, const char *kinds, const char *p)
{
    int numbers = 0, texts = 0;
    for (; *kinds && p; kinds++) {
        p += strspn(p, " ");
        if (*kinds == 'N') {
            char *end;
            a->number[numbers++] = strtoull(p, &end, 0);
            p = end > p ? end : NULL;
        } else if (*kinds == 'T') {
            p = damage_text(&a->text[texts++], p);
        } else {
            p = word(a->word, p);
        }
    }
    return p;
}

static void set_bytes(damage_file *f, const char *verb, arguments *a)
{
    rh_str *s = &f->now;
    if (!strcmp(verb, "put")) {
        const size_t at = a->number[0], n = a->text[0].len;
        if (at < s->len) memcpy(s->data + at, a->text[0].data, n < s->len - at ? n : s->len - at);
    } else if (!strcmp(verb, "cut")) {
        if (a->number[0] < s->len) s->len = a->number[0];
    } else if (!strcmp(verb, "join")) {
        rh_str_add(s, a->text[0].data, a->text[0].len);
    } else if (!strcmp(verb, "head")) {
        head(f, a->number[0], a->number[1], &a->text[0]);
    } else if (!strcmp(verb, "swap")) {
        swap(f, &a->text[0], &a->text[1]);
    } else if (!strcmp(verb, "nest")) {
        nest(f, a->number[0], a->number[1], &a->text[0]);
    } else {
        s->len = 0;
        rh_str_add(s, a->text[0].data, a->text[0].len);
    }
}

static const char *edit(damage_base *b, const char *p, const char **why)
{
    static const struct { const char *verb, *arguments; bool whole; } verbs[] = {
        {"put", "NT", 0}, {"cut", "N", 0}, {"join", "T", 0}, {"head", "NNT", 0}, {"swap", "TT", 0}, {"nest", "NNT", 0},
        {"file", "T", 0}, {"remove", "", 1}, {"folder", "", 1}, {"link", "W", 1}};
    char verb[64], name[64];
    size_t v = 0;
    arguments a = {0};
    *why = p;
    p = word(name, word(verb, p));
    while (v < 10 && strcmp(verbs[v].verb, verb)) v++;
    if (v == 10 || !name[0] || strchr(name, '/')) return NULL;
    const char *end = read_arguments(&a, verbs[v].arguments, p);
    damage_file *f = damage_file_of(b, name);
    if (end && !f) f = add_file(b, name);
    if (end && !f->touched && !verbs[v].whole) rh_str_add(&f->now, f->good.len ? f->good.data : "", f->good.len);
    if (end) {
        f->touched = true;
        const char *path = scratch_path(&b->at, f->name);
        if (unlink(path)) rmdir(path); /* a link is not written through */
        if (!verbs[v].whole) set_bytes(f, verb, &a);
        if (!strcmp(verb, "folder") && mkdir(path, 0777)) abort();
        if (!strcmp(verb, "link") && symlink(a.word, path)) abort();
        if (!verbs[v].whole) scratch_write(&b->at, f->name, f->now.len ? f->now.data : "", f->now.len);
    }
    rh_str_free(&a.text[0]);
    rh_str_free(&a.text[1]);
    return end;
}

bool damage_apply(damage_base **base, damage_base *all, const char *line, const char **expect, const char **why)
{
    const size_t n = strcspn(line, ":");
    damage_base *b = all;
    *why = line;
    while (b->name && (strlen(b->name) != n || strncmp(b->name, line, n))) b++;
    if (!b->name || !line[n]) return false;
    *base = b;
    *expect = "";
    const char *p = line + n + 1;
    while (p && *(p += strspn(p, " ;\n"))) {
        if (!strncmp(p, "->", 2)) {
            *expect = p + 2 + strspn(p + 2, " ");
            return true;
        }
        p = edit(b, p, why);
    }
    return p != NULL;
}

void damage_mend(damage_base *b)
{
    for (int i = b->n - 1; i >= 0; i--) {
        damage_file *f = &b->files[i];
        if (!f->touched) continue;
        const char *path = scratch_path(&b->at, f->name);
        if (unlink(path)) rmdir(path);
        if (f->good.len) scratch_write(&b->at, f->name, f->good.data, f->good.len);
        else b->n = i; /* new in this case: they stand last */
        rh_str_free(&f->now);
        f->touched = false;
    }
}
