
/*
 * What a node remembers of API keys, in lines_zone: positive and negative
 * answers by the SHA-256 of the credential, bounded, least recently used out
 * first.  Entries say when they were asked of Redis; whether that is recent
 * enough is for the caller to judge.
 */

#ifndef _LINES_AUTH_KEY_CACHE_H_INCLUDED_
#define _LINES_AUTH_KEY_CACHE_H_INCLUDED_


#include "http/conf.h"
#include "http/digest.h"


#define LINES_TENANT_LEN  66     /* "w:" and 64 characters */


typedef struct {
    u_char      digest[LINES_SHA256_LEN];    /* of the credential */
    u_char      secret[LINES_SHA256_LEN];    /* of a key pair's secret,
                                                else zeros */
    u_char      tenant[LINES_TENANT_LEN];
    size_t      tenant_len;                  /* 0: no such key */
    time_t      asked;                       /* of Redis */
    ngx_uint_t  verified;                    /* flag: nothing that
                                                could revoke it was
                                                missed since */
} lines_key_t;


void *lines_key_cache_init(ngx_slab_pool_t *shpool);

/* fills key; NGX_DECLINED where nothing is known of the digest */
ngx_int_t lines_key_cache_get(lines_main_conf_t *lmcf, const u_char *digest,
    lines_key_t *key);

/*
 * The revocation generation: read when a look-up is sent.  put() keeps the
 * reply only if it has not moved since.
 */
ngx_atomic_uint_t lines_key_cache_generation(lines_main_conf_t *lmcf);

void lines_key_cache_put(lines_main_conf_t *lmcf, lines_key_t *key,
    ngx_atomic_uint_t generation);

/* a key was revoked somewhere */
void lines_key_cache_drop(lines_main_conf_t *lmcf, const u_char *digest);

/* revocations may have been missed: nothing known so far is verified */
void lines_key_cache_doubt(lines_main_conf_t *lmcf);


#endif /* _LINES_AUTH_KEY_CACHE_H_INCLUDED_ */
