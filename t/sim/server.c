
/*
 * server REDIS.CONF: the Redis of redis.c behind sockets, for tests that know
 * a redis-server only.  It listens where that file says (port, unixsocket), and
 * knows nothing else of it.
 *
 * With LINES_SIM_BESIDE, the path of a real Redis' socket, it hands on each
 * command to that one as well, which it has emptied before, and compares the
 * replies.  Where they differ it says so, on stderr and in its reply.  Both
 * have the same clock: the first eight bytes of the file LINES_SIM_CLOCK
 * (clock.c); the next eight count replies that were compared, the last eight
 * those that differed.  With LINES_SIM_LOOSE of errors the first words are
 * compared alone: other versions say them otherwise.
 *
 * Its own commands:
 *
 *   SIM TIME US        the clock stands there from now on
 *   SIM COPY, RESTORE  keeps a copy of all keys, goes back to it
 *   SIM WRONG          HINCRBY counts one too many from now on: what compares
 *                      has to see that
 *   SIM END            it ends; a sanitizer tells what is left.  Whoever stops
 *                      it by a signal is not told: in the middle of it another
 *                      signal would hold it up.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "redis.h"
#include "value.h"


#define MAX_CLIENTS  256
#define MAX_ARGS     65536
#define MAX_REQUEST  (16 * 1024 * 1024)


typedef struct {
    char       *data;
    size_t      len;
    size_t      size;
} bytes_t;

typedef struct {
    int         fd;
    bytes_t     in;
    bytes_t     out;
} client_t;


static void die(const char *what);
static void configure(const char *name);
static void listen_on(int fd, const void *address, socklen_t len,
    const char *what);
static void beside_connect(void);
static void clock_open(void);

static void tick(void);

static int client_read(client_t *c);
static int client_write(client_t *c);
static void client_close(size_t i);
static ssize_t parse(const char *data, size_t len);
static void answer(client_t *c, const char *raw, size_t len);
static int own_command(client_t *c);
static void compare(const char *raw, size_t len, const sim_str_t *mine);
static int same(const sim_str_t *mine, const char *theirs, size_t len);
static int same_elements(const sim_str_t *mine, const char *theirs,
    size_t len);
static int by_bytes(const void *one, const void *two);
static size_t elements(const char *p, size_t len, view_t *elts);
static ssize_t reply_len(const char *data, size_t len);
static void show(const char *title, const char *data, size_t len);
static void add(bytes_t *b, const void *data, size_t len);


static sim_redis_t  *redis;
static sim_copy_t   *copy;
static client_t      clients[MAX_CLIENTS];
static size_t        nclients;
static int           listening[2], nlistening;

static sim_str_t     argv[MAX_ARGS];
static size_t        argc;

static int           beside = -1;
static int           loose, wrong;
static bytes_t       theirs, difference;
static int64_t       stands;

/* the clock, how many were compared, how many differed */
static int64_t       unshared[3], *shared = unshared;

static int           ending;


int
main(int n, char **args)
{
    size_t         i;
    struct pollfd  fds[MAX_CLIENTS + 2];

    if (n < 2) {
        die("usage: server REDIS.CONF");
    }

    signal(SIGPIPE, SIG_IGN);

    redis = sim_redis_create();
    loose = getenv("LINES_SIM_LOOSE") != NULL;

    clock_open();
    beside_connect();
    configure(args[1]);

    while (!ending) {
        for (i = 0; i < (size_t) nlistening; i++) {
            fds[i].fd = listening[i];
            fds[i].events = nclients < MAX_CLIENTS ? POLLIN : 0;
        }

        for (i = 0; i < nclients; i++) {
            fds[nlistening + i].fd = clients[i].fd;
            fds[nlistening + i].events = clients[i].out.len ? POLLOUT : POLLIN;
        }

        if (poll(fds, nlistening + nclients, -1) == -1) {
            continue;
        }

        for (i = nclients; i-- > 0; ) {
            if (fds[nlistening + i].revents == 0) {
                continue;
            }

            if (clients[i].out.len ? !client_write(&clients[i])
                                   : !client_read(&clients[i]))
            {
                client_close(i);
            }
        }

        for (i = 0; i < (size_t) nlistening; i++) {
            if (fds[i].revents && nclients < MAX_CLIENTS) {
                memset(&clients[nclients], 0, sizeof(client_t));
                clients[nclients].fd = accept(listening[i], NULL, NULL);
                nclients += clients[nclients].fd != -1;
            }
        }
    }

    /* so that a sanitizer sees what is left */

    for (i = nclients; i > 0; i--) {
        client_close(0);
    }

    if (copy) {
        sim_redis_copy_free(copy);
    }

    sim_redis_destroy(redis);
    free(theirs.data);
    free(difference.data);

    return 0;
}


static void
die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, errno ? strerror(errno) : "no");
    exit(1);
}


static void
configure(const char *name)
{
    int                 port;
    FILE               *f;
    char                line[4096], path[sizeof(((struct sockaddr_un *) 0)
                                                ->sun_path)];
    struct sockaddr_in  in;
    struct sockaddr_un  un;

    f = fopen(name, "r");

    if (f == NULL) {
        die(name);
    }

    while (fgets(line, sizeof(line), f)) {

        if (sscanf(line, "port %d", &port) == 1 && nlistening < 2) {
            memset(&in, 0, sizeof(in));
            in.sin_family = AF_INET;
            in.sin_port = htons(port);
            in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            listen_on(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), &in,
                      sizeof(in), "port");

        } else if (sscanf(line, "unixsocket %107s", path) == 1
                   && nlistening < 2)
        {
            memset(&un, 0, sizeof(un));
            un.sun_family = AF_UNIX;
            memcpy(un.sun_path, path, strlen(path) + 1);
            (void) unlink(path);
            listen_on(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), &un,
                      sizeof(un), path);
        }
    }

    fclose(f);
}


static void
listen_on(int fd, const void *address, socklen_t len, const char *what)
{
    int  on;

    on = 1;

    if (fd == -1
        || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1
        || bind(fd, address, len) == -1
        || listen(fd, 511) == -1)
    {
        die(what);
    }

    listening[nlistening++] = fd;
}


static void
beside_connect(void)
{
    const char          *path;
    struct sockaddr_un   un;

    static const char    flush[] = "*1\r\n$8\r\nFLUSHALL\r\n",
                         scripts[] = "*2\r\n$6\r\nSCRIPT\r\n$5\r\nFLUSH\r\n";

    path = getenv("LINES_SIM_BESIDE");

    if (path == NULL) {
        return;
    }

    memset(&un, 0, sizeof(un));
    un.sun_family = AF_UNIX;
    snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);

    beside = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (beside == -1 || connect(beside, (void *) &un, sizeof(un)) == -1) {
        die(path);
    }

    compare(flush, sizeof(flush) - 1, &(sim_str_t) { 5, (void *) "+OK\r\n" });
    compare(scripts, sizeof(scripts) - 1,
            &(sim_str_t) { 5, (void *) "+OK\r\n" });
    shared[1] -= 2;
}


static void
clock_open(void)
{
    int          fd;
    const char  *name;

    name = getenv("LINES_SIM_CLOCK");

    if (name == NULL) {
        return;
    }

    fd = open(name, O_RDWR | O_CLOEXEC);

    shared = mmap(NULL, sizeof(unshared), PROT_READ | PROT_WRITE, MAP_SHARED,
                  fd, 0);

    if (shared == MAP_FAILED) {
        die(name);
    }

    close(fd);
}


static void
tick(void)
{
    int64_t          us;
    struct timespec  ts;

    us = stands;

    if (us == 0) {
        clock_gettime(CLOCK_REALTIME, &ts);
        us = (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
    }

    sim_redis_set_time(redis, us);

    __atomic_store_n(&shared[0], us, __ATOMIC_SEQ_CST);
}


static int
client_read(client_t *c)
{
    char     buf[65536];
    size_t   done;
    ssize_t  n;

    n = recv(c->fd, buf, sizeof(buf), 0);

    if (n <= 0 || c->in.len + n > MAX_REQUEST) {
        return 0;
    }

    add(&c->in, buf, n);

    for (done = 0; done < c->in.len; done += n) {
        n = parse(c->in.data + done, c->in.len - done);

        if (n == -1) {
            return 0;
        }

        if (n == 0) {
            break;
        }

        if (argc) {
            answer(c, c->in.data + done, n);
        }
    }

    c->in.len -= done;
    memmove(c->in.data, c->in.data + done, c->in.len);

    return c->out.len ? client_write(c) : 1;
}


static int
client_write(client_t *c)
{
    ssize_t  n;

    n = send(c->fd, c->out.data, c->out.len, MSG_DONTWAIT);

    if (n == -1) {
        return errno == EAGAIN;
    }

    c->out.len -= n;
    memmove(c->out.data, c->out.data + n, c->out.len);

    return 1;
}


static void
client_close(size_t i)
{
    close(clients[i].fd);
    free(clients[i].in.data);
    free(clients[i].out.data);

    clients[i] = clients[--nclients];
}


/* a command's length; 0: there is more to come, -1: it is none */

static ssize_t
parse(const char *data, size_t len)
{
    long         n, i;
    const char  *p, *end, *eol;

    argc = 0;
    p = data;
    end = data + len;

    eol = memchr(p, '\n', len);

    if (eol == NULL) {
        return 0;
    }

    if (*p != '*') {

        /* words on a line */

        while (p < eol && argc < MAX_ARGS) {
            if (*p == ' ' || *p == '\r') {
                p++;
                continue;
            }

            argv[argc].data = (void *) p;
            while (p < eol && *p != ' ' && *p != '\r') {
                p++;
            }
            argv[argc].len = p - (char *) argv[argc].data;
            argc++;
        }

        return eol + 1 - data;
    }

    n = strtol(p + 1, NULL, 10);

    if (n < 0 || n > MAX_ARGS) {
        return -1;
    }

    p = eol + 1;

    for (i = 0; i < n; i++) {
        long  size;

        eol = p < end ? memchr(p, '\n', end - p) : NULL;

        if (eol == NULL) {
            return 0;
        }

        size = *p == '$' ? strtol(p + 1, NULL, 10) : -1;

        if (size < 0 || size > MAX_REQUEST) {
            return -1;
        }

        p = eol + 1;

        if (end - p < size + 2) {
            return 0;
        }

        argv[i].data = (void *) p;
        argv[i].len = size;
        p += size + 2;
    }

    argc = n;

    return p - data;
}


static int
is(size_t i, const char *word)
{
    return argv[i].len == strlen(word)
           && strncasecmp((char *) argv[i].data, word, argv[i].len) == 0;
}


static void
answer(client_t *c, const char *raw, size_t len)
{
    sim_str_t  reply;

    if (is(0, "sim") && own_command(c)) {
        return;
    }

    tick();

    if (wrong && argc > 3 && is(0, "hincrby")) {
        argv[3] = (sim_str_t) { 1, (void *) "2" };
    }

    reply = *sim_redis_command(redis, argc, argv);

    /* it is another to each server */

    if (beside != -1 && !is(0, "info")) {
        compare(raw, len, &reply);

        if (difference.len) {
            add(&c->out, difference.data, difference.len);
            return;
        }
    }

    add(&c->out, reply.data, reply.len);
}


static int
own_command(client_t *c)
{
    if (argc == 3 && is(1, "time")) {
        stands = strtoll((char *) argv[2].data, NULL, 10);
        add(&c->out, "+OK\r\n", 5);
        return 1;
    }

    if (argc == 2 && is(1, "copy")) {
        if (copy) {
            sim_redis_copy_free(copy);
        }

        copy = sim_redis_copy(redis);
        add(&c->out, "+OK\r\n", 5);
        return 1;
    }

    if (argc == 2 && is(1, "restore") && copy) {
        sim_redis_restore(redis, copy);
        add(&c->out, "+OK\r\n", 5);
        return 1;
    }

    if (argc == 2 && is(1, "end")) {
        ending = 1;
        return 1;
    }

    if (argc == 2 && is(1, "wrong")) {
        wrong = 1;
        add(&c->out, "+OK\r\n", 5);
        return 1;
    }

    return 0;
}


/* asks the real one; difference is empty where it says the same */

static void
compare(const char *raw, size_t len, const sim_str_t *mine)
{
    int      n;
    size_t   i;
    char     buf[65536], text[128];
    ssize_t  got;

    for (i = 0; i < len; i += got) {
        got = send(beside, raw + i, len - i, 0);

        if (got <= 0) {
            die("beside");
        }
    }

    theirs.len = 0;

    while (theirs.len == 0 || reply_len(theirs.data, theirs.len) == 0) {
        got = recv(beside, buf, sizeof(buf), 0);

        if (got <= 0) {
            die("beside");
        }

        add(&theirs, buf, got);
    }

    shared[1]++;
    difference.len = 0;

    if (same(mine, theirs.data, theirs.len)) {
        return;
    }

    shared[2]++;

    fprintf(stderr, "difference %lld, after %lld replies, at %lld us:\n",
            (long long) shared[2], (long long) shared[1],
            (long long) sim_redis_time(redis));
    show("command", raw, len);
    show("here", (char *) mine->data, mine->len);
    show("there", theirs.data, theirs.len);
    fflush(stderr);

    n = snprintf(text, sizeof(text), "-DIFFERENT difference %lld\r\n",
                 (long long) shared[2]);
    add(&difference, text, n);
}


static int
same(const sim_str_t *mine, const char *theirs, size_t len)
{
    size_t    n;
    unsigned  open;

    if (mine->len == len && memcmp(mine->data, theirs, len) == 0) {
        return 1;
    }

    if (loose && mine->len && mine->data[0] == '-' && theirs[0] == '-') {
        n = strcspn(theirs, " \r");
        return mine->len > n && memcmp(mine->data, theirs, n) == 0;
    }

    open = sim_redis_open(redis);

    return open && same_elements(mine, theirs, len);
}


static int
by_bytes(const void *one, const void *two)
{
    return view_cmp(*(view_t *) one, *(view_t *) two);
}


/* as many, and where it is the order alone that is open, the same ones */

static int
same_elements(const sim_str_t *mine, const char *theirs, size_t len)
{
    size_t   i, n, m;
    view_t  *one, *two;

    if (sim_redis_open(redis) & SIM_REDIS_CHOICE) {
        return mine->data[0] == theirs[0];
    }

    n = elements((char *) mine->data, mine->len, NULL);
    m = elements(theirs, len, NULL);

    if (n != m) {
        return 0;
    }

    one = sim_alloc(n * sizeof(view_t));
    two = sim_alloc(n * sizeof(view_t));

    (void) elements((char *) mine->data, mine->len, one);
    (void) elements(theirs, len, two);

    qsort(one, n, sizeof(view_t), by_bytes);
    qsort(two, n, sizeof(view_t), by_bytes);

    for (i = 0; i < n && view_cmp(one[i], two[i]) == 0; i++) { /* void */ }

    free(one);
    free(two);

    return i == n;
}


/* what is between line ends or counted; heads of arrays are elements, too */

static size_t
elements(const char *p, size_t len, view_t *elts)
{
    long         size;
    size_t       n;
    const char  *end, *eol;

    end = p + len;

    for (n = 0; p < end; n++) {
        eol = memchr(p, '\r', end - p);
        size = *p == '$' ? strtol(p + 1, NULL, 10) : -1;

        if (elts) {
            elts[n].data = p;
            elts[n].len = eol - p + (size >= 0 ? 2 + size : 0);
        }

        p = eol + 2 + (size >= 0 ? size + 2 : 0);
    }

    return n;
}


/* of a whole reply; 0: there is more to come */

static ssize_t
reply_len(const char *data, size_t len)
{
    long         n, left;
    const char  *p, *end, *eol;

    p = data;
    end = data + len;

    for (left = 1; left; left--) {
        eol = p < end ? memchr(p, '\n', end - p) : NULL;

        if (eol == NULL) {
            return 0;
        }

        n = strtol(p + 1, NULL, 10);

        if (*p == '*' && n > 0) {
            left += n;

        } else if (*p == '$' && n >= 0) {
            eol += n + 2;

            if (eol >= end) {
                return 0;
            }
        }

        p = eol + 1;
    }

    return p - data;
}


static void
show(const char *title, const char *data, size_t len)
{
    size_t  i;

    fprintf(stderr, "  %s: ", title);

    for (i = 0; i < len && i < 4000; i++) {
        if (data[i] == '\n') {
            fputc(' ', stderr);

        } else if (data[i] >= ' ' && data[i] < 0x7f) {
            fputc(data[i], stderr);

        } else if (data[i] != '\r') {
            fprintf(stderr, "\\x%02x", (unsigned char) data[i]);
        }
    }

    fputc('\n', stderr);
}


static void
add(bytes_t *b, const void *data, size_t len)
{
    if (b->size - b->len < len + 1) {
        b->size = (b->size + len + 1) * 2;
        b->data = sim_realloc(b->data, b->size);
    }

    if (len) {
        memcpy(b->data + b->len, data, len);
        b->len += len;
    }

    b->data[b->len] = '\0';
}
