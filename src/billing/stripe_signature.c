
#include "billing/stripe_signature.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>


#define LINES_STRIPE_MAC_LEN     32
#define LINES_STRIPE_MAX_DIGITS  12


static ngx_int_t stripe_parse(lines_stripe_signature_t *signature,
    time_t *created);
static ngx_uint_t stripe_next(ngx_str_t *list, ngx_str_t *scheme,
    ngx_str_t *value);
static ngx_int_t stripe_parse_time(ngx_str_t *text, time_t *created);
static ngx_uint_t stripe_matches(ngx_str_t *header, u_char *mac);
static ngx_int_t stripe_refuse(lines_stripe_signature_t *signature,
    lines_stripe_reason_e reason);


static ngx_str_t  stripe_reasons[] = {
    ngx_string("accepted"),
    ngx_string("signature-missing"),
    ngx_string("signature-malformed"),
    ngx_string("signature-too-old"),
    ngx_string("signature-in-future"),
    ngx_string("body-empty"),
    ngx_string("signature-mismatch")
};


ngx_int_t
lines_stripe_secrets_create(lines_stripe_secrets_t *secrets, ngx_str_t *values,
    ngx_uint_t n)
{
    EVP_MAC     *mac;
    ngx_int_t    rc;
    ngx_uint_t   i;
    OSSL_PARAM   params[2];

    ngx_memzero(secrets, sizeof(lines_stripe_secrets_t));

    if (n == 0 || n > LINES_STRIPE_MAX_SECRETS) {
        return NGX_ERROR;
    }

    mac = EVP_MAC_fetch(NULL, "HMAC", NULL);

    if (mac == NULL) {
        return NGX_ERROR;
    }

    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
                                                 (char *) "SHA256", 0);
    params[1] = OSSL_PARAM_construct_end();

    rc = NGX_OK;

    for (i = 0; i < n; i++) {

        secrets->macs[i] = EVP_MAC_CTX_new(mac);

        if (values[i].len == 0
            || secrets->macs[i] == NULL
            || EVP_MAC_init(secrets->macs[i], values[i].data, values[i].len,
                            params)
               != 1)
        {
            rc = NGX_ERROR;
            break;
        }
    }

    EVP_MAC_free(mac);

    if (rc != NGX_OK) {
        lines_stripe_secrets_destroy(secrets);
        return NGX_ERROR;
    }

    secrets->nmacs = n;

    return NGX_OK;
}


void
lines_stripe_secrets_destroy(lines_stripe_secrets_t *secrets)
{
    ngx_uint_t  i;

    for (i = 0; i < LINES_STRIPE_MAX_SECRETS; i++) {
        EVP_MAC_CTX_free(secrets->macs[i]);
        secrets->macs[i] = NULL;
    }

    secrets->nmacs = 0;
}


ngx_int_t
lines_stripe_signature_start(lines_stripe_signature_t *signature,
    ngx_str_t *header, lines_stripe_secrets_t *secrets, time_t now,
    time_t tolerance)
{
    time_t      created;
    ngx_int_t   rc;
    ngx_uint_t  i;

    signature->reason = LINES_STRIPE_ACCEPTED;
    signature->secrets = secrets;
    signature->header = *header;
    signature->received = 0;

    rc = stripe_parse(signature, &created);

    if (rc != NGX_OK) {
        return rc;
    }

    if (created < now - tolerance) {
        return stripe_refuse(signature, LINES_STRIPE_TOO_OLD);
    }

    if (created > now + tolerance) {
        return stripe_refuse(signature, LINES_STRIPE_IN_FUTURE);
    }

    for (i = 0; i < secrets->nmacs; i++) {

        /* without a key: begins anew with the one that it has */

        if (EVP_MAC_init(secrets->macs[i], NULL, 0, NULL) != 1
            || EVP_MAC_update(secrets->macs[i], signature->time.data,
                              signature->time.len)
               != 1
            || EVP_MAC_update(secrets->macs[i], (u_char *) ".", 1) != 1)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
lines_stripe_signature_update(lines_stripe_signature_t *signature,
    u_char *data, size_t len)
{
    ngx_uint_t               i;
    lines_stripe_secrets_t  *secrets;

    if (len == 0) {
        return NGX_OK;
    }

    secrets = signature->secrets;
    signature->received += len;

    for (i = 0; i < secrets->nmacs; i++) {
        if (EVP_MAC_update(secrets->macs[i], data, len) != 1) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
lines_stripe_signature_finish(lines_stripe_signature_t *signature)
{
    size_t                   len;
    u_char                   mac[LINES_STRIPE_MAC_LEN];
    ngx_uint_t               i, matches;
    lines_stripe_secrets_t  *secrets;

    if (signature->received == 0) {
        return stripe_refuse(signature, LINES_STRIPE_EMPTY_BODY);
    }

    secrets = signature->secrets;
    matches = 0;

    for (i = 0; i < secrets->nmacs; i++) {

        if (EVP_MAC_final(secrets->macs[i], mac, &len, sizeof(mac)) != 1
            || len != sizeof(mac))
        {
            return NGX_ERROR;
        }

        matches |= stripe_matches(&signature->header, mac);
    }

    OPENSSL_cleanse(mac, sizeof(mac));

    if (!matches) {
        return stripe_refuse(signature, LINES_STRIPE_MISMATCH);
    }

    return NGX_OK;
}


static ngx_int_t
stripe_parse(lines_stripe_signature_t *signature, time_t *created)
{
    ngx_str_t   list, scheme, value;
    ngx_uint_t  times, macs;

    if (signature->header.len > LINES_STRIPE_MAX_HEADER) {
        return stripe_refuse(signature, LINES_STRIPE_MALFORMED);
    }

    times = 0;
    macs = 0;
    list = signature->header;

    while (stripe_next(&list, &scheme, &value)) {

        if (scheme.len == 1 && scheme.data[0] == 't') {
            signature->time = value;
            times++;

        } else if (scheme.len == 2 && ngx_memcmp(scheme.data, "v1", 2) == 0) {
            macs++;
        }
    }

    if (times == 0 && macs == 0) {
        return stripe_refuse(signature, LINES_STRIPE_NO_SIGNATURE);
    }

    if (times != 1 || stripe_parse_time(&signature->time, created) != NGX_OK) {
        return stripe_refuse(signature, LINES_STRIPE_MALFORMED);
    }

    if (macs == 0) {
        return stripe_refuse(signature, LINES_STRIPE_NO_SIGNATURE);
    }

    return NGX_OK;
}


/* an item without "=" has an empty value */

static ngx_uint_t
stripe_next(ngx_str_t *list, ngx_str_t *scheme, ngx_str_t *value)
{
    u_char  *p, *last, *end, *equals;

    if (list->len == 0) {
        return 0;
    }

    p = list->data;
    last = p + list->len;

    end = ngx_strlchr(p, last, ',');

    if (end == NULL) {
        list->len = 0;
        end = last;

    } else {
        list->data = end + 1;
        list->len = last - list->data;
    }

    while (p < end && *p == ' ') {
        p++;
    }

    while (p < end && end[-1] == ' ') {
        end--;
    }

    equals = ngx_strlchr(p, end, '=');

    scheme->data = p;
    scheme->len = (equals ? equals : end) - p;

    value->data = equals ? equals + 1 : end;
    value->len = end - value->data;

    return 1;
}


static ngx_int_t
stripe_parse_time(ngx_str_t *text, time_t *created)
{
    *created = ngx_atoi(text->data, text->len);

    return text->len > LINES_STRIPE_MAX_DIGITS
           || *created == NGX_ERROR
           || text->data[0] == '0' ? NGX_DECLINED : NGX_OK;
}


/* looks at every v1, however early one matches */

static ngx_uint_t
stripe_matches(ngx_str_t *header, u_char *mac)
{
    u_char      hex[2 * LINES_STRIPE_MAC_LEN];
    ngx_str_t   list, scheme, value;
    ngx_uint_t  matches;

    /* lower case only, as Stripe writes it */

    ngx_hex_dump(hex, mac, LINES_STRIPE_MAC_LEN);

    matches = 0;
    list = *header;

    while (stripe_next(&list, &scheme, &value)) {

        if (scheme.len == 2
            && ngx_memcmp(scheme.data, "v1", 2) == 0
            && value.len == sizeof(hex))
        {
            matches |= CRYPTO_memcmp(value.data, hex, sizeof(hex)) == 0;
        }
    }

    OPENSSL_cleanse(hex, sizeof(hex));

    return matches;
}


static ngx_int_t
stripe_refuse(lines_stripe_signature_t *signature,
    lines_stripe_reason_e reason)
{
    signature->reason = reason;

    return NGX_DECLINED;
}


ngx_str_t *
lines_stripe_signature_reason(lines_stripe_reason_e reason)
{
    return &stripe_reasons[reason];
}
