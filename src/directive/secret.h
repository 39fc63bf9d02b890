
#ifndef _LINES_DIRECTIVE_SECRET_H_INCLUDED_
#define _LINES_DIRECTIVE_SECRET_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define LINES_SECRET_MAX  4096


/*
 * Reads a secret from the first line of a file, relative to the configuration's
 * directory, at configuration: secrets never stand in directives, which
 * nginx -T shows.  Warns of a file that everybody may read.  NGX_ERROR having
 * logged directive, path and line; the secret itself is never logged.
 */

ngx_int_t lines_read_secret(ngx_conf_t *cf, const char *directive,
    ngx_str_t *path, ngx_str_t *secret);

/*
 * The same for a file with other rules: its first bytes, as many as are there
 * and as fit; file becomes a full name.  Their number, or NGX_ERROR as above.
 */

ssize_t lines_read_secret_file(ngx_conf_t *cf, const char *directive,
    ngx_str_t *file, u_char *buf, size_t size);


#endif /* _LINES_DIRECTIVE_SECRET_H_INCLUDED_ */
