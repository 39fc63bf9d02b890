
/*
 * Lists, read page by page: what all of them share, and that of the invoices
 * of a subscription.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "billing/call.h"


/* pages of five: more might not fit in an answer of 64k */
#define LINES_BILLING_PAGE   "5"
#define LINES_BILLING_PAGES  200


static ngx_int_t billing_read_invoices(lines_billing_call_t *call,
    json_t *json);


static lines_billing_kind_t  billing_kind_invoices = {
    ngx_string("invoices"), NGX_HTTP_GET,
    billing_read_invoices, lines_billing_page,
    "v1/invoices", "", "", 0
};


ngx_int_t
lines_billing_page(lines_billing_call_t *call)
{
    u_char     *p;
    size_t      len;
    ngx_str_t   last;

    if (call->pages++ == LINES_BILLING_PAGES) {
        return NGX_ERROR;
    }

    ngx_str_null(&last);

    if (call->last.len
        && lines_form_escape(call->carrier->pool, &call->last, &last)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    len = sizeof("&limit=" LINES_BILLING_PAGE "&starting_after=")
          + call->filter.len + last.len;

    p = ngx_pnalloc(call->carrier->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    call->args.data = p;

    p = ngx_sprintf(p, "%V&limit=" LINES_BILLING_PAGE, &call->filter);

    if (last.len) {
        p = ngx_sprintf(p, "&starting_after=%V", &last);
    }

    call->args.len = p - call->args.data;

    call->tries = 0;

    return lines_billing_send(call);
}


ngx_int_t
lines_billing_find_unsettled(lines_carrier_t *carrier, ngx_str_t *subscription,
    ngx_str_t *after, lines_billing_pt handler, void *data)
{
    ngx_str_t              escaped;
    lines_billing_call_t  *call;

    /* without it, it would be the list of everybody's */

    if (subscription->len == 0) {
        return NGX_ERROR;
    }

    call = lines_billing_create(carrier, &billing_kind_invoices, NULL, handler,
                                data);
    if (call == NULL) {
        return NGX_ERROR;
    }

    call->subscription.len = subscription->len;
    call->subscription.data = ngx_pstrdup(carrier->pool, subscription);

    if (call->subscription.data == NULL
        || lines_form_escape(carrier->pool, subscription, &escaped) != NGX_OK
        || lines_redis_format(carrier->pool, &call->filter, "subscription=%V",
                              &escaped)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (after->len) {
        call->last.len = after->len;
        call->last.data = ngx_pstrdup(carrier->pool, after);

        if (call->last.data == NULL) {
            return NGX_ERROR;
        }
    }

    return lines_billing_page(call);
}


static ngx_int_t
billing_read_invoices(lines_billing_call_t *call, json_t *json)
{
    size_t                   i;
    json_t                  *data, *item;
    lines_stripe_invoice_t  *invoice;

    data = json_object_get(json, "data");

    if (!json_is_array(data)) {
        return NGX_ERROR;
    }

    invoice = ngx_palloc(call->carrier->pool, sizeof(lines_stripe_invoice_t));
    if (invoice == NULL) {
        return NGX_ERROR;
    }

    json_array_foreach(data, i, item) {

        if (lines_stripe_parse_invoice(item, invoice) != NGX_OK) {
            return NGX_ERROR;
        }

        /* an invoice that is not asked for may be paid back to nobody */

        if (invoice->subscription.len != call->subscription.len
            || ngx_memcmp(invoice->subscription.data, call->subscription.data,
                          call->subscription.len)
               != 0)
        {
            return NGX_ERROR;
        }

        call->last = invoice->id;

        if (!lines_stripe_unsettled(invoice)) {
            continue;
        }

        if (lines_billing_livemode(call, invoice->livemode) != NGX_OK) {
            return NGX_ERROR;
        }

        call->result.invoice = invoice;

        return NGX_OK;
    }

    if (!json_is_true(json_object_get(json, "has_more"))) {
        return NGX_OK;
    }

    return json_array_size(data) ? NGX_AGAIN : NGX_ERROR;
}


/* test objects under a live key, or the reverse: not the account we think */

ngx_int_t
lines_billing_livemode(lines_billing_call_t *call, ngx_uint_t livemode)
{
    if (livemode == call->bcf->livemode) {
        return NGX_OK;
    }

    call->result.outcome = LINES_STRIPE_ALERT;

    ngx_log_error(NGX_LOG_CRIT, call->carrier->log, 0,
                  "lines: billing has an object of livemode %ui "
                  "under a key of livemode %ui", livemode,
                  call->bcf->livemode);

    return NGX_ERROR;
}
