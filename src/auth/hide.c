
#include "auth/bearer.h"
#include "auth/clerk.h"
#include "auth/hide.h"
#include "http/headers.h"
#include "http/text.h"


static ngx_uint_t
hide_shows(ngx_http_request_t *r, ngx_str_t *name)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].hash
                && h[i].key.len == name->len
                && ngx_strncasecmp(h[i].key.data, name->data, name->len) == 0)
            {
                return 1;
            }
        }
    }

    return 0;
}


/* what another module has set meanwhile stays */

static ngx_int_t
hide_undo(ngx_http_request_t *r, lines_ctx_t *ctx)
{
    ngx_uint_t         i;
    ngx_array_t       *array;
    ngx_table_elt_t   *h, **hidden;

    array = ctx->hidden;

    if (array == NULL) {
        return NGX_OK;
    }

    ctx->hidden = NULL;
    hidden = array->elts;

    for (i = 0; i < array->nelts; i++) {

        if (lines_is_nocase(&hidden[i]->key, "cookie")) {

            h = lines_find_header(r, "cookie");

            if (h && lines_drop_header(r, h) != NGX_OK) {
                return NGX_ERROR;
            }

        } else if (hide_shows(r, &hidden[i]->key)) {
            hidden[i] = NULL;
        }
    }

    for (i = 0; i < array->nelts; i++) {

        if (hidden[i] == NULL) {
            continue;
        }

        h = lines_push_header(r, hidden[i]);
        if (h == NULL) {
            return NGX_ERROR;
        }

        if (lines_is_nocase(&h->key, "authorization")) {
            r->headers_in.authorization = h;
        }
    }

    return NGX_OK;
}


static ngx_int_t
hide_all(ngx_http_request_t *r, lines_ctx_t *ctx, const char *name)
{
    ngx_table_elt_t  *h, **hidden;

    for ( ;; ) {

        h = lines_find_header(r, name);
        if (h == NULL) {
            return NGX_OK;
        }

        if (ctx->hidden == NULL) {
            ctx->hidden = ngx_array_create(r->pool, 2,
                                           sizeof(ngx_table_elt_t *));
        }

        hidden = ctx->hidden ? ngx_array_push(ctx->hidden) : NULL;
        if (hidden == NULL) {
            return NGX_ERROR;
        }

        *hidden = h;

        if (lines_drop_header(r, h) != NGX_OK) {
            return NGX_ERROR;
        }
    }
}


/* Clerk sends its cookie under a second name as well, NAME_ and some of the
   instance's own; and whoever has a token can ask with it, whatever the name */

static ngx_uint_t
hide_is_session(ngx_str_t cookie, lines_rules_t *rules, ngx_str_t *token)
{
    ngx_str_t  name, value;

    value = lines_item(&cookie, ';');
    name = lines_split(&value, '=');

    if (value.len == 0) {
        value = name;
    }

    if (value.len
        && (lines_same(&value, &rules->cookie) || lines_same(&value, token)))
    {
        return 1;
    }

    cookie = rules->clerk->cookie;

    return cookie.len
           && name.len >= cookie.len
           && ngx_memcmp(name.data, cookie.data, cookie.len) == 0
           && (name.len == cookie.len || name.data[cookie.len] == '_');
}


/* all others come along, in one header */

static ngx_int_t
hide_cookies(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_str_t *token)
{
    u_char           *p;
    size_t            len;
    ngx_str_t         rest, cookie;
    ngx_uint_t        found;
    ngx_table_elt_t  *h, copy;

    len = 0;
    found = 0;
    ngx_memzero(&copy, sizeof(ngx_table_elt_t));

    for (h = lines_find_header(r, "cookie");
         h;
         h = lines_next_header(r, "cookie", h))
    {
        /* each byte of it may be a cookie, or what ends one: as "; " */

        len += 2 * (h->value.len + 1);

        copy.hash = h->hash;
        copy.key = h->key;
        copy.lowcase_key = h->lowcase_key;
    }

    p = ngx_pnalloc(r->pool, len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    copy.value.data = p;

    for (h = lines_find_header(r, "cookie");
         h;
         h = lines_next_header(r, "cookie", h))
    {
        rest = h->value;

        while (rest.len) {

            cookie = lines_split(&rest, ';');

            while (cookie.len && *cookie.data == ' ') {
                cookie.data++;
                cookie.len--;
            }

            if (hide_is_session(cookie, &ctx->identity.rules, token)) {
                found = 1;

            } else if (cookie.len) {
                p = ngx_sprintf(p, "%s%V", p == copy.value.data ? "" : "; ",
                                &cookie);
            }
        }
    }

    if (!found) {
        return NGX_OK;
    }

    *p = '\0';
    copy.value.len = p - copy.value.data;

    if (hide_all(r, ctx, "cookie") != NGX_OK) {
        return NGX_ERROR;
    }

    return (copy.value.len == 0 || lines_push_header(r, &copy))
           ? NGX_OK
           : NGX_ERROR;
}


/*
 * Whatever sends a request on copies its list of headers, be it proxy_pass,
 * fastcgi_pass or a subrequest: a header that is not there goes nowhere.
 */

ngx_int_t
lines_hide(ngx_http_request_t *r, lines_ctx_t *ctx, ngx_uint_t hide)
{
    ngx_str_t          token;
    ngx_uint_t         key;
    lines_rules_t     *rules;
    lines_identity_t  *identity;

    if (hide_undo(r, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    identity = &ctx->identity;
    rules = &identity->rules;
    key = lines_is(&identity->method, "key");

    if (hide == LINES_HIDE_NONE || (hide == LINES_HIDE_KEYS && !key)) {
        return NGX_OK;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lines access: hide the credentials of \"%V\"",
                   &identity->method);

    /* of several, each is what somebody could ask with */

    if ((rules->key_id.data
         && hide_all(r, ctx, (char *) rules->key_id_header.data) != NGX_OK)
        || (rules->secret.data
            && hide_all(r, ctx, (char *) rules->secret_header.data) != NGX_OK))
    {
        return NGX_ERROR;
    }

    ngx_str_null(&token);

    if (lines_bearer_key(&lines_get_main_conf(r)->key_prefix,
                         &rules->authorization, &token)
        || (hide == LINES_HIDE_ALL
            && rules->authorization.len
            && lines_bearer_header(&rules->authorization, &token) == NGX_OK))
    {
        r->headers_in.authorization = NULL;

        if (hide_all(r, ctx, "authorization") != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return (hide == LINES_HIDE_ALL
            && (rules->methods & LINES_AUTH_CLERK)
            && rules->clerk)
           ? hide_cookies(r, ctx, &token)
           : NGX_OK;
}


ngx_table_elt_t *
lines_hidden(ngx_http_request_t **r, ngx_uint_t *i)
{
    lines_ctx_t  *ctx;

    for ( /* void */ ; *r; *r = (*r)->parent, *i = 0) {

        ctx = lines_find_ctx(*r);

        if (ctx && ctx->hidden && *i < ctx->hidden->nelts) {
            return ((ngx_table_elt_t **) ctx->hidden->elts)[(*i)++];
        }
    }

    return NULL;
}
