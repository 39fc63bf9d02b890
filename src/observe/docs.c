
/*
 * The page of the API's documents, as "make docs" has made it.
 */

#include "http/conf.h"
#include "observe/observe.h"
#include "observe/page.h"


#define LINES_DOCS_PAGE  "/usr/share/lines/api.html"

/* of the page, within which its policy stands */
#define LINES_DOCS_HEAD  4096

#define LINES_DOCS_POLICY                                                     \
    "<meta http-equiv=\"Content-Security-Policy\" content=\""

/* what a page cannot say of itself */
#define LINES_DOCS_FRAMES  "; frame-ancestors 'none'"


struct lines_docs_s {
    lines_page_t  page;
    ngx_str_t     policy;
};


static ngx_int_t
docs_handler(ngx_http_request_t *r)
{
    lines_docs_t  *docs;

    docs = lines_get_loc_conf(r)->docs;

    return lines_page_send(r, &docs->page, &docs->policy);
}


/* the policy in the page's head: the header says the same, and who may frame */

static ngx_int_t
docs_policy(ngx_conf_t *cf, lines_docs_t *docs)
{
    u_char  *p, *last;

    p = ngx_strnstr(docs->page.body.data, LINES_DOCS_POLICY,
                    ngx_min(docs->page.body.len, LINES_DOCS_HEAD));
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

    if (lines_page_location(cf, "lines_docs", clcf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;
    ngx_str_set(&file, LINES_DOCS_PAGE);

    if (cf->args->nelts == 2) {
        file = value[1];
    }

    docs = ngx_pcalloc(cf->pool, sizeof(lines_docs_t));

    if (docs == NULL
        || lines_page_read(cf, "lines_docs", "page",
                           "\"make docs\" makes it, the directive names where "
                           "it is", &file, &docs->page)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    ngx_str_set(&docs->page.type, "text/html");

    rc = docs_policy(cf, docs);

    if (rc == NGX_DECLINED) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lines_docs\": \"%V\" is no page of \"make "
                           "docs\": there is no Content-Security-Policy in "
                           "its head", &file);
    }

    if (rc != NGX_OK || lines_page_etag(cf, &docs->page) != NGX_OK) {
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
