
/*
 * Between the files about events: nobody else's business.
 */

#ifndef _LINES_OPERATION_EVENT_PRIVATE_H_INCLUDED_
#define _LINES_OPERATION_EVENT_PRIVATE_H_INCLUDED_


#include "operation/event.h"
#include "store/calls.h"


typedef struct {
    lines_stripe_event_t     *event;
    lines_stripe_metadata_t  *metadata;

    ngx_str_t                 tenant;
    ngx_str_t                 id;         /* of the line's operation */
    ngx_str_t                 subscription;
    ngx_str_t                 invoice;
    ngx_str_t                 status;     /* of the subscription */
    ngx_str_t                 customer;

    ngx_str_t                 spawn;      /* operation to be started */

    ngx_str_t                *tenants;    /* of the customer */
    ngx_str_t                *plans;      /* their operations */
    ngx_uint_t                ntenants;
    ngx_uint_t                left;

    unsigned                  unfinished:1;
    unsigned                  older:1;    /* another attempt's object */
} lines_event_t;


/* 200: taken, or nothing to take */
ngx_int_t lines_event_ignore(ngx_http_request_t *r, lines_ctx_t *ctx);

/* 1 where it may become part of a key */
ngx_uint_t lines_event_is_name(ngx_str_t *name);

/* where an operation is looked up, and the hint to it, due now */
ngx_int_t lines_event_announce(lines_ctx_t *ctx, ngx_str_t *tenant,
    ngx_str_t *id, lines_due_add_pt done);

/* an event about a base plan: the workspaces of its customer are dirty */
ngx_int_t lines_event_base(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_event_t *ev);


#endif /* _LINES_OPERATION_EVENT_PRIVATE_H_INCLUDED_ */
