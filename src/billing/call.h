
/*
 * One call to Stripe with its repeats: the engine under billing/billing.h, for
 * the files of this room only.
 */

#ifndef _LINES_BILLING_CALL_H_INCLUDED_
#define _LINES_BILLING_CALL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "billing/billing.h"


typedef struct lines_billing_call_s  lines_billing_call_t;


/*
 * A kind of call.  read() takes a 2xx answer and sets what was asked for in
 * call->result: NGX_OK; NGX_AGAIN, and next() sends the call for more; or
 * NGX_ERROR, and the outcome is unknown unless read() has set another.
 */

typedef struct {
    ngx_str_t       name;
    ngx_uint_t      method;
    ngx_int_t  (*read)(lines_billing_call_t *call, json_t *json);
    ngx_int_t  (*next)(lines_billing_call_t *call);
    const char     *before;     /* the path is before, id, after */
    const char     *after;
    const char     *args;
    ngx_uint_t      gone;       /* flag: 404 is as good as 200 */
} lines_billing_kind_t;


struct lines_billing_call_s {
    lines_carrier_t          *carrier;
    lines_billing_conf_t     *bcf;
    lines_billing_kind_t     *kind;

    ngx_str_t                 uri;
    ngx_str_t                 args;
    ngx_str_t                 key;
    ngx_str_t                 body;

    ngx_msec_t                start;
    ngx_uint_t                tries;     /* of this page */

    /* of lists */
    ngx_str_t                 filter;    /* arguments, escaped */
    ngx_str_t                 subscription;
    lines_stripe_metadata_t  *match;
    int64_t                   since;     /* seconds */
    ngx_uint_t                pages;
    ngx_str_t                 last;      /* id, the page's last */

    lines_billing_result_t    result;
    lines_billing_pt          handler;
    void                     *data;
};


/* all in the carrier's pool; id may be NULL; NULL: out of memory */
lines_billing_call_t *lines_billing_create(lines_carrier_t *carrier,
    lines_billing_kind_t *kind, ngx_str_t *id, lines_billing_pt handler,
    void *data);

/* body and key are copied: they are kept until the last repeat */
ngx_int_t lines_billing_write(lines_billing_call_t *call, ngx_str_t *key,
    ngx_str_t *body);

/* NGX_AGAIN or NGX_ERROR; call may be NULL: NGX_ERROR */
ngx_int_t lines_billing_send(lines_billing_call_t *call);

/* next() of lists: call->filter, past call->last; NGX_ERROR: too many pages */
ngx_int_t lines_billing_page(lines_billing_call_t *call);

/* NGX_ERROR: a test object under a live key, or the reverse; an alert */
ngx_int_t lines_billing_livemode(lines_billing_call_t *call,
    ngx_uint_t livemode);


#endif /* _LINES_BILLING_CALL_H_INCLUDED_ */
