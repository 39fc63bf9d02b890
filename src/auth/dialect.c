
#include "auth/dialect.h"
#include "http/text.h"
#include "store/redis.h"


static ngx_str_t
dialect_text(ngx_pool_t *pool, const char *message)
{
    return lines_json_string(pool, &(ngx_str_t) { ngx_strlen(message),
                                                  (u_char *) message });
}


ngx_int_t
lines_plain_error(ngx_pool_t *pool, const char *error, const char *message,
    ngx_str_t *json)
{
    ngx_str_t  text;

    text = dialect_text(pool, message);

    if (text.data == NULL) {
        return NGX_ERROR;
    }

    return error ? lines_redis_format(pool, json,
                                      "{\"error\":%V,\"code\":\"%s\"}",
                                      &text, error)
                 : lines_redis_format(pool, json, "{\"error\":%V}", &text);
}


ngx_int_t
lines_account_error(ngx_pool_t *pool, const char *error, const char *message,
    ngx_str_t *json)
{
    ngx_str_t  text;

    text = dialect_text(pool, message);

    if (text.data == NULL) {
        return NGX_ERROR;
    }

    return error ? lines_redis_format(pool, json,
                                      "{\"status\":\"ERROR\","
                                      "\"error\":\"%s\",\"message\":%V}",
                                      error, &text)
                 : lines_redis_format(pool, json,
                                      "{\"status\":\"ERROR\","
                                      "\"message\":%V}", &text);
}
