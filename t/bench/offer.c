
/*
 * An open load of HTTP/1.1: requests leave when they are due, whatever became
 * of those before, and what one waited counts from when it was due.
 *
 *     offer PORT RATE SECONDS CONNECTIONS DEPTH FILE [TICK [TOGETHER]]
 *
 * FILE has requests, each followed by a zero byte; they are sent in turn, by
 * the connection that is next, up to DEPTH on their way in one (pipelined).
 * Sixteen @ in a request become another number each time.  Prints one line of
 * JSON: what was due, what no connection had room for, what was sent, what of
 * that in time, what was answered, by status; ms of waiting from when it was
 * due, and from when it was sent: their difference is the generator's own
 * lateness; its CPU in s.
 *
 * With TICK, in ms, it sleeps so long, then reads all that has come and sends
 * all that is due, TOGETHER of them by one write: a load that costs little to
 * make, for what does not measure.
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>


#define MARK   "@@@@@@@@@@@@@@@@"
#define IN     65536
#define OUT    262144
#define DEPTH  64
#define GRACE  5.0    /* s for the last answers */


typedef struct {
    int       fd;
    char      in[IN], out[OUT];
    size_t    nin, nout;
    size_t    skip;              /* of a body */
    double    due[DEPTH], sent[DEPTH];
    unsigned  head, pending;
} conn_t;


static struct sockaddr_in  sa;
static conn_t             *conns;
static int                 ep, nconns, depth, together = 1;
static uint64_t            unique;
static double             *late, *slow;
static size_t              answered, room;
static long                due, full, sent, timely, lost, cut, codes[600];


static double
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec + ts.tv_nsec / 1e9;
}


static int
open_conn(conn_t *c)
{
    int                 one = 1;
    struct epoll_event  ev = { .events = EPOLLIN, .data.ptr = c };

    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    c->nin = c->nout = c->skip = 0;
    c->head = c->pending = 0;

    if (c->fd == -1 || connect(c->fd, (void *) &sa, sizeof(sa)) == -1) {
        perror("connect");
        return -1;
    }

    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));

    return epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev);
}


static void
reopen(conn_t *c)
{
    lost += c->pending;
    cut++;
    close(c->fd);

    if (open_conn(c) == -1) {
        exit(2);
    }
}


static void
flush_conn(conn_t *c)
{
    ssize_t  n;

    if (c->nout == 0) {
        return;
    }

    n = send(c->fd, c->out, c->nout, MSG_DONTWAIT|MSG_NOSIGNAL);

    if (n > 0) {
        memmove(c->out, c->out + n, c->nout - n);
        c->nout -= n;

    } else if (n == -1 && errno != EAGAIN) {
        reopen(c);
    }
}


static void
answer(conn_t *c, int code, double at)
{
    unsigned  i = c->head;

    c->head = (c->head + 1) % DEPTH;
    c->pending--;

    if (code >= 0 && code < 600) {
        codes[code]++;
    }

    if (answered == room) {
        room = room ? 2 * room : 65536;
        late = realloc(late, room * sizeof(double));
        slow = realloc(slow, room * sizeof(double));

        if (late == NULL || slow == NULL) {
            exit(2);
        }
    }

    late[answered] = (at - c->due[i]) * 1e3;
    slow[answered++] = (at - c->sent[i]) * 1e3;
}


static void
read_conn(conn_t *c)
{
    char     *p, *end, *h;
    size_t    len, drop;
    double    at;
    ssize_t   n;

    n = recv(c->fd, c->in + c->nin, IN - 1 - c->nin, MSG_DONTWAIT);

    if (n == 0 || (n == -1 && errno != EAGAIN)) {
        reopen(c);
        return;
    }

    if (n == -1) {
        return;
    }

    at = now();
    c->nin += n;
    p = c->in;

    for ( ;; ) {
        drop = c->skip < c->nin ? c->skip : c->nin;
        p += drop;
        c->nin -= drop;
        c->skip -= drop;

        if (c->skip || c->nin == 0) {
            break;
        }

        p[c->nin] = '\0';
        end = memmem(p, c->nin, "\r\n\r\n", 4);

        if (end == NULL) {
            break;
        }

        *end = '\0';
        h = strcasestr(p, "\r\nContent-Length:");
        len = h ? strtoul(h + 17, NULL, 10) : 0;

        if (c->pending == 0) {
            reopen(c);
            return;
        }

        answer(c, atoi(p + 9), at);

        if (strcasestr(p, "\r\nConnection: close")) {
            reopen(c);
            return;
        }

        end += 4;
        c->nin -= end - p;
        p = end;
        c->skip = len;
    }

    memmove(c->in, p, c->nin);
}


/* 0: there is no room for it */

static int
ask(conn_t *c, const char *text, double at)
{
    char      number[17], *p;
    size_t    len = strlen(text);
    unsigned  i;

    if (c->pending >= (unsigned) depth || c->nout + len > OUT) {
        return 0;
    }

    p = c->out + c->nout;
    memcpy(p, text, len);
    c->nout += len;

    snprintf(number, sizeof(number), "%016llx", (unsigned long long) ++unique);

    while ((p = memmem(p, c->out + c->nout - p, MARK, 16)) != NULL) {
        memcpy(p, number, 16);
    }

    i = (c->head + c->pending++) % DEPTH;
    c->due[i] = at;
    c->sent[i] = now();
    sent++;

    /* later ones may go with it */

    if (together == 1) {
        flush_conn(c);
    }

    return 1;
}


static int
compare(const void *a, const void *b)
{
    return *(double *) a < *(double *) b ? -1 : *(double *) a > *(double *) b;
}


static double
at(double *values, double share)
{
    return answered ? values[(size_t) (share * (answered - 1))] : 0;
}


int
main(int argc, char **argv)
{
    int                 i, n, next, pending, run;
    char               *text, **requests;
    long                size;
    FILE               *f;
    size_t              nrequests;
    double              start, rate, seconds, when, t, wait, tick;
    struct rusage       used;
    struct timespec     ts;
    struct epoll_event  events[256];

    if (argc < 7 || (f = fopen(argv[6], "r")) == NULL) {
        fprintf(stderr, "usage: offer PORT RATE SECONDS CONNECTIONS DEPTH FILE"
                        " [TICK [TOGETHER]]\n");
        return 2;
    }

    rate = atof(argv[2]);
    seconds = atof(argv[3]);
    nconns = atoi(argv[4]);
    depth = atoi(argv[5]) < DEPTH ? atoi(argv[5]) : DEPTH;

    tick = argc > 7 ? atof(argv[7]) / 1e3 : 0;
    together = argc > 8 ? atoi(argv[8]) : 1;

    fseek(f, 0, SEEK_END);
    size = ftell(f);
    rewind(f);

    text = malloc(size + 1);
    requests = malloc((size + 1) * sizeof(char *));
    conns = calloc(nconns, sizeof(conn_t));
    ep = epoll_create1(0);

    if (text == NULL || requests == NULL || conns == NULL || ep == -1
        || fread(text, 1, size, f) != (size_t) size)
    {
        return 2;
    }

    for (nrequests = 0, i = 0; i < size; i += strlen(text + i) + 1) {
        requests[nrequests++] = text + i;
    }

    unique = (uint64_t) time(NULL) << 32 ^ (uint64_t) getpid() << 24;

    sa.sin_family = AF_INET;
    sa.sin_port = htons(atoi(argv[1]));
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    for (i = 0; i < nconns; i++) {
        if (open_conn(&conns[i]) == -1) {
            return 2;
        }
    }

    start = now();
    next = run = 0;

    for ( ;; ) {
        t = now();

        while ((when = start + due / rate) <= t && when < start + seconds) {

            /* what one connection has no room for, another may have */

            for (i = 0; i < nconns; i++) {

                if (run == 0 || i > 0) {
                    next = (next + 1) % nconns;
                    run = together;
                }

                if (ask(&conns[next], requests[due % nrequests], when)) {
                    break;
                }
            }

            full += (i == nconns);
            timely += (i < nconns && t < start + seconds);
            due++;
            run--;

            if (due % (tick > 0 ? 128 : 64) == 0) {
                break;    /* answers, too */
            }
        }

        run = 0;

        for (pending = 0, i = 0; i < nconns; i++) {
            pending += conns[i].pending;

            if (conns[i].nout) {
                flush_conn(&conns[i]);
            }
        }

        if (when >= start + seconds
            && (pending == 0 || t > start + seconds + GRACE))
        {
            break;
        }

        wait = when < start + seconds ? when - now() : 0.01;
        wait = wait > 0 ? wait : 0;

        /* a multiple of the tick, so that two do not drift into one another */

        if (tick > 0) {
            wait = now() - start;
            wait = tick - (wait - tick * (long) (wait / tick));
            ts = (struct timespec) { 0, (long) (wait * 1e9) };
            nanosleep(&ts, NULL);
            wait = 0;
        }

        ts = (struct timespec) { (time_t) wait,
                                 (long) (wait * 1e9) % 1000000000 };
        n = epoll_pwait2(ep, events, 256, &ts, NULL);

        for (i = 0; i < n; i++) {
            read_conn(events[i].data.ptr);
        }
    }

    for (i = 0; i < nconns; i++) {
        lost += conns[i].pending;
    }

    qsort(late, answered, sizeof(double), compare);
    qsort(slow, answered, sizeof(double), compare);

    getrusage(RUSAGE_SELF, &used);

    printf("{\"due\":%ld,\"no_room\":%ld,\"sent\":%ld,\"timely\":%ld,"
           "\"answered\":%zu,\"lost\":%ld,\"cut\":%ld,"
           "\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f,"
           "\"sent_p50\":%.3f,\"sent_p99\":%.3f,\"took\":%.3f,\"cpu\":%.3f,"
           "\"codes\":{",
           due, full, sent, timely, answered, lost, cut, at(late, 0.5),
           at(late, 0.99), at(late, 1), at(slow, 0.5), at(slow, 0.99),
           now() - start,
           used.ru_utime.tv_sec + used.ru_stime.tv_sec
           + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);

    for (n = 0, i = 0; i < 600; i++) {
        if (codes[i]) {
            printf("%s\"%d\":%ld", n++ ? "," : "", i, codes[i]);
        }
    }

    printf("}}\n");

    return 0;
}
