/* Threads that walk through one program together: each does what is its own, and all meet at the joins.
 * For this machine alone: POSIX threads and C11 atomics, so that no runtime of another library is met. */
#ifndef HWT_TEAM_H
#define HWT_TEAM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

enum { HWT_TEAM_MOST = 64, HWT_SPINS = 2048 };

/* How often a thread has arrived. The counters lie 128 bytes apart: neighbouring lines are fetched in pairs. */
typedef struct {
    _Alignas(128) atomic_uint times;
} hwt_arrivals;

typedef struct hwt_team {
    hwt_arrivals at[HWT_TEAM_MOST];   /* each is written by one thread alone */
    _Alignas(128) atomic_int threads; /* 0 until all have been started */
    atomic_int asleep;                /* who waits has looked long enough */
    pthread_mutex_t bed;
    pthread_cond_t bell;
    void (*work)(void *job, struct hwt_team *team, int32_t me);
    void *job;
} hwt_team;

typedef struct {
    hwt_team *team;
    int32_t me;
} hwt_member;

/* Look again soon. */
static inline void hwt_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static inline int hwt_arrived(hwt_team *team, int32_t other, uint32_t times)
{
    return (int32_t)(atomic_load(&team->at[other].times) - times) >= 0; /* who went on was here too */
}

/* Sleep until that thread has arrived: with other work on the machine its core may be taken for long. One of
 * the two sees the other: the sleeper counts itself before it looks, who arrives says so before it counts. */
static inline void hwt_sleep(hwt_team *team, int32_t other, uint32_t times)
{
    atomic_fetch_add(&team->asleep, 1);
    pthread_mutex_lock(&team->bed);
    while (!hwt_arrived(team, other, times))
        pthread_cond_wait(&team->bell, &team->bed);
    pthread_mutex_unlock(&team->bed);
    atomic_fetch_sub(&team->asleep, 1);
}

/* Wait until every thread of the team is here; what was written before is seen by all after. */
static inline void hwt_meet(hwt_team *team, int32_t me)
{
    const int32_t threads = atomic_load_explicit(&team->threads, memory_order_relaxed);
    const uint32_t times = atomic_load_explicit(&team->at[me].times, memory_order_relaxed) + 1;
    atomic_store(&team->at[me].times, times);
    if (atomic_load(&team->asleep) > 0) {
        pthread_mutex_lock(&team->bed);
        pthread_cond_broadcast(&team->bell);
        pthread_mutex_unlock(&team->bed);
    }
    for (int32_t other = 0; other < threads; other++) {
        uint32_t looks = 0;
        while (looks < HWT_SPINS && !hwt_arrived(team, other, times)) {
            hwt_pause();
            looks++;
        }
        if (looks == HWT_SPINS)
            hwt_sleep(team, other, times);
    }
}

/* Which thread does the section of this number. */
static inline int32_t hwt_whose(hwt_team *team, int32_t section)
{
    return section % atomic_load_explicit(&team->threads, memory_order_relaxed);
}

static void *hwt_member_main(void *given)
{
    const hwt_member *member = given;
    pthread_mutex_lock(&member->team->bed);
    while (atomic_load(&member->team->threads) == 0)
        pthread_cond_wait(&member->team->bell, &member->team->bed);
    pthread_mutex_unlock(&member->team->bed);
    member->team->work(member->team->job, member->team, member->me);
    return 0;
}

/* Do the work with so many threads, or with as many as the system lets us start. */
static inline void hwt_team_run(int32_t threads, void (*work)(void *, hwt_team *, int32_t), void *job)
{
    hwt_team team = {.work = work, .job = job, .bed = PTHREAD_MUTEX_INITIALIZER, .bell = PTHREAD_COND_INITIALIZER};
    hwt_member members[HWT_TEAM_MOST];
    pthread_t started[HWT_TEAM_MOST];
    int32_t count = 1;
    for (; count < threads && count < HWT_TEAM_MOST; count++) {
        members[count] = (hwt_member){&team, count};
        if (pthread_create(&started[count], 0, hwt_member_main, &members[count]) != 0)
            break;
    }
    pthread_mutex_lock(&team.bed);
    atomic_store(&team.threads, count);
    pthread_cond_broadcast(&team.bell);
    pthread_mutex_unlock(&team.bed);
    work(job, &team, 0);
    for (int32_t member = 1; member < count; member++)
        pthread_join(started[member], 0);
}

#endif
