
/*
 * Operations: what must happen exactly once, though any process may die at any
 * moment.  The record is in Redis (operation/README.md); here is the copy that
 * one worker holds while it carries the operation on, with nobody's help: a
 * client may wait for it and may leave, the sweeper starts the same one
 * without.
 *
 * Two rules hold everywhere.  Before an effect its intent is recorded; the
 * outcome of a billing call goes to Redis from the handler of its answer, and
 * the next step starts once Redis has acknowledged it.  And every write names
 * the step, the attempt and the fence that it was decided upon: whoever lost
 * the lease drops what it knows.
 */

#ifndef _LINES_OPERATION_OPERATION_H_INCLUDED_
#define _LINES_OPERATION_OPERATION_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "billing/billing.h"
#include "http/context.h"


#define LINES_DUE_SHARDS  16
#define LINES_POLLS       8


typedef struct lines_op_s  lines_op_t;


/* of a worker: which tenants it looks at for operations without a hint */

typedef struct {
    lines_main_conf_t  *lmcf;
    lines_caller_t      caller;
    ngx_pool_t         *pool;         /* NULL: at rest */
    u_char              cursor[24];   /* of SSCAN */
    size_t              cursor_len;
    lines_list_t        tenants;      /* left */
    lines_list_t        ids;          /* of the operations of one, left */
    ngx_uint_t          pending;      /* hints on their way */
} lines_walk_t;


/* lines_operations: all times in milliseconds */

struct lines_op_conf_s {
    ngx_msec_t   lease;        /* lease=20s: outlasts any one call */
    ngx_msec_t   sweep;        /* sweep=5s: between two looks */
    ngx_msec_t   due;          /* due=30s: first due instant */
    ngx_msec_t   budget;       /* budget=3s: a client waits so long */
    ngx_msec_t   reconcile;    /* reconcile=5s: once per line, by GET */
    ngx_msec_t   reader;       /* reader=1s: a GET waits so long */
    ngx_msec_t   retry;        /* retry=5s: first rest after a failure,
                                  doubled up to four times that */
    ngx_msec_t   absent;       /* absent=30s: between two look-ups */
    ngx_msec_t   resend;       /* resend=23h: no call is sent later */
    ngx_msec_t   hint;         /* hint=5m: an idle hint is kept so long */
    ngx_msec_t   late;         /* late=5s: a begin's not_after */
    ngx_msec_t   walk_every;   /* walk=1m: lost hints are looked for */
    ngx_msec_t   poll[LINES_POLLS];  /* poll=1m,5m,30m */
    ngx_uint_t   npolls;
    ngx_msec_t   every;        /* every=1h: then */
    ngx_msec_t   dead;         /* dead=23h5m: the last look */
    ngx_uint_t   batch;        /* batch=16: operations at once that the
                                  sweeper of a worker carries */
    ngx_uint_t   said;         /* parameters: several directives may */

    /* of this worker */
    ngx_queue_t  running;      /* lines_op_t */
    ngx_uint_t   sweeping;     /* of them without a client */
    ngx_uint_t   backlog;      /* flag: more was due than batch */
    ngx_event_t  sweeper;
    lines_caller_t  caller;    /* the sweeper's */
    lines_walk_t  walk;
    ngx_msec_t   walked;
};


/*
 * What a step returns
 *   NGX_AGAIN  parked: a script, a call or a wait is under way
 *   NGX_OK     run the step that op->step names now (set by a write)
 *   NGX_DONE   at rest: it ended, or its due instant says when to go on
 *   NGX_ERROR  not now: the sweeper goes on from the record
 */

typedef ngx_int_t (*lines_op_run_pt)(lines_op_t *op);

/* the same results; the place where the outcome goes to Redis */
typedef ngx_int_t (*lines_op_answer_pt)(lines_op_t *op,
    lines_billing_result_t *result);

/* the same for a call that is not billing's (the provisioner's) */
typedef ngx_int_t (*lines_op_result_pt)(lines_op_t *op,
    lines_result_t *result);


/*
 * An operation reads as a table.  The name of a step is its recovery point: it
 * can be entered again at any time.  undo takes back what the step has done;
 * it runs from the step that failed upwards, as a run function of its own
 * whose recovery point is "undo:NAME", and ends with
 * lines_op_undone().  A step without undo is passed over.
 */

typedef struct {
    ngx_str_t        name;
    lines_op_run_pt  run;
    lines_op_run_pt  undo;
} lines_op_step_t;


typedef struct {
    ngx_str_t         name;     /* "kind" of the record */
    lines_op_step_t  *steps;    /* ends with a null name */
    lines_op_run_pt   undone;   /* once all is undone: writes
                                   the end; or NULL */
} lines_op_kind_t;


/* registered in operation/kinds.c */
extern lines_op_kind_t  *lines_op_kinds[];


/* what the one who started it would like beside going on */

#define LINES_WANT_LINK    0x0001   /* dead invoice: a new attempt */
#define LINES_WANT_CANCEL  0x0002   /* dead invoice: cancel the line */
#define LINES_WANT_INTENT  0x0004   /* see to an intent just recorded */


struct lines_op_s {
    ngx_queue_t         queue;     /* of conf->running */
    ngx_pool_t         *pool;      /* its own */
    ngx_log_t          *log;
    lines_main_conf_t  *lmcf;
    lines_op_conf_t    *conf;

    ngx_str_t           tenant;    /* w:ID or a:ID */
    ngx_str_t           id;
    lines_op_kind_t    *kind;      /* NULL until claimed */
    ngx_str_t           step;      /* recovery point */
    ngx_str_t           point;     /* "KIND.STEP", for logs */
    ngx_uint_t          attempt;
    ngx_uint_t          fence;
    ngx_uint_t          want;
    ngx_uint_t          swept;     /* flag: by the sweeper */

    ngx_array_t         fields;    /* of the record: ngx_keyval_t */
    int64_t             now;       /* Redis' clock, at the claim */
    ngx_msec_t          claimed;   /* and ours */

    lines_carrier_t    *carrier;   /* from the first call on */
    void               *data;      /* the kind's own, of pool */

    ngx_queue_t         waiters;   /* clients; may be empty */

    lines_caller_t      caller;    /* of the store: done() has its results
                                      as a step */

    /* the engine's own */
    lines_op_run_pt     send;
    lines_op_answer_pt  answer;
    lines_op_result_pt  result;
    lines_op_run_pt     wake;
    lines_op_run_pt     done;      /* of a refund */
    ngx_str_t           json;      /* for the provisioner */
    ngx_event_t         next;      /* posted, or a timer */
    ngx_int_t           rc;
    ngx_str_t           next_step;
    lines_list_t        changes;   /* on their way: field, value, … */
    ngx_uint_t          repeats;   /* of a call, in this run */
    ngx_uint_t          reclaims;  /* after a lost reply */
    unsigned            claiming:1;
    unsigned            ended:1;   /* the record says done */
    unsigned            lost:1;    /* held by another */
    unsigned            unknown:1;  /* no such record */
};


/*
 * What a waiting client learns.  rc is
 *   NGX_OK        the operation is at rest, or done
 *   NGX_AGAIN     the budget is over; it goes on without the client
 *   NGX_BUSY      another process holds it, still at the end of the budget
 *   NGX_DECLINED  there is no such operation (any more)
 *   NGX_ERROR     Redis or billing cannot be asked now: 503
 * op (NULL for BUSY, DECLINED, ERROR) shows the record as far as it is known:
 * lines_op_get(op, "answer") and so on, until the handler
 * returns.  The result is that of a step of the request.
 */

typedef ngx_int_t (*lines_op_done_pt)(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_int_t rc, lines_op_t *op);


/*
 * Starts, joins or waits for an operation on behalf of a request.  fence is
 * the one that begin gave with its lease, 0 for none.  budget 0 is the
 * configured one.  Returns NGX_AGAIN: done is called later, once, unless the
 * client leaves before, and the request resumes with its result; or what
 * lines_unavailable() returned.  tenant and id are copied.
 */

ngx_int_t lines_op_start(ngx_http_request_t *r, lines_ctx_t *ctx,
    ngx_str_t *tenant, ngx_str_t *id, ngx_uint_t fence, ngx_uint_t want,
    ngx_msec_t budget, lines_op_done_pt done);

/*
 * The same with no client.  NGX_OK: it was started, or runs here already;
 * NGX_ERROR: not now.
 */

ngx_int_t lines_op_spawn(lines_main_conf_t *lmcf, ngx_str_t *tenant,
    ngx_str_t *id, ngx_uint_t fence, ngx_uint_t want);


/* For the steps. */

/* a field of the record; empty where it is absent */
ngx_str_t lines_op_get(lines_op_t *op, const char *name);
int64_t lines_op_get_number(lines_op_t *op, const char *name);

/* of the copy only, as a script has written it; copied; NGX_ERROR: no memory */
ngx_int_t lines_op_set(lines_op_t *op, const char *name, ngx_str_t *value);

/* another step, in the copy: a script has moved the record there */
ngx_int_t lines_op_enter(lines_op_t *op, ngx_str_t *step);

/* such a script sets the lease anew, too: call it when it is sent */
void lines_op_renewed(lines_op_t *op);

/* claims anew: reads the record again and runs the step that it is in */
ngx_int_t lines_op_take(lines_op_t *op);

/*
 * Nothing of the operation can be older at billing: seconds, a day before it
 * began, for clocks that differ.
 */
int64_t lines_op_since(lines_op_t *op);

/* Redis' time, milliseconds */
int64_t lines_op_now(lines_op_t *op);

/* a hint to another operation of the tenant, due after a while */
void lines_op_hint(lines_op_t *op, ngx_str_t *id, ngx_msec_t delay);

/*
 * What guard() compares, in the arguments of a declared call whose head says
 * --@key op(id), --@arg step, --@arg attempt:digits, --@arg fence:digits.
 * Its reply "lost" never reaches done(): the operation is dropped.  Without a
 * reply it is claimed again, and the step that the record says is entered.
 */
#define lines_op_held(op, args)                                               \
    ((args)->tenant = (op)->tenant, (args)->id = (op)->id,                    \
     (args)->step = (op)->step, (args)->attempt = (op)->attempt,              \
     (args)->fence = (op)->fence)

/* --@key line(line) and --@given idem? of what ends it with its line */
#define lines_op_of_line(op, args)                                            \
    ((args)->line = lines_op_get(op, "line"),                                 \
     (args)->idem_key = lines_op_get(op, "idempotency"))

/*
 * Writes fields (name, value, …) and moves to another step, which then runs.
 * The lease is claimed anew.  next may be the step itself.
 */

ngx_int_t lines_op_move(lines_op_t *op, const char *next, ngx_uint_t nfields,
    ngx_str_t *fields);

/* the same to the one below in the table */
ngx_int_t lines_op_advance(lines_op_t *op, ngx_uint_t nfields,
    ngx_str_t *fields);

/*
 * A billing call: makes the carrier, claims the lease anew where it is not
 * fresh, and has send(op) make the call, as
 *     return lines_billing_get_invoice(op->carrier, &id,
 *                lines_op_answered, op);
 * answer(op, result) is called once.
 */

ngx_int_t lines_op_call(lines_op_t *op, lines_op_run_pt send,
    lines_op_answer_pt answer);

void lines_op_answered(void *data, lines_billing_result_t *result);

/* the same for lines_carrier_call() in send */
ngx_int_t lines_op_call_other(lines_op_t *op, lines_op_run_pt send,
    lines_op_result_pt result);

void lines_op_other_answered(void *data, lines_result_t *result);

/*
 * An outcome that decides nothing (RETRY, UNKNOWN, UNSENT, or a provisioner
 * that is away): the step again, soon while a client waits and a few times
 * only, else after a rest.  ALERT and the like: stuck().
 */

ngx_int_t lines_op_again(lines_op_t *op);

/*
 * Rests until a due instant: the lease is given back.  For an outcome that
 * counts, fields are written with it.
 */

ngx_int_t lines_op_rest(lines_op_t *op, ngx_msec_t delay, ngx_uint_t nfields,
    ngx_str_t *fields);

/* for people to look at: an alert, "stuck" in the record, a rest */
ngx_int_t lines_op_stuck(lines_op_t *op, const char *reason);

/* for who rests with "stuck" among its own fields: the operator's list */
void lines_op_list_stuck(lines_op_t *op);

/* its record is done (a script said so): the hint goes, the clients learn */
ngx_int_t lines_op_finish(lines_op_t *op);

/*
 * Begins the undo at the step that runs now; the answer is recorded with it.
 * undone: the end of a step's undo function.
 */

ngx_int_t lines_op_undo(lines_op_t *op, ngx_uint_t status, ngx_str_t *answer);
ngx_int_t lines_op_undone(lines_op_t *op);


/*
 * Hints: the list of an operation's shard, its member "TENANT ID".  They are
 * written before what they point at.
 */

int64_t lines_due_shard(ngx_str_t *id);


/*
 * The operation that gives back what a line has cost: its id derives from the
 * line's, so that whoever begins it names the same one.
 */

ngx_int_t lines_refund_id(ngx_pool_t *pool, ngx_str_t *line, ngx_str_t *id);

/* 24 hex digits of SHA-256 over prefix and name */
ngx_int_t lines_derive_id(ngx_pool_t *pool, const char *prefix,
    ngx_str_t *name, ngx_str_t *id);


/* lines_operations lease=… sweep=… …; conf is the main configuration */
char *lines_operations(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* create_main_conf, with unset values; init_main_conf: the defaults */
lines_op_conf_t *lines_op_create_conf(ngx_conf_t *cf);
char *lines_op_init_conf(ngx_conf_t *cf, lines_op_conf_t *ocf);

/* the sweeper of this worker; Redis has been created before */
ngx_int_t lines_op_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf);
void lines_op_exit_process(lines_main_conf_t *lmcf);


#endif /* _LINES_OPERATION_OPERATION_H_INCLUDED_ */
