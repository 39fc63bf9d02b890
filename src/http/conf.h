
/*
 * What the lines_* directives say, by the room that uses it.  Types of upper
 * rooms are named only: http/ does not look into them.
 */

#ifndef _LINES_HTTP_CONF_H_INCLUDED_
#define _LINES_HTTP_CONF_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "store/redis.h"


/* what lines_auth says of caches in its location */

typedef enum {
    LINES_CACHE_UNSAID = 0,  /* keys have the tenant; else nothing is stored */
    LINES_CACHE_TENANT,      /* the same; else no answer */
    LINES_CACHE_SHARED
} lines_cache_e;


typedef struct lines_api_s           lines_api_t;
typedef struct lines_zone_s          lines_zone_t;
typedef struct lines_location_s      lines_location_t;
typedef struct lines_billing_conf_s  lines_billing_conf_t;
typedef struct lines_op_conf_s       lines_op_conf_t;
typedef struct lines_clerk_conf_s    lines_clerk_conf_t;
typedef struct lines_auth_conf_s     lines_auth_conf_t;
typedef struct lines_deprecated_s    lines_deprecated_t;
typedef struct lines_cors_s          lines_cors_t;
typedef struct lines_tenant_limits_s lines_tenant_limits_t;
typedef struct lines_concurrency_s   lines_concurrency_t;
typedef struct lines_docs_s          lines_docs_t;
typedef struct lines_console_s       lines_console_t;
typedef struct lines_hooks_conf_s    lines_hooks_conf_t;


typedef struct {
    /* store */
    lines_redis_conf_t     redis_conf;
    lines_redis_conf_t     limits_conf;  /* of counts alone; no name: redis has
                                            them */
    lines_redis_t         *redis;        /* of this worker */
    lines_subscriber_t    *subscriber;

    /* auth */
    ngx_shm_zone_t        *shm_zone;     /* lines_zone */
    lines_zone_t          *zone;
    ngx_uint_t             configured;   /* number of this configuration among
                                            those of the zone: a later one has
                                            more */
    ngx_str_t              key_prefix;
    ngx_msec_t             key_ttl;
    ngx_array_t           *jwks;         /* lines_jwks_t * */

    /* api */
    ngx_array_t            plans;        /* lines_plan_t */
    ngx_array_t            places;       /* ngx_str_t: plan, channel, how many
                                            it includes, ... */
    ngx_msec_t             quarantine;   /* of released numbers */

    /* billing, operation: NULL where lines_billing is absent */
    lines_billing_conf_t  *billing;
    lines_op_conf_t       *operation;
    ngx_str_t              provisioner;  /* internal location */
    ngx_uint_t             provisioner_plain;  /* flag */
    ngx_str_t              probe;        /* internal location */
    ngx_msec_t             probe_timeout;
    ngx_uint_t             probe_plain;  /* flag: plain=loopback */

    lines_hooks_conf_t    *hooks;        /* lines_webhooks_out; NULL: absent */

    /* limit: each lines_rate_limit once, lines_limit_t * */
    ngx_array_t           *limits;

    /* metrics: ms between two passes over all tenants; 0: nobody looks */
    ngx_msec_t             survey;

    /* flag: $lines_tenant_plan is used */
    ngx_uint_t             tenant_plan;

    /* lines_auth: flag, it is used; allow's and deny's handler; the module
       whose subrequests ask for others */
    ngx_uint_t             auth;
    ngx_http_handler_pt    allow;
    ngx_module_t          *auth_request;

    /* at configuration: the loc_conf of each location, void ** */
    ngx_array_t           *locations_seen;

    /* variables: where the access phase begins */
    ngx_int_t              access_phase;

    ngx_uint_t             cors;         /* flag: lines_cors is used */
    ngx_uint_t             used;         /* flag: some location needs Redis */

    /* http: the server block that carriers run in; NULL without one */
    ngx_http_conf_ctx_t   *carrier_ctx;
    lines_location_t      *locations;    /* that it must have */
    ngx_uint_t             proxy;        /* index of the proxy's loc_conf */
    ngx_http_handler_pt    proxy_handler;  /* of "proxy_pass" */
} lines_main_conf_t;


typedef struct {
    /* these three only "if" and "limit_except" take from their location */
    lines_api_t           *api;           /* answers here, or NULL */
    ngx_str_t              prefix;        /* of its URIs; empty: the URI is all
                                             of it */
    void                  *own;           /* what the API's directive says */

    /* lower case, with a terminating zero */
    ngx_str_t              key_id_header;
    ngx_str_t              secret_header;
    lines_auth_conf_t     *auth;
    lines_cache_e          cache;         /* goes with auth */
    lines_api_t           *dialect;       /* of errors, where nothing
                                             of ours answers */
    lines_clerk_conf_t    *clerk;
    ngx_array_t           *limits;
    ngx_uint_t             limited;       /* flag: limits are its own */
    ngx_msec_t             cache_warned;  /* of this worker */
    lines_cors_t          *cors;          /* NULL: nobody said anything */
    lines_deprecated_t    *deprecated;    /* endpoints; NULL: by default */
    lines_tenant_limits_t  *tenant_limits;  /* the same */
    lines_concurrency_t   *concurrency;   /* the same */
    lines_docs_t          *docs;          /* the page that is served here */
    lines_console_t       *console;       /* the same, of the operator's */
} lines_loc_conf_t;


extern ngx_module_t  ngx_http_lines_module;


/* an HTTP module of this nginx, by its name; NULL: it was built without */
ngx_module_t *lines_find_module(ngx_conf_t *cf, const char *name);

/*
 * A handler of a phase, which runs before those that are there, or, where
 * before is given, right behind that one.
 */
ngx_int_t lines_add_handler(ngx_conf_t *cf, ngx_http_phases phase,
    ngx_http_handler_pt handler, ngx_http_handler_pt before);


#define lines_get_main_conf(r) \
    ((lines_main_conf_t *)     \
     ngx_http_get_module_main_conf(r, ngx_http_lines_module))

#define lines_get_loc_conf(r) \
    ((lines_loc_conf_t *)     \
     ngx_http_get_module_loc_conf(r, ngx_http_lines_module))


#endif /* _LINES_HTTP_CONF_H_INCLUDED_ */
