/*
 * How long nginx' event loop is away from its events: preloaded into nginx,
 * it counts for each turn of the loop the time from one return of epoll_wait
 * to its next call, and the events that this return had.  Who becomes ready
 * meanwhile waits for the rest of it.
 *
 *     LINES_LOOP=FILE LD_PRELOAD=loop.so nginx ...
 *
 * FILE is an array of unsigned 64-bit numbers that grow, for one worker: the
 * turns, their events, their microseconds; then by the length of a turn, in
 * steps of 100 us, the turns and their microseconds, one behind the other.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>


#define STEPS    2000
#define STEP_US  100


typedef struct {
    uint64_t  turns, events, us;
    struct {
        uint64_t  turns, us;
    } by[STEPS];
} loop_t;


typedef int (*wait_pt)(int, struct epoll_event *, int, int);


static loop_t    *loop;
static char      *file;
static wait_pt    real_wait;
static uint64_t   returned;


static uint64_t
now_us(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec * 1000000ull + ts.tv_nsec / 1000;
}


/* nginx gives its workers no environment: its master is asked */

__attribute__((constructor)) static void
keep_name(void)
{
    const char  *name = getenv("LINES_LOOP");

    file = name ? strdup(name) : NULL;
}


static void
start(void)
{
    int    fd;
    void  *p;

    real_wait = (wait_pt) dlsym(RTLD_NEXT, "epoll_wait");

    if (file == NULL || (fd = open(file, O_RDWR|O_CREAT, 0600)) == -1) {
        return;
    }

    if (ftruncate(fd, sizeof(loop_t)) == 0) {
        p = mmap(NULL, sizeof(loop_t), PROT_READ|PROT_WRITE, MAP_SHARED, fd, 0);
        loop = p == MAP_FAILED ? NULL : p;
    }

    close(fd);
}


int
epoll_wait(int ep, struct epoll_event *events, int max, int timeout)
{
    int       n;
    size_t    step;
    uint64_t  us;

    if (real_wait == NULL) {
        start();
    }

    if (loop && returned) {
        us = now_us() - returned;
        step = us / STEP_US < STEPS ? us / STEP_US : STEPS - 1;

        loop->turns++;
        loop->us += us;
        loop->by[step].turns++;
        loop->by[step].us += us;
    }

    n = real_wait(ep, events, max, timeout);

    if (loop) {
        returned = now_us();
        loop->events += n > 0 ? n : 0;
    }

    return n;
}
