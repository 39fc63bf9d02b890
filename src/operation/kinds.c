
/*
 * Every kind of operation, as a table of its steps: their names, what runs,
 * what undoes.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "operation/kinds.h"
#include "operation/payment.h"
#include "operation/purchase.h"
#include "operation/refund.h"
#include "operation/subscription.h"


lines_op_kind_t  lines_op_kinds[] = {

    /* a workspace's line, from the request to the provisioner */

    { ngx_string("request"), NULL,
      { { ngx_string("send"), lines_payment_send, NULL },
        { ngx_string("await"), lines_payment_await, NULL },
        { ngx_string("tell"), lines_payment_tell, NULL } } },

    /* an account's line (operation/README.md, "A confirm") */

    { ngx_string("purchase"), lines_purchase_undone,
      { { ngx_string("card"), lines_purchase_card, NULL },
        { ngx_string("lease"), lines_purchase_lease, lines_purchase_release },
        { ngx_string("charge"), lines_purchase_charge, lines_purchase_refund },
        { ngx_string("assign"), lines_purchase_assign, NULL },
        { ngx_string("tell"), lines_purchase_tell, NULL },
        { ngx_string("end"), lines_purchase_end, NULL } } },

    /* a paid line that failed */

    { ngx_string("refund"), NULL,
      { { ngx_string("cancel"), lines_refund_all, NULL } } },

    /* an active line that the operator released */

    { ngx_string("release"), NULL,
      { { ngx_string("cancel"), lines_unsubscribe, NULL } } },

    /* what billing has and no line holds */

    { ngx_string("orphan"), NULL,
      { { ngx_string("cancel"), lines_refund_all, NULL } } },

    /* a workspace's base plan, after an event about it */

    { ngx_string("plan"), NULL,
      { { ngx_string("read"), lines_plan_read, NULL } } },

    /* an add-on that may have ended, or be suspended */

    { ngx_string("lapse"), NULL,
      { { ngx_string("read"), lines_lapse_read, NULL } } },

    { ngx_null_string, NULL, { { ngx_null_string, NULL, NULL } } }
};
