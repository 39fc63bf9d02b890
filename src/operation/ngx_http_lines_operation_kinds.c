
/*
 * Every kind of operation, as a table of its steps.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_payment.h"
#include "ngx_http_lines_purchase.h"
#include "ngx_http_lines_refund.h"
#include "ngx_http_lines_subscription.h"


/* a workspace's line, from the request to the provisioner */

static ngx_http_lines_operation_step_t  ngx_http_lines_request_steps[] = {
    { ngx_string("send"),    ngx_http_lines_payment_send,    NULL },
    { ngx_string("await"),   ngx_http_lines_payment_await,   NULL },
    { ngx_string("tell"),    ngx_http_lines_payment_tell,    NULL },
    { ngx_null_string, NULL, NULL }
};


static ngx_http_lines_operation_kind_t  ngx_http_lines_request_kind = {
    ngx_string("request"), ngx_http_lines_request_steps, NULL
};


/* a paid line that failed */

static ngx_http_lines_operation_step_t  ngx_http_lines_refund_steps[] = {
    { ngx_string("cancel"),  ngx_http_lines_refund_line,     NULL },
    { ngx_null_string, NULL, NULL }
};


static ngx_http_lines_operation_kind_t  ngx_http_lines_refund_kind = {
    ngx_string("refund"), ngx_http_lines_refund_steps, NULL
};


/* an active line that the operator released */

static ngx_http_lines_operation_step_t  ngx_http_lines_release_steps[] = {
    { ngx_string("cancel"),  ngx_http_lines_release_line,    NULL },
    { ngx_null_string, NULL, NULL }
};


static ngx_http_lines_operation_kind_t  ngx_http_lines_release_kind = {
    ngx_string("release"), ngx_http_lines_release_steps, NULL
};


/* what billing has and no line holds */

static ngx_http_lines_operation_step_t  ngx_http_lines_orphan_steps[] = {
    { ngx_string("cancel"),  ngx_http_lines_refund_orphan,   NULL },
    { ngx_null_string, NULL, NULL }
};


static ngx_http_lines_operation_kind_t  ngx_http_lines_orphan_kind = {
    ngx_string("orphan"), ngx_http_lines_orphan_steps, NULL
};


/* a workspace's base plan, after an event about it */

static ngx_http_lines_operation_step_t  ngx_http_lines_plan_steps[] = {
    { ngx_string("read"),    ngx_http_lines_plan_read,       NULL },
    { ngx_null_string, NULL, NULL }
};


static ngx_http_lines_operation_kind_t  ngx_http_lines_plan_kind = {
    ngx_string("plan"), ngx_http_lines_plan_steps, NULL
};


/* an add-on that may have ended, or be suspended */

static ngx_http_lines_operation_step_t  ngx_http_lines_lapse_steps[] = {
    { ngx_string("read"),    ngx_http_lines_lapse_read,      NULL },
    { ngx_null_string, NULL, NULL }
};


static ngx_http_lines_operation_kind_t  ngx_http_lines_lapse_kind = {
    ngx_string("lapse"), ngx_http_lines_lapse_steps, NULL
};


ngx_http_lines_operation_kind_t  *ngx_http_lines_operation_kinds[] = {
    &ngx_http_lines_request_kind,
    &ngx_http_lines_purchase_kind,
    &ngx_http_lines_refund_kind,
    &ngx_http_lines_release_kind,
    &ngx_http_lines_orphan_kind,
    &ngx_http_lines_plan_kind,
    &ngx_http_lines_lapse_kind,
    NULL
};
