
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "operation/operation.h"


typedef struct {
    ngx_str_t    name;
    size_t       offset;
    ngx_msec_t   preset;
} lines_op_time_t;


static ngx_int_t op_polls(lines_op_conf_t *ocf, ngx_str_t *value);


static lines_op_time_t  op_times[] = {

    { ngx_string("lease"),
      offsetof(lines_op_conf_t, lease), 20000 },

    { ngx_string("sweep"),
      offsetof(lines_op_conf_t, sweep), 5000 },

    { ngx_string("due"),
      offsetof(lines_op_conf_t, due), 30000 },

    { ngx_string("budget"),
      offsetof(lines_op_conf_t, budget), 3000 },

    { ngx_string("reconcile"),
      offsetof(lines_op_conf_t, reconcile), 5000 },

    { ngx_string("reader"),
      offsetof(lines_op_conf_t, reader), 1000 },

    { ngx_string("retry"),
      offsetof(lines_op_conf_t, retry), 5000 },

    { ngx_string("absent"),
      offsetof(lines_op_conf_t, absent), 30000 },

    { ngx_string("resend"),
      offsetof(lines_op_conf_t, resend), 23 * 3600000 },

    { ngx_string("hint"),
      offsetof(lines_op_conf_t, hint), 300000 },

    { ngx_string("late"),
      offsetof(lines_op_conf_t, late), 5000 },

    { ngx_string("walk"),
      offsetof(lines_op_conf_t, walk_every), 60000 },

    { ngx_string("every"),
      offsetof(lines_op_conf_t, every), 3600000 },

    { ngx_string("dead"),
      offsetof(lines_op_conf_t, dead),
      (23 * 60 + 5) * 60000 },

    { ngx_null_string, 0, 0 }
};


lines_op_conf_t *
lines_op_create_conf(ngx_conf_t *cf)
{
    lines_op_conf_t  *ocf;
    lines_op_time_t  *t;

    ocf = ngx_pcalloc(cf->pool, sizeof(lines_op_conf_t));
    if (ocf == NULL) {
        return NULL;
    }

    for (t = op_times; t->name.len; t++) {
        *(ngx_msec_t *) ((u_char *) ocf + t->offset) = NGX_CONF_UNSET_MSEC;
    }

    ocf->batch = NGX_CONF_UNSET_UINT;

    return ocf;
}


char *
lines_op_init_conf(ngx_conf_t *cf, lines_op_conf_t *ocf)
{
    ngx_msec_t       *ms;
    lines_op_time_t  *t;

    for (t = op_times; t->name.len; t++) {
        ms = (ngx_msec_t *) ((u_char *) ocf + t->offset);

        if (*ms == NGX_CONF_UNSET_MSEC) {
            *ms = t->preset;
        }
    }

    if (ocf->batch == NGX_CONF_UNSET_UINT) {
        ocf->batch = 16;
    }

    if (ocf->npolls == 0) {
        ocf->poll[0] = 60000;
        ocf->poll[1] = 5 * 60000;
        ocf->poll[2] = 30 * 60000;
        ocf->npolls = 3;
    }

    return NGX_CONF_OK;
}


/* lines_operations NAME=TIME … poll=TIME,… batch=N */

char *
lines_operations(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_main_conf_t *lmcf = conf;

    ngx_int_t         n;
    ngx_str_t        *value, name, text;
    ngx_uint_t        i;
    ngx_msec_t       *ms;
    lines_op_conf_t  *ocf;
    lines_op_time_t  *t;

    ocf = lmcf->operation;
    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        text.data = ngx_strlchr(value[i].data, value[i].data + value[i].len,
                                '=');
        if (text.data == NULL) {
            goto invalid;
        }

        name.data = value[i].data;
        name.len = text.data++ - name.data;
        text.len = value[i].data + value[i].len - text.data;

        if (name.len == 4 && ngx_strncmp(name.data, "poll", 4) == 0) {

            if (ocf->npolls) {
                goto duplicate;
            }

            if (op_polls(ocf, &text) != NGX_OK) {
                goto invalid;
            }

            continue;
        }

        if (name.len == 5 && ngx_strncmp(name.data, "batch", 5) == 0) {

            if (ocf->batch != NGX_CONF_UNSET_UINT) {
                goto duplicate;
            }

            n = ngx_atoi(text.data, text.len);

            if (n == NGX_ERROR || n == 0) {
                goto invalid;
            }

            ocf->batch = n;
            continue;
        }

        for (t = op_times; t->name.len; t++) {
            if (t->name.len == name.len
                && ngx_strncmp(t->name.data, name.data, name.len) == 0)
            {
                break;
            }
        }

        if (t->name.len == 0) {
            goto invalid;
        }

        ms = (ngx_msec_t *) ((u_char *) ocf + t->offset);

        if (*ms != NGX_CONF_UNSET_MSEC) {
            goto duplicate;
        }

        n = ngx_parse_time(&text, 0);

        if (n == NGX_ERROR || n == 0) {
            goto invalid;
        }

        *ms = n;
    }

    return NGX_CONF_OK;

duplicate:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "duplicate parameter \"%V\" of \"%V\"", &value[i],
                       &cmd->name);
    return NGX_CONF_ERROR;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" of \"%V\"", &value[i],
                       &cmd->name);
    return NGX_CONF_ERROR;
}


static ngx_int_t
op_polls(lines_op_conf_t *ocf, ngx_str_t *value)
{
    u_char     *p, *last, *comma;
    ngx_int_t   ms;
    ngx_str_t   item;

    p = value->data;
    last = p + value->len;

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
            return NGX_ERROR;
        }

        ocf->poll[ocf->npolls++] = ms;

        if (comma == NULL) {
            return NGX_OK;
        }

        p = comma + 1;
    }
}
