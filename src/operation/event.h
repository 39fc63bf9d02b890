
/*
 * Events of billing: hints to look.  Nothing is derived from them, or from
 * their order; what they are about is read, by an operation.
 */

#ifndef _LINES_OPERATION_EVENT_H_INCLUDED_
#define _LINES_OPERATION_EVENT_H_INCLUDED_


#include "billing/billing.h"
#include "http/context.h"


/*
 * A verified event of our livemode, on behalf of the webhook's request; event
 * and what it points to live as long as the request.  The result is that of a
 * step:
 * answered with 200 once the hint is in Redis (the operation starts here and
 * now, but is not waited for), also for what is not ours or of no interest;
 * with 503 where Redis fails, so that billing sends it again.
 */

ngx_int_t lines_webhook_event(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_stripe_event_t *event);


#endif /* _LINES_OPERATION_EVENT_H_INCLUDED_ */
