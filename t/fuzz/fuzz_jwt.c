
/*
 * The first byte chooses what the rest is: a token as it came, the claims of
 * a token whose signature was good, an Authorization or a Cookie header.
 */

#include <stdlib.h>
#include <string.h>

#include "auth/bearer.h"
#include "auth/jwk.h"
#include "auth/jwt.h"
#include "http/strict.h"
#include "http/text.h"


#define NOW  1700000000


static lines_jwk_set_t      *set;
static lines_jwk_verifier_t  verifier;
static lines_jwt_options_t   options;
static ngx_str_t             parties[1];


/* nobody knows a private key of it */

static char  document[] = "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"ins_main\","
    "\"e\":\"AQAB\",\"n\":\"wOEQpKZEMTlpw3FzjMwVvmV1CyRpUM3fXhGk1YxCVq0pyEF2KTcX4S1zAQKNh27ibzNA0X4OqyBUdW6mDBQBxKTVhDUzMBPXEgmAPoMYnQiYJLqI-BtRYvFkMUuUyZHo2J0y7nT6S1Y1dXQG2ZkUqE3RtVwGq1k0mQ0pE0D-6m9cNVpPvA1mQ2o2BGsK9TsQmQo1m1n9V4zq0jXyWxPpTqZ8rG0Vn5bTyKX3H0vGkI7GWTtqSVmI1DPqBr3h8pXmZrQbb6Hxq8BIlf2tGBzv4Jw9k0Rj5n3uUo2J1y7k8vQnYpZ6cR3hX0sE4dL1mT9bW5aF2gC8iK7oN6qP3rS1tUvd\"}]}";


int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
must(int condition)
{
    if (!condition) {
        abort();
    }
}


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    u_char             *buf;
    ngx_str_t           text, kid;
    lines_jwk_report_t  report;

    text.data = (u_char *) document;
    text.len = sizeof(document) - 1;
    buf = malloc(lines_jwk_set_room(text.len));
    ngx_str_set(&kid, "ins_main");

    must(buf != NULL
         && lines_jwk_parse(&text, buf, &set, &report) == NGX_OK
         && lines_jwk_verifier_create(&verifier, lines_jwk_find(set, &kid))
            == NGX_OK);

    ngx_str_set(&options.issuer, "https://clerk.example.com");
    ngx_str_set(&parties[0], "https://app.example.com");
    options.parties = parties;
    options.nparties = 1;
    options.leeway = 5000;

    return 0;
}


static void
fuzz_token(ngx_str_t *token)
{
    u_char       *buf;
    ngx_int_t     rc;
    lines_jwt_t   jwt;
    lines_jwk_t  *key;

    buf = malloc(lines_jwt_room(token->len) + !token->len);
    must(buf != NULL);

    rc = lines_jwt_parse(&jwt, token, buf);

    if (rc == NGX_OK) {

        must(jwt.kid.len <= token->len);

        if (lines_jwt_key(&jwt, set, &key) != NGX_OK) {
            must(jwt.reason == LINES_JWT_UNKNOWN_KID
                 || jwt.reason == LINES_JWT_NO_KID);
        }

        rc = lines_jwt_verify(&jwt, &verifier, &options, (int64_t) NOW * 1000);
    }

    must(rc == NGX_DECLINED
         && jwt.reason > LINES_JWT_ACCEPTED
         && jwt.reason < LINES_JWT_NREASONS
         && lines_jwt_reason(jwt.reason)->len > 0);

    free(buf);
}


static void
fuzz_claims(ngx_str_t *text)
{
    u_char      *buf;
    size_t       i;
    json_t      *claims;
    ngx_int_t    rc;
    lines_jwt_t  jwt;

    if (lines_strict_json_object(text, 64, 1024, &claims) != NGX_OK) {
        return;
    }

    ngx_memzero(&jwt, sizeof(lines_jwt_t));

    /* as much as a payload of that length would have */

    buf = malloc(lines_jwt_room(text->len * 4 / 3));
    must(buf != NULL);
    jwt.buf = buf;

    rc = lines_jwt_check_claims(&jwt, claims, &options, (int64_t) NOW * 1000);

    must((rc == NGX_OK) == (jwt.reason == LINES_JWT_ACCEPTED));

    if (rc == NGX_OK) {

        must(jwt.sub.len > 0);

        for (i = 0; i < jwt.sub.len; i++) {
            must(jwt.sub.data[i] >= 0x20 && jwt.sub.data[i] != 0x7f);
        }

        must(json_string_length(json_object_get(claims, "azp"))
             == parties[0].len);
        must(jwt.exp > NOW - 5);
        must(jwt.tenant.len == 0 || lines_is_tenant(&jwt.tenant));
    }

    json_decref(claims);
    free(buf);
}


static void
fuzz_carry(ngx_str_t *value, ngx_uint_t cookie)
{
    ngx_int_t  rc;
    ngx_str_t  name, token;

    ngx_str_set(&name, "__session");

    rc = cookie
         ? lines_bearer_cookie(value, &name, &token)
         : lines_bearer_header(value, &token);

    if (rc == NGX_OK) {
        must(token.data >= value->data
             && token.data + token.len <= value->data + value->len);
        must(cookie || token.len > 0);
        must(memchr(token.data, cookie ? ';' : ' ', token.len) == NULL);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_str_t  text;

    if (size == 0) {
        return 0;
    }

    text.data = (u_char *) data + 1;
    text.len = size - 1;

    switch (data[0]) {

    case 'c':
        fuzz_claims(&text);
        break;

    case 'a':
        fuzz_carry(&text, 0);
        break;

    case 'k':
        fuzz_carry(&text, 1);
        break;

    default:
        fuzz_token(&text);
        break;
    }

    return 0;
}
