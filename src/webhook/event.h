
/*
 * Events of billing: hints to look.  Nothing is derived from them, or from
 * their order; what they are about is read, by an operation.
 */

#ifndef _LINES_WEBHOOK_EVENT_H_INCLUDED_
#define _LINES_WEBHOOK_EVENT_H_INCLUDED_


#include "billing/billing.h"
#include "http/context.h"


/*
 * A verified event of our livemode, as a step of the webhook's request; event
 * and what it points to live as long as that.  NGX_OK: the hint is in Redis
 * (the operation starts here and now, but is not waited for), or nothing
 * follows.  Answered with 503 where Redis or billing cannot be asked, or nobody
 * can act on it yet: billing sends it again.
 */

ngx_int_t lines_webhook_event(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_stripe_event_t *event);


#endif /* _LINES_WEBHOOK_EVENT_H_INCLUDED_ */
