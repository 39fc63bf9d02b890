
/*
 * Every kind of operation, as a table of its steps.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "operation/payment.h"
#include "operation/purchase.h"
#include "operation/refund.h"
#include "operation/subscription.h"


/* a workspace's line, from the request to the provisioner */

static lines_op_step_t  request_steps[] = {
    { ngx_string("send"),    lines_payment_send,    NULL },
    { ngx_string("await"),   lines_payment_await,   NULL },
    { ngx_string("tell"),    lines_payment_tell,    NULL },
    { ngx_null_string, NULL, NULL }
};


static lines_op_kind_t  request_kind = {
    ngx_string("request"), request_steps, NULL
};


/* a paid line that failed */

static lines_op_step_t  refund_steps[] = {
    { ngx_string("cancel"),  lines_refund_line,     NULL },
    { ngx_null_string, NULL, NULL }
};


static lines_op_kind_t  refund_kind = {
    ngx_string("refund"), refund_steps, NULL
};


/* an active line that the operator released */

static lines_op_step_t  release_steps[] = {
    { ngx_string("cancel"),  lines_release_line,    NULL },
    { ngx_null_string, NULL, NULL }
};


static lines_op_kind_t  release_kind = {
    ngx_string("release"), release_steps, NULL
};


/* what billing has and no line holds */

static lines_op_step_t  orphan_steps[] = {
    { ngx_string("cancel"),  lines_refund_orphan,   NULL },
    { ngx_null_string, NULL, NULL }
};


static lines_op_kind_t  orphan_kind = {
    ngx_string("orphan"), orphan_steps, NULL
};


/* a workspace's base plan, after an event about it */

static lines_op_step_t  plan_steps[] = {
    { ngx_string("read"),    lines_plan_read,       NULL },
    { ngx_null_string, NULL, NULL }
};


static lines_op_kind_t  plan_kind = {
    ngx_string("plan"), plan_steps, NULL
};


/* an add-on that may have ended, or be suspended */

static lines_op_step_t  lapse_steps[] = {
    { ngx_string("read"),    lines_lapse_read,      NULL },
    { ngx_null_string, NULL, NULL }
};


static lines_op_kind_t  lapse_kind = {
    ngx_string("lapse"), lapse_steps, NULL
};


lines_op_kind_t  *lines_op_kinds[] = {
    &request_kind,
    &lines_purchase_kind,
    &refund_kind,
    &release_kind,
    &orphan_kind,
    &plan_kind,
    &lapse_kind,
    NULL
};
