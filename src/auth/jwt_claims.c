
#include "auth/jwt_claims.h"


#define LINES_JWT_MAX_TENANT  64

/* what the subject of a machine's token starts with: it is no session */
#define LINES_JWT_MACHINE     "mch_"


static ngx_int_t jwt_check_party(lines_jwt_t *jwt, json_t *claims,
    lines_jwt_options_t *options);
static ngx_int_t jwt_check_times(lines_jwt_t *jwt, json_t *claims,
    int64_t leeway, int64_t now);
static ngx_int_t jwt_time(json_t *claims, const char *name, ngx_uint_t up,
    int64_t *seconds);
static ngx_int_t jwt_check_tenant(lines_jwt_t *jwt, json_t *claims,
    ngx_str_t *path);
static ngx_uint_t jwt_walk(json_t *claims, ngx_str_t *path, json_t **value);
static ngx_uint_t jwt_same(json_t *value, ngx_str_t *text);
static ngx_uint_t jwt_clean(json_t *value);


ngx_int_t
lines_jwt_check_claims(lines_jwt_t *jwt, json_t *claims,
    lines_jwt_options_t *options, int64_t now)
{
    json_t     *value;
    ngx_int_t   rc;

    value = json_object_get(claims, "sub");

    if (!json_is_string(value)
        || !jwt_clean(value)
        || ngx_strncmp(json_string_value(value), LINES_JWT_MACHINE,
                       sizeof(LINES_JWT_MACHINE) - 1)
           == 0)
    {
        return lines_jwt_refuse(jwt, LINES_JWT_BAD_SUBJECT);
    }

    lines_jwt_keep(jwt, &jwt->sub, value);

    if (options->issuer.len == 0
        || !jwt_same(json_object_get(claims, "iss"), &options->issuer))
    {
        return lines_jwt_refuse(jwt, LINES_JWT_BAD_ISSUER);
    }

    rc = jwt_check_party(jwt, claims, options);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = jwt_check_times(jwt, claims, options->leeway, now);

    if (rc != NGX_OK) {
        return rc;
    }

    if (lines_jwt_equals(json_object_get(claims, "sts"), "pending")) {
        return lines_jwt_refuse(jwt, LINES_JWT_SESSION_PENDING);
    }

    value = json_object_get(claims, "sid");

    if (jwt_clean(value)) {
        lines_jwt_keep(jwt, &jwt->sid, value);
    }

    return jwt_check_tenant(jwt, claims, &options->tenant_claim);
}


static ngx_int_t
jwt_check_party(lines_jwt_t *jwt, json_t *claims, lines_jwt_options_t *options)
{
    json_t      *value;
    ngx_uint_t   i;

    value = json_object_get(claims, "azp");

    for (i = 0; i < options->nparties; i++) {
        if (jwt_same(value, &options->parties[i])) {
            break;
        }
    }

    if (options->nparties && i == options->nparties) {
        return lines_jwt_refuse(jwt, LINES_JWT_BAD_PARTY);
    }

    if (jwt_clean(value)) {
        lines_jwt_keep(jwt, &jwt->azp, value);
    }

    return NGX_OK;
}


static ngx_int_t
jwt_check_times(lines_jwt_t *jwt, json_t *claims, int64_t leeway, int64_t now)
{
    int64_t  exp, nbf, iat;

    if (json_object_get(claims, "exp") == NULL
        || jwt_time(claims, "exp", 0, &exp) != NGX_OK
        || jwt_time(claims, "nbf", 1, &nbf) != NGX_OK
        || jwt_time(claims, "iat", 1, &iat) != NGX_OK)
    {
        return lines_jwt_refuse(jwt, LINES_JWT_BAD_CLAIMS);
    }

    if (exp * 1000 <= now - leeway) {
        return lines_jwt_refuse(jwt, LINES_JWT_EXPIRED);
    }

    if (nbf * 1000 > now + leeway) {
        return lines_jwt_refuse(jwt, LINES_JWT_NOT_ACTIVE_YET);
    }

    if (iat * 1000 > now + leeway) {
        return lines_jwt_refuse(jwt, LINES_JWT_ISSUED_IN_FUTURE);
    }

    jwt->exp = exp;

    return NGX_OK;
}


/*
 * A claim that is absent counts as 0.  Fractions of a second are rounded
 * against the token.
 */

static ngx_int_t
jwt_time(json_t *claims, const char *name, ngx_uint_t up, int64_t *seconds)
{
    double   value;
    json_t  *claim;

    *seconds = 0;

    claim = json_object_get(claims, name);

    if (claim == NULL) {
        return NGX_OK;
    }

    if (!json_is_number(claim)) {
        return NGX_DECLINED;
    }

    value = json_number_value(claim);

    /* written so that not-a-number fails too */

    if (!(value >= -LINES_JWT_MAX_TIME && value <= LINES_JWT_MAX_TIME))
    {
        return NGX_DECLINED;
    }

    *seconds = (int64_t) value;

    if (up && (double) *seconds < value) {
        (*seconds)++;

    } else if (!up && (double) *seconds > value) {
        (*seconds)--;
    }

    return NGX_OK;
}


static ngx_int_t
jwt_check_tenant(lines_jwt_t *jwt, json_t *claims, ngx_str_t *path)
{
    json_t            *value;
    ngx_str_t          tenant;
    static ngx_str_t   v1 = ngx_string("org_id");
    static ngx_str_t   v2 = ngx_string("o.id");

    if (path->len == 0) {
        value = json_object_get(claims, "v");

        path = (json_is_number(value) && json_number_value(value) == 2)
               ? &v2
               : &v1;
    }

    if (!jwt_walk(claims, path, &value)) {
        return lines_jwt_refuse(jwt, LINES_JWT_BAD_TENANT);
    }

    if (value == NULL) {
        return NGX_OK;
    }

    tenant.data = (u_char *) json_string_value(value);
    tenant.len = json_string_length(value);

    if (!lines_jwt_tenant_valid(&tenant)) {
        return lines_jwt_refuse(jwt, LINES_JWT_BAD_TENANT);
    }

    lines_jwt_keep(jwt, &jwt->tenant, value);

    return NGX_OK;
}


/*
 * *value: a string, or NULL where a member on the way is absent or null, which
 * is how a session without an organization looks.  False: something on the
 * way is of another type, so that nobody can say what is meant.
 */

static ngx_uint_t
jwt_walk(json_t *claims, ngx_str_t *path, json_t **value)
{
    u_char  *p, *last, *dot;
    json_t  *object;

    object = claims;
    last = path->data + path->len;

    for (p = path->data; /* void */ ; p = dot + 1) {

        if (!json_is_object(object)) {
            return 0;
        }

        dot = ngx_strlchr(p, last, '.');

        object = json_object_getn(object, (const char *) p,
                                  (dot ? dot : last) - p);

        if (object == NULL || json_is_null(object)) {
            *value = NULL;
            return 1;
        }

        if (dot == NULL) {
            break;
        }
    }

    *value = object;

    return json_is_string(object);
}


ngx_uint_t
lines_jwt_tenant_valid(ngx_str_t *text)
{
    u_char  ch;
    size_t  i;

    if (text->len == 0 || text->len > LINES_JWT_MAX_TENANT) {
        return 0;
    }

    for (i = 0; i < text->len; i++) {
        ch = text->data[i];

        if (!(ch >= 'a' && ch <= 'z')
            && !(ch >= 'A' && ch <= 'Z')
            && !(ch >= '0' && ch <= '9')
            && ch != '_'
            && ch != '-')
        {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
jwt_same(json_t *value, ngx_str_t *text)
{
    return json_is_string(value)
           && json_string_length(value) == text->len
           && ngx_memcmp(json_string_value(value), text->data, text->len) == 0;
}


/* a string that may stand in a header of the upstream's request or in a log */

static ngx_uint_t
jwt_clean(json_t *value)
{
    size_t       i, len;
    const char  *p;

    if (!json_is_string(value)) {
        return 0;
    }

    p = json_string_value(value);
    len = json_string_length(value);

    for (i = 0; i < len; i++) {
        if ((u_char) p[i] < 0x20 || p[i] == 0x7f) {
            return 0;
        }
    }

    return len > 0;
}
