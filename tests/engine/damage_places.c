#include "damage_places.h"

#include <stdlib.h>
#include <string.h>

static void add(places *p, size_t at, size_t n, place_kind kind)
{
    if (!RH_GROW(p->items, p->capacity, p->n)) abort();
    p->items[p->n++] = (place){at, n, kind};
}

void places_free(places *p)
{
    free(p->items);
    *p = (places){0};
}

/* ---- GGUF ------------------------------------------------------------------------------------ */

typedef struct walk { const rh_str *s; places *out; size_t pos; bool bad; } walk;

static uint64_t number(walk *w, size_t n)
{
    uint64_t x = 0;
    if (w->bad || n > w->s->len - w->pos) {
        w->bad = true;
        return 0;
    }
    memcpy(&x, w->s->data + w->pos, n);
    add(w->out, w->pos, n, PLACE_NUMBER);
    w->pos += n;
    return x;
}

static void string(walk *w)
{
    const size_t at = w->pos;
    const uint64_t n = number(w, 8);
    if (w->bad || n > w->s->len - w->pos) {
        w->bad = true;
        return;
    }
    add(w->out, at, 8 + (size_t)n, PLACE_STRING);
    w->pos += (size_t)n;
}

static void value(walk *w, uint64_t type)
{
    static const size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (type == 8) string(w);
    else if (type < 13 && type != 9) number(w, sizes[type]);
    else w->bad = true;
}

static void key(walk *w)
{
    enum { SHOWN = 40 }; /* items of an array that are places of their own */
    const size_t at = w->pos;
    string(w);
    const uint64_t type = number(w, 4);
    if (type == 9) {
        const uint64_t item = number(w, 4), n = number(w, 8);
        const size_t kept = w->out->n;
        for (uint64_t i = 0; i < n && !w->bad; i++) {
            value(w, item);
            if (w->out->n > kept + SHOWN) w->out->n = kept + SHOWN;
        }
    } else {
        value(w, type);
    }
    if (!w->bad) add(w->out, at, w->pos - at, PLACE_ENTRY);
}

static void tensor(walk *w)
{
    const size_t at = w->pos;
    string(w);
    const uint64_t dims = number(w, 4);
    if (dims > 4) w->bad = true;
    for (uint64_t i = 0; i < dims && !w->bad; i++) number(w, 8);
    number(w, 4);
    number(w, 8);
    if (!w->bad) add(w->out, at, w->pos - at, PLACE_ENTRY);
}

void places_of_gguf(places *out, const rh_str *bytes)
{
    *out = (places){.count_at = 8};
    walk w = {bytes, out, 0, bytes->len < 24};
    number(&w, 4);
    number(&w, 4);
    const uint64_t tensors = number(&w, 8), keys = number(&w, 8);
    for (uint64_t i = 0; i < keys && !w.bad; i++) key(&w);
    out->tensors_at = w.pos;
    for (uint64_t i = 0; i < tensors && !w.bad; i++) tensor(&w);
    out->end = w.pos;
    if (w.bad) places_free(out);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* The end of the value or string at `at`, all places in it noted; `to` if it has none. */
static size_t json_value(places *out, const char *s, size_t at, size_t to)
{
    size_t i = at;
    if (i < to && s[i] == '"') {
        for (i++; i < to && s[i] != '"'; i++) i += s[i] == '\\';
        i = i < to ? i + 1 : to;
    } else if (i < to && (s[i] == '{' || s[i] == '[')) {
        const char close = s[i++] == '{' ? '}' : ']';
        while (i < to && s[i] != close) {
            i += strspn(s + i, " \t\r\n,");
            const size_t member = i;
            if (i >= to || s[i] == close) break;
            if (close == '}') {
                i = json_value(out, s, i, to);
                out->items[out->n - 1].kind = PLACE_KEY;
                i += strspn(s + i, " \t\r\n:");
            }
            if (i >= to) break;
            const size_t end = json_value(out, s, i, to);
            i = end > i ? end : i + 1;
            if (close == '}') add(out, member, i - member + (i < to && s[i] == ','), PLACE_ENTRY);
        }
        i = i < to ? i + 1 : to;
    } else {
        while (i < to && !strchr(",]} \t\r\n:", s[i])) i++;
    }
    if (i > to) i = to;
    add(out, at, i - at, PLACE_VALUE);
    return i;
}

void places_of_json(places *out, const rh_str *bytes, size_t from, size_t to)
{
    *out = (places){.end = to};
    if (to <= bytes->len && from < to) json_value(out, bytes->data, from, to);
}

static bool ends(const char *name, const char *end)
{
    const size_t n = strlen(name), m = strlen(end);
    return n >= m && !strcmp(name + n - m, end);
}

void places_of(places *out, const char *name, const rh_str *bytes)
{
    uint64_t n = 0;
    *out = (places){0};
    if (ends(name, ".gguf")) {
        places_of_gguf(out, bytes);
    } else if (ends(name, ".json")) {
        places_of_json(out, bytes, 0, bytes->len);
    } else if (ends(name, ".safetensors") && bytes->len > 8) {
        memcpy(&n, bytes->data, 8);
        if (n <= bytes->len - 8) places_of_json(out, bytes, 8, 8 + (size_t)n);
        add(out, 0, 8, PLACE_NUMBER);
    } else {
        out->end = ends(name, ".npy") && bytes->len > 128 ? 128 : bytes->len;
    }
}
