
/*
 * Requests that stay: such that wait, and streams.  How many may, of a worker's
 * connections and of one tenant on a node, and how many there are.
 */

#ifndef _LINES_EVENTS_PARKED_H_INCLUDED_
#define _LINES_EVENTS_PARKED_H_INCLUDED_


#include "http/context.h"


typedef enum {
    LINES_PARKED_WAIT = 0,
    LINES_PARKED_STREAM,
    LINES_PARKED_KINDS
} lines_parked_e;


/*
 * NGX_OK: it may, and counts as one of this worker's until it leaves, and as one
 * of its tenant's until its request is gone; NGX_DONE: it was told why not;
 * NGX_ERROR
 */
ngx_int_t lines_parked_take(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_parked_e kind);
void lines_parked_leave(lines_parked_e kind);


#endif /* _LINES_EVENTS_PARKED_H_INCLUDED_ */
