
/*
 * lines_auth in any location: who asks is found out in the access phase, so
 * that whatever answers in the content phase is protected.
 *
 * A subrequest, which has no such phase, is checked before it does anything,
 * return and rewrite too; what auth_request is told by it is true of the
 * request that it stands for.  In a request itself return and rewrite run
 * before the access phase: nginx -t warns.
 */

#ifndef _LINES_AUTH_ACCESS_H_INCLUDED_
#define _LINES_AUTH_ACCESS_H_INCLUDED_


#include "auth/auth.h"


struct lines_auth_conf_s {
    ngx_uint_t  methods;    /* 0: off */
    ngx_int_t   stale;      /* seconds */
    ngx_uint_t  cache;      /* lines_cache_e */
    ngx_uint_t  hide;       /* lines_hide_e, auth/hide.h */
};


/*
 * lines_auth workspace|account|clerk|any|off [stale=60s]
 *            [cache=tenant|shared] [hide_credentials=keys|on|off]
 */
char *lines_auth_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

char *lines_access_merge(ngx_conf_t *cf, lines_loc_conf_t *prev,
    lines_loc_conf_t *conf);

/* postconfiguration */
ngx_int_t lines_access_init(ngx_conf_t *cf);

/* init_process */
void lines_access_init_process(ngx_cycle_t *cycle, lines_main_conf_t *lmcf);

/* postconfiguration, when all locations are known: warns of what has a say
   before lines_auth, or none at all */
void lines_access_warn(ngx_conf_t *cf);

/* caches: warns of those in a location; the filter that checks their keys */
void lines_access_caches(ngx_conf_t *cf, void **loc_conf);
void lines_access_cache_init(void);


#endif /* _LINES_AUTH_ACCESS_H_INCLUDED_ */
