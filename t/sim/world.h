
/*
 * The simulation of the engine: nodes, the connections between them and Redis
 * and billing, clients, hands at billing, time.  One process, one seed; all
 * that happens is one step after another.
 *
 *   nginx.c    what the engine needs of nginx' core
 *   node.c     a node: its memory, its connection to Redis, its calls
 *   billing.c  Stripe, and the provisioner
 *   people.c   clients, the operator, hands at billing
 *   judge.c    whether the books balance
 *   engine.c   what happens next; main()
 */

#ifndef _SIM_WORLD_H_INCLUDED_
#define _SIM_WORLD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/zone.h"
#include "operation/database.h"
#include "operation/operation.h"
#include "redis.h"


#define SIM_NODES    3

#define SIM_SECOND   ((int64_t) 1000000)
#define SIM_MINUTE   (60 * SIM_SECOND)
#define SIM_HOUR     (60 * SIM_MINUTE)
#define SIM_DAY      (24 * SIM_HOUR)


/* what may go wrong, and what people may do: bits of world.may */

#define SIM_KILLS      0x0001    /* nodes die between any two steps */
#define SIM_CUTS       0x0002    /* connections to Redis, late replies */
#define SIM_CALLS      0x0004    /* calls to billing: lost, late, refused */
#define SIM_EVENTS     0x0008    /* of billing: doubled, reordered, delayed */
#define SIM_STALLS     0x0010    /* a node stands still, and goes on */
#define SIM_HANDS      0x0020    /* at billing: cancel, void, credit */
#define SIM_REFUNDS    0x0040    /* the same: refunds, wholly or in part */
#define SIM_CARDS      0x0080    /* cards are changed, and declined */
#define SIM_PLANS      0x0100    /* base plans end and come back */
#define SIM_DELETES    0x0200    /* tenants are deleted */
#define SIM_LOSSES     0x0400    /* Redis loses its last moments */
#define SIM_SILENCE    0x0800    /* no events at all */
#define SIM_RENEWALS   0x1000    /* renewals, paid, late, or never */
#define SIM_JUMPS      0x2000    /* hours in which nothing happens */
#define SIM_DISPUTES   0x4000    /* banks take money back */
#define SIM_EARLY      0x8000    /* renewals of what has just begun, too */
#define SIM_RESTORES   0x20000   /* Redis is emptied, or of long ago */
#define SIM_CLOCKS     0x40000   /* Redis' clock is set; the nodes' differ */
#define SIM_PARTS      0x10000   /* several payments, balances, other ways */
#define SIM_REFUSALS   0x80000   /* refunds are refused, or fail later */
#define SIM_LAGS       0x100000  /* billing's lists are behind; not all that is
                                    said once more is told to be so */


/* wrongs that are planted, to see that they are found: world.wrong */

typedef struct {
    const char  *name;
    const char  *script;     /* NULL: all of them */
    const char  *from;       /* of its text */
    const char  *to;
} sim_wrong_t;

extern const sim_wrong_t  sim_wrongs[];


typedef struct sim_node_s  sim_node_t;
typedef struct sim_call_s  sim_call_t;


/* what is static in the engine's files, one for each node */

typedef struct {
    void    *at;
    size_t   size;
} sim_static_t;

extern sim_static_t  sim_sweeper_statics[];
extern sim_static_t  sim_survey_statics[];
extern sim_static_t  sim_database_statics[];
extern sim_static_t  sim_audit_statics[];
extern sim_static_t  sim_audit_judge_statics[];
extern sim_static_t  sim_audit_plan_statics[];
extern sim_static_t  sim_audit_pass_statics[];


struct sim_node_s {
    int                 id;
    int                 up;          /* flag */
    int64_t             stalled;     /* us, until when; 0: it runs */
    int64_t             away;        /* us: Redis cannot be reached until */
    int64_t             skew;        /* us: its clock is off by */

    lines_main_conf_t   lmcf;
    lines_op_conf_t     op;

    lines_zone_t        zone;        /* as it is after its boot */
    ngx_shm_zone_t      shm;
    ngx_slab_pool_t     slab;
    lines_database_area_t  database;
    ngx_uint_t          sweep[2];    /* who looked at what is due */

    ngx_queue_t         pools;
    ngx_queue_t         dead;        /* carriers to be destroyed */
    ngx_queue_t         sent;        /* commands, to Redis */
    ngx_queue_t         replies;
    ngx_queue_t         requests;    /* of people, people.c */

    ngx_uint_t          kills;
    u_char              statics[32768] __attribute__((aligned(16)));
};


struct sim_call_s {
    ngx_queue_t         queue;       /* of world.calls */
    sim_node_t         *node;
    lines_carrier_t    *carrier;     /* NULL: nobody waits */

    ngx_uint_t          method;
    char               *path;
    char               *args;
    char               *key;
    char               *body;

    int64_t             arrives;     /* us; 0: it has, -1: it never does */
    int64_t             answers;     /* us: when somebody hears */
    int                 fails;       /* HTTP status, instead of doing it */
    int                 saves;       /* flag: the failure, under the key */
    int                 spoils;      /* flag: done, and answered with 500 */
    int                 twice;       /* flag: it comes once more */
    int                 deaf;        /* flag: no answer is heard */

    int                 status;      /* what was answered */
    int                 replayed;
    int                 should_retry;   /* -1: not said */
    char               *json;
};


typedef struct {
    uint64_t            seed;
    uint64_t            random;
    uint64_t            steps;
    int64_t             now;         /* us */
    unsigned            may;
    const sim_wrong_t  *wrong;
    int                 verbose;
    int                 quiet;       /* flag: all is to come to rest */
    int                 lost;        /* flag: Redis has lost something */
    uint32_t            server;      /* of Redis: another one each time */
    int                 auditing;    /* flag: a pass is waited for */
    int                 restored;    /* flag: Redis is not what it was, */
    int64_t             held;        /* us: since then, and not confirmed */
    int64_t             skew;        /* us, of Redis' clock */
    uint64_t            deeds;       /* commands and calls, but for looks */

    sim_redis_t        *redis;
    sim_node_t          nodes[SIM_NODES];
    sim_node_t         *node;        /* at hand; NULL: none */
    int                 killing;     /* flag: it is at its end */
    ngx_queue_t         calls;

    uint64_t            ran[128];    /* scripts, by their place */
    ngx_uint_t          findings;
    char                finding[512];   /* the first */
} sim_world_t;

extern sim_world_t  world;


/* random numbers: below n; whether one of n */
uint64_t sim_random(uint64_t n);
#define sim_one_in(n)  (sim_random(n) == 0)

/* the same of another stream, which the course of all else does not depend on */
uint64_t sim_draw(uint64_t *stream, uint64_t n);

void sim_trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* what must not be: "kind: what" */
void sim_found(const char *kind, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));


/* nginx.c */
void sim_nginx_init(void);
void sim_nginx_debug(void);
void sim_nginx_set_time(int64_t us, int64_t skew);
void sim_logged(ngx_uint_t level, const char *text);
void sim_pools_destroy(ngx_queue_t *pools);
ngx_queue_t *sim_pools(void);
ngx_event_t *sim_timer_first(void);


/* node.c: all that is done in the name of a node is between both */

void sim_node_enter(sim_node_t *node);
void sim_node_leave(void);

void sim_node_boot(sim_node_t *node);
void sim_node_kill(sim_node_t *node);
void sim_node_free(sim_node_t *node);

int sim_node_execute(sim_node_t *node);    /* 0: only looked for work */
int sim_node_deliver(sim_node_t *node);    /* the same */
void sim_node_late(sim_node_t *node);      /* a reply misses its deadline */
void sim_node_cut(sim_node_t *node);
int64_t sim_node_timer(sim_node_t *node);  /* us of the first; 0: none */
int sim_node_tick(sim_node_t *node);       /* it is due; as execute */
int sim_node_busy(sim_node_t *node);
ngx_uint_t sim_node_running(sim_node_t *node);

void sim_call_arrive(sim_call_t *call);
void sim_call_answer(sim_call_t *call);
void sim_call_free(sim_call_t *call);

/* Redis, by hand: ended by NULL; good until the next */
const sim_str_t *sim_ask(const char *arg, ...) __attribute__((sentinel));
void sim_redis_begin(void);


/* billing.c */

void sim_billing_begin(void);
void sim_billing_end(void);

/* a call to billing or the provisioner takes effect */
void sim_billing_serve(sim_call_t *call);

/* when its clock does something by itself; and that */
int64_t sim_billing_due(void);
void sim_billing_tick(void);

/* us: when all that is there is listed */
int64_t sim_billing_caught_up(void);

/* a hand at billing: something that is possible there, or nothing */
void sim_billing_hand(void);
void sim_billing_pay(void);         /* an open invoice, by whoever has it */
void sim_billing_renew(void);
void sim_billing_dispute(void);
void sim_billing_refuse(void);      /* refunds of an invoice, or one made */
void sim_billing_grant(void);
void sim_billing_card(void);
void sim_billing_plan(void);

/* an event under way: when it is due, 0: none; it is taken out */
int64_t sim_event_due(void);
json_t *sim_event_take(void);
void sim_event_again(json_t *event);

/* what an auditor does not look at, as events */
void sim_billing_dunned(void);              /* what is overdue has an end */
void sim_billing_announce(void);

void sim_billing_customer(const char *id, const char *base_price);
int sim_billing_base(const char *customer, const char **state,
    const char **plan);

/*
 * A person gives back outside of billing what is due of an invoice; or ends a
 * subscription by hand, and gives back all that it brought.
 */
void sim_billing_settle(const char *invoice, int64_t due);
void sim_billing_settle_all(const char *subscription);

/* for the judge */

typedef struct {
    char     id[24];
    char     tenant[24];
    char     line[40];
    char     customer[24];
    char     status[24];
    int64_t  ended;                   /* 0: it has not */
    int      live, good, unpaid;      /* flags */
    int      ninvoices;
    int      paid_any;                /* flag: an invoice is paid */
    int64_t  paid, back, disputed;
    int64_t  first_paid, first_net;   /* of the newest that is paid */
    int      forgiven;                /* flag: people gave that back, of a line
                                         that ran, */
    int      forgave;                 /* flag: or another of its invoices */
    int64_t  kept_after;              /* net of what was paid after that: */
    int64_t  ours_before;             /* given back by us of what was before */
    int      open;                    /* flag: an invoice can still be paid */
} sim_sub_t;

int sim_billing_sub(int i, int64_t left, sim_sub_t *sub);


/* people.c */

void sim_people_begin(void);
void sim_people_again(void);                /* the tenants, in an empty Redis */
void sim_people_confirm(void);              /* it is the database from now on */
void sim_people_act(void);
void sim_people_resolve(void);              /* one of what is stuck */
void sim_people_said(const char *key, size_t key_len, const char *reply,
    size_t len);             /* what became of that */
void sim_people_gone(sim_node_t *node);     /* with their node */
void sim_people_event(sim_node_t *node, json_t *event);
void sim_people_provisioned(const char *tenant, const char *line);
ngx_uint_t sim_people_deleting(void);       /* tenants: it is gone on with */
int64_t sim_people_due(void);
void sim_people_tick(void);
int sim_people_left(const char *tenant, int64_t *when);
int sim_people_refunds(const char *tenant, const char *id);   /* asked for */
void sim_people_wake(sim_node_t *node, const char *tenant, const char *id);


/* judge.c */
void sim_judge(void);
int sim_judge_audited(void);                /* there is something to repair */
ngx_uint_t sim_judge_unfinished(void);      /* operations */


#endif /* _SIM_WORLD_H_INCLUDED_ */
