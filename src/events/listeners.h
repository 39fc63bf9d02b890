
/*
 * Who waits on this worker for what becomes of a tenant's lines.  They are told
 * of by whichever node writes it, on the channel of revoked keys: each worker
 * has that one subscription, and hears of tenants only where somebody waits
 * (wait_put in store/commands, scripts/lib/waited.lua).
 */

#ifndef _LINES_EVENTS_LISTENERS_H_INCLUDED_
#define _LINES_EVENTS_LISTENERS_H_INCLUDED_


#include "http/conf.h"


typedef struct lines_listener_s  lines_listener_t;

struct lines_listener_s {
    ngx_queue_t   queue;
    ngx_queue_t   due;
    ngx_uint_t    woken;     /* flag: it is among the due */

    /* the listener's own: not copied */
    ngx_str_t     tenant;
    ngx_str_t     line;      /* id */
    ngx_str_t     key_id;    /* by which it came, or empty */

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
 * A message of the channel: "line TENANT ID", TENANT (its plan or subscription
 * may be another), the id of a key that was revoked.  NULL: some may have been
 * missed, and all are woken, a few at a time.
 */
void lines_listeners_told(ngx_str_t *message);

ngx_int_t lines_listeners_init_process(ngx_cycle_t *cycle,
    lines_main_conf_t *lmcf);
void lines_listeners_exit_process(void);


#endif /* _LINES_EVENTS_LISTENERS_H_INCLUDED_ */
