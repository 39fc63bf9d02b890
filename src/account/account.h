
/*
 * The account dialect: how it says "no", its directives.
 */

#ifndef _LINES_ACCOUNT_ACCOUNT_H_INCLUDED_
#define _LINES_ACCOUNT_ACCOUNT_H_INCLUDED_


#include "api/plan.h"
#include "http/carrier.h"
#include "http/context.h"
#include "store/calls.h"


/* lines_deprecated_endpoints */

struct lines_deprecated_s {
    ngx_uint_t    off;             /* flag */
    time_t        since;
    time_t        sunset;          /* 0: not said */
};


/* lines_account_api [key_id_header=NAME] [secret_header=NAME] */
char *lines_account_headers(ngx_conf_t *cf, lines_loc_conf_t *llcf);

/* lines_deprecated_endpoints on|off [since=DATE] [sunset=DATE] (YYYY-MM-DD) */
char *lines_deprecated_endpoints(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


/* what decides whether an account may buy a line now */

typedef struct {
    lines_plan_t               *plan;
    lines_window_read_reply_t   windows;
    lines_inv_count_reply_t     numbers;    /* of a POST only */
    ngx_str_t                   reserved;   /* the number that is kept for it */
} lines_offer_t;

/* as a step; and, of what was read, NGX_OK, or answered with what is in the
   way */
ngx_int_t lines_offer_read(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_offer_t *offer);
ngx_int_t lines_offer_judge(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_offer_t *offer);


/* a confirm that buys nothing: dry_run.c */

typedef struct {
    ngx_uint_t        asked;                /* flag */
    lines_ctx_t      *ctx;
    ngx_uint_t        wished;               /* flag: for an area */
    ngx_str_t         customer;
    lines_offer_t     offer;
    lines_carrier_t  *carrier;
} lines_dry_run_t;

/*
 * What a confirm would come upon, whose token counts: windows, numbers, and
 * whether customer has a card.  As a step, answered.
 */
ngx_int_t lines_dry_run(ngx_http_request_t *r, lines_ctx_t *ctx,
    lines_dry_run_t *dry, ngx_str_t *customer);


/* 403: the plan buys nothing through the API */
ngx_int_t lines_account_plan_error(lines_ctx_t *ctx);

/* 402: nothing to charge */
ngx_int_t lines_account_no_card(lines_ctx_t *ctx);

/* 503: no number that begins as is wished for; nothing was done */
ngx_int_t lines_account_no_area(lines_ctx_t *ctx);

/* the tenant's id without its "a:" */
ngx_str_t lines_account_id(lines_ctx_t *ctx);


#endif /* _LINES_ACCOUNT_ACCOUNT_H_INCLUDED_ */
