
/*
 * Who waits on this worker for what becomes of a tenant's lines, or for what is
 * written into its journal.  They are told of by whichever node writes it, on
 * the channel of revoked keys: each worker has that one subscription, and hears
 * of tenants only where somebody waits (wait_put in store/commands,
 * scripts/lib/waited.lua).
 */

#ifndef _LINES_EVENTS_LISTENERS_H_INCLUDED_
#define _LINES_EVENTS_LISTENERS_H_INCLUDED_


#include "http/conf.h"


/* so long somebody is known to wait (ms), who says it once more in time */
#define LINES_LISTENERS_KNOWN  90000
#define LINES_LISTENERS_SAY    20000


/* why it is woken */
#define LINES_TOLD_NEWS  0x01    /* there is what it waits for */
#define LINES_TOLD_WHO   0x02    /* its key is another one, or gone, or its
                                    tenant's plan or subscription is */
#define LINES_TOLD_ALL   0x04    /* all of that, and it may have been missed */


typedef struct lines_listener_s  lines_listener_t;

struct lines_listener_s {
    ngx_queue_t   queue;
    ngx_queue_t   due;
    unsigned      woken:1;   /* it is among the due */
    unsigned      said:1;    /* that it waits, */
    ngx_msec_t    said_at;   /* ... and when */

    /* since it was woken last; the listener clears it */
    ngx_uint_t    told;

    /* the listener's own: not copied */
    ngx_str_t     tenant;
    ngx_str_t     line;      /* id */
    ngx_str_t     key_id;    /* by which it came, or empty */
    ngx_uint_t    journal;   /* flag: it waits for the tenant's journal, not for
                                that line */

    /*
     * There is news, or there may be: what it waits for has to be looked at.
     * Called from the event loop, once for all that was told by then; the
     * listener may be gone afterwards.  With ngx_exiting for the last time.
     */
    void        (*wake)(lines_listener_t *listener);
};


/* from here on it is woken; what was written before is to be read after that */
void lines_listeners_join(lines_listener_t *listener);
void lines_listeners_leave(lines_listener_t *listener);

/*
 * For those that stay: flag, that somebody waits in its tenant is to be said to
 * Redis, and then counts as said: of all that wait for one tenant, one does.
 * Where it could not be said after all, said is to be cleared.
 */
ngx_uint_t lines_listeners_say(lines_listener_t *listener);

/* others of its tenant wait for the journal, and may not have been told */
void lines_listeners_missed(lines_listener_t *listener);

/*
 * A message of the channel: "line TENANT ID", "event TENANT", TENANT (its plan
 * or subscription may be another), the id of a key that was revoked.  NULL: some
 * may have been missed, and all are woken, a few at a time.
 */
void lines_listeners_told(ngx_str_t *message);

ngx_int_t lines_listeners_init_process(ngx_cycle_t *cycle,
    lines_main_conf_t *lmcf);
void lines_listeners_exit_process(void);


#endif /* _LINES_EVENTS_LISTENERS_H_INCLUDED_ */
