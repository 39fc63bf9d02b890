
#include "http/digest.h"
#include "http/headers.h"
#include "observe/page.h"


char *
lines_page_location(ngx_conf_t *cf, const char *directive,
    ngx_http_core_loc_conf_t *clcf)
{
    if (clcf->handler) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\": location \"%V\" has another handler "
                           "already", directive, &clcf->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


ngx_int_t
lines_page_read(ngx_conf_t *cf, const char *directive, const char *what,
    const char *hint, ngx_str_t *file, lines_page_t *page)
{
    u_char           *p, *last;
    ssize_t           n;
    ngx_fd_t          fd;
    ngx_file_info_t   fi;

    if (ngx_conf_full_name(cf->cycle, file, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    /* a pipe that nobody writes into would hold nginx up for ever */

    fd = ngx_open_file(file->data, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "\"%s\": the %s \"%V\" cannot be opened: %s",
                           directive, what, file, hint);
        return NGX_ERROR;
    }

    n = -1;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR || !ngx_is_file(&fi)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\": \"%V\" is no file", directive, file);
        goto done;
    }

    page->modified = ngx_file_mtime(&fi);
    page->body.len = ngx_file_size(&fi);
    page->body.data = ngx_pnalloc(cf->pool, page->body.len + 1);

    if (page->body.data == NULL) {
        goto done;
    }

    p = page->body.data;
    last = p + page->body.len;

    do {
        n = ngx_read_fd(fd, p, last - p);
        p += (n > 0) ? n : 0;
    } while (n > 0 && p < last);

    if (n == -1 || p < last) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, (n == -1) ? ngx_errno : 0,
                           "\"%s\": \"%V\" cannot be read whole",
                           directive, file);
        n = -1;
        goto done;
    }

    *last = '\0';

done:

    (void) ngx_close_file(fd);

    return (n == -1) ? NGX_ERROR : NGX_OK;
}


ngx_int_t
lines_page_etag(ngx_conf_t *cf, lines_page_t *page)
{
    u_char  hex[LINES_SHA256_LEN * 2];

    page->etag.len = LINES_SHA256_LEN + 2;
    page->etag.data = ngx_pnalloc(cf->pool, page->etag.len);

    if (page->etag.data == NULL
        || lines_sha256_hex(&page->body, hex) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_memcpy(page->etag.data + 1, hex, LINES_SHA256_LEN);
    page->etag.data[0] = '"';
    page->etag.data[page->etag.len - 1] = '"';

    return NGX_OK;
}


ngx_int_t
lines_page_send(ngx_http_request_t *r, lines_page_t *page, ngx_str_t *policy)
{
    ngx_int_t         rc;
    ngx_buf_t        *b;
    ngx_chain_t       out;
    ngx_table_elt_t  *h;

    static ngx_str_t  cache = ngx_string("no-cache");
    static ngx_str_t  nosniff = ngx_string("nosniff");
    static ngx_str_t  referrer = ngx_string("no-referrer");

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (lines_add_header(r, "Content-Security-Policy", policy) != NGX_OK
        || lines_add_header(r, "X-Content-Type-Options", &nosniff) != NGX_OK
        || lines_add_header(r, "Referrer-Policy", &referrer) != NGX_OK
        || lines_add_header(r, "Cache-Control", &cache) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    *h = (ngx_table_elt_t) {
        .hash = 1,
        .key = ngx_string("ETag"),
        .value = page->etag
    };

    r->headers_out.etag = h;
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = page->body.len;
    r->headers_out.last_modified_time = page->modified ? page->modified : -1;
    r->headers_out.content_type = page->type;
    r->headers_out.content_type_len = page->type.len;
    ngx_str_set(&r->headers_out.charset, "utf-8");
    r->allow_ranges = 1;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->start = page->body.data;
    b->pos = b->start;
    b->end = b->start + page->body.len;
    b->last = b->end;
    b->memory = (page->body.len != 0);
    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}
