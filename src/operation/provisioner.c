
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "directive/params.h"
#include "http/guard.h"
#include "http/text.h"
#include "operation/payment.h"
#include "operation/provisioner.h"
#include "store/calls.h"


#define LINES_PROVISIONER_TIMEOUT  15000


static ngx_int_t provisioner_send(lines_op_t *op);
static ngx_int_t tell_line(void *data, lines_line_document_reply_t *reply);
static ngx_int_t tell_result(lines_op_t *op, lines_result_t *result);
static ngx_int_t tell_announced(void *data, lines_ix_put_reply_t *reply);
static ngx_int_t tell_hinted(void *data, lines_due_add_reply_t *reply);
static ngx_int_t told(lines_op_t *op, const char *verdict);
static ngx_int_t tell_ended(void *data, lines_told_reply_t *reply);


char *
lines_provisioner_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_main_conf_t *lmcf = conf;

    ngx_str_t  *value;

    static lines_param_t  params[] = {
        lines_param_plain(lines_main_conf_t, provisioner_plain),
        lines_param_end
    };

    static lines_directive_t  directive = {
        .name = "lines_provisioner",
        .params = params,
        .of = "of"
    };

    if (lmcf->provisioner.len) {
        return "is duplicate";
    }

    if (lines_params(cf, &directive, 2, lmcf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    lmcf->provisioner = value[1];

    return lines_location(cf, lmcf,
                          &(lines_location_t) {
                              .name = value[0],
                              .uri = value[1],
                              .plain = lmcf->provisioner_plain,
                              .once = 1
                          });
}


ngx_int_t
lines_provisioner_tell(lines_op_t *op, ngx_str_t *json,
    lines_op_result_pt result)
{
    op->json = *json;

    return lines_op_call_other(op, provisioner_send, result);
}


static ngx_int_t
provisioner_send(lines_op_t *op)
{
    lines_call_t         call;
    lines_call_header_t  headers[3];

    ngx_memzero(&call, sizeof(lines_call_t));

    ngx_str_set(&headers[0].name, "Content-Type");
    ngx_str_set(&headers[0].value, "application/json");
    ngx_str_set(&headers[1].name, "Idempotency-Key");
    headers[1].value = op->id;
    ngx_str_set(&headers[2].name, "X-Lines-Tenant");
    headers[2].value = op->tenant;

    call.method = NGX_HTTP_POST;
    call.uri = op->lmcf->provisioner;
    call.headers = headers;
    call.nheaders = 3;
    call.body = op->json;
    call.timeout = LINES_PROVISIONER_TIMEOUT;

    return lines_carrier_call(op->carrier, &call, lines_op_other_answered, op);
}


ngx_int_t
lines_provisioner_verdict(lines_result_t *result)
{
    if (result->transport != LINES_COMPLETE) {
        return NGX_AGAIN;
    }

    if (result->status >= 200 && result->status < 300) {
        return NGX_OK;
    }

    switch (result->status) {

    case 408:
    case 409:
    case 425:
    case 429:
        return NGX_AGAIN;
    }

    return result->status >= 400 && result->status < 500
           ? NGX_DECLINED
           : NGX_AGAIN;
}


/* the step "tell" of a workspace's line */

ngx_int_t
lines_payment_tell(lines_op_t *op)
{
    if (op->lmcf->provisioner.len == 0) {
        return told(op, "taken");
    }

    return lines_line_document(&op->caller, tell_line, op,
                               .tenant = op->tenant,
                               .id = lines_op_get(op, "line"));
}


static ngx_int_t
tell_line(void *data, lines_line_document_reply_t *reply)
{
    lines_op_t *op = data;

    /* an operator may have reported it, meanwhile */

    if (reply->json.len == 0 || !lines_is(&reply->status, "provisioning")) {
        return told(op, "taken");
    }

    return lines_provisioner_tell(op, &reply->json, tell_result);
}


static ngx_int_t
tell_result(lines_op_t *op, lines_result_t *result)
{
    ngx_int_t  rc;
    ngx_str_t  line;
    ngx_str_t  id;

    rc = lines_provisioner_verdict(result);

    if (rc == NGX_AGAIN) {
        return lines_op_again(op);
    }

    if (rc == NGX_OK) {
        return told(op, "taken");
    }

    ngx_log_error(NGX_LOG_NOTICE, op->log, 0,
                  "lines operation %V: the provisioner refused, %ui", &op->id,
                  result->status);

    /* the refund's index and hint, before what they point at */

    line = lines_op_get(op, "line");

    if (lines_refund_id(op->pool, &line, &id) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_ix_put(&op->caller, tell_announced, op, .tenant = op->tenant,
                        .id = id);
}


static ngx_int_t
tell_announced(void *data, lines_ix_put_reply_t *reply)
{
    lines_op_t *op = data;

    ngx_str_t  line;
    ngx_str_t  id;

    line = lines_op_get(op, "line");

    if (lines_refund_id(op->pool, &line, &id) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_due_add(&op->caller, tell_hinted, op,
                         .shard = lines_due_shard(&id), .tenant = op->tenant,
                         .delay = op->conf->due, .id = id);
}


static ngx_int_t
tell_hinted(void *data, lines_due_add_reply_t *reply)
{
    return told(data, "refused");
}


static ngx_int_t
told(lines_op_t *op, const char *verdict)
{
    lines_told_args_t  args;

    lines_op_held(op, &args);
    lines_op_of_line(op, &args);

    if (lines_refund_id(op->pool, &args.line, &args.refund) != NGX_OK) {
        return NGX_ERROR;
    }

    args.verdict.data = (u_char *) verdict;
    args.verdict.len = ngx_strlen(verdict);
    ngx_str_set(&args.reason, "provisioning_failed");

    return lines_send_told(&op->caller, LINES_CALL, &args, tell_ended, op);
}


static ngx_int_t
tell_ended(void *data, lines_told_reply_t *reply)
{
    lines_op_t *op = data;

    ngx_str_t              done = ngx_string("done");

    if (reply->begun.len) {
        (void) lines_op_spawn(op->lmcf, &op->tenant, &reply->begun, 0, 0);

        (void) lines_forget_prov_rem(&op->caller, .tenant = op->tenant,
                                     .id = lines_op_get(op, "line"));
    }

    return lines_op_enter(op, &done);
}
