
/*
 * Variables for the upstream's headers and for the log.  A subrequest sees
 * those of its main request.  None is cacheable: they change while a request
 * goes on.
 *
 *   $lines_tenant         w:ID or a:ID; empty before or without authentication
 *   $lines_tenant_plan    its plan
 *   $lines_key_id         SHA-256 of the API key, in hex
 *   $lines_user           the user of a session token (its sub)
 *   $lines_auth           how it was authenticated: key, clerk
 *   $lines_auth_failure   why it was not
 *   $lines_request_id     the client's X-Request-Id if well formed, else ours
 *   $lines_redis_time     seconds waited for Redis, as 0.003
 *   $lines_billing_time   seconds waited for billing
 *   $lines_operation      id of the operation that the request began or met
 */

#ifndef _NGX_HTTP_LINES_VARIABLES_H_INCLUDED_
#define _NGX_HTTP_LINES_VARIABLES_H_INCLUDED_


#include "ngx_http_lines_request.h"


/* preconfiguration */
ngx_int_t ngx_http_lines_add_variables(ngx_conf_t *cf);

/* flag, in postconfiguration: some directive uses the variable */
ngx_uint_t ngx_http_lines_variable_used(ngx_conf_t *cf, const char *name);

/* what a variable's handler gives back; data is not copied */
ngx_int_t ngx_http_lines_variable_str(ngx_http_variable_value_t *v,
    ngx_str_t *value);


#endif /* _NGX_HTTP_LINES_VARIABLES_H_INCLUDED_ */
