
#include "auth/strict_json.h"
#include "store/redis.h"
#include "workspace/health.h"


#define LINES_HEALTH_DEPTH       16
#define LINES_HEALTH_CONTAINERS  256


static ngx_int_t health_object(ngx_pool_t *pool, json_t *object,
    lines_health_t *health);
static json_t *health_failures(json_t *list);
static ngx_uint_t health_good(json_t *status);


ngx_int_t
lines_health_read(ngx_pool_t *pool, ngx_uint_t status, ngx_str_t *body,
    lines_health_t *health)
{
    size_t      i;
    json_t     *object;
    ngx_int_t   rc;

    ngx_str_set(&health->status, "down");

    if (status < 200 || status > 299) {
        return lines_redis_format(pool, &health->failures,
                                  "[\"probe_status_%ui\"]", status);
    }

    for (i = 0; i < body->len && ngx_strchr(" \t\r\n", body->data[i]); i++) {

        if (body->data[i] == '\0') {
            break;
        }
    }

    if (i == body->len) {
        ngx_str_set(&health->status, "healthy");
        ngx_str_set(&health->failures, "[]");

        return NGX_OK;
    }

    rc = lines_strict_json_object(body, LINES_HEALTH_DEPTH,
                                  LINES_HEALTH_CONTAINERS, &object);

    if (rc == NGX_DECLINED) {
        return lines_health_down(pool, "probe_answer_invalid", health);
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    rc = health_object(pool, object, health);

    json_decref(object);

    return rc;
}


static ngx_int_t
health_object(ngx_pool_t *pool, json_t *object, lines_health_t *health)
{
    json_t     *failures;
    ngx_str_t  *text;

    failures = health_failures(json_object_get(object, "failures"));
    if (failures == NULL) {
        return NGX_ERROR;
    }

    if (json_array_size(failures) == 0) {
        json_decref(failures);

        if (!health_good(json_object_get(object, "status"))) {
            return lines_health_down(pool, "probe_reported_down", health);
        }

        ngx_str_set(&health->status, "healthy");
        ngx_str_set(&health->failures, "[]");

        return NGX_OK;
    }

    text = &health->failures;
    text->len = json_dumpb(failures, NULL, 0, JSON_COMPACT);
    text->data = text->len ? ngx_pnalloc(pool, text->len) : NULL;

    if (text->data) {
        (void) json_dumpb(failures, (char *) text->data, text->len,
                          JSON_COMPACT);
    }

    json_decref(failures);

    return text->data ? NGX_OK : NGX_ERROR;
}


/* of a stranger's list as much as may be shown: strings, not too many */

static json_t *
health_failures(json_t *list)
{
    size_t   i;
    json_t  *failures, *failure;

    failures = json_array();
    if (failures == NULL) {
        return NULL;
    }

    for (i = 0;
         i < json_array_size(list)
         && json_array_size(failures) < LINES_HEALTH_FAILURES;
         i++)
    {
        failure = json_array_get(list, i);

        if (json_is_string(failure)
            && json_string_length(failure) <= LINES_HEALTH_FAILURE)
        {
            json_incref(failure);

        } else {
            failure = json_string("unnamed");
        }

        if (json_array_append_new(failures, failure) != 0) {
            json_decref(failures);
            return NULL;
        }
    }

    return failures;
}


static ngx_uint_t
health_good(json_t *status)
{
    size_t              i;
    static const char  *good[] = { "healthy", "ok", "up", "pass" };

    if (status == NULL) {
        return 1;
    }

    if (!json_is_string(status)) {
        return 0;
    }

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (ngx_strcmp(json_string_value(status), good[i]) == 0) {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
lines_health_down(ngx_pool_t *pool, const char *failure,
    lines_health_t *health)
{
    ngx_str_set(&health->status, "down");

    return lines_redis_format(pool, &health->failures, "[\"%s\"]", failure);
}
