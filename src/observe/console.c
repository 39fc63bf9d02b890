
/*
 * The operator's console: a page, its style and its script, as they stand in a
 * folder, and what draws its plots, as Debian has it.  All that they show they
 * ask of the operator's API, whose place is served as a file of its own.
 */

#include "directive/params.h"
#include "http/conf.h"
#include "http/text.h"
#include "observe/observe.h"
#include "observe/page.h"


#define LINES_CONSOLE_DIR    "/usr/share/lines/console"
#define LINES_CONSOLE_ADMIN  "/_lines/admin/"
#define LINES_CONSOLE_CHART  "/usr/share/javascript/chart.js/chart.min.js"

#define LINES_CONSOLE_POLICY                                                  \
    "default-src 'none'; script-src 'self'; style-src 'self'; "               \
    "connect-src 'self'; img-src 'self'; form-action 'none'; "                \
    "base-uri 'none'; frame-ancestors 'none'"


enum {
    CONSOLE_INDEX = 0,
    CONSOLE_STYLE,
    CONSOLE_SCRIPT,
    CONSOLE_CHART,
    CONSOLE_CONFIG,
    CONSOLE_FILES
};


/* what is served under the location's name, of which file and type */

static const struct {
    ngx_str_t    name;
    const char  *file;    /* of the folder; NULL: of another one, or none */
    ngx_str_t    type;
} console_files[CONSOLE_FILES] = {
    [CONSOLE_INDEX] = { ngx_string(""), "index.html",
                        ngx_string("text/html") },
    [CONSOLE_STYLE] = { ngx_string("console.css"), "console.css",
                        ngx_string("text/css") },
    [CONSOLE_SCRIPT] = { ngx_string("console.js"), "console.js",
                         ngx_string("text/javascript") },
    [CONSOLE_CHART] = { ngx_string("chart.js"), NULL,
                        ngx_string("text/javascript") },
    [CONSOLE_CONFIG] = { ngx_string("config.json"), NULL,
                         ngx_string("application/json") }
};


struct lines_console_s {
    ngx_str_t     prefix;    /* of its URIs */
    ngx_str_t     admin;
    ngx_str_t     dir;
    ngx_str_t     chart;
    lines_page_t  pages[CONSOLE_FILES];
};


static ngx_int_t
console_handler(ngx_http_request_t *r)
{
    size_t            len;
    ngx_str_t         name;
    ngx_uint_t        i;
    lines_console_t  *console;

    static ngx_str_t  policy = ngx_string(LINES_CONSOLE_POLICY);

    console = lines_get_loc_conf(r)->console;
    len = console->prefix.len;

    /* after "rewrite ... break" the URI may be another's */

    if (r->uri.len < len
        || ngx_memcmp(r->uri.data, console->prefix.data, len) != 0)
    {
        return NGX_HTTP_NOT_FOUND;
    }

    name.data = r->uri.data + len;
    name.len = r->uri.len - len;

    for (i = 0; i < CONSOLE_FILES; i++) {
        if (lines_same(&name, (ngx_str_t *) &console_files[i].name)) {
            return lines_page_send(r, &console->pages[i], &policy);
        }
    }

    return NGX_HTTP_NOT_FOUND;
}


/* a path of this server: it stands in JSON, and in URLs */

static char *
console_admin(ngx_conf_t *cf, ngx_str_t *value, void *field)
{
    ngx_str_t  *admin = field;
    ngx_uint_t  i;

    for (i = 0; i < value->len; i++) {
        if (!lines_is_alnum(value->data[i])
            && ngx_strchr("/_-.~", value->data[i]) == NULL)
        {
            return LINES_PARAM_INVALID;
        }
    }

    if (value->data[0] != '/' || value->data[value->len - 1] != '/'
        || (value->len > 1 && value->data[1] == '/'))
    {
        return LINES_PARAM_INVALID;
    }

    *admin = *value;

    return NGX_CONF_OK;
}


static ngx_int_t
console_read(ngx_conf_t *cf, lines_console_t *console, ngx_uint_t i)
{
    u_char        *p;
    ngx_str_t      file;
    const char    *what, *hint;
    lines_page_t  *page;

    page = &console->pages[i];
    page->type = console_files[i].type;

    if (i == CONSOLE_CONFIG) {
        page->body.len = console->admin.len + sizeof("{\"admin\":\"\"}\n") - 1;
        page->body.data = ngx_pnalloc(cf->pool, page->body.len);
        if (page->body.data == NULL) {
            return NGX_ERROR;
        }

        (void) ngx_sprintf(page->body.data, "{\"admin\":\"%V\"}\n",
                           &console->admin);

        return lines_page_etag(cf, page);
    }

    if (i == CONSOLE_CHART) {
        file = console->chart;
        what = "script of plots";
        hint = "install Debian's package libjs-chart.js, or name the file "
               "with chart=";

    } else {
        file.len = console->dir.len + 1 + ngx_strlen(console_files[i].file);
        file.data = ngx_pnalloc(cf->pool, file.len + 1);
        if (file.data == NULL) {
            return NGX_ERROR;
        }

        p = ngx_sprintf(file.data, "%V/%s", &console->dir,
                        console_files[i].file);
        *p = '\0';

        what = "file";
        hint = "name the folder that has it, conf/console of the sources, "
               "with dir=";
    }

    return lines_page_read(cf, "lines_console", what, hint, &file, page)
           == NGX_OK
           ? lines_page_etag(cf, page) : NGX_ERROR;
}


char *
lines_console(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_loc_conf_t *llcf = conf;

    ngx_uint_t                 i;
    lines_console_t           *console;
    lines_main_conf_t         *lmcf;
    ngx_http_core_loc_conf_t  *clcf;

    static lines_param_t  params[] = {
        lines_param_other("admin", offsetof(lines_console_t, admin),
                          console_admin, "a path of this server that begins "
                          "and ends with \"/\""),
        lines_param_string("dir", lines_console_t, dir, 0),
        lines_param_string("chart", lines_console_t, chart, 0),
        lines_param_end
    };

    static lines_directive_t  directive = {
        .name = "lines_console",
        .params = params
    };

    if (llcf->console) {
        return "is duplicate";
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (lines_page_location(cf, "lines_console", clcf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    /* its files lie beside each other */

    if (clcf->exact_match || clcf->named
#if (NGX_PCRE)
        || clcf->regex
#endif
        || clcf->name.len == 0 || clcf->name.data[clcf->name.len - 1] != '/')
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lines_console\" must be in a prefix location "
                           "that ends with \"/\", not in \"%V\"", &clcf->name);
        return NGX_CONF_ERROR;
    }

    console = ngx_pcalloc(cf->pool, sizeof(lines_console_t));
    if (console == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_str_set(&console->admin, LINES_CONSOLE_ADMIN);
    ngx_str_set(&console->dir, LINES_CONSOLE_DIR);
    ngx_str_set(&console->chart, LINES_CONSOLE_CHART);
    console->prefix = clcf->name;

    if (lines_params(cf, &directive, 1, console) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < CONSOLE_FILES; i++) {
        if (console_read(cf, console, i) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    /* lines by state are what the survey counts */

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lines_module);

    if (lmcf->survey == 0) {
        lmcf->survey = LINES_SURVEY_PAUSE;
    }

    llcf->console = console;
    clcf->handler = console_handler;
    clcf->auto_redirect = 1;

    return NGX_CONF_OK;
}


void
lines_console_merge(ngx_conf_t *cf, lines_loc_conf_t *prev,
    lines_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname && conf->console == NULL) {
        conf->console = prev->console;
    }

    if (conf->console && clcf->lmt_excpt && clcf->handler == NULL) {
        clcf->handler = console_handler;
    }
}
