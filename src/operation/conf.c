
#include "directive/params.h"
#include "http/text.h"
#include "operation/conf.h"
#include "operation/record.h"


static char *op_polls(ngx_conf_t *cf, ngx_str_t *value, void *field);
static char *op_audit(ngx_conf_t *cf, ngx_str_t *value, void *field);


#define op_time(name, field, preset)                                         \
    lines_param_msec(name, lines_op_conf_t, field, 1, LINES_PARAM_ANY, preset)

static lines_param_t  op_params[] = {
    op_time("lease", lease, 20000),
    op_time("sweep", sweep, 5000),
    op_time("due", due, 30000),
    op_time("budget", budget, 3000),
    op_time("reconcile", reconcile, 5000),
    op_time("reader", reader, 1000),
    op_time("retry", retry, 5000),
    op_time("absent", absent, 30000),
    op_time("resend", resend, 23 * 3600000),
    op_time("hint", hint, 300000),
    op_time("late", late, 5000),
    op_time("walk", walk_every, 60000),
    op_time("every", every, 3600000),
    op_time("dead", dead, (23 * 60 + 5) * 60000),
    lines_param_number("batch", lines_op_conf_t, batch, 1, LINES_PARAM_ANY,
                       16),
    lines_param_other("poll", 0, op_polls, "times that rise, as 1m,5m,30m"),
    lines_param_other("audit", 0, op_audit, "a time, or \"off\""),
    op_time("pass", pass, 600000),
    lines_param_end
};


static lines_directive_t  op_directive = {
    .name = "lines_operations",
    .params = op_params,
    .of = "of"
};


lines_op_conf_t *
lines_op_create_conf(ngx_conf_t *cf)
{
    lines_op_conf_t  *ocf;

    ocf = ngx_pcalloc(cf->pool, sizeof(lines_op_conf_t));
    if (ocf == NULL) {
        return NULL;
    }

    ocf->kinds = lines_op_kinds;
    ocf->audit = 500;
    ocf->poll[0] = 60000;
    ocf->poll[1] = 5 * 60000;
    ocf->poll[2] = 30 * 60000;
    ocf->npolls = 3;

    lines_params_preset(&op_directive, ocf);

    return ocf;
}


char *
lines_operations(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_main_conf_t *lmcf = conf;

    return lines_params_more(cf, &op_directive, 1, lmcf->operation,
                             &lmcf->operation->said);
}


static char *
op_audit(ngx_conf_t *cf, ngx_str_t *value, void *field)
{
    lines_op_conf_t *ocf = field;

    ngx_int_t  ms;

    ms = lines_is(value, "off") ? 0 : ngx_parse_time(value, 0);

    if (ms == NGX_ERROR || (ms == 0 && !lines_is(value, "off"))) {
        return LINES_PARAM_INVALID;
    }

    ocf->audit = ms;

    return NGX_CONF_OK;
}


static char *
op_polls(ngx_conf_t *cf, ngx_str_t *value, void *field)
{
    lines_op_conf_t *ocf = field;

    u_char     *p, *last, *comma;
    ngx_int_t   ms;
    ngx_str_t   item;

    p = value->data;
    last = p + value->len;

    ocf->npolls = 0;

    for ( ;; ) {
        comma = ngx_strlchr(p, last, ',');

        item.data = p;
        item.len = (comma ? comma : last) - p;

        ms = ngx_parse_time(&item, 0);

        if (ms == NGX_ERROR
            || ms == 0
            || ocf->npolls == LINES_POLLS
            || (ocf->npolls && (ngx_msec_t) ms <= ocf->poll[ocf->npolls - 1]))
        {
            return LINES_PARAM_INVALID;
        }

        ocf->poll[ocf->npolls++] = ms;

        if (comma == NULL) {
            return NGX_CONF_OK;
        }

        p = comma + 1;
    }
}
