
/*
 * The account dialect: how it says "no", its directives.
 */

#ifndef _LINES_ACCOUNT_ACCOUNT_H_INCLUDED_
#define _LINES_ACCOUNT_ACCOUNT_H_INCLUDED_


#include "http/context.h"


#define LINES_NO_LINES  "No lines are currently available"


/* lines_deprecated_endpoints */

struct lines_deprecated_s {
    ngx_uint_t    off;             /* flag */
    time_t        since;
    time_t        sunset;          /* 0: not said */
};


/* lines_account_api [key_id_header=NAME] [secret_header=NAME] */
char *lines_account_headers(ngx_conf_t *cf, lines_loc_conf_t *llcf);

/* lines_deprecated_endpoints on|off [since=DATE] [sunset=DATE] (YYYY-MM-DD) */
char *lines_deprecated_endpoints(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


/* 403: the plan buys nothing through the API */
ngx_int_t lines_account_plan_error(lines_ctx_t *ctx);

/* the tenant's id without its "a:" */
ngx_str_t lines_account_id(lines_ctx_t *ctx);


#endif /* _LINES_ACCOUNT_ACCOUNT_H_INCLUDED_ */
