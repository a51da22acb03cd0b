#include <string.h>

#include "base/rng.h"
#include "damage.h"
#include "damage_places.h"

typedef struct dice { uint64_t seed, round, at; } dice;
static size_t roll(dice *d, size_t n) { return n ? (size_t)(rh_random_u64(d->seed, d->round, d->at++) % n) : 0; }

static const uint64_t extremes[] = {
    0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 30, 31, 32, 33, 63, 64, 127, 128, 255, 256, 65535, 65536, 1 << 24, INT32_MAX, (uint64_t)1 << 31, UINT32_MAX,
    (uint64_t)1 << 32, (uint64_t)1 << 40, INT64_MAX, (uint64_t)1 << 63, UINT64_MAX, UINT64_MAX - 7, UINT64_MAX / 4 + 1,
    0x7f800000, 0xff800000, 0x7fc00000, 0x00000001, /* floats: infinities, a NaN, a denormal */
};
static const char *const words[] = {
    "0", "-1", "1", "2", "3", "-0", "0.5", "1e308", "-1e308", "1e400", "1e-45", "1.5", "2147483647", "2147483648", "4294967296", "9223372036854775807",
    "9223372036854775808", "-9223372036854775808", "18446744073709551616", "NaN", "Infinity", "null", "true", "false", "{}", "[]", "\"\"", "\"x\"",
    "[0]", "[0,0]", "[1,1,1,1,1]", "[[]]", "{\"a\":{}}", "\"..\"", "\".\"", "\"../x\"", "\"/dev/zero\"", "\"config.json\"",
    "\"model.safetensors\"", "\"model.safetensors.index.json\"", "\"model-00002-of-00003.safetensors\"", "\"F32\"", "\"BF16\"", "\"F16\"", "\"U8\"", "\"F4\"",
    "\"F64\"", "\"\\u0000\"", "\"\\ud800\"", "\"sliding_attention\"", "\"full_attention\"", "\"llama3\"", "\"linear\"", "\"yarn\"",
    "\"nf4\"", "\"fp4\"", "\"gemma3_text\"", "\"llama\"", "\"gemma2\"", "\"silu\"", "\"gelu\"", "{", "[", "}", "]", ",", ":", "\"",
};

static void edit(rh_str *line, const char *verb, const damage_file *f, size_t at)
{
    rh_str_printf(line, " %s %s %zu ", verb, f->name, at);
}

/* A new number of the same width: an extreme, a near one, or another of this header. */
static void draw_number(rh_str *line, dice *d, const damage_file *f, const places *p, place x)
{
    uint64_t value = 0;
    const place other = p->items[roll(d, p->n)];
    memcpy(&value, f->good.data + x.at, x.n > 8 ? 8 : x.n);
    switch (roll(d, 4)) {
    case 0: value += roll(d, 9) - 4; break;
    case 1: memcpy(&value, f->good.data + other.at, other.n > 8 ? 8 : other.n); break;
    case 2: value = value << roll(d, 3) ^ (uint64_t)1 << roll(d, 8 * x.n); break;
    default: value = extremes[roll(d, sizeof extremes / sizeof *extremes)];
    }
    edit(line, "put", f, x.at);
    damage_quote(line, (const char *)&value, x.n > 8 ? 8 : x.n);
}

static void draw_replacement(rh_str *line, dice *d, const damage_file *f, const places *p, place x)
{
    const place other = p->items[roll(d, p->n)];
    const size_t how = roll(d, x.kind == PLACE_ENTRY ? 3 : 6);
    if (how == 0 && x.kind == PLACE_ENTRY) {
        edit(line, "head", f, x.at);
        rh_str_printf(line, "%zu \"\"", x.n);
    } else if (how == 1 && x.kind == PLACE_ENTRY) {
        edit(line, "head", f, x.at);
        rh_str_puts(line, "0 ");
        damage_quote(line, f->good.data + x.at, x.n);
    } else if (how < 3 || x.kind == PLACE_STRING) {
        /* One of its kind: two tensors of one name, a shape from elsewhere. */
        place y = other;
        for (int i = 0; i < 8 && y.kind != x.kind; i++) y = p->items[roll(d, p->n)];
        if (y.n > 2000) y.n = 2000;
        edit(line, "head", f, x.at);
        rh_str_printf(line, "%zu ", x.n);
        damage_quote(line, f->good.data + y.at, y.n);
    } else {
        const char *w = words[roll(d, sizeof words / sizeof *words)];
        edit(line, "head", f, x.at);
        rh_str_printf(line, "%zu ", x.n);
        damage_quote(line, w, strlen(w));
    }
}

static void draw_nest(rh_str *line, dice *d, const damage_file *f, size_t at)
{
    static const char *const texts[] = {"[", "{\\\"a\\\":", "[[", "{", "(", " "};
    edit(line, "nest", f, at);
    rh_str_printf(line, "%zu \"%s\"", (size_t)1 << roll(d, 17), texts[roll(d, 6)]);
}

/* In the middle of nothing: also in what follows the header. */
static void draw_bytes(rh_str *line, dice *d, const damage_file *f, size_t end)
{
    const size_t at = roll(d, roll(d, 4) ? end : f->good.len);
    char bytes[8];
    const uint64_t value = roll(d, 2) ? extremes[roll(d, sizeof extremes / sizeof *extremes)] : roll(d, UINT64_MAX);
    memcpy(bytes, &value, 8);
    edit(line, "put", f, at);
    damage_quote(line, bytes, 1 + roll(d, 8));
}

static void draw_alignment(rh_str *line, dice *d, const damage_file *f)
{
    rh_str entry = {0};
    const uint64_t n = 17, value = extremes[roll(d, sizeof extremes / sizeof *extremes)];
    const uint32_t type = roll(d, 8) ? 4 : (uint32_t)roll(d, 13);
    rh_str_add(&entry, (const char *)&n, 8);
    rh_str_puts(&entry, "general.alignment");
    rh_str_add(&entry, (const char *)&type, 4);
    rh_str_add(&entry, (const char *)&value, 4);
    edit(line, "head", f, 24);
    rh_str_puts(line, "0 ");
    damage_quote(line, entry.data, entry.len);
    rh_str_free(&entry);
}

static void draw_in_file(rh_str *line, dice *d, const damage_file *f)
{
    places p;
    places_of(&p, f->name, &f->good);
    const bool gguf = strstr(f->name, ".gguf");
    const size_t how = roll(d, 24), end = p.end ? p.end : f->good.len;
    if (how == 0) rh_str_printf(line, " cut %s %zu", f->name, roll(d, roll(d, 2) ? f->good.len : end));
    else if (how == 1) rh_str_printf(line, " join %s \"%s\"", f->name, roll(d, 2) ? "x" : "\\x00\\x00\\x00\\x00");
    else if (how == 2 && !gguf && p.n) draw_nest(line, d, f, p.items[roll(d, p.n)].at);
    else if (how == 2 && gguf) draw_alignment(line, d, f);
    else if (how < 6 || !p.n) draw_bytes(line, d, f, end);
    else {
        const place x = p.items[roll(d, p.n)];
        if (x.kind == PLACE_NUMBER) draw_number(line, d, f, &p, x);
        else draw_replacement(line, d, f, &p, x);
    }
    places_free(&p);
}

static void draw_in_folder(rh_str *line, dice *d, damage_base *b, const damage_file *f)
{
    static const char *const texts[] = {"", "x", "{}", "[]", "null", "\\x00", "GGUF", "PK\\x03\\x04", "{\\\"weight_map\\\":{}}"};
    switch (roll(d, 4)) {
    case 0: rh_str_printf(line, " remove %s", f->name); break;
    case 1: rh_str_printf(line, " folder %s", f->name); break;
    case 2: rh_str_printf(line, " link %s %s", f->name, roll(d, 4) ? b->files[roll(d, (size_t)b->n)].name : "/dev/zero"); break;
    default: rh_str_printf(line, " file %s \"%s\"", f->name, texts[roll(d, 9)]);
    }
}

void damage_draw(rh_str *line, damage_base *all, uint64_t seed, uint64_t round)
{
    dice d = {seed, round, 0};
    size_t n_bases = 0;
    while (all[n_bases].name) n_bases++;
    damage_base *b = &all[roll(&d, n_bases)];
    /* Offsets are those of the good file: a second edit of one file stands in front of nothing that moved. */
    const size_t edits = 1 + (roll(&d, 3) == 0) * (1 + roll(&d, 3));
    rh_str_printf(line, "%s:", b->name);
    for (size_t i = 0; i < edits; i++) {
        const damage_file *f = &b->files[roll(&d, (size_t)b->n)];
        if (i) rh_str_puts(line, ";");
        if (roll(&d, 40)) draw_in_file(line, &d, f);
        else draw_in_folder(line, &d, b, f);
    }
}
