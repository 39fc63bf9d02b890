
/*
 * What a node remembers of API keys, in lines_zone: positive and negative
 * answers by the SHA-256 of the credential, bounded, least recently used out
 * first.  Entries say when they were asked of Redis; whether that is recent
 * enough is for the caller to judge.
 */

#ifndef _NGX_HTTP_LINES_KEY_CACHE_H_INCLUDED_
#define _NGX_HTTP_LINES_KEY_CACHE_H_INCLUDED_


#include "ngx_http_lines_zone.h"
#include "ngx_lines_digest.h"


#define NGX_HTTP_LINES_TENANT_LEN  66     /* "w:" and 64 characters */


typedef struct {
    u_char        digest[NGX_LINES_SHA256_LEN];    /* of the credential */
    u_char        secret[NGX_LINES_SHA256_LEN];    /* of a key pair's secret,
                                                      else zeros */
    u_char        tenant[NGX_HTTP_LINES_TENANT_LEN];
    size_t        tenant_len;                      /* 0: no such key */
    time_t        asked;                           /* of Redis */
    ngx_uint_t    verified;                        /* flag: nothing that
                                                      could revoke it was
                                                      missed since */
} ngx_http_lines_key_t;


void *ngx_http_lines_key_cache_init(ngx_slab_pool_t *shpool);

/* fills key; NGX_DECLINED where nothing is known of the digest */
ngx_int_t ngx_http_lines_key_cache_get(ngx_http_lines_main_conf_t *lmcf,
    const u_char *digest, ngx_http_lines_key_t *key);

/*
 * The revocation generation: read when a look-up is sent.  put() keeps the
 * reply only if it has not moved since.
 */
ngx_atomic_uint_t ngx_http_lines_key_cache_generation(
    ngx_http_lines_main_conf_t *lmcf);

void ngx_http_lines_key_cache_put(ngx_http_lines_main_conf_t *lmcf,
    ngx_http_lines_key_t *key, ngx_atomic_uint_t generation);

/* a key was revoked somewhere */
void ngx_http_lines_key_cache_drop(ngx_http_lines_main_conf_t *lmcf,
    const u_char *digest);

/* revocations may have been missed: nothing known so far is verified */
void ngx_http_lines_key_cache_doubt(ngx_http_lines_main_conf_t *lmcf);


#endif /* _NGX_HTTP_LINES_KEY_CACHE_H_INCLUDED_ */
