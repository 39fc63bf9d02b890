
/*
 * The record of an operation (key "op"): the copy that a worker holds, its
 * claim and its writes, and the hints to it.
 */

#ifndef _LINES_OPERATION_RECORD_H_INCLUDED_
#define _LINES_OPERATION_RECORD_H_INCLUDED_


#include "billing/billing.h"
#include "http/text.h"
#include "operation/conf.h"
#include "operation/decide.h"
#include "store/calls.h"


typedef struct lines_op_s  lines_op_t;


/*
 * What an action returns
 *   NGX_AGAIN  parked: a script, a call or a wait is under way
 *   NGX_OK     something is different now: decide again
 *   NGX_DONE   at rest: it ended, or its due instant says when to go on
 *   NGX_ERROR  not now: the sweeper goes on from the record
 */

typedef ngx_int_t (*lines_op_run_pt)(lines_op_t *op);

/* the same results; the place where the outcome goes to Redis */
typedef ngx_int_t (*lines_op_answer_pt)(lines_op_t *op,
    lines_billing_result_t *result);


/* what a kind does for what is decided; NULL: it cannot be decided of it */

struct lines_op_kind_s {
    const char      *name;      /* "kind" of the record */
    lines_op_run_pt  acts[LINES_ACTIONS];
    ngx_uint_t       again;     /* flag: it may begin once more by its id */
};

/* every kind (kinds.c); ends with a null name */
extern const lines_op_kind_t  lines_op_kinds[];


/* what may be on its way: it is of an invoice that has its turn first, or was
   read, and billing does not know it */
#define LINES_DOUBT_FIRST    1
#define LINES_DOUBT_MISSING  2

/*
 * What this run has seen with its own eyes: all of it is forgotten with the
 * next claim.  The subscription's strings live as long as the carrier.
 */

typedef struct {
    lines_call_e                 call;       /* DUE: not answered */
    lines_sub_e                  sub;        /* NONE: not seen */
    lines_invoice_e              invoice;
    lines_place_e                place;      /* UNSEEN: as the record says */
    lines_money_e                money;
    lines_number_e               number;     /* NONE: as the record says */
    lines_tell_e                 told;
    lines_card_e                 card;
    lines_stripe_subscription_t  subscription;
    ngx_str_t                    latest;     /* invoice; empty: not told */
    ngx_uint_t                   listed;     /* LINES_LISTED_... */
    lines_stripe_error_t         error;      /* of a call that is REFUSED */
    lines_money_t                ledger;     /* of subscription.invoice */
    unsigned                     off:1;
    unsigned                     tried:1;
    unsigned                     others:1;   /* past its first invoice */
    unsigned                     doubt:2;    /* LINES_DOUBT_... */
    unsigned                     checked:1;  /* the database */
    unsigned                     stuck:1;    /* a person's word counts now */
} lines_op_seen_t;


struct lines_op_s {
    ngx_queue_t         queue;     /* of conf->running */
    ngx_pool_t         *pool;      /* its own */
    ngx_log_t          *log;
    lines_main_conf_t  *lmcf;
    lines_op_conf_t    *conf;

    ngx_str_t           tenant;    /* w:ID or a:ID */
    ngx_str_t           id;
    const lines_op_kind_t  *kind;  /* NULL until claimed */
    lines_point_e       at;
    lines_op_seen_t     seen;
    const char         *reason;    /* of what was decided */
    ngx_str_t           step;      /* recovery point */
    ngx_str_t           point;     /* "KIND.STEP", for logs */
    ngx_uint_t          attempt;
    int64_t             asked;     /* ms by Redis' clock, at the earliest: when
                                      billing was */
    int64_t             ahead;     /* billing's clock of Redis', s, */
    ngx_uint_t          dated;     /* flag: where it told its time */
    ngx_uint_t          unsent;    /* the attempt of which no try can have had
                                      an effect; 0: nobody knows */
    ngx_uint_t          fence;
    ngx_uint_t          swept;     /* flag: by the sweeper */

    ngx_array_t         fields;    /* of the record: ngx_keyval_t */
    int64_t             now;       /* Redis' clock, at the claim */
    ngx_msec_t          claimed;   /* and ours */
    ngx_msec_t          lag;       /* until that was known: so much less, at the
                                      most, was Redis' */

    lines_carrier_t    *carrier;   /* from the first call on */
    void               *data;      /* the kind's own, of pool */
    ngx_str_t           refund;    /* lines_refund_name() */
    ngx_int_t         (*announced)(void *data);  /* lines_refund_announce() */

    ngx_queue_t         waiters;   /* lines_op_waiter_t; may be empty */

    lines_caller_t      caller;    /* of the store: done() has its results
                                      as a step */

    /* the engine's own */
    lines_billing_ask_t  ask;      /* the call that is under way */
    lines_op_answer_pt  answer;    /* NULL: the body is the provisioner's */
    ngx_str_t           document;  /* of the line, as just written; or empty */
    lines_op_run_pt     wake;
    ngx_event_t         next;      /* posted, or a timer */
    ngx_int_t           rc;
    const char         *next_step;  /* of a write that is on its way */
    int64_t             rest;      /* ms, of the same */
    ngx_uint_t          repeats;   /* of a call, in this run */
    ngx_uint_t          reclaims;  /* after a lost reply */
    unsigned            claiming:1;
    unsigned            ended:1;   /* the record says done */
    unsigned            lost:1;    /* held by another */
    unsigned            unknown:1;  /* no such record */
    unsigned            dropping:2; /* its hint, then */
};


/* what a begin says, which leased it for who began it */

typedef struct {
    lines_list_t  fields;     /* of the record; none: it is to be claimed */
    int64_t       now;        /* Redis' clock */
    ngx_msec_t    sent;       /* and ours, when begin was sent */
    ngx_uint_t    fence;
    ngx_uint_t    checked;    /* flag: the database, right before */
    ngx_str_t     document;   /* of the line; may be empty */
} lines_op_begun_t;


/* one of the record; an empty value takes it away */

typedef struct {
    const char  *name;
    ngx_str_t    value;
} lines_op_field_t;

#define LINES_OP_FIELDS  12

#define lines_op_fields(...)                                                  \
    (lines_op_field_t[LINES_OP_FIELDS + 1]) { __VA_ARGS__ __VA_OPT__(,)       \
                                              { NULL, ngx_null_string } }


/* "lines operation ID: …", with an argument at least */

#define lines_op_log(op, level, fmt, ...)                                     \
    ngx_log_error(level, (op)->log, 0, "lines operation %V: " fmt, &(op)->id, \
                  __VA_ARGS__)

#if (NGX_DEBUG)
#define lines_op_debug(op, fmt, ...)                                          \
    ngx_log_debug(NGX_LOG_DEBUG_HTTP, (op)->log, 0,                           \
                  "lines operation %V: " fmt, &(op)->id, __VA_ARGS__)
#else
#define lines_op_debug(op, ...)
#endif


/* a text that ends with a zero, as a string */
ngx_str_t lines_op_text(const char *text);

/* a value; the write that it goes to fails where there is no memory */
ngx_str_t lines_op_number(lines_op_t *op, int64_t number);


/* op->caller: no reply, and the operation is claimed again */
void lines_op_caller(lines_op_t *op);

/* the copy, of what begin said */
ngx_int_t lines_op_leased(lines_op_t *op, lines_op_begun_t *begun);

/*
 * A field of the record; empty where it is absent.  "payer" is none: it is the
 * tenant's customer, at the claim; absent where it was begun just now.
 */
ngx_str_t lines_op_get(lines_op_t *op, const char *name);
int64_t lines_op_get_number(lines_op_t *op, const char *name);

/* of the copy only, as a script has written it; copied; NGX_ERROR: no memory */
ngx_int_t lines_op_set(lines_op_t *op, const char *name, ngx_str_t *value);

/* another step, in the copy: a script has moved the record there */
ngx_int_t lines_op_enter(lines_op_t *op, const char *step);

/* the same, with the answer that was written; and to its end, without */
ngx_int_t lines_op_answered(lines_op_t *op, const char *step,
    ngx_str_t *status, ngx_str_t *answer);
ngx_int_t lines_op_over(void *op);

/* such a script sets the lease anew, too: call it when it is sent */
void lines_op_renewed(lines_op_t *op);

/* what was seen: it is to be looked at anew; NGX_OK */
ngx_int_t lines_op_forget(lines_op_t *op);

/* claims anew: reads the record again, forgets what was seen, decides */
ngx_int_t lines_op_take(lines_op_t *op);

/* done() of any claim that is not just held: as that of lines_op_take() */
ngx_int_t lines_op_claimed(void *data, lines_op_claim_reply_t *reply);

/* Redis' time, milliseconds */
int64_t lines_op_now(lines_op_t *op);

/* billing said so (s) by its clock, after it was asked, and before now */
void lines_op_dated(lines_op_t *op, int64_t at);

/* how far that is ahead of Redis', as told last, s; empty: never was */
ngx_str_t lines_op_ahead(lines_op_t *op);

/*
 * What guard() compares, in the arguments of a declared call whose head says
 * --@key op(id), --@arg step, --@arg attempt:digits, --@arg fence:digits.
 * Its reply "lost" never reaches done(): the operation is dropped; nor does
 * "woken", nor no reply: it is claimed again, and goes on by the record.
 */
#define lines_op_held(op)                                                     \
    .tenant = (op)->tenant, .id = (op)->id, .step = (op)->step,               \
    .attempt = (op)->attempt, .fence = (op)->fence

/* --@key line(line) and --@given idem? of what ends it with its line */
#define lines_op_of_line(op)                                                  \
    .line = lines_op_get(op, "line"),                                         \
    .idem_key = lines_op_get(op, "idempotency")

/*
 * Writes fields, as { "url", url }, { "stuck", ngx_string("undo") }, and moves
 * to another step, which then runs.  The lease is claimed anew.  next may be
 * the step itself.
 */

#define lines_op_move(op, next, ...)                                          \
    lines_op_write(op, next, LINES_NO_REST, lines_op_fields(__VA_ARGS__))

/*
 * The same in the step that it is in, and rests until a due instant: the lease
 * is given back, unless there is news, which is seen first.
 */

#define lines_op_rest(op, delay, ...)                                         \
    lines_op_write(op, (char *) (op)->step.data, delay,                       \
                   lines_op_fields(__VA_ARGS__))

#define LINES_NO_REST  INT64_MIN

ngx_int_t lines_op_write(lines_op_t *op, const char *next, int64_t rest,
    lines_op_field_t *field);

/* the write that was answered just now has given the lease back: NGX_DONE */
ngx_int_t lines_op_rested(lines_op_t *op, ngx_msec_t delay);

/* goes on with rc from a posted event */
void lines_op_post(lines_op_t *op, ngx_int_t rc);

/* calls wake(op) after a while; NGX_AGAIN */
ngx_int_t lines_op_wait(lines_op_t *op, ngx_msec_t delay,
    lines_op_run_pt wake);


/*
 * Hints: the list of an operation's shard, its member "TENANT ID".  They are
 * written before what they point at.
 */

#define LINES_DUE_SHARDS  16

int64_t lines_due_shard(ngx_str_t *id);

/* to another operation of the tenant, or to this one, due after a while */
void lines_op_hint(lines_op_t *op, ngx_str_t *id, ngx_msec_t delay);

/* the arguments of a declared call that name this one's */
#define lines_op_member(op)                                                   \
    .shard = lines_due_shard(&(op)->id), .tenant = (op)->tenant,              \
    .id = (op)->id


/*
 * The operation that gives back what a line has cost: its id derives from the
 * line's, so that whoever begins it names the same one.
 */

#define lines_refund_id(pool, line, id)                                       \
    lines_derive_id(pool, "refund:", line, id)

/* 24 hex digits of SHA-256 over prefix and name */
ngx_int_t lines_derive_id(ngx_pool_t *pool, const char *prefix,
    ngx_str_t *name, ngx_str_t *id);


#endif /* _LINES_OPERATION_RECORD_H_INCLUDED_ */
