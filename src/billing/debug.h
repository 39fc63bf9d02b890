
/*
 * lines_billing_debug: billing calls by hand, in debug builds only.
 */

#ifndef _LINES_BILLING_DEBUG_H_INCLUDED_
#define _LINES_BILLING_DEBUG_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "billing/billing.h"


#if (LINES_FAILPOINTS)

char *lines_billing_debug(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

#define LINES_BILLING_DEBUG_COMMANDS     \
    { ngx_string("lines_billing_debug"), \
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS, \
      lines_billing_debug,               \
      NGX_HTTP_LOC_CONF_OFFSET,          \
      0,                                 \
      NULL },

#else

#define LINES_BILLING_DEBUG_COMMANDS

#endif


#endif /* _LINES_BILLING_DEBUG_H_INCLUDED_ */
