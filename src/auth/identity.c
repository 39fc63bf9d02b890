
#include "auth/hide.h"
#include "auth/identity.h"
#include "http/text.h"
#include "http/variables.h"


/* a cacheable variable of whatever module, as it was before we watched it */

typedef struct {
    ngx_http_get_variable_pt    handler;
    uintptr_t                   data;
    ngx_uint_t                  index;
    ngx_str_t                   header;    /* of $http_name: its name, with "_"
                                              for "-"; or empty */
} lines_watched_t;


/* auth_request's own are private to it, but begin so */

typedef struct {
    ngx_str_t     uri;
    ngx_array_t  *vars;    /* each begins with its index */
} lines_asks_t;


/* where the module's part of a cache's key begins: with a NUL, which no URI
   and no header can have, and the name of a variable */
#define LINES_KEY_MARK            "\0lines_"

/* ms between two warnings of a worker about one variable */
#define LINES_VARIABLE_WARNING    60000


static ngx_int_t variable_identity(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t field);


/* data is where its field stands in an identity */

static ngx_http_variable_t  variable_list[] = {
    { ngx_string("lines_tenant"), NULL, variable_identity,
      offsetof(lines_identity_t, tenant), 0, 0 },
    { ngx_string("lines_tenant_plan"), NULL, variable_identity,
      offsetof(lines_identity_t, plan), 0, 0 },
    { ngx_string("lines_key_id"), NULL, variable_identity,
      offsetof(lines_identity_t, key_id), 0, 0 },
    { ngx_string("lines_user"), NULL, variable_identity,
      offsetof(lines_identity_t, user), 0, 0 },
    { ngx_string("lines_auth_failure"), NULL, variable_identity,
      offsetof(lines_identity_t, failure), 0, 0 },
    { ngx_string("lines_auth"), NULL, variable_identity,
      offsetof(lines_identity_t, method), 0, 0 },
    ngx_http_null_variable
};


/*
 * Of this worker: when it last warned; how often one of the identity was read;
 * a try runs; the variables that auth_request sets where it runs, or NULL.
 */

static ngx_msec_t    variable_warned[sizeof(variable_list)
                                      / sizeof(ngx_http_variable_t)];
static ngx_uint_t    variable_reads;
static ngx_uint_t    variable_trying;
static ngx_array_t  *variable_asked;


ngx_int_t
lines_identity_init(ngx_conf_t *cf)
{
    return lines_add_variables(cf, variable_list);
}


/* what is hidden from upstreams is not from a log, or from a cache's key */

static void
variable_hidden(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    ngx_str_t *name)
{
    ngx_uint_t        i, n;
    ngx_table_elt_t  *h;

    i = 0;

    while ((h = lines_hidden(&r, &i)) != NULL) {

        for (n = 0; n < name->len && n < h->key.len; n++) {
            if (name->data[n]
                != (h->lowcase_key[n] == '-' ? '_' : h->lowcase_key[n]))
            {
                break;
            }
        }

        if (n == name->len && n == h->key.len) {
            v->data = h->value.data;
            v->len = h->value.len;
            v->valid = 1;
            v->no_cacheable = 0;
            v->not_found = 0;
            return;
        }
    }
}


/* the index of the i-th variable that auth_request sets, or NGX_ERROR */

static ngx_int_t
variable_asks(ngx_uint_t i)
{
    if (variable_asked == NULL || i >= variable_asked->nelts) {
        return NGX_ERROR;
    }

    return *(ngx_int_t *) ((u_char *) variable_asked->elts
                           + i * variable_asked->size);
}


/* flag: a try runs, and auth_request will set the variable */

static ngx_uint_t
variable_awaited(ngx_uint_t index)
{
    ngx_int_t   n;
    ngx_uint_t  i;

    for (i = 0; (n = variable_asks(i)) != NGX_ERROR; i++) {
        if (n == (ngx_int_t) index) {
            return 1;
        }
    }

    return 0;
}


/*
 * A value that was made from an identity, by map, js_set or whatever else, is
 * good for that identity: nginx, which would keep it for the whole request,
 * computes it whenever it is read.
 */

static ngx_int_t
variable_watched(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    lines_watched_t *w = (lines_watched_t *) data;

    ngx_int_t   rc;
    ngx_uint_t  reads;

    reads = variable_reads;

    rc = w->handler(r, v, w->data);

    if (rc == NGX_OK && v->not_found && w->header.len) {
        variable_hidden(r, v, &w->header);
    }

    if (variable_awaited(w->index)) {

        /* it is read where it is not set yet, and kept once it is */

        variable_reads++;

    } else if (variable_reads != reads) {
        v->no_cacheable = 1;
    }

    return rc;
}


ngx_int_t
lines_identity_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf)
{
    ngx_int_t                   i;
    ngx_uint_t                  n;
    ngx_http_variable_t        *v;
    ngx_http_phase_handler_t   *ph;
    lines_watched_t            *w;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_core_module);

    ph = cmcf->phase_engine.handlers;

    for (i = 0;
         ph[i].checker && ph[i].checker != ngx_http_core_access_phase;
         i++)
    {
        /* void */
    }

    lmcf->access_phase = i;

    w = ngx_palloc(cycle->pool,
                   (cmcf->variables.nelts + 1) * sizeof(lines_watched_t));
    if (w == NULL) {
        return NGX_ERROR;
    }

    v = cmcf->variables.elts;

    for (n = 0; n < cmcf->variables.nelts; n++) {

        if (v[n].get_handler == NULL
            || (v[n].flags & NGX_HTTP_VAR_NOCACHEABLE))
        {
            continue;
        }

        w[n].handler = v[n].get_handler;
        w[n].data = v[n].data;
        w[n].index = n;
        ngx_str_null(&w[n].header);

        if (v[n].name.len > 5
            && ngx_strncmp(v[n].name.data, "http_", 5) == 0)
        {
            w[n].header.data = v[n].name.data + 5;
            w[n].header.len = v[n].name.len - 5;
        }

        v[n].get_handler = variable_watched;
        v[n].data = (uintptr_t) &w[n];
    }

    return NGX_OK;
}


void
lines_forget_computed(ngx_http_request_t *r)
{
    ngx_uint_t                  i;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);

    for (i = 0; i < cmcf->variables.nelts; i++) {

        if (r->variables[i].no_cacheable) {
            r->variables[i].valid = 0;
            r->variables[i].not_found = 0;
        }
    }
}


/* that they were not set is forgotten, so that each try meets it */

static void
variable_unset(ngx_http_request_t *r)
{
    ngx_int_t   n;
    ngx_uint_t  i;

    for (i = 0; (n = variable_asks(i)) != NGX_ERROR; i++) {
        if (!r->variables[n].valid) {
            r->variables[n].not_found = 0;
        }
    }
}


ngx_int_t
lines_try_value(ngx_http_request_t *r, ngx_http_complex_value_t *cv,
    ngx_uint_t wait, ngx_str_t *value, ngx_uint_t *late)
{
    ngx_int_t           rc;
    ngx_uint_t          reads, *index;
    lines_ctx_t        *ctx;
    lines_asks_t       *asks;
    lines_main_conf_t  *lmcf;

    lmcf = lines_get_main_conf(r);
    ctx = lines_find_ctx(r);

    if (ctx && ctx->identity.settled) {
        wait = 0;
    }

    reads = variable_reads;

    if (wait) {
        variable_trying = 1;

        if (lmcf->auth_request) {
            asks = ngx_http_get_module_loc_conf(r, (*lmcf->auth_request));

            if (asks->uri.len) {
                variable_asked = asks->vars;
            }
        }

        variable_unset(r);

        for (index = cv->flushes; index && *index != (ngx_uint_t) -1; index++)
        {
            variable_reads += variable_awaited(*index);
        }
    }

    rc = ngx_http_complex_value(r, cv, value);

    variable_unset(r);

    variable_trying = 0;
    variable_asked = NULL;

    *late = (variable_reads != reads);

    if (wait && *late) {
        lines_forget_computed(r);
        return NGX_DECLINED;
    }

    return rc;
}


ngx_uint_t
lines_names_identity(ngx_conf_t *cf, ngx_http_complex_value_t *cv)
{
    ngx_uint_t                 *index;
    ngx_http_variable_t        *v, *var;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    v = cmcf->variables.elts;

    for (index = cv->flushes; index && *index != (ngx_uint_t) -1; index++) {

        for (var = variable_list; var->name.len; var++) {

            if (lines_is(&v[*index].name, (char *) var->name.data)) {
                return 1;
            }
        }
    }

    return 0;
}


/* whose identity a request shows: its own, or that of who it is made for; NULL
   where the module has met neither */

static lines_ctx_t *
identity_ctx(ngx_http_request_t *r)
{
    lines_ctx_t  *ctx;

    for ( /* void */ ; r != r->main; r = r->parent) {

        ctx = lines_find_ctx(r);

        if (ctx && ctx->identity.settled) {
            return ctx;
        }
    }

    return lines_find_ctx(r);
}


ngx_str_t *
lines_identity_who(ngx_http_request_t *r)
{
    ngx_str_t    *who;
    lines_ctx_t  *ctx;

    ctx = identity_ctx(r);

    if (ctx == NULL) {
        return NULL;
    }

    who = ctx->identity.tenant.len
          ? &ctx->identity.tenant
          : &ctx->identity.user;

    return who->len ? who : NULL;
}


/* who reads it in the log, or in a refusal, reads it late enough */

static void
variable_early(ngx_http_request_t *r, ngx_uint_t n)
{
    lines_main_conf_t  *lmcf;

    lmcf = lines_get_main_conf(r);

    if (r->phase_handler >= lmcf->access_phase || r->headers_out.status) {
        return;
    }

    if (variable_warned[n]
        && ngx_current_msec - variable_warned[n] < LINES_VARIABLE_WARNING)
    {
        return;
    }

    variable_warned[n] = ngx_current_msec;

    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                  "lines: \"$%V\" was read before authentication, when it is "
                  "empty: \"set\", \"if\", \"rewrite\", \"limit_req\" and "
                  "\"limit_conn\" run before it; use \"lines_rate_limit\" for "
                  "limits", &variable_list[n].name);
}


/*
 * A cache's key is being made from the time there is a cache, with a first
 * part of its key, until the key's place in the file's header is known.  As
 * soon as who asks is read by then, it becomes a part of the key itself, behind
 * its text: whatever else is made of it, and wherever it stands in that text,
 * no two of them share a page.
 */

static ngx_int_t
variable_keyed(ngx_http_request_t *r, ngx_uint_t n, ngx_str_t *value)
{
#if (NGX_HTTP_CACHE)

    u_char       *p;
    ngx_str_t    *key, *name;
    lines_ctx_t  *ctx;

    /* those who make the key hold on to the array's elements */

    if (r->cache == NULL
        || r->cache->keys.nelts == 0
        || r->cache->keys.nelts == r->cache->keys.nalloc
        || r->cache->header_start
        || value->len == 0
        || value != lines_identity_who(r)
        || lines_caches(r) == LINES_CACHE_SHARED)
    {
        return NGX_OK;
    }

    ctx = lines_get_ctx(r);

    if (ctx == NULL) {
        return NGX_ERROR;
    }

    if (ctx->keyed == r->cache) {
        return NGX_OK;
    }

    name = &variable_list[n].name;

    p = ngx_pnalloc(r->pool, name->len + value->len + 2);
    if (p == NULL) {
        return NGX_ERROR;
    }

    key = ngx_array_push(&r->cache->keys);
    if (key == NULL) {
        return NGX_ERROR;
    }

    key->data = p;
    *p++ = '\0';
    p = ngx_cpymem(p, name->data, name->len);
    *p++ = '=';
    key->len = ngx_cpymem(p, value->data, value->len) - key->data;

    ctx->keyed = r->cache;

#endif

    return NGX_OK;
}


static ngx_int_t
variable_identity(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t field)
{
    ngx_str_t         *value;
    ngx_uint_t         n;
    lines_ctx_t       *ctx;
    lines_identity_t  *identity;

    for (n = 0; variable_list[n].data != field; n++) { /* void */ }

    variable_reads++;

    ctx = identity_ctx(r);

    if ((ctx == NULL || !ctx->identity.settled)
        && r == r->main
        && !variable_trying)
    {
        variable_early(r, n);
    }

    if (ctx == NULL) {
        return lines_variable_str(v, NULL);
    }

    identity = &ctx->identity;
    value = (ngx_str_t *) ((u_char *) identity + field);

    /* a method that failed is no authentication */

    if (value == &identity->method) {

        if (identity->tenant.len == 0 && identity->user.len == 0) {
            value = NULL;
        }

    } else if (variable_keyed(r, n, value) != NGX_OK) {
        return NGX_ERROR;
    }

    return lines_variable_str(v, value);
}


lines_cache_e
lines_caches(ngx_http_request_t *r)
{
    lines_ctx_t       *ctx;
    lines_loc_conf_t  *llcf;

    llcf = lines_get_loc_conf(r);

    if (llcf->auth) {
        return llcf->cache;
    }

    ctx = identity_ctx(r);

    return ctx ? ctx->identity.cache : LINES_CACHE_UNSAID;
}


#if (NGX_HTTP_CACHE)

ngx_uint_t
lines_key_forged(ngx_http_request_t *r)
{
    ngx_str_t    *key;
    ngx_uint_t    i;
    lines_ctx_t  *ctx;

    ctx = lines_find_ctx(r);

    if (ctx && ctx->keyed == r->cache) {

        /* the last mark is ours */

        return 0;
    }

    key = r->cache->keys.elts;

    for (i = 0; i < r->cache->keys.nelts; i++) {
        if (memmem(key[i].data, key[i].len, LINES_KEY_MARK,
                   sizeof(LINES_KEY_MARK) - 1))
        {
            return 1;
        }
    }

    return 0;
}

#endif
