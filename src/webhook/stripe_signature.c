
#include "webhook/stripe_signature.h"
#include "http/text.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>


#define LINES_STRIPE_MAC_LEN     32
#define LINES_STRIPE_MAX_DIGITS  12


static ngx_str_t  stripe_reasons[] = {
    ngx_string("accepted"),
    ngx_string("signature-missing"),
    ngx_string("signature-malformed"),
    ngx_string("signature-too-old"),
    ngx_string("signature-in-future"),
    ngx_string("body-empty"),
    ngx_string("signature-mismatch"),
    ngx_string("openssl-failed")
};


ngx_int_t
lines_stripe_secrets_create(lines_stripe_secrets_t *secrets, ngx_str_t *values,
    ngx_uint_t n)
{
    EVP_MAC     *mac;
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

    for (i = 0; i < n; i++) {

        secrets->macs[i] = EVP_MAC_CTX_new(mac);

        if (values[i].len == 0
            || secrets->macs[i] == NULL
            || EVP_MAC_init(secrets->macs[i], values[i].data, values[i].len,
                            params)
               != 1)
        {
            break;
        }
    }

    EVP_MAC_free(mac);

    if (i < n) {
        lines_stripe_secrets_destroy(secrets);
        return NGX_ERROR;
    }

    secrets->nmacs = n;

    return NGX_OK;
}


void
lines_stripe_secrets_destroy(void *data)
{
    lines_stripe_secrets_t *secrets = data;

    ngx_uint_t  i;

    for (i = 0; i < LINES_STRIPE_MAX_SECRETS; i++) {
        EVP_MAC_CTX_free(secrets->macs[i]);
        secrets->macs[i] = NULL;
    }

    secrets->nmacs = 0;
}


static lines_stripe_reason_e
stripe_judge(ngx_str_t *header, time_t now, time_t tolerance, ngx_str_t *time)
{
    time_t      created;
    ngx_str_t   list, scheme, value;
    ngx_uint_t  times, macs;

    if (header->len > LINES_STRIPE_MAX_HEADER) {
        return LINES_STRIPE_MALFORMED;
    }

    times = 0;
    macs = 0;
    list = *header;
    ngx_str_null(time);

    while (list.len) {
        value = lines_item(&list, ',');
        scheme = lines_split(&value, '=');

        if (lines_is(&scheme, "t")) {
            *time = value;
            times++;
        }

        macs += lines_is(&scheme, "v1");
    }

    if (times == 0 && macs == 0) {
        return LINES_STRIPE_NO_SIGNATURE;
    }

    created = ngx_atoi(time->data, time->len);

    if (times != 1
        || created == NGX_ERROR
        || time->len > LINES_STRIPE_MAX_DIGITS
        || time->data[0] == '0')
    {
        return LINES_STRIPE_MALFORMED;
    }

    return macs == 0 ? LINES_STRIPE_NO_SIGNATURE
           : created < now - tolerance ? LINES_STRIPE_TOO_OLD
           : created > now + tolerance ? LINES_STRIPE_IN_FUTURE
           : LINES_STRIPE_ACCEPTED;
}


lines_stripe_reason_e
lines_stripe_signature_header(ngx_str_t *header, time_t now, time_t tolerance)
{
    ngx_str_t  time;

    return stripe_judge(header, now, tolerance, &time);
}


/* init without a key begins anew with the one that it has */

static ngx_int_t
stripe_mac(EVP_MAC_CTX *ctx, ngx_str_t *time, ngx_str_t *body, u_char *mac)
{
    size_t  len;

    return EVP_MAC_init(ctx, NULL, 0, NULL) == 1
           && EVP_MAC_update(ctx, time->data, time->len) == 1
           && EVP_MAC_update(ctx, (u_char *) ".", 1) == 1
           && EVP_MAC_update(ctx, body->data, body->len) == 1
           && EVP_MAC_final(ctx, mac, &len, LINES_STRIPE_MAC_LEN) == 1
           && len == LINES_STRIPE_MAC_LEN
           ? NGX_OK : NGX_ERROR;
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

    while (list.len) {
        value = lines_item(&list, ',');
        scheme = lines_split(&value, '=');

        if (lines_is(&scheme, "v1") && value.len == sizeof(hex)) {
            matches |= CRYPTO_memcmp(value.data, hex, sizeof(hex)) == 0;
        }
    }

    OPENSSL_cleanse(hex, sizeof(hex));

    return matches;
}


lines_stripe_reason_e
lines_stripe_signature(lines_stripe_secrets_t *secrets, ngx_str_t *header,
    ngx_str_t *body, time_t now, time_t tolerance)
{
    u_char                 mac[LINES_STRIPE_MAC_LEN];
    ngx_str_t              time;
    ngx_uint_t             i, matches;
    lines_stripe_reason_e  reason;

    reason = stripe_judge(header, now, tolerance, &time);

    if (reason != LINES_STRIPE_ACCEPTED) {
        return reason;
    }

    if (body->len == 0) {
        return LINES_STRIPE_EMPTY_BODY;
    }

    matches = 0;

    for (i = 0; i < secrets->nmacs; i++) {

        if (stripe_mac(secrets->macs[i], &time, body, mac) != NGX_OK) {
            return LINES_STRIPE_FAILED;
        }

        matches |= stripe_matches(header, mac);
    }

    OPENSSL_cleanse(mac, sizeof(mac));

    return matches ? LINES_STRIPE_ACCEPTED : LINES_STRIPE_MISMATCH;
}


ngx_str_t *
lines_stripe_signature_reason(lines_stripe_reason_e reason)
{
    return &stripe_reasons[reason];
}
