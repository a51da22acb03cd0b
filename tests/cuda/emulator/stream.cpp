/* stream.cpp - streams, events, graphs and copies. What is issued to a stream is queued and done only when somebody
 * waits for it, as late as a device may do it: a host that reads too early, or changes what is still to be copied,
 * sees so. The default stream works at once, after all blocking streams. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <deque>
#include <memory>
#include <set>
#include <vector>

#include "tests/cuda/emulator/emulator.h"
#include "tests/cuda/emulator/state.h"

typedef std::vector<std::function<void()>> operations;

struct CUgraph_st { operations ops; };
struct CUgraphExec_st { std::shared_ptr<const operations> ops; };
struct CUstream_st {
    std::deque<std::function<void()>> queue;
    uint64_t issued = 0, done = 0;
    bool blocking = true, busy = false;
    cudaGraph_t graph = NULL; /* being captured */
};
struct CUevent_st {
    cudaStream_t stream = NULL;
    uint64_t after = 0; /* done when the stream has done so many */
};

namespace emu {

static std::set<cudaStream_t> streams;
static cudaError_t last_error = cudaSuccess;
static bool relaxed_capture;

cudaError_t keep_error(cudaError_t e)
{
    if (e != cudaSuccess) last_error = e;
    return e;
}

bool capturing()
{
    if (relaxed_capture) return false;
    for (cudaStream_t s : streams)
        if (s->graph) return true;
    return false;
}

static void drain(cudaStream_t s, uint64_t until = UINT64_MAX)
{
    if (s->busy) return;
    s->busy = true;
    while (!s->queue.empty() && s->done < until) {
        std::function<void()> op = std::move(s->queue.front());
        s->queue.pop_front();
        op();
        s->done++;
    }
    s->busy = false;
}

void drain_all()
{
    for (cudaStream_t s : streams) drain(s);
}

static void check_stream(cudaStream_t s)
{
    if (s && !streams.count(s)) fail("a stream %p that is not, or no more", (void *)s);
}

cudaError_t issue(cudaStream_t s, std::function<void()> op)
{
    check_stream(s);
    if (s && s->graph) {
        s->graph->ops.push_back(std::move(op));
        return cudaSuccess;
    }
    if (s) {
        s->queue.push_back(std::move(op));
        s->issued++;
        return cudaSuccess;
    }
    if (capturing()) return keep_error(cudaErrorStreamCaptureUnsupported);
    for (cudaStream_t other : streams)
        if (other->blocking) drain(other);
    op();
    return cudaSuccess;
}

static cudaError_t refuse_while_capturing(cudaStream_t s)
{
    check_stream(s);
    return keep_error((s && s->graph) || (!s && capturing()) ? cudaErrorStreamCaptureUnsupported : cudaSuccess);
}

/* ---- launches */

cudaError_t launch(const char *kernel, dim3 grid, dim3 block, size_t shared, void *stream, std::function<void()> body)
{
    device_state &d = device();
    const uint64_t threads = (uint64_t)block.x * block.y * block.z;
    if (d.trace)
        fprintf(stderr, "launch %s (%u, %u, %u) (%u, %u, %u) %zu\n", kernel, grid.x, grid.y, grid.z, block.x, block.y,
                block.z, shared);
    if (!grid.x || !grid.y || !grid.z || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535 || !threads ||
        threads > 1024 || block.z > 64)
        return keep_error(cudaErrorInvalidConfiguration);
    if (shared > DYNAMIC_MOST) return keep_error(cudaErrorInvalidValue);
    if (threads % 32) fail("kernel %s: a block of %u threads is not made of whole warps", kernel, (unsigned)threads);
    if (d.fail_launch && !--d.fail_launch) return keep_error((cudaError_t)d.launch_error);
    return issue((cudaStream_t)stream, [=] {
        device().counts.launches++;
        catch_faults();
        run_grid(kernel, grid, block, shared, body);
        check_canaries(kernel);
        release_faults();
    });
}

/* ---- copies */

static void check_copy(const void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind)
{
    const bool to = on_device(dst), from = on_device(src);
    if (kind == cudaMemcpyDefault ? false : to != (kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice))
        fail("a copy's destination %p is on the wrong side", dst);
    if (kind == cudaMemcpyDefault ? false : from != (kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice))
        fail("a copy's source %p is on the wrong side", src);
    if (to) check_device(dst, bytes, "a copy's destination");
    if (from) check_device(src, bytes, "a copy's source");
}

static void copy(void *dst, const void *src, size_t bytes)
{
    rh_emulator_counts &c = device().counts;
    const bool to = on_device(dst), from = on_device(src);
    if (to) check_device(dst, bytes, "a copy's destination");
    if (from) check_device(src, bytes, "a copy's source");
    if (to && !from) c.to_device++, c.bytes_to_device += bytes;
    if (from && !to) c.to_host++, c.bytes_to_host += bytes;
    if (bytes) memmove(dst, src, bytes);
}

/* Of memory that is not pinned, a device takes a copy, or waits, before the call returns. */
static bool pageable(const void *p) { return !on_device(p) && !is_pinned(p); }

static cudaError_t copy_on(cudaStream_t s, const void *dst, const void *src, std::function<void()> op)
{
    const bool at_once = pageable(dst) || pageable(src);
    if (at_once && s && s->graph) return keep_error(cudaErrorStreamCaptureUnsupported);
    const cudaError_t e = issue(s, std::move(op));
    if (e == cudaSuccess && at_once && s) drain(s);
    return e;
}

} // namespace emu

using namespace emu;

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t s)
{
    check_stream(s);
    check_copy(dst, src, bytes, kind);
    return copy_on(s, dst, src, [=] { copy(dst, src, bytes); });
}

cudaError_t cudaMemcpy(void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind)
{
    return cudaMemcpyAsync(dst, src, bytes, kind, NULL);
}

cudaError_t cudaMemcpy2DAsync(void *dst, size_t dpitch, const void *src, size_t spitch, size_t width, size_t height,
                              enum cudaMemcpyKind kind, cudaStream_t s)
{
    check_stream(s);
    if (width > dpitch || width > spitch) return keep_error(cudaErrorInvalidValue);
    if (height) check_copy(dst, src, width, kind);
    return copy_on(s, dst, src, [=] {
        for (size_t i = 0; i < height; i++) copy((char *)dst + i * dpitch, (const char *)src + i * spitch, width);
    });
}

cudaError_t cudaMemcpy2D(void *dst, size_t dpitch, const void *src, size_t spitch, size_t width, size_t height,
                         enum cudaMemcpyKind kind)
{
    return cudaMemcpy2DAsync(dst, dpitch, src, spitch, width, height, kind, NULL);
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t s)
{
    check_device(p, bytes, "cudaMemset");
    return issue(s, [=] {
        check_device(p, bytes, "cudaMemset");
        if (bytes) memset(p, value, bytes);
    });
}

cudaError_t cudaMemset(void *p, int value, size_t bytes) { return cudaMemsetAsync(p, value, bytes, NULL); }

/* ---- streams and events */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned int flags)
{
    *out = new CUstream_st;
    (*out)->blocking = !(flags & cudaStreamNonBlocking);
    streams.insert(*out);
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *out) { return cudaStreamCreateWithFlags(out, cudaStreamDefault); }

cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    if (!s) return keep_error(cudaErrorInvalidResourceHandle);
    check_stream(s);
    drain(s);
    delete s->graph;
    streams.erase(s);
    delete s;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    const cudaError_t e = refuse_while_capturing(s);
    if (e != cudaSuccess) return e;
    device().counts.synchronisations++;
    if (s)
        drain(s);
    else
        drain_all();
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize(void)
{
    if (capturing()) return keep_error(cudaErrorStreamCaptureUnsupported);
    device().counts.synchronisations++;
    drain_all();
    return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t s)
{
    const cudaError_t e = refuse_while_capturing(s);
    if (e != cudaSuccess || !s || s->queue.empty()) return e;
    drain(s, s->done + 1); /* or who asks again and again would never see the end */
    return cudaErrorNotReady;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned int flags)
{
    (void)flags;
    *out = new CUevent_st;
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *out) { return cudaEventCreateWithFlags(out, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t s)
{
    check_stream(s);
    if (s && s->graph) return cudaSuccess;
    event->stream = s;
    event->after = s ? s->issued : 0;
    return cudaSuccess;
}

static void wait_event(cudaEvent_t event)
{
    if (event->stream && streams.count(event->stream)) drain(event->stream, event->after);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    device().counts.synchronisations++;
    wait_event(event);
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    cudaStream_t s = event->stream;
    if (!s || !streams.count(s) || s->done >= event->after) return cudaSuccess;
    drain(s, s->done + 1);
    return cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end)
{
    wait_event(start);
    wait_event(end);
    *ms = 1;
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t event, unsigned int flags)
{
    (void)flags;
    check_stream(s);
    if (s && s->graph) return cudaSuccess;
    const cudaStream_t other = event->stream;
    const uint64_t after = event->after;
    return issue(s, [=] {
        if (other && streams.count(other)) drain(other, after);
    });
}

/* ---- graphs */

cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode mode)
{
    if (!s) return keep_error(cudaErrorStreamCaptureUnsupported);
    check_stream(s);
    if (s->graph) return keep_error(cudaErrorStreamCaptureInvalidated);
    relaxed_capture = mode == cudaStreamCaptureModeRelaxed;
    s->graph = new CUgraph_st;
    device().counts.captures++;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *graph)
{
    check_stream(s);
    *graph = NULL;
    if (!s || !s->graph) return keep_error(cudaErrorStreamCaptureUnmatched);
    *graph = s->graph;
    s->graph = NULL;
    relaxed_capture = false;
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t s, enum cudaStreamCaptureStatus *status)
{
    *status = s && s->graph ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags)
{
    (void)flags;
    *exec = new CUgraphExec_st{std::make_shared<const operations>(graph->ops)};
    device().counts.instantiations++;
    return cudaSuccess;
}

cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph, cudaGraphExecUpdateResultInfo *info)
{
    const bool same = exec->ops->size() == graph->ops.size();
    if (info) info->result = same ? cudaGraphExecUpdateSuccess : cudaGraphExecUpdateError;
    if (!same) return keep_error(cudaErrorGraphExecUpdateFailure);
    exec->ops = std::make_shared<const operations>(graph->ops);
    return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *n)
{
    for (size_t i = 0; nodes && i < *n; i++) nodes[i] = NULL;
    *n = graph->ops.size();
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t s)
{
    (void)exec;
    check_stream(s);
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s)
{
    std::shared_ptr<const operations> ops = exec->ops;
    return issue(s, [ops] {
        device().counts.graph_launches++;
        for (const auto &op : *ops) op();
    });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    delete exec;
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    const cudaError_t e = last_error;
    last_error = cudaSuccess;
    return e;
}

cudaError_t cudaPeekAtLastError(void) { return last_error; }
