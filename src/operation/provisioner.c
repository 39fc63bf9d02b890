
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "directive/params.h"
#include "operation/payment.h"
#include "operation/provisioner.h"
#include "store/scripts.h"


#define LINES_PROVISIONER_TIMEOUT  15000


static ngx_int_t provisioner_send(lines_op_t *op);
static ngx_int_t tell_line(lines_op_t *op, redisReply *reply);
static ngx_int_t tell_result(lines_op_t *op, lines_result_t *result);
static ngx_int_t tell_announced(lines_op_t *op, redisReply *reply);
static ngx_int_t tell_hinted(lines_op_t *op, redisReply *reply);
static ngx_int_t told(lines_op_t *op, const char *word);
static ngx_int_t tell_ended(lines_op_t *op, redisReply *reply);


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

    return lines_carrier_require(cf, lmcf, LINES_LOCATION_PROVISIONER,
                                 &value[0], &value[1],
                                 lmcf->provisioner_plain);
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
    ngx_str_t  argv[4], line;

    if (op->lmcf->provisioner.len == 0) {
        return told(op, "taken");
    }

    line = lines_op_get(op, "line");

    ngx_str_set(&argv[0], "HMGET");
    argv[1] = lines_op_key(op, "line:%V", &line);
    ngx_str_set(&argv[2], "json");
    ngx_str_set(&argv[3], "status");

    return lines_op_command(op, 4, argv, tell_line);
}


static ngx_int_t
tell_line(lines_op_t *op, redisReply *reply)
{
    ngx_str_t  json, status;

    json = lines_reply_str(reply, 0);
    status = lines_reply_str(reply, 1);

    /* an operator may have reported it, meanwhile */

    if (json.len == 0 || !lines_is(&status, "provisioning")) {
        return told(op, "taken");
    }

    json.data = ngx_pstrdup(op->pool, &json);
    if (json.data == NULL) {
        return NGX_ERROR;
    }

    return lines_provisioner_tell(op, &json, tell_result);
}


static ngx_int_t
tell_result(lines_op_t *op, lines_result_t *result)
{
    ngx_int_t  rc;
    ngx_str_t  argv[3], id, line;

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

    ngx_str_set(&argv[0], "SET");
    argv[2] = op->tenant;

    if (lines_refund_id(op->pool, &line, &id) != NGX_OK
        || lines_redis_format(op->pool, &argv[1], "lines:{ix:%V}", &id)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_op_command(op, 3, argv, tell_announced);
}


static ngx_int_t
tell_announced(lines_op_t *op, redisReply *reply)
{
    ngx_str_t  args[3], id, line;

    line = lines_op_get(op, "line");

    if (lines_refund_id(op->pool, &line, &id) != NGX_OK
        || lines_due(op->pool, &op->tenant, &id, &args[0], &args[1]) != NGX_OK
        || lines_redis_format(op->pool, &args[2], "%M", op->conf->due)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_op_eval(op, &lines_script_due_add, 1, 3, args, tell_hinted);
}


static ngx_int_t
tell_hinted(lines_op_t *op, redisReply *reply)
{
    return told(op, "refused");
}


static ngx_int_t
told(lines_op_t *op, const char *word)
{
    ngx_str_t  args[LINES_LINE_KEYS + 1 + 7], *argv, line, id;

    line = lines_op_get(op, "line");

    if (lines_payment_keys(op, args) != NGX_OK
        || lines_refund_id(op->pool, &line, &id) != NGX_OK)
    {
        return NGX_ERROR;
    }

    args[LINES_LINE_KEYS] = lines_op_key(op, "op:%V", &id);

    argv = &args[LINES_LINE_KEYS + 1];

    if (lines_op_guard(op, argv) != NGX_OK) {
        return NGX_ERROR;
    }

    argv[3] = op->id;
    argv[4].data = (u_char *) word;
    argv[4].len = ngx_strlen(word);
    ngx_str_set(&argv[5], "provisioning_failed");
    argv[6] = id;

    return lines_op_eval(op, &lines_script_told, LINES_LINE_KEYS + 1,
                         LINES_LINE_KEYS + 8, args, tell_ended);
}


static ngx_int_t
tell_ended(lines_op_t *op, redisReply *reply)
{
    ngx_str_t  refund, line, argv[3], done = ngx_string("done");

    refund = lines_reply_str(reply, 1);

    if (refund.len) {
        (void) lines_op_spawn(op->lmcf, &op->tenant, &refund, 0, 0);

        line = lines_op_get(op, "line");

        ngx_str_set(&argv[0], "ZREM");
        ngx_str_set(&argv[1], "lines:{prov}");

        if (lines_redis_format(op->pool, &argv[2], "%V %V", &op->tenant, &line)
            == NGX_OK)
        {
            lines_op_forget(op, 3, argv);
        }
    }

    return lines_op_enter(op, &done);
}
