
/*
 * Preview tokens: "lpv_" and, in base64url, 24 random bytes, the first 8 of
 * SHA-256(account), the first 4 of SHA-256(all before).  A token tells by
 * itself whether it was ever issued, and to whom, so that a stranger's is
 * neither looked up nor burnt.  Pure.
 */

#ifndef _LINES_ACCOUNT_PREVIEW_TOKEN_H_INCLUDED_
#define _LINES_ACCOUNT_PREVIEW_TOKEN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "http/digest.h"


#define LINES_PREVIEW_TOKEN_LEN  52


/* writes LINES_PREVIEW_TOKEN_LEN bytes; NGX_ERROR: no randomness */
ngx_int_t lines_preview_token(ngx_str_t *account, u_char *token);

/*
 * NGX_OK: issued to this account; NGX_ABORT: to another; NGX_DECLINED: never
 * issued; NGX_ERROR where OpenSSL fails.
 */

ngx_int_t lines_preview_token_check(ngx_str_t *account, ngx_str_t *token);

/*
 * The token's name in Redis, SHA-256 in hex: 64 bytes.  Its first 24 are the
 * id of the operation that uses it.
 */

#define lines_preview_token_hash(token, hex)  lines_sha256_hex(token, hex)


#endif /* _LINES_ACCOUNT_PREVIEW_TOKEN_H_INCLUDED_ */
