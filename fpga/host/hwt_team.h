/* Threads that walk through one program together: each does what is its own, and all meet at the joins.
 * For this machine alone: POSIX threads and C11 atomics, so that no runtime of another library is met. */
#ifndef HWT_TEAM_H
#define HWT_TEAM_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

enum { HWT_TEAM_MOST = 64, HWT_SPINS = 4096 };

/* How often a thread has arrived. The counters lie 128 bytes apart: neighbouring lines are fetched in pairs. */
typedef struct {
    _Alignas(128) atomic_uint times;
} hwt_arrivals;

typedef struct hwt_team {
    hwt_arrivals at[HWT_TEAM_MOST];   /* each is written by one thread alone */
    _Alignas(128) atomic_int threads; /* 0 until all have been started */
    void (*work)(void *job, struct hwt_team *team, int32_t me);
    void *job;
} hwt_team;

typedef struct {
    hwt_team *team;
    int32_t me;
} hwt_member;

/* Look again soon; after some thousand looks let others have the core. */
static inline void hwt_pause(uint32_t *looks)
{
    if (++*looks > HWT_SPINS)
        sched_yield();
#if defined(__x86_64__) || defined(__i386__)
    else
        __builtin_ia32_pause();
#endif
}

/* Wait until every thread of the team is here; what was written before is seen by all after. */
static inline void hwt_meet(hwt_team *team, int32_t me)
{
    const int32_t threads = atomic_load_explicit(&team->threads, memory_order_relaxed);
    const uint32_t times = atomic_load_explicit(&team->at[me].times, memory_order_relaxed) + 1;
    atomic_store_explicit(&team->at[me].times, times, memory_order_release);
    for (int32_t other = 0; other < threads; other++) /* who has gone on to the next place was here too */
        for (uint32_t looks = 0;
             (int32_t)(atomic_load_explicit(&team->at[other].times, memory_order_acquire) - times) < 0;)
            hwt_pause(&looks);
}

/* Which thread does the section of this number. */
static inline int32_t hwt_whose(hwt_team *team, int32_t section)
{
    return section % atomic_load_explicit(&team->threads, memory_order_relaxed);
}

static void *hwt_member_main(void *given)
{
    const hwt_member *member = given;
    for (uint32_t looks = 0; atomic_load_explicit(&member->team->threads, memory_order_acquire) == 0;)
        hwt_pause(&looks);
    member->team->work(member->team->job, member->team, member->me);
    return 0;
}

/* Do the work with so many threads, or with as many as the system lets us start. */
static inline void hwt_team_run(int32_t threads, void (*work)(void *, hwt_team *, int32_t), void *job)
{
    hwt_team team = {.work = work, .job = job};
    hwt_member members[HWT_TEAM_MOST];
    pthread_t started[HWT_TEAM_MOST];
    int32_t count = 1;
    for (; count < threads && count < HWT_TEAM_MOST; count++) {
        members[count] = (hwt_member){&team, count};
        if (pthread_create(&started[count], 0, hwt_member_main, &members[count]) != 0)
            break;
    }
    atomic_store_explicit(&team.threads, count, memory_order_release);
    work(job, &team, 0);
    for (int32_t member = 1; member < count; member++)
        pthread_join(started[member], 0);
}

#endif
