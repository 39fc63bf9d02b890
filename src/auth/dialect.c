
/*
 * How the dialects say "no".
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "auth/dialect.h"
#include "http/text.h"
#include "store/redis.h"


static ngx_int_t dialect_text(ngx_pool_t *pool, const char *message,
    ngx_str_t *text);


ngx_int_t
lines_plain_error(ngx_pool_t *pool, const char *error, const char *message,
    ngx_str_t *json)
{
    ngx_str_t  text;

    if (dialect_text(pool, message, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    if (error == NULL) {
        return lines_redis_format(pool, json, "{\"error\":%V}", &text);
    }

    return lines_redis_format(pool, json, "{\"error\":%V,\"code\":\"%s\"}",
                              &text, error);
}


ngx_int_t
lines_account_error(ngx_pool_t *pool, const char *error, const char *message,
    ngx_str_t *json)
{
    ngx_str_t  text;

    if (dialect_text(pool, message, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    if (error == NULL) {
        return lines_redis_format(pool, json,
                                  "{\"status\":\"ERROR\",\"message\":%V}",
                                  &text);
    }

    return lines_redis_format(pool, json,
                      "{\"status\":\"ERROR\",\"error\":\"%s\",\"message\":%V}",
                      error, &text);
}


static ngx_int_t
dialect_text(ngx_pool_t *pool, const char *message, ngx_str_t *text)
{
    ngx_str_t  value;

    value.data = (u_char *) message;
    value.len = ngx_strlen(message);

    *text = lines_json_string(pool, &value);

    return text->data ? NGX_OK : NGX_ERROR;
}
