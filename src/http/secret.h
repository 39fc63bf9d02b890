
#ifndef _LINES_HTTP_SECRET_H_INCLUDED_
#define _LINES_HTTP_SECRET_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


#define LINES_SECRET_MAX  4096


/*
 * Reads a secret from the first line of a file, relative to the configuration's
 * directory, at configuration: secrets never stand in directives, which
 * nginx -T shows.  Warns of a file that everybody may read.  NGX_ERROR having
 * logged directive, path and line; the secret itself is never logged.
 */

ngx_int_t lines_read_secret(ngx_conf_t *cf, const char *directive,
    ngx_str_t *path, ngx_str_t *secret);


#endif /* _LINES_HTTP_SECRET_H_INCLUDED_ */
