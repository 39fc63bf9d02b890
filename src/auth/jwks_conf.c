
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "auth/jwk_set.h"
#include "auth/jwks.h"
#include "auth/jwks_fetch.h"
#include "http/guard.h"


static lines_jwks_t *jwks_push(ngx_conf_t *cf, lines_main_conf_t *lmcf);
static ngx_int_t jwks_read_file(ngx_conf_t *cf, ngx_str_t *path,
    ngx_str_t *text);


lines_jwks_t *
lines_jwks_add(ngx_conf_t *cf, lines_main_conf_t *lmcf, lines_jwks_t *like)
{
    u_char         *p;
    ngx_str_t       text;
    ngx_str_t       name = ngx_string("lines_clerk");
    ngx_uint_t      i;
    lines_jwks_t  **known, *jwks;

    text.len = like->issuer.len + like->uri.len + 1;
    text.data = ngx_pnalloc(cf->temp_pool, text.len);

    if (text.data == NULL) {
        return NULL;
    }

    p = ngx_cpymem(text.data, like->issuer.data, like->issuer.len);
    *p++ = LF;
    ngx_memcpy(p, like->uri.data, like->uri.len);

    if (lines_sha256(&text, like->id) != NGX_OK) {
        return NULL;
    }

    known = lmcf->jwks ? lmcf->jwks->elts : NULL;

    for (i = 0; lmcf->jwks && i < lmcf->jwks->nelts; i++) {

        if (ngx_memcmp(known[i]->id, like->id, LINES_SHA256_LEN) != 0) {
            continue;
        }

        if (known[i]->ttl != like->ttl
            || known[i]->stale != like->stale
            || known[i]->cooldown != like->cooldown
            || known[i]->plain != like->plain)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"lines_clerk\" names the keys \"%V\" again, "
                               "but with another jwks_ttl, jwks_stale, "
                               "jwks_cooldown or plain", &like->uri);
            return NULL;
        }

        return known[i];
    }

    if (lines_location(cf, lmcf,
                       &(lines_location_t) { .name = name,
                                             .uri = like->uri,
                                             .plain = like->plain,
                                             .buffer = 256 * 1024 })
        != NGX_CONF_OK)
    {
        return NULL;
    }

    jwks = jwks_push(cf, lmcf);

    if (jwks) {
        *jwks = *like;
    }

    return jwks;
}


lines_jwks_t *
lines_jwks_file(ngx_conf_t *cf, lines_main_conf_t *lmcf, ngx_str_t *path)
{
    u_char             *buf;
    ngx_int_t           rc;
    ngx_str_t           file, text;
    lines_jwks_t       *jwks;
    lines_jwk_set_t    *set;
    lines_jwk_report_t  report;

    file = *path;

    if (ngx_conf_full_name(cf->cycle, &file, 1) != NGX_OK
        || jwks_read_file(cf, &file, &text) != NGX_OK)
    {
        return NULL;
    }

    buf = ngx_palloc(cf->pool, lines_jwk_set_room(text.len));
    jwks = jwks_push(cf, lmcf);

    if (buf == NULL || jwks == NULL) {
        return NULL;
    }

    rc = lines_jwk_parse(&text, buf, &set, &report);

    lines_jwks_report(cf->log, NGX_LOG_WARN, &file, &report);

    if (rc != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no key in \"%V\" of \"lines_clerk\": %V", &file,
                           &report.error);
        return NULL;
    }

    /* the keys themselves say which file it is: it may change */

    text.data = buf;
    text.len = set->size;

    if (lines_sha256(&text, jwks->id) != NGX_OK) {
        return NULL;
    }

    jwks->issuer = file;
    jwks->set = set;
    jwks->verifiers = ngx_pcalloc(cf->pool,
                                  LINES_JWK_MAX_KEYS
                                  * sizeof(lines_jwk_verifier_t));

    return jwks->verifiers ? jwks : NULL;
}


static lines_jwks_t *
jwks_push(ngx_conf_t *cf, lines_main_conf_t *lmcf)
{
    lines_jwks_t  **jwks;

    if (lmcf->jwks == NULL) {
        lmcf->jwks = ngx_array_create(cf->pool, 2, sizeof(lines_jwks_t *));
        if (lmcf->jwks == NULL) {
            return NULL;
        }
    }

    jwks = ngx_array_push(lmcf->jwks);

    if (jwks) {
        *jwks = ngx_pcalloc(cf->pool, sizeof(lines_jwks_t));
    }

    return jwks ? *jwks : NULL;
}


static ngx_int_t
jwks_read_file(ngx_conf_t *cf, ngx_str_t *path, ngx_str_t *text)
{
    ssize_t           n;
    ngx_fd_t          fd;
    ngx_file_info_t   fi;

    fd = ngx_open_file(path->data, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                          "\"lines_clerk\": " ngx_open_file_n " \"%V\" failed",
                          path);
        return NGX_ERROR;
    }

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR || !ngx_is_file(&fi)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lines_clerk\": \"%V\" is not a regular file",
                           path);
        goto failed;
    }

    if (ngx_file_size(&fi) > LINES_JWK_MAX_DOCUMENT) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lines_clerk\": \"%V\" is longer than 256k",
                           path);
        goto failed;
    }

    text->len = ngx_file_size(&fi);
    text->data = ngx_pnalloc(cf->temp_pool, text->len + 1);

    if (text->data == NULL) {
        goto failed;
    }

    n = ngx_read_fd(fd, text->data, text->len);

    if (n != (ssize_t) text->len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, (n == -1) ? ngx_errno : 0,
                           "\"lines_clerk\": " ngx_read_fd_n " \"%V\" failed",
                           path);
        goto failed;
    }

    (void) ngx_close_file(fd);

    return NGX_OK;

failed:

    (void) ngx_close_file(fd);

    return NGX_ERROR;
}
