#include "engine/files/layout.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static int by_name(const void *a, const void *b)
{
    const rh_name_entry *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->index > y->index) - (x->index < y->index);
}

static int by_begin(const void *a, const void *b)
{
    const rh_span *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

bool rh_names_alloc(rh_names *names, int64_t n)
{
    names->items = rh_calloc((size_t)n, sizeof *names->items);
    names->n = names->items ? n : 0;
    return names->items != NULL;
}

void rh_names_sort(rh_names *names)
{
    qsort(names->items, (size_t)names->n, sizeof *names->items, by_name);
}

int64_t rh_names_find(const rh_names *names, const char *name)
{
    int64_t low = 0, high = names->n; /* the first that is not less */
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (strcmp(names->items[middle].name, name) < 0) low = middle + 1;
        else high = middle;
    }
    if (low == names->n || strcmp(names->items[low].name, name) != 0) return -1;
    return names->items[low].index;
}

const char *rh_names_twice(const rh_names *names)
{
    for (int64_t i = 1; i < names->n; i++)
        if (!strcmp(names->items[i - 1].name, names->items[i].name)) return names->items[i].name;
    return NULL;
}

void rh_names_free(rh_names *names)
{
    free(names->items);
    names->items = NULL;
    names->n = 0;
}

void rh_spans_sort(rh_span *spans, int64_t n)
{
    qsort(spans, (size_t)n, sizeof *spans, by_begin);
}
