
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_operation.h"


ngx_int_t
ngx_http_lines_due(ngx_pool_t *pool, ngx_str_t *tenant, ngx_str_t *id,
    ngx_str_t *key, ngx_str_t *member)
{
    ngx_uint_t  shard;

    shard = ngx_crc32_short(id->data, id->len) % NGX_HTTP_LINES_DUE_SHARDS;

    if (ngx_lines_redis_format(pool, key, "lines:{due:%ui}", shard)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_lines_redis_format(pool, member, "%V %V", tenant, id);
}
