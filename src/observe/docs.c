
/*
 * The page of the API's documents, as "make docs" has made it.  It is read with
 * the configuration: what is served is one page, whole, until a reload, on each
 * node under the same ETag; conditions, ranges and gzip are nginx' own affair.
 */

#include "http/conf.h"
#include "http/digest.h"
#include "http/headers.h"
#include "observe/observe.h"


#define LINES_DOCS_PAGE  "/usr/share/lines/api.html"

/* of the page, within which its policy stands */
#define LINES_DOCS_HEAD  4096

#define LINES_DOCS_POLICY                                                     \
    "<meta http-equiv=\"Content-Security-Policy\" content=\""

/* what a page cannot say of itself */
#define LINES_DOCS_FRAMES  "; frame-ancestors 'none'"


struct lines_docs_s {
    ngx_str_t  page;
    ngx_str_t  policy;
    ngx_str_t  etag;
    time_t     modified;
};


static ngx_int_t
docs_handler(ngx_http_request_t *r)
{
    ngx_int_t         rc;
    ngx_buf_t        *b;
    ngx_chain_t       out;
    lines_docs_t     *docs;
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

    docs = lines_get_loc_conf(r)->docs;

    if (lines_add_header(r, "Content-Security-Policy", &docs->policy) != NGX_OK
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
        .value = docs->etag
    };

    r->headers_out.etag = h;
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = docs->page.len;
    r->headers_out.last_modified_time = docs->modified;
    ngx_str_set(&r->headers_out.content_type, "text/html");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
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

    b->start = docs->page.data;
    b->pos = b->start;
    b->end = b->start + docs->page.len;
    b->last = b->end;
    b->memory = 1;
    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


/* all of a file, with a zero behind it */

static ngx_int_t
docs_read(ngx_conf_t *cf, ngx_str_t *file, lines_docs_t *docs)
{
    u_char           *p, *last;
    ssize_t           n;
    ngx_fd_t          fd;
    ngx_file_info_t   fi;

    fd = ngx_open_file(file->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "\"lines_docs\": the page \"%V\" cannot be opened: "
                           "\"make docs\" makes it, the directive names where "
                           "it is", file);
        return NGX_ERROR;
    }

    n = -1;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR || !ngx_is_file(&fi)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lines_docs\": \"%V\" is no file", file);
        goto done;
    }

    docs->modified = ngx_file_mtime(&fi);
    docs->page.len = ngx_file_size(&fi);
    docs->page.data = ngx_pnalloc(cf->pool, docs->page.len + 1);

    if (docs->page.data == NULL) {
        goto done;
    }

    p = docs->page.data;
    last = p + docs->page.len;

    do {
        n = ngx_read_fd(fd, p, last - p);
        p += (n > 0) ? n : 0;
    } while (n > 0 && p < last);

    if (n == -1 || p < last) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, (n == -1) ? ngx_errno : 0,
                           "\"lines_docs\": \"%V\" cannot be read whole",
                           file);
        n = -1;
        goto done;
    }

    *last = '\0';

done:

    (void) ngx_close_file(fd);

    return (n == -1) ? NGX_ERROR : NGX_OK;
}


/* the policy in the page's head: the header says the same, and who may frame */

static ngx_int_t
docs_policy(ngx_conf_t *cf, lines_docs_t *docs)
{
    u_char  *p, *last;

    p = ngx_strnstr(docs->page.data, LINES_DOCS_POLICY,
                    ngx_min(docs->page.len, LINES_DOCS_HEAD));
    if (p == NULL) {
        return NGX_DECLINED;
    }

    p += sizeof(LINES_DOCS_POLICY) - 1;

    for (last = p; *last != '"'; last++) {
        if (*last < ' ' || *last > '~') {
            return NGX_DECLINED;
        }
    }

    if (last == p) {
        return NGX_DECLINED;
    }

    docs->policy.len = last - p + sizeof(LINES_DOCS_FRAMES) - 1;
    docs->policy.data = ngx_pnalloc(cf->pool, docs->policy.len);
    if (docs->policy.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(docs->policy.data, p, last - p);
    ngx_memcpy(p, LINES_DOCS_FRAMES, sizeof(LINES_DOCS_FRAMES) - 1);

    return NGX_OK;
}


static ngx_int_t
docs_etag(ngx_conf_t *cf, lines_docs_t *docs)
{
    u_char  hex[LINES_SHA256_LEN * 2];

    docs->etag.len = LINES_SHA256_LEN + 2;
    docs->etag.data = ngx_pnalloc(cf->pool, docs->etag.len);

    if (docs->etag.data == NULL
        || lines_sha256_hex(&docs->page, hex) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_memcpy(docs->etag.data + 1, hex, LINES_SHA256_LEN);
    docs->etag.data[0] = '"';
    docs->etag.data[docs->etag.len - 1] = '"';

    return NGX_OK;
}


char *
lines_docs(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_loc_conf_t *llcf = conf;

    ngx_int_t                  rc;
    ngx_str_t                 *value, file;
    lines_docs_t              *docs;
    ngx_http_core_loc_conf_t  *clcf;

    if (llcf->docs) {
        return "is duplicate";
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lines_docs\": location \"%V\" has another "
                           "handler already", &clcf->name);
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;
    ngx_str_set(&file, LINES_DOCS_PAGE);

    if (cf->args->nelts == 2) {
        file = value[1];
    }

    docs = ngx_pcalloc(cf->pool, sizeof(lines_docs_t));

    if (docs == NULL
        || ngx_conf_full_name(cf->cycle, &file, 1) != NGX_OK
        || docs_read(cf, &file, docs) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    rc = docs_policy(cf, docs);

    if (rc == NGX_DECLINED) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lines_docs\": \"%V\" is no page of \"make "
                           "docs\": there is no Content-Security-Policy in "
                           "its head", &file);
    }

    if (rc != NGX_OK || docs_etag(cf, docs) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    llcf->docs = docs;
    clcf->handler = docs_handler;

    return NGX_CONF_OK;
}


void
lines_docs_merge(ngx_conf_t *cf, lines_loc_conf_t *prev, lines_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname && conf->docs == NULL) {
        conf->docs = prev->docs;
    }

    if (conf->docs && clcf->lmt_excpt && clcf->handler == NULL) {
        clcf->handler = docs_handler;
    }
}
