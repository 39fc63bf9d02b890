
/*
 * Session tokens that were verified, in lines_zone: a signature costs thirty
 * times what a look-up does, and a browser sends the same token for a minute.
 *
 * An entry is found by the token's SHA-256 and by who judges it, and believed
 * for the keys that verified it and until the token expires.  Bounded by
 * number, least recently used out first.
 */

#ifndef _LINES_AUTH_TOKEN_CACHE_H_INCLUDED_
#define _LINES_AUTH_TOKEN_CACHE_H_INCLUDED_


#include "http/conf.h"
#include "http/digest.h"


#define LINES_TOKEN_TENANT  66    /* "w:" and 64 characters */
#define LINES_TOKEN_USER    64    /* longer ones are not kept */


typedef struct {
    u_char      digest[LINES_SHA256_LEN];    /* of token and judge */
    ngx_uint_t  generation;                  /* of the keys */
    int64_t     until;                       /* Unix time, ms */
    u_char      tenant_len;                  /* 0: no organization */
    u_char      user_len;
    u_char      tenant[LINES_TOKEN_TENANT];
    u_char      user[LINES_TOKEN_USER];
} lines_token_t;


void *lines_token_cache_init(ngx_slab_pool_t *shpool);

/*
 * Given token->digest and token->generation, fills the rest.  NGX_DECLINED
 * where there is nothing that may be believed at now (Unix time, ms).
 */
ngx_int_t lines_token_cache_get(lines_main_conf_t *lmcf, lines_token_t *token,
    int64_t now);

void lines_token_cache_put(lines_main_conf_t *lmcf, lines_token_t *token,
    int64_t now);


#endif /* _LINES_AUTH_TOKEN_CACHE_H_INCLUDED_ */
