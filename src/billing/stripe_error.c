
#include <ngx_config.h>
#include <ngx_core.h>

#include "billing/stripe_error.h"


#define LINES_STRIPE_BACKOFF      200     /* ms before the second try */
#define LINES_STRIPE_BACKOFF_MAX  2000


static void stripe_error_member(json_t *object, const char *name,
    ngx_str_t *value);
static ngx_uint_t stripe_is(ngx_str_t *value, const char *text);


lines_stripe_outcome_e
lines_stripe_classify(ngx_uint_t status, json_t *body, ngx_int_t should_retry,
    lines_stripe_error_t *error)
{
    json_t  *object;

    ngx_memzero(error, sizeof(lines_stripe_error_t));

    if (status >= 200 && status < 300) {

        /* Stripe always says what it made; a 200 of something else is none */

        return json_is_object(body) ? LINES_STRIPE_OK : LINES_STRIPE_UNKNOWN;
    }

    object = json_object_get(body, "error");

    stripe_error_member(object, "type", &error->type);
    stripe_error_member(object, "code", &error->code);
    stripe_error_member(object, "decline_code", &error->decline_code);
    stripe_error_member(object, "param", &error->param);
    stripe_error_member(object, "message", &error->message);

    /* a proxy or a firewall in between may answer 4xx too: not Stripe's word */

    if (status < 400 || status >= 500) {
        return LINES_STRIPE_UNKNOWN;
    }

    if (stripe_is(&error->type, "idempotency_error")
        && !stripe_is(&error->code, "idempotency_key_in_use"))
    {
        return LINES_STRIPE_ALERT;
    }

    if (status == 409
        || status == 429
        || stripe_is(&error->code, "idempotency_key_in_use")
        || stripe_is(&error->code, "lock_timeout")
        || stripe_is(&error->code, "rate_limit")
        || should_retry == 1)
    {
        return LINES_STRIPE_RETRY;
    }

    if (status == 401 || status == 403) {
        return LINES_STRIPE_ALERT;
    }

    if (error->type.len == 0) {
        return LINES_STRIPE_UNKNOWN;
    }

    return LINES_STRIPE_REFUSED;
}


ngx_uint_t
lines_stripe_error_is(lines_stripe_error_t *error, const char *code)
{
    return stripe_is(&error->code, code);
}


ngx_msec_t
lines_stripe_backoff(ngx_uint_t n, time_t retry_after, ngx_uint_t random)
{
    ngx_uint_t  i;
    ngx_msec_t  pause;

    pause = LINES_STRIPE_BACKOFF;

    for (i = 1; i < n && pause < LINES_STRIPE_BACKOFF_MAX; i++) {
        pause *= 2;
    }

    pause = ngx_min(pause, LINES_STRIPE_BACKOFF_MAX);
    pause = pause / 2 + random % (pause / 2 + 1);

    /* beyond any budget; a huge number must not wrap */

    if (retry_after > 3600) {
        retry_after = 3600;
    }

    if (retry_after > 0 && pause < (ngx_msec_t) retry_after * 1000) {
        pause = (ngx_msec_t) retry_after * 1000;
    }

    return pause;
}


static void
stripe_error_member(json_t *object, const char *name, ngx_str_t *value)
{
    json_t  *member;

    member = json_object_get(object, name);

    if (json_is_string(member)) {
        value->data = (u_char *) json_string_value(member);
        value->len = json_string_length(member);
    }
}


static ngx_uint_t
stripe_is(ngx_str_t *value, const char *text)
{
    size_t  len;

    len = ngx_strlen(text);

    return value->len == len && ngx_memcmp(value->data, text, len) == 0;
}
