#include <omp.h>

#include "base/clock.h"
#include "kernels/cpu/cpu.h"

/* All threads of the backend come from here: an OpenMP team that takes the items of a job one
 * after the other.
 *
 * The end of a parallel region waits for every thread, also for one that the system has put
 * aside for another program; on a busy machine that is milliseconds for each of the hundreds
 * of regions of a token, and two threads are far slower than one. So the caller notes how long
 * it waited beyond its own work. After a wait of more than STALL the team is halved for a while,
 * long enough that waits stay below a twentieth of the time; then all are tried again. */

static const double STALL = 1e-3, PATIENCE = 25, LONGEST_PAUSE = 0.5; /* seconds; times; seconds */

static int team_size(rh_cpu *c)
{
    if (c->team < c->head.threads && rh_seconds() >= c->team_pause_end) c->team = c->head.threads;
    return c->team;
}

static void note_wait(rh_cpu *c, double waited, double worked, double now)
{
    if (waited < STALL || waited < worked / 4) return; /* an item more or less */
    double pause = waited * PATIENCE < LONGEST_PAUSE ? waited * PATIENCE : LONGEST_PAUSE;
    c->team = c->team > 1 ? c->team / 2 : 1;
    c->team_pause_end = now + pause;
}

void rh_cpu_run(rh_cpu *c, int32_t n, rh_cpu_work work, void *job)
{
    int threads = n < 2 || c->head.threads < 2 ? 1 : team_size(c);
    if (threads == 1) {
        for (int32_t i = 0; i < n; i++) work(job, i, 0);
        return;
    }
    double start = rh_seconds(), worked = 0;
#pragma omp parallel num_threads(threads)
    {
        int me = omp_get_thread_num();
        double from = me ? 0 : rh_seconds();
#pragma omp for schedule(dynamic) nowait
        for (int32_t i = 0; i < n; i++) work(job, i, me);
        if (!me) worked = rh_seconds() - from;
    }
    double end = rh_seconds();
    note_wait(c, end - start - worked, worked, end);
}
