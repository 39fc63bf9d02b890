
/*
 * lines_billing_webhook: what Stripe tells by itself.
 */

#ifndef _LINES_WEBHOOK_WEBHOOK_H_INCLUDED_
#define _LINES_WEBHOOK_WEBHOOK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * lines_billing_webhook secret_file=PATH [secret_file=PATH] [tolerance=300s]
 * conf is the location's configuration.
 */

char *lines_webhook(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


#endif /* _LINES_WEBHOOK_WEBHOOK_H_INCLUDED_ */
