
/*
 * lines_webhooks_out: where webhooks are told from, and how.
 */

#ifndef _LINES_DELIVER_CONF_H_INCLUDED_
#define _LINES_DELIVER_CONF_H_INCLUDED_


#include "deliver/secret.h"
#include "http/conf.h"


#define LINES_HOOKS_OUT  "lines_webhooks_out"


struct lines_hooks_conf_s {
    ngx_str_t         uri;           /* internal location */
    lines_seal_key_t  keys[2];       /* what is sealed is by the first one */
    ngx_uint_t        nkeys;
    ngx_str_t         key_file;      /* what they say */
    ngx_str_t         old_key_file;
    ngx_msec_t        timeout;       /* of a call */
    ngx_uint_t        concurrency;   /* calls at once, of a node */
    ngx_msec_t        retry;         /* until the second try */
    ngx_msec_t        sweep;         /* between looks at who is due */
    ngx_msec_t        look;          /* at a tenant's, at the latest */
    ngx_msec_t        pause;         /* after so long that all failed */
    ngx_msec_t        rotation;      /* how long both secrets sign */
    ngx_array_t      *allow;         /* ngx_cidr_t, one, or NULL: for tests */
    ngx_uint_t        port;          /* 443 */
};


/*
 * lines_webhooks_out URI key_file=PATH [old_key_file=PATH] [timeout=TIME]
 *     [concurrency=N] [retry=TIME] [sweep=TIME] [look=TIME] [pause=TIME]
 *     [rotation=TIME] [unsafe_allow=CIDR] [unsafe_port=N]
 */
char *lines_hooks_out(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* $lines_webhook_address, $lines_webhook_host, $lines_webhook_uri */
ngx_int_t lines_hooks_variables(ngx_conf_t *cf);


/* what these say, within a call: lines_call_t.of */

typedef struct {
    lines_hooks_conf_t  *conf;
    ngx_str_t            parts[3];
} lines_hook_target_t;


#endif /* _LINES_DELIVER_CONF_H_INCLUDED_ */
