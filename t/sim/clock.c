
/*
 * Preloaded into a real Redis or nginx, so that it tells the time that a test
 * says: the microseconds since 1970 that are the first eight bytes of the file
 * LINES_SIM_CLOCK names; real time while these are 0, or LINES_SIM_AHEAD
 * seconds later, and as many more as the first eight bytes of LINES_SIM_OFF say.
 */

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>


static volatile int64_t  *told;
static volatile int64_t  *off;
static int64_t            ahead;


static volatile int64_t *
clock_map(const char *variable)
{
    int          fd;
    void        *p;
    const char  *name;

    name = getenv(variable);
    fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;

    if (fd == -1) {
        return NULL;
    }

    p = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);

    close(fd);

    return p == MAP_FAILED ? NULL : p;
}


__attribute__((constructor)) static void
clock_open(void)
{
    const char  *name;

    name = getenv("LINES_SIM_AHEAD");
    ahead = name ? atoll(name) : 0;

    told = clock_map("LINES_SIM_CLOCK");
    off = clock_map("LINES_SIM_OFF");
}


int
clock_gettime(clockid_t id, struct timespec *ts)
{
    int64_t  us;

    us = (told && id == CLOCK_REALTIME) ? *told : 0;

    if (us == 0) {

        if (syscall(SYS_clock_gettime, id, ts) != 0) {
            return -1;
        }

        if (id == CLOCK_REALTIME) {
            ts->tv_sec += ahead + (off ? *off : 0);
        }

        return 0;
    }

    ts->tv_sec = us / 1000000;
    ts->tv_nsec = us % 1000000 * 1000;

    return 0;
}


int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    struct timespec  ts;

    if (clock_gettime(CLOCK_REALTIME, &ts) != 0) {
        return -1;
    }

    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;

    return 0;
}


time_t
time(time_t *t)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_REALTIME, &ts);

    if (t) {
        *t = ts.tv_sec;
    }

    return ts.tv_sec;
}
