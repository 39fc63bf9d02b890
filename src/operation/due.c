
/*
 * Where an operation is found again: the list that it is due in, and ids that
 * derive from what they are about.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/digest.h"
#include "http/id.h"
#include "operation/operation.h"
#include "store/calls.h"


#define LINES_ID_LEN  24


int64_t
lines_due_shard(ngx_str_t *id)
{
    return ngx_crc32_short(id->data, id->len) % LINES_DUE_SHARDS;
}


ngx_int_t
lines_refund_id(ngx_pool_t *pool, ngx_str_t *line, ngx_str_t *id)
{
    return lines_derive_id(pool, "refund:", line, id);
}


ngx_int_t
lines_derive_id(ngx_pool_t *pool, const char *prefix, ngx_str_t *name,
    ngx_str_t *id)
{
    u_char     *hex;
    ngx_str_t   text;

    hex = ngx_pnalloc(pool, LINES_SHA256_LEN * 2);

    if (hex == NULL
        || lines_redis_format(pool, &text, "%s%V", prefix, name) != NGX_OK
        || lines_sha256_hex(&text, hex) != NGX_OK)
    {
        return NGX_ERROR;
    }

    id->data = hex;
    id->len = LINES_ID_LEN;

    return NGX_OK;
}
