
/*
 * A program under a container engine's seccomp profile, without an engine:
 *
 *   confine UID:GID|- LOG|- PROGRAM [ARGUMENT …]
 *
 * RULES is a header that t/90-seccomp.t makes of docker/seccomp.json: the
 * profile's rules in their order, RULE(nr, action, index, mask, value), the
 * action as the kernel has it, mask 0: whatever its arguments are; and
 * RULES_ELSE, what happens to all others.  With LOG these are not refused by
 * the kernel, but by a process beside it, which writes their numbers there: a
 * library may take a refusal and say nothing.
 */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#if (__x86_64__)
#define ARCH  AUDIT_ARCH_X86_64
#elif (__aarch64__)
#define ARCH  AUDIT_ARCH_AARCH64
#else
#error "the profile is for x86-64 and arm64"
#endif

/* x32 has the same architecture, and numbers from here on */
#define X32  0x40000000

#define DATA(field)  offsetof(struct seccomp_data, field)

#define RULE(nr, action, index, mask, value)                                  \
    { nr, action, index, mask, value },


typedef struct {
    uint32_t  nr;
    uint32_t  action;
    uint32_t  index;
    uint64_t  mask;
    uint64_t  value;
} rule_t;


static const rule_t  rules[] = {
#include RULES
};

#define NRULES  (sizeof(rules) / sizeof(rules[0]))


static void fail(const char *what);
static void become(char *who);
static size_t compile(struct sock_filter *p, uint32_t otherwise);
static void watch(int link, const char *log);
static void send_fd(int link, int fd);
static int receive_fd(int link);


int
main(int argc, char **argv)
{
    int                 links[2], listener;
    pid_t               pid;
    unsigned            audit;
    struct sock_fprog   program;
    struct sock_filter  filter[NRULES * 9 + 8];

    if (argc < 4) {
        fprintf(stderr, "confine UID:GID|- LOG|- PROGRAM [ARGUMENT …]\n");
        return 2;
    }

    audit = strcmp(argv[2], "-") != 0;

    if (audit) {
        if (socketpair(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0, links) == -1) {
            fail("socketpair");
        }

        /* nobody's child, and no child of what runs here */

        pid = fork();

        if (pid == 0) {
            close(links[0]);

            if (fork() == 0) {
                watch(links[1], argv[2]);
            }

            _exit(0);
        }

        if (pid == -1 || waitpid(pid, NULL, 0) == -1) {
            fail("fork");
        }

        close(links[1]);
    }

    become(argv[1]);

    program.filter = filter;
    program.len = (unsigned short) compile(filter,
                                           audit ? SECCOMP_RET_USER_NOTIF
                                                 : RULES_ELSE);

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1) {
        fail("no new privileges");
    }

    listener = (int) syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                             audit ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0,
                             &program);

    if (listener == -1) {
        fail("seccomp");
    }

    if (audit) {
        send_fd(links[0], listener);
        close(listener);
    }

    execvp(argv[3], &argv[3]);
    fail(argv[3]);

    return 127;
}


static void
fail(const char *what)
{
    fprintf(stderr, "confine: %s: %s\n", what, strerror(errno));
    exit(127);
}


static void
become(char *who)
{
    char      *end;
    unsigned   uid, gid;

    if (strcmp(who, "-") == 0) {
        return;
    }

    uid = (unsigned) strtoul(who, &end, 10);
    gid = (*end == ':') ? (unsigned) strtoul(end + 1, NULL, 10) : uid;

    if (setgroups(0, NULL) == -1 || setgid(gid) == -1 || setuid(uid) == -1) {
        fail(who);
    }
}


/* rule by rule: the first that is met decides */

static size_t
compile(struct sock_filter *p, uint32_t otherwise)
{
    size_t               i, half;
    struct sock_filter  *start = p;

#define put(...)  *p++ = (struct sock_filter) __VA_ARGS__
#define load(at)  put(BPF_STMT(BPF_LD|BPF_W|BPF_ABS, (uint32_t) (at)))
#define end(with) put(BPF_STMT(BPF_RET|BPF_K, with))

    load(DATA(arch));
    put(BPF_JUMP(BPF_JMP|BPF_JEQ|BPF_K, ARCH, 1, 0));
    end(SECCOMP_RET_KILL_PROCESS);

    load(DATA(nr));
    put(BPF_JUMP(BPF_JMP|BPF_JGE|BPF_K, X32, 0, 1));
    end(RULES_ELSE);

    for (i = 0; i < NRULES; i++) {

        if (rules[i].mask == 0) {
            put(BPF_JUMP(BPF_JMP|BPF_JEQ|BPF_K, rules[i].nr, 0, 1));
            end(rules[i].action);
            continue;
        }

        /* both halves, the upper one first; little endian */

        put(BPF_JUMP(BPF_JMP|BPF_JEQ|BPF_K, rules[i].nr, 0, 8));

        for (half = 2; half-- > 0; /* void */ ) {
            load(DATA(args) + 8 * rules[i].index + 4 * half);
            put(BPF_STMT(BPF_ALU|BPF_AND|BPF_K,
                         (uint32_t) (rules[i].mask >> 32 * half)));
            put(BPF_JUMP(BPF_JMP|BPF_JEQ|BPF_K,
                         (uint32_t) (rules[i].value >> 32 * half), 0,
                         half ? 4 : 1));
        }

        end(rules[i].action);
        load(DATA(nr));
    }

    end(otherwise);

    return (size_t) (p - start);
}


/* until nobody is left whom the filter holds */

static void
watch(int link, const char *log)
{
    int                         fd, listener;
    char                        line[32];
    size_t                      len;
    struct pollfd               pfd;
    struct seccomp_notif        ask;
    struct seccomp_notif_resp   answer;

    listener = receive_fd(link);
    fd = open(log, O_WRONLY|O_CREAT|O_APPEND|O_CLOEXEC, 0644);

    if (listener == -1 || fd == -1) {
        _exit(1);
    }

    setsid();
    pfd = (struct pollfd) { .fd = listener, .events = POLLIN };

    for ( ;; ) {

        if (poll(&pfd, 1, -1) == -1 && errno != EINTR) {
            _exit(1);
        }

        if (!(pfd.revents & POLLIN)) {

            if (pfd.revents) {
                _exit(0);
            }

            continue;
        }

        memset(&ask, 0, sizeof(ask));

        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &ask) == -1) {
            continue;
        }

        len = (size_t) snprintf(line, sizeof(line), "%d %llu\n", ask.data.nr,
                                (unsigned long long) ask.data.args[0]);

        if (write(fd, line, len) != (ssize_t) len) {
            _exit(1);
        }

        memset(&answer, 0, sizeof(answer));
        answer.id = ask.id;
        answer.error = -EPERM;

        (void) ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
}


static void
send_fd(int link, int fd)
{
    char             byte = 0;
    struct iovec     iov = { &byte, 1 };
    struct msghdr    msg;
    struct cmsghdr  *c;

    union {
        struct cmsghdr  head;
        char            room[CMSG_SPACE(sizeof(int))];
    } control;

    memset(&msg, 0, sizeof(msg));
    memset(&control, 0, sizeof(control));

    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = control.room;
    msg.msg_controllen = sizeof(control.room);

    c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(int));

    if (sendmsg(link, &msg, 0) != 1) {
        fail("sendmsg");
    }
}


static int
receive_fd(int link)
{
    int              fd = -1;
    char             byte;
    struct iovec     iov = { &byte, 1 };
    struct msghdr    msg;
    struct cmsghdr  *c;

    union {
        struct cmsghdr  head;
        char            room[CMSG_SPACE(sizeof(int))];
    } control;

    memset(&msg, 0, sizeof(msg));

    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = control.room;
    msg.msg_controllen = sizeof(control.room);

    if (recvmsg(link, &msg, MSG_CMSG_CLOEXEC) != 1) {
        return -1;
    }

    c = CMSG_FIRSTHDR(&msg);

    if (c && c->cmsg_type == SCM_RIGHTS) {
        memcpy(&fd, CMSG_DATA(c), sizeof(int));
    }

    return fd;
}
