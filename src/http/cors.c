
#include "directive/params.h"
#include "http/answer.h"
#include "http/cors.h"
#include "http/headers.h"
#include "http/origin.h"
#include "http/router.h"
#include "http/steps.h"
#include "http/text.h"


/* a change of the configuration comes to pages within it */
#define LINES_CORS_MAX_AGE  600
#define LINES_CORS_DAY      86400

/* "chrome-extension" has 16 */
#define LINES_CORS_SCHEME   "abcdefghijklmnopqrstuvwxyz0123456789+.-"
#define LINES_CORS_HOST     "abcdefghijklmnopqrstuvwxyz0123456789._-"
#define LINES_CORS_ADDRESS  "0123456789abcdef:."
#define LINES_CORS_UPPER    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


/*
 * Browsers send an origin in one form only, and it is compared to the byte:
 * whatever is written otherwise would never be met.  There is no wildcard:
 * what is allowed with credentials may write by a cookie as well.
 */

static char *
cors_origin(ngx_conf_t *cf, ngx_str_t *value, void *field)
{
    char       *p, *host, *path, *last;
    size_t      len;
    ngx_int_t   port;
    ngx_str_t   scheme;

    /* nginx ends the arguments of directives with a zero */

    p = (char *) value->data;
    last = p + value->len;
    host = strstr(p, "://");

    if (strchr(p, '*')) {
        return "wildcard in parameter";
    }

    if (host == NULL || host == p) {
        return "origin without scheme in parameter";
    }

    if (strpbrk(p, LINES_CORS_UPPER)) {
        return "upper case in parameter";
    }

    scheme.data = value->data;
    scheme.len = host - p;

    host += 3;

    if (strchr(host, '@')) {
        return "user in parameter";
    }

    path = strpbrk(host, "/?#");

    if (path) {
        return ngx_strcmp(path, "/") == 0 ? "slash at the end of parameter"
                                          : "path in parameter";
    }

    p = host + (*host == '[');
    len = strspn(p, *host == '[' ? LINES_CORS_ADDRESS : LINES_CORS_HOST);
    p += len;

    if (len == 0
        || (*host == '[' && *p++ != ']')
        || strspn((char *) scheme.data, LINES_CORS_SCHEME) != scheme.len)
    {
        return LINES_PARAM_INVALID;
    }

    *(ngx_str_t *) field = *value;

    if (p == last) {
        return NGX_CONF_OK;
    }

    if (*p++ != ':' || *p == '0') {
        return LINES_PARAM_INVALID;
    }

    port = ngx_atoi((u_char *) p, last - p);

    if (port < 1 || port > 65535) {
        return LINES_PARAM_INVALID;
    }

    return ((port == 443 && lines_is(&scheme, "https"))
            || (port == 80 && lines_is(&scheme, "http")))
           ? "default port in parameter"
           : NGX_CONF_OK;
}


static lines_param_t  cors_params[] = {
    { .name = ngx_string("origin"), .type = LINES_PARAM_OTHER,
      .flags = LINES_PARAM_MANY, .offset = offsetof(lines_cors_t, list),
      .set = cors_origin,
      .valid = "an origin as browsers write it, https://app.example.com" },
    lines_param_flag("credentials", lines_cors_t, credentials),
    lines_param_sec("max_age", lines_cors_t, max_age, 0, LINES_CORS_DAY,
                    LINES_CORS_MAX_AGE),
    lines_param_end
};


static lines_directive_t  cors_directive = {
    .name = "lines_cors",
    .params = cors_params
};


/* what the APIs read, and what upstreams do as a rule; and the names of the
   headers of a key pair */

static ngx_str_t  cors_headers[] = {
    ngx_string("Authorization"), ngx_string("Content-Type"),
    ngx_string("Idempotency-Key"), ngx_string("If-Match"),
    ngx_string("If-Modified-Since"), ngx_string("If-None-Match"),
    ngx_string("If-Unmodified-Since"), ngx_string("Last-Event-ID"),
    ngx_string("X-Request-Id"), ngx_string("traceparent")
};

static ngx_str_t  cors_exposed = ngx_string(
    "Accept-Encoding, Allow, Deprecation, ETag, Idempotency-Replayed, Link, "
    "Location, RateLimit, RateLimit-Policy, Retry-After, Sunset, "
    "WWW-Authenticate, X-RateLimit-Limit, X-RateLimit-Remaining, "
    "X-RateLimit-Reset, X-Request-Id");

/* where others answer, which know it themselves */
static ngx_str_t  cors_methods = ngx_string(
    "GET, HEAD, POST, PUT, PATCH, DELETE");

static ngx_str_t  cors_true = ngx_string("true");
static ngx_str_t  cors_vary_name = ngx_string("Origin");


char *
lines_cors(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_loc_conf_t *llcf = conf;

    ngx_str_t          *value;
    lines_cors_t       *cors;
    lines_main_conf_t  *lmcf;

    if (llcf->cors) {
        return "is duplicate";
    }

    cors = ngx_pcalloc(cf->pool, sizeof(lines_cors_t));
    if (cors == NULL) {
        return NGX_CONF_ERROR;
    }

    llcf->cors = cors;

    value = cf->args->elts;

    if (cf->args->nelts == 2 && lines_is(&value[1], "off")) {
        cors->off = 1;
        return NGX_CONF_OK;
    }

    if (lines_params(cf, &cors_directive, 1, cors) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lines_module);
    lmcf->used = 1;
    lmcf->cors = 1;

    return NGX_CONF_OK;
}


char *
lines_cors_merge(ngx_conf_t *cf, lines_loc_conf_t *prev,
    lines_loc_conf_t *conf, ngx_str_t *parties, ngx_uint_t nparties)
{
    ngx_uint_t                 own;
    lines_cors_t              *cors;
    ngx_http_core_loc_conf_t  *clcf;

    own = (conf->cors != NULL);

    if (!own) {
        conf->cors = prev->cors;
    }

    if (conf->cors == NULL || conf->cors->off) {
        return NGX_CONF_OK;
    }

    /* which is another one, perhaps, in a location with its own lines_clerk */

    cors = ngx_palloc(cf->pool, sizeof(lines_cors_t));
    if (cors == NULL) {
        return NGX_CONF_ERROR;
    }

    *cors = *conf->cors;
    conf->cors = cors;

    cors->origins = cors->list ? cors->list->elts : parties;
    cors->norigins = cors->list ? cors->list->nelts : nparties;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (cors->norigins == 0
        && clcf->name.len
        && !clcf->noname
        && (own || conf->api || conf->auth))
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"lines_cors\" in location \"%V\" needs \"origin=\", "
                      "or a \"lines_clerk\" with \"authorized_party=\"; or "
                      "\"lines_cors off\"", &clcf->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* flag; origin: the one that asks, where there is just one */

static ngx_uint_t
cors_allows(ngx_http_request_t *r, lines_cors_t *cors, ngx_str_t *origin)
{
    return lines_origin(r, origin) == NGX_OK
           && lines_origin_among(origin, cors->origins, cors->norigins);
}


static ngx_int_t
cors_refuse(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_int_t          rc;
    lines_api_t       *api;
    lines_loc_conf_t  *llcf;

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "lines: preflight refused: \"lines_cors\" does not have its "
                  "origin");

    llcf = lines_get_loc_conf(r);
    api = llcf->api ? llcf->api : llcf->dialect;

    if (api == NULL) {
        return NGX_HTTP_FORBIDDEN;
    }

    ctx->api = api;

    rc = lines_error(r, ctx, NGX_HTTP_FORBIDDEN, "origin_not_allowed",
                     "This Origin may not ask from a browser: have it allowed "
                     "by lines_cors, or ask from a server");

    return lines_phase_done(r, ctx, rc);
}


/*
 * A preflight asks for what a page wants to send: it has no credentials, ever.
 * An error keeps its status where an error_page has led it here.
 */

static ngx_int_t
cors_located(ngx_http_request_t *r)
{
    ngx_str_t      none, origin;
    lines_ctx_t   *ctx;
    lines_cors_t  *cors;

    cors = lines_get_loc_conf(r)->cors;

    if (cors == NULL || r != r->main) {
        return NGX_DECLINED;
    }

    ctx = lines_get_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* an answer from elsewhere, of an error_page say, is still one to it */

    ctx->cors = cors;

    if (cors->off
        || r->method != NGX_HTTP_OPTIONS
        || r->err_status
        || lines_find_header(r, "access-control-request-method") == NULL
        || lines_origin(r, &origin) == NGX_DECLINED)
    {
        return NGX_DECLINED;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines cors: preflight of \"%V\"", &origin);

    if (!cors_allows(r, cors, &origin)) {
        return cors_refuse(r, ctx);
    }

    ctx->preflight = 1;
    ngx_str_set(&none, "");

    return lines_phase_done(r, ctx, lines_answer(r, ctx, NGX_HTTP_NO_CONTENT,
                                                 &none));
}


ngx_int_t
lines_cors_init(ngx_conf_t *cf)
{
    lines_main_conf_t  *lmcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lines_module);

    return lmcf->cors
           ? lines_add_handler(cf, NGX_HTTP_REWRITE_PHASE, cors_located, NULL)
           : NGX_OK;
}


/* an upstream's, and the operator's: of two, browsers believe neither */

static void
cors_clear(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    static const ngx_str_t  prefix = ngx_string("access-control-");

    for (part = &r->headers_out.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.len > prefix.len
                && ngx_strncasecmp(h[i].key.data, prefix.data, prefix.len)
                   == 0)
            {
                h[i].hash = 0;
            }
        }
    }
}


/* flag: a list as of Vary, with commas, has that name in it */

static ngx_uint_t
cors_has(ngx_str_t list, ngx_str_t *name)
{
    ngx_str_t  item;

    while (list.len) {
        item = lines_item(&list, ',');

        if (item.len == name->len
            && ngx_strncasecmp(item.data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/*
 * For whoever asks: a cache between must not send one site's answer to another.
 * What others say of Vary becomes one header with it; that of gzip, which
 * nginx writes by itself, stays beside.
 */

static ngx_int_t
cors_vary(ngx_http_request_t *r)
{
    ngx_str_t         value;
    ngx_list_t       *headers;
    ngx_table_elt_t  *h, *first;

    static ngx_str_t  any = ngx_string("*");

    headers = &r->headers_out.headers;
    first = lines_header_in(headers, "Vary", NULL);

    if (first == NULL) {
        return lines_add_header(r, "Vary", &cors_vary_name);
    }

    value = first->value;

    for (h = lines_header_in(headers, "Vary", first);
         h;
         h = lines_header_in(headers, "Vary", h))
    {
        if (lines_redis_format(r->pool, &value, "%V, %V", &value, &h->value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        h->hash = 0;
    }

    if (!cors_has(value, &cors_vary_name)
        && !cors_has(value, &any)
        && lines_redis_format(r->pool, &value, "%V%s%V", &value,
                              value.len ? ", " : "", &cors_vary_name)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    first->value = value;

    return NGX_OK;
}


static ngx_uint_t
cors_asks(ngx_http_request_t *r, ngx_str_t *name)
{
    ngx_table_elt_t  *h;

    static const char  asked[] = "access-control-request-headers";

    for (h = lines_find_header(r, asked);
         h;
         h = lines_next_header(r, asked, h))
    {
        if (cors_has(h->value, name)) {
            return 1;
        }
    }

    return 0;
}


/* those asked for that are known, in our spelling and order */

static ngx_int_t
cors_asked(ngx_http_request_t *r, ngx_str_t *names)
{
    ngx_str_t         *name;
    ngx_uint_t         i;
    lines_loc_conf_t  *llcf;

    static const ngx_uint_t  n = sizeof(cors_headers) / sizeof(ngx_str_t);

    llcf = lines_get_loc_conf(r);
    ngx_str_set(names, "");

    for (i = 0; i < n + 2; i++) {

        name = (i < n) ? &cors_headers[i]
               : (i == n) ? &llcf->key_id_header
               : &llcf->secret_header;

        if (cors_asks(r, name)
            && lines_redis_format(r->pool, names, "%V%s%V", names,
                                  names->len ? ", " : "", name)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
cors_preflight(ngx_http_request_t *r, lines_cors_t *cors)
{
    ngx_int_t  rc;
    ngx_str_t  methods, names, age;

    methods = cors_methods;
    rc = lines_get_loc_conf(r)->api ? lines_route_allow(r, &methods) : NGX_OK;

    /* of a path that is not there, the answer to GET and POST can be read */

    if (rc == NGX_OK) {
        rc = lines_add_header(r, "Access-Control-Allow-Methods", &methods);
    }

    if (rc == NGX_ERROR
        || cors_asked(r, &names) != NGX_OK
        || (names.len
            && lines_add_header(r, "Access-Control-Allow-Headers", &names)
               != NGX_OK)
        || lines_redis_format(r->pool, &age, "%i", cors->max_age) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return lines_add_header(r, "Access-Control-Max-Age", &age);
}


ngx_int_t
lines_cors_headers(ngx_http_request_t *r)
{
    ngx_str_t      origin;
    lines_ctx_t   *ctx;
    lines_cors_t  *cors;

    if (r != r->main) {
        return NGX_OK;
    }

    ctx = lines_find_ctx(r);
    cors = lines_get_loc_conf(r)->cors;

    if (cors == NULL && ctx) {
        cors = ctx->cors;
    }

    if (cors == NULL || cors->off) {
        return NGX_OK;
    }

    cors_clear(r);

    if (cors_vary(r) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!cors_allows(r, cors, &origin)) {
        return NGX_OK;
    }

    if (lines_add_header(r, "Access-Control-Allow-Origin", &origin) != NGX_OK
        || (cors->credentials
            && lines_add_header(r, "Access-Control-Allow-Credentials",
                                &cors_true)
               != NGX_OK))
    {
        return NGX_ERROR;
    }

    return (ctx && ctx->preflight)
           ? cors_preflight(r, cors)
           : lines_add_header(r, "Access-Control-Expose-Headers",
                              &cors_exposed);
}
