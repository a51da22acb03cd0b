/* A list that is met a second time becomes a graph, and from the third time on a single launch. A graph holds the
 * addresses of its list; it is found by them only, so that it cannot outlive what it works on unnoticed. */
#include "kernels/cuda/cuda.h"

static int launch_all(rh_cuda *c, const rh_cuda_commands *l, const char **call)
{
    for (size_t i = 0; i < l->n; i++) {
        const int code = l->items[i].launch(c->stream, rh_cuda_arguments(l, i));
        if (code) {
            *call = l->items[i].name;
            return code;
        }
    }
    return 0;
}

static rh_cuda_graph *find(rh_cuda_graphs *g, const rh_cuda_commands *l, uint64_t hash)
{
    for (int i = 0; i < RH_CUDA_GRAPHS; i++)
        if (g->all[i].used_at && g->all[i].hash == hash && rh_cuda_commands_equal(&g->all[i].list, l)) return &g->all[i];
    return NULL;
}

static void forget(rh_cuda_graph *g)
{
    if (g->exec) (void)cudaGraphExecDestroy(g->exec);
    g->exec = NULL;
    g->refused = false;
    g->used_at = 0;
}

/* Where there is no memory for the note, the list is only met for the first time once more. */
static void note(rh_cuda_graphs *g, const rh_cuda_commands *l, uint64_t hash)
{
    rh_cuda_graph *oldest = &g->all[0];
    for (int i = 1; i < RH_CUDA_GRAPHS; i++)
        if (g->all[i].used_at < oldest->used_at) oldest = &g->all[i];
    forget(oldest);
    if (!rh_cuda_commands_copy(&oldest->list, l)) return;
    oldest->hash = hash;
    oldest->used_at = ++g->clock;
}

/* Nothing of it runs yet. False: refused, by whatever cannot stand in a graph or for want of memory; then nothing has
 * happened, and errors of launches show when they are made without it. */
static bool capture(rh_cuda *c, rh_cuda_graph *g)
{
    cudaGraph_t graph = NULL;
    const char *call;
    cudaError_t e = cudaStreamBeginCapture(c->stream, cudaStreamCaptureModeThreadLocal);
    if (!e) {
        const int code = launch_all(c, &g->list, &call);
        e = cudaStreamEndCapture(c->stream, &graph);
        if (!e && code) e = cudaErrorUnknown;
    }
    if (!e) e = cudaGraphInstantiate(&g->exec, graph, 0);
    if (graph) (void)cudaGraphDestroy(graph);
    if (e) {
        (void)cudaGetLastError();
        g->exec = NULL;
        g->refused = true;
        return false;
    }
    c->graphs.captured++;
    return true;
}

int rh_cuda_run(rh_cuda *c, const rh_cuda_commands *l, const char **call)
{
    rh_cuda_graphs *g = &c->graphs;
    if (l->n >= RH_CUDA_GRAPH_FROM) {
        const uint64_t hash = rh_cuda_commands_hash(l);
        rh_cuda_graph *known = find(g, l, hash);
        if (!known) note(g, l, hash);
        else {
            known->used_at = ++g->clock;
            if (known->exec || (!known->refused && capture(c, known))) {
                g->replayed++;
                *call = "cudaGraphLaunch";
                return (int)cudaGraphLaunch(known->exec, c->stream);
            }
        }
    }
    g->launched += (int64_t)l->n;
    return launch_all(c, l, call);
}

void rh_cuda_graphs_free(rh_cuda_graphs *g)
{
    for (int i = 0; i < RH_CUDA_GRAPHS; i++) {
        forget(&g->all[i]);
        rh_cuda_commands_free(&g->all[i].list);
    }
}
