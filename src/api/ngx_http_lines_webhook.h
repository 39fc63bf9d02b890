
/*
 * lines_billing_webhook: what Stripe tells by itself.
 */

#ifndef _NGX_HTTP_LINES_WEBHOOK_H_INCLUDED_
#define _NGX_HTTP_LINES_WEBHOOK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_request.h"


/*
 * lines_billing_webhook secret_file=PATH [secret_file=PATH] [tolerance=300s]
 * conf is the location's configuration.
 */

char *ngx_http_lines_webhook(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


#endif /* _NGX_HTTP_LINES_WEBHOOK_H_INCLUDED_ */
