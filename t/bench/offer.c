/*
 * A load of HTTP/1.1, which looks at each answer.
 *
 *     offer [-n COUNT] [-q] [-o FILE]
 *           PORT RATE SECONDS CONNECTIONS DEPTH FILE [TICK [TOGETHER]]
 *
 * FILE has requests, each followed by a zero byte; they are sent in turn, by
 * the connection that is next, up to DEPTH on their way in one (pipelined).
 * What follows a byte 1 in a request is not sent: the body of a 2xx must have
 * it, else it is counted as wrong.  Sixteen @ in a request become another
 * number each time.
 *
 * The load is open: requests leave when they are due, RATE a second, whatever
 * became of those before, and what one waited counts from when it was due.
 * One that no connection has room for is not sent (no_room); with -q it waits
 * until there is (at the end, late: what is due then, and was never sent).
 * With RATE 0 it is closed: a connection sends its next as soon as it has an
 * answer.  -n ends it after COUNT requests, -o keeps what was answered: a line
 * each, of the request's place in FILE, the status and the body.
 *
 * Prints one line of JSON: what was due, what no connection had room for, what
 * was sent, what of that in time, what was answered, by status, with the wrong
 * body; ms of waiting from when it was due, and from when it was sent: their
 * difference is the generator's own lateness; its CPU in s.
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
#define NEEDLE 128
#define GRACE  5.0    /* s for the last answers */


/* of an answer: its head, a body of known length, or chunks */

enum { HEAD, BODY, SIZE, CHUNK, GAP, LAST };


typedef struct {
    const char  *text, *needle;
    size_t       len, nneedle;
} request_t;


typedef struct {
    int        fd;
    char       in[IN], out[OUT];
    size_t     nin, nout;
    double     due[DEPTH], sent[DEPTH];
    size_t     which[DEPTH];
    unsigned   head, pending;

    int        state, code, close, found;
    size_t     left;              /* of a body, or of a chunk */
    char       tail[NEEDLE];      /* of what was read of the body */
    size_t     ntail;
    char      *kept;
    size_t     nkept;
} conn_t;


static struct sockaddr_in  sa;
static conn_t             *conns;
static request_t          *requests;
static size_t              nrequests;
static FILE               *keep;
static int                 ep, nconns, depth, together = 1, closed, queued;
static int                 unflushed;
static uint64_t            unique;
static double             *late, *slow, end;
static size_t              answered, room;
static long                due, full, sent, timely, lost, cut, wrong, count;
static long                pending;            /* of all connections */
static long                codes[600];
static unsigned long long  bytes;


static void  next_request(conn_t *c);


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
    c->nin = c->nout = c->nkept = c->ntail = 0;
    c->head = c->pending = 0;
    c->state = HEAD;

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
    pending -= c->pending;
    cut++;
    close(c->fd);

    if (open_conn(c) == -1) {
        exit(2);
    }

    next_request(c);
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


/* a part of a body: what it must have may begin in the part before */

static void
take(conn_t *c, char *p, size_t n)
{
    char        join[2 * NEEDLE];
    size_t      keeps, k;
    request_t  *r = &requests[c->which[c->head]];

    bytes += n;

    if (keep) {
        c->kept = realloc(c->kept, c->nkept + n);

        if (c->kept == NULL) {
            exit(2);
        }

        memcpy(c->kept + c->nkept, p, n);
        c->nkept += n;
    }

    if (r->nneedle == 0 || c->found || n == 0) {
        return;
    }

    k = n < NEEDLE ? n : NEEDLE;
    memcpy(join, c->tail, c->ntail);
    memcpy(join + c->ntail, p, k);

    c->found = memmem(p, n, r->needle, r->nneedle) != NULL
               || memmem(join, c->ntail + k, r->needle, r->nneedle) != NULL;

    if (n >= NEEDLE) {
        memcpy(c->tail, p + n - NEEDLE, NEEDLE);
        c->ntail = NEEDLE;

    } else {
        keeps = c->ntail + n <= NEEDLE ? c->ntail : NEEDLE - n;
        memmove(c->tail, c->tail + c->ntail - keeps, keeps);
        memcpy(c->tail + keeps, p, n);
        c->ntail = keeps + n;
    }
}


static void
answer(conn_t *c, double at)
{
    unsigned  i = c->head;

    if (keep) {
        fprintf(keep, "%zu %d ", c->which[i], c->code);
        fwrite(c->kept, 1, c->nkept, keep);
        putc('\n', keep);
        c->nkept = 0;
    }

    if (c->code / 100 == 2 && requests[c->which[i]].nneedle && !c->found) {
        wrong++;
    }

    c->head = (c->head + 1) % DEPTH;
    c->pending--;
    pending--;
    c->state = HEAD;
    c->found = 0;
    c->ntail = 0;

    if (c->code >= 0 && c->code < 600) {
        codes[c->code]++;
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


/* the head of an answer, ended by a zero byte */

static void
read_head(conn_t *c, char *p)
{
    char  *h;

    c->code = atoi(p + 9);
    c->close = strcasestr(p, "\r\nConnection: close") != NULL;
    c->left = 0;
    c->state = BODY;

    if (strcasestr(p, "\r\nTransfer-Encoding: chunked")) {
        c->state = SIZE;

    } else if ((h = strcasestr(p, "\r\nContent-Length:")) != NULL) {
        c->left = strtoul(h + 17, NULL, 10);
    }
}


static void
read_conn(conn_t *c)
{
    char     *p, *eol;
    size_t    n;
    double    at;
    ssize_t   got;

    got = recv(c->fd, c->in + c->nin, IN - 1 - c->nin, MSG_DONTWAIT);

    if (got == 0 || (got == -1 && errno != EAGAIN)) {
        reopen(c);
        return;
    }

    if (got == -1) {
        return;
    }

    at = now();
    c->nin += got;
    p = c->in;

    for ( ;; ) {
        p[c->nin] = '\0';

        if (c->state == BODY || c->state == CHUNK) {
            n = c->left < c->nin ? c->left : c->nin;
            take(c, p, n);
            c->left -= n;

        } else {
            eol = memmem(p, c->nin, c->state == HEAD ? "\r\n\r\n" : "\r\n",
                         c->state == HEAD ? 4 : 2);

            if (eol == NULL) {
                break;
            }

            n = eol - p + (c->state == HEAD ? 4 : 2);

            if (c->state == HEAD) {

                if (c->pending == 0) {
                    reopen(c);
                    return;
                }

                *eol = '\0';
                read_head(c, p);

            } else if (c->state == SIZE) {
                c->left = strtoul(p, NULL, 16);
                c->state = c->left ? CHUNK : LAST;

            } else {
                c->state = c->state == GAP ? SIZE : BODY;
            }
        }

        p += n;
        c->nin -= n;

        if (c->left) {

            if (c->nin == 0) {
                break;
            }

            continue;
        }

        if (c->state == CHUNK) {
            c->state = GAP;

        } else if (c->state == BODY) {
            answer(c, at);

            if (c->close) {
                reopen(c);
                return;
            }

            next_request(c);
        }

        if (c->nin == 0) {
            break;
        }
    }

    memmove(c->in, p, c->nin);
}


/* 0: there is no room for it */

static int
ask(conn_t *c, size_t which, double at)
{
    char        number[17], *p;
    unsigned    i;
    request_t  *r = &requests[which];

    if (c->pending >= (unsigned) depth || c->nout + r->len > OUT) {
        return 0;
    }

    p = c->out + c->nout;
    memcpy(p, r->text, r->len);
    c->nout += r->len;

    snprintf(number, sizeof(number), "%016llx", (unsigned long long) ++unique);

    while ((p = memmem(p, c->out + c->nout - p, MARK, 16)) != NULL) {
        memcpy(p, number, 16);
    }

    pending++;
    i = (c->head + c->pending++) % DEPTH;
    c->due[i] = at;
    c->sent[i] = now();
    c->which[i] = which;
    sent++;

    /* later ones may go with it */

    if (together == 1) {
        flush_conn(c);
    }

    unflushed |= c->nout > 0;

    return 1;
}


/* of a closed load: there is room again */

static void
next_request(conn_t *c)
{
    double  at;

    while (closed && (count == 0 || due < count) && (at = now()) < end
           && ask(c, due % nrequests, at))
    {
        due++;
        timely++;
    }
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


/* requests, and behind a byte 1 what the body of an answer must have */

static int
read_requests(const char *name)
{
    char   *text, *p;
    long    size, i;
    FILE   *f = fopen(name, "r");

    if (f == NULL || fseek(f, 0, SEEK_END) == -1 || (size = ftell(f)) <= 0) {
        return -1;
    }

    rewind(f);
    text = malloc(size + 1);
    requests = malloc((size + 1) * sizeof(request_t) / 16);

    if (text == NULL || requests == NULL
        || fread(text, 1, size, f) != (size_t) size)
    {
        return -1;
    }

    fclose(f);
    text[size] = '\0';

    for (i = 0; i < size; i += strlen(text + i) + 1) {

        if (nrequests >= (size_t) size / 16) {
            return -1;                   /* shorter than a request can be */
        }

        p = strchr(text + i, 1);

        requests[nrequests].text = text + i;
        requests[nrequests].len = p ? (size_t) (p - text - i)
                                    : strlen(text + i);
        requests[nrequests].needle = p ? p + 1 : "";
        requests[nrequests].nneedle = p ? strlen(p + 1) : 0;

        if (requests[nrequests++].nneedle > NEEDLE) {
            return -1;
        }
    }

    return 0;
}


static int
usage(void)
{
    fprintf(stderr, "usage: offer [-n COUNT] [-q] [-o FILE] PORT RATE SECONDS"
                    " CONNECTIONS DEPTH FILE [TICK [TOGETHER]]\n");
    return 2;
}


int
main(int argc, char **argv)
{
    int                 i, n, next, run, blocked;
    double              start, rate, seconds, when, t, wait, tick;
    struct rusage       used;
    struct timespec     ts;
    struct epoll_event  events[256];

    while ((n = getopt(argc, argv, "+n:qo:")) != -1) {

        if (n == 'n') {
            count = atol(optarg);

        } else if (n == 'q') {
            queued = 1;

        } else if (n != 'o' || (keep = fopen(optarg, "w")) == NULL) {
            return usage();
        }
    }

    argc -= optind - 1;
    argv += optind - 1;

    if (argc < 7 || read_requests(argv[6]) == -1) {
        return usage();
    }

    rate = atof(argv[2]);
    closed = rate == 0;
    seconds = atof(argv[3]);
    nconns = atoi(argv[4]);
    depth = atoi(argv[5]) < DEPTH ? atoi(argv[5]) : DEPTH;

    tick = argc > 7 ? atof(argv[7]) / 1e3 : 0;
    together = argc > 8 ? atoi(argv[8]) : 1;

    conns = calloc(nconns, sizeof(conn_t));
    ep = epoll_create1(0);

    if (conns == NULL || ep == -1) {
        return 2;
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
    end = start + seconds;
    when = start;
    next = run = 0;

    for (i = 0; i < nconns; i++) {
        next_request(&conns[i]);
    }

    for ( ;; ) {
        t = now();
        blocked = 0;

        while (!closed && (count == 0 || due < count)
               && (when = start + due / rate) <= t && when < end)
        {
            /* what one connection has no room for, another may have */

            for (i = 0; i < nconns; i++) {

                if (run == 0 || i > 0) {
                    next = (next + 1) % nconns;
                    run = together;
                }

                if (ask(&conns[next], due % nrequests, when)) {
                    break;
                }
            }

            if (i == nconns && queued && t < end) {
                blocked = 1;
                break;
            }

            full += (i == nconns);
            timely += (i < nconns && t < end);
            due++;
            run--;

            if (due % (tick > 0 ? 128 : 64) == 0) {
                break;    /* answers, too */
            }
        }

        run = 0;

        if (closed) {
            when = count && due >= count ? end : t;
        }

        if (unflushed) {
            unflushed = 0;

            for (i = 0; i < nconns; i++) {
                flush_conn(&conns[i]);
                unflushed |= conns[i].nout > 0;
            }
        }

        if ((when >= end || t >= end || (count && due >= count))
            && (pending == 0 || t > end + GRACE))
        {
            break;
        }

        wait = closed || blocked || when >= end || (count && due >= count)
               ? 0.01 : when - now();
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

    t = now() - start;

    for (i = 0; i < nconns; i++) {
        lost += conns[i].pending;
    }

    qsort(late, answered, sizeof(double), compare);
    qsort(slow, answered, sizeof(double), compare);

    getrusage(RUSAGE_SELF, &used);

    printf("{\"due\":%ld,\"no_room\":%ld,\"sent\":%ld,\"timely\":%ld,"
           "\"answered\":%zu,\"wrong\":%ld,\"lost\":%ld,\"cut\":%ld,"
           "\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f,"
           "\"sent_p50\":%.3f,\"sent_p99\":%.3f,\"took\":%.3f,\"cpu\":%.3f,"
           "\"bytes\":%llu,\"codes\":{",
           due, full, sent, timely, answered, wrong, lost, cut, at(late, 0.5),
           at(late, 0.99), at(late, 1), at(slow, 0.5), at(slow, 0.99),
           t, used.ru_utime.tv_sec + used.ru_stime.tv_sec
           + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6, bytes);

    for (n = 0, i = 0; i < 600; i++) {
        if (codes[i]) {
            printf("%s\"%d\":%ld", n++ ? "," : "", i, codes[i]);
        }
    }

    printf("}}\n");

    return keep && fclose(keep) != 0 ? 2 : 0;
}
