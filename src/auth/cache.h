
/*
 * What a node remembers of credentials, in lines_zone, by a SHA-256: bounded,
 * least recently used out first.
 *
 * Of API keys: positive and negative answers.  Entries say when Redis was
 * asked; whether that is recent enough is for the caller to judge.
 *
 * Of session tokens: those whose signature was good.  To verify one costs
 * thirty times what a look-up does, and a browser sends the same token for a
 * minute; so may anybody who has an old one.
 */

#ifndef _LINES_AUTH_CACHE_H_INCLUDED_
#define _LINES_AUTH_CACHE_H_INCLUDED_


#include "http/conf.h"
#include "http/digest.h"


#define LINES_TENANT_LEN  66    /* "w:" and 64 characters */
#define LINES_USER_LEN    64    /* tokens of longer ones are not kept */

/* ms that a refusal is remembered: one that would be for longer is of a clock
   that has been set back since */
#define LINES_TOKEN_REFUSED  60000


typedef struct {
    u_char             digest[LINES_SHA256_LEN];    /* of the credential */
    u_char             secret[LINES_SHA256_LEN];    /* of a key pair's secret,
                                                       else zeros */
    u_char             tenant[LINES_TENANT_LEN];
    u_char             tenant_len;    /* 0: no such key */
    u_char             reads;         /* flag: it may only read */
    uint32_t           used;          /* the last day that is known, since the
                                         epoch; or 0 */
    int64_t            expires;       /* Unix time, ms; or 0 */
    ngx_msec_t         asked;         /* of Redis: lines_zone_since() */
    ngx_uint_t         verified;      /* flag: nothing that could revoke it
                                         was missed since */
    ngx_atomic_uint_t  generation;    /* of revocations, at get() */
    ngx_atomic_uint_t  epoch;         /* the cache's own */
} lines_key_t;


typedef struct {
    u_char      digest[LINES_SHA256_LEN];    /* of token and judge */
    ngx_uint_t  generation;                  /* of the keys */
    int64_t     until;                       /* Unix time, ms */
    u_char      reason;                      /* 0: it is good; else why it is
                                                refused, for its judge */
    u_char      tenant_len;                  /* 0: no organization */
    u_char      user_len;
    u_char      tenant[LINES_TENANT_LEN];
    u_char      user[LINES_USER_LEN];
} lines_token_t;


/* the zone's area */
void *lines_cache_init(ngx_slab_pool_t *shpool);

/*
 * Given key->digest, fills the rest; NGX_DECLINED where nothing is known of
 * it.  put() keeps what Redis says of it only if nothing was revoked since.
 */
ngx_int_t lines_key_cache_get(lines_main_conf_t *lmcf, lines_key_t *key);
void lines_key_cache_put(lines_main_conf_t *lmcf, lines_key_t *key);

/* a key was revoked somewhere; NULL: any may have been, unheard: nothing known
   so far is verified */
void lines_key_cache_revoke(lines_main_conf_t *lmcf, const u_char *digest);

/* flag: nobody on this node has told of its use on that day, as far as is
   remembered; the caller does */
ngx_uint_t lines_key_cache_use(lines_main_conf_t *lmcf, const u_char *digest,
    uint32_t day);

/*
 * Given token->digest and token->generation, fills the rest.  NGX_DECLINED
 * where there is nothing that may be believed at now (Unix time, ms).
 */

ngx_int_t lines_token_cache_get(lines_main_conf_t *lmcf, lines_token_t *token,
    int64_t now);
void lines_token_cache_put(lines_main_conf_t *lmcf, lines_token_t *token,
    int64_t now);


#endif /* _LINES_AUTH_CACHE_H_INCLUDED_ */
