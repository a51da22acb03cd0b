#include "kernels/cuda/commands.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static bool more_data(rh_cuda_commands *l, size_t bytes)
{
    if (bytes <= l->room - l->used) return true;
    const size_t room = 2 * l->room + bytes + 4096;
    uint8_t *data = rh_realloc_array(l->data, room, 1);
    if (!data) return false;
    l->data = data;
    l->room = room;
    return true;
}

void *rh_cuda_commands_add(rh_cuda_commands *l, rh_cuda_launcher launch, const char *name, size_t bytes)
{
    if (!more_data(l, rh_round_up(bytes, 16)) || !RH_GROW(l->items, l->capacity, l->n)) return NULL;
    void *arguments = l->data + l->used;
    memset(arguments, 0, rh_round_up(bytes, 16));
    l->items[l->n++] = (rh_cuda_command){launch, name, l->used, bytes};
    l->used += rh_round_up(bytes, 16);
    return arguments;
}

bool rh_cuda_commands_add_copy(rh_cuda_commands *l, const rh_cuda_commands *from, size_t i)
{
    const rh_cuda_command *c = &from->items[i];
    void *to = rh_cuda_commands_add(l, c->launch, c->name, c->bytes);
    if (to) memcpy(to, rh_cuda_arguments(from, i), c->bytes);
    return to;
}

bool rh_cuda_commands_copy(rh_cuda_commands *to, const rh_cuda_commands *from)
{
    bool done = true;
    rh_cuda_commands_clear(to);
    for (size_t i = 0; i < from->n && done; i++) done = rh_cuda_commands_add_copy(to, from, i);
    if (!done) rh_cuda_commands_clear(to);
    return done;
}

/* Offsets follow from sizes. */
bool rh_cuda_commands_equal(const rh_cuda_commands *a, const rh_cuda_commands *b)
{
    if (a->n != b->n || a->used != b->used) return false;
    for (size_t i = 0; i < a->n; i++)
        if (a->items[i].launch != b->items[i].launch || a->items[i].bytes != b->items[i].bytes) return false;
    return !a->used || !memcmp(a->data, b->data, a->used);
}

/* FNV-1a by words; only to pass over lists that differ. */
uint64_t rh_cuda_commands_hash(const rh_cuda_commands *l)
{
    uint64_t h = 14695981039346656037u ^ l->n;
    for (size_t i = 0; i < l->used; i += sizeof h) {
        uint64_t word;
        memcpy(&word, l->data + i, sizeof word);
        h = (h ^ word) * 1099511628211u;
    }
    return h;
}

void rh_cuda_commands_clear(rh_cuda_commands *l) { l->n = l->used = 0; }

void rh_cuda_commands_remove(rh_cuda_commands *l, size_t i)
{
    const size_t at = l->items[i].at, gap = rh_round_up(l->items[i].bytes, 16);
    memmove(l->data + at, l->data + at + gap, l->used - at - gap);
    memmove(&l->items[i], &l->items[i + 1], (l->n - i - 1) * sizeof *l->items);
    l->used -= gap;
    l->n--;
    for (; i < l->n; i++) l->items[i].at -= gap;
}

void rh_cuda_commands_free(rh_cuda_commands *l)
{
    free(l->items);
    free(l->data);
    *l = (rh_cuda_commands){0};
}
