
#include "directive/secret.h"


ssize_t
lines_read_secret_file(ngx_conf_t *cf, const char *directive, ngx_str_t *file,
    u_char *buf, size_t size)
{
    ssize_t          n;
    ngx_fd_t         fd;
    ngx_file_info_t  fi;

    if (ngx_conf_full_name(cf->cycle, file, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    fd = ngx_open_file(file->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "\"%s\": " ngx_open_file_n " \"%V\" failed",
                           directive, file);
        return NGX_ERROR;
    }

    n = NGX_ERROR;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "\"%s\": " ngx_fd_info_n " \"%V\" failed",
                           directive, file);

    } else {
        if (fi.st_mode & S_IROTH) {
            ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                               "\"%s\": everybody may read the secret in "
                               "\"%V\"", directive, file);
        }

        n = ngx_read_fd(fd, buf, size);

        if (n == -1) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                               "\"%s\": " ngx_read_fd_n " \"%V\" failed",
                               directive, file);
        }
    }

    (void) ngx_close_file(fd);

    return n;
}


ngx_int_t
lines_read_secret(ngx_conf_t *cf, const char *directive, ngx_str_t *path,
    ngx_str_t *secret)
{
    u_char     *p, *last;
    ssize_t     n;
    ngx_str_t   file;

    u_char      buf[LINES_SECRET_MAX];

    file = *path;

    n = lines_read_secret_file(cf, directive, &file, buf, sizeof(buf));

    if (n == NGX_ERROR) {
        return NGX_ERROR;
    }

    last = ngx_strlchr(buf, buf + n, LF);
    if (last == NULL) {
        last = buf + n;
    }

    while (last > buf && (last[-1] == CR || last[-1] == ' ')) {
        last--;
    }

    for (p = buf; p < last && *p > ' ' && *p < 0x7f; p++) { /* void */ }

    ngx_str_null(secret);

    if (last == buf || n == (ssize_t) sizeof(buf)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\": no secret in the first line of \"%V\"",
                           directive, &file);

    } else if (p < last) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\": the secret in \"%V\" has white space "
                           "or control characters", directive, &file);

    } else {
        secret->len = last - buf;
        secret->data = ngx_pnalloc(cf->pool, secret->len + 1);

        if (secret->data) {
            ngx_cpystrn(secret->data, buf, secret->len + 1);
        }
    }

    ngx_memzero(buf, sizeof(buf));

    return secret->data ? NGX_OK : NGX_ERROR;
}
