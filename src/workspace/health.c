
#include "auth/strict_json.h"
#include "workspace/health.h"


#define LINES_HEALTH_DEPTH       16
#define LINES_HEALTH_CONTAINERS  256


static ngx_uint_t health_blank(ngx_str_t *body);
static ngx_int_t health_object(ngx_pool_t *pool, json_t *object,
    lines_health_t *health);
static json_t *health_failures(json_t *list);
static ngx_uint_t health_good(json_t *status);


ngx_int_t
lines_health_read(ngx_pool_t *pool, ngx_uint_t status, ngx_str_t *body,
    lines_health_t *health)
{
    char        word[sizeof("probe_status_") + NGX_INT_T_LEN];
    json_t     *object;
    ngx_int_t   rc;

    if (status < 200 || status > 299) {
        *ngx_snprintf((u_char *) word, sizeof(word) - 1, "probe_status_%ui",
                      status)
            = '\0';

        return lines_health_down(pool, word, health);
    }

    if (health_blank(body)) {
        health->healthy = 1;
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


static ngx_uint_t
health_blank(ngx_str_t *body)
{
    size_t  i;

    for (i = 0; i < body->len; i++) {
        if (body->data[i] != ' '
            && body->data[i] != '\t'
            && body->data[i] != CR
            && body->data[i] != LF)
        {
            return 0;
        }
    }

    return 1;
}


static ngx_int_t
health_object(ngx_pool_t *pool, json_t *object, lines_health_t *health)
{
    char       *text;
    json_t     *failures, *status;
    ngx_int_t   rc;

    status = json_object_get(object, "status");

    failures = health_failures(json_object_get(object, "failures"));
    if (failures == NULL) {
        return NGX_ERROR;
    }

    health->healthy = health_good(status) && json_array_size(failures) == 0;

    if (!health->healthy && json_array_size(failures) == 0) {
        json_decref(failures);
        return lines_health_down(pool, "probe_reported_down", health);
    }

    text = json_dumps(failures, JSON_COMPACT);
    json_decref(failures);

    if (text == NULL) {
        return NGX_ERROR;
    }

    health->failures.len = ngx_strlen(text);
    health->failures.data = ngx_pnalloc(pool, health->failures.len);
    rc = NGX_ERROR;

    if (health->failures.data) {
        ngx_memcpy(health->failures.data, text, health->failures.len);
        rc = NGX_OK;
    }

    free(text);

    return rc;
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
    size_t  len;

    len = ngx_strlen(failure) + sizeof("[\"\"]") - 1;

    health->healthy = 0;
    health->failures.data = ngx_pnalloc(pool, len);

    if (health->failures.data == NULL) {
        return NGX_ERROR;
    }

    health->failures.len = ngx_snprintf(health->failures.data, len, "[\"%s\"]",
                                        failure) - health->failures.data;

    return NGX_OK;
}
