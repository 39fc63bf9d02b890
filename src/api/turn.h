
/*
 * Turns: what may be long, such as a list of ten thousand lines, asks Redis
 * when it is its turn, one command at a time.  A worker gives out a few turns,
 * fewer to one tenant, and of a cluster to those of one primary, which may hang;
 * who waits is served tenant by tenant, so that one with much to read does not
 * keep the others from theirs.
 *
 * What is held in memory meanwhile, and until it is sent, has a bound: a tenant
 * may hold a part of what the worker has left, so that one has much, several
 * have less each, and the next one always finds something.  Who does not fit
 * sends what it has, and holds nothing then; who has nothing waits.
 */

#ifndef _LINES_API_TURN_H_INCLUDED_
#define _LINES_API_TURN_H_INCLUDED_


#include "http/context.h"


/* at a time, of a worker and of a tenant */
#define LINES_TURNS         16
#define LINES_TENANT_TURNS  2

/* bytes, of all that is held; and of what a turn may bring: a page of lines
   with all that a client can put into them */
#define LINES_HELD          (64 * 1024 * 1024)
#define LINES_HELD_TURN     (1024 * 1024)

/*
 * How many times as much as its tenant holds has to be left for a turn.  Alone,
 * a tenant may have a third of all, of which a quarter of all by those that
 * hold something already.
 */
#define LINES_LEFT_FIRST    2
#define LINES_LEFT_MORE     3

/* ms; it is others of the same tenant, as a rule, that are waited for */
#define LINES_TURN_WAIT     10000


typedef struct lines_turns_s  lines_turns_t;


typedef struct {
    ngx_queue_t     queue;    /* of those that wait */
    lines_ctx_t    *ctx;
    lines_step_pt   run;
    lines_step_pt   send;     /* or NULL */
    lines_step_pt   late;     /* ... */
    lines_turns_t  *turns;    /* the tenant's */
    size_t          held;     /* bytes */
    ngx_event_t     timer;
    unsigned        waiting:1;
    unsigned        running:1;
} lines_turn_t;


/*
 * Makes the turn of a request; it is given back when the request is answered
 * at the latest.  NULL without memory.
 */

lines_turn_t *lines_turn_create(lines_ctx_t *ctx, ngx_str_t *tenant,
    lines_step_pt run);

/*
 * NGX_AGAIN: run is called when it is the request's turn, as a step.  Who waits
 * for too long is answered with 503, or late is called, as a step.  Where there
 * is no room for who holds something, send is called instead: it is to give
 * that back, and then to take the turn again.
 */

ngx_int_t lines_turn_take(lines_turn_t *turn);

/* the next one's turn; no harm where there was none */
void lines_turn_end(void *turn);

/* counts bytes that are kept */
void lines_turn_hold(lines_turn_t *turn, size_t size);

/* all of them are given back; the end of the request does so as well */
void lines_turn_release(lines_turn_t *turn);


#endif /* _LINES_API_TURN_H_INCLUDED_ */
