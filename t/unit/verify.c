
/*
 * Judges what it reads, one case a line, as the module would; so that corpora
 * and other implementations can be compared with it without a server.
 *
 *   verify KEYS-FILE ISSUER PARTY,PARTY LEEWAY-MS STRIPE-SECRET < cases
 *
 * Arguments of a case are hex, "-" stands for a header that is absent:
 *   token TOKEN
 *   carry AUTHORIZATION COOKIE...
 *   stripe SIGNATURE BODY
 * An answer is "accept …" or "reject REASON".
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "auth/bearer.h"
#include "auth/jwk.h"
#include "auth/jwt.h"
#include "webhook/stripe_signature.h"
#include "http/digest.h"


#define MAX_PARTIES  8


static lines_jwk_set_t        *set;
static lines_jwk_verifier_t    verifiers[LINES_JWK_MAX_KEYS];
static lines_jwt_options_t     options;
static lines_stripe_secrets_t  secrets;


static void
fail(const char *what)
{
    fprintf(stderr, "verify: %s\n", what);
    exit(2);
}


static ngx_str_t
slurp(const char *name)
{
    FILE       *f;
    ngx_str_t   text;

    f = fopen(name, "rb");
    text.data = malloc(LINES_JWK_MAX_DOCUMENT + 1);

    if (f == NULL || text.data == NULL) {
        fail("cannot read the keys");
    }

    text.len = fread(text.data, 1, LINES_JWK_MAX_DOCUMENT + 1, f);
    fclose(f);

    return text;
}


static void
judge_token(ngx_str_t *token)
{
    u_char                *buf;
    ngx_int_t              rc;
    struct timeval         tv;
    lines_jwt_t            jwt;
    lines_jwk_t           *key;
    lines_jwk_verifier_t  *verifier;

    buf = malloc(lines_jwt_room(token->len) + 1);

    if (buf == NULL) {
        fail("no memory");
    }

    rc = lines_jwt_parse(&jwt, token, buf);

    if (rc == NGX_OK) {
        rc = lines_jwt_key(&jwt, set, &key);
    }

    if (rc == NGX_OK) {
        verifier = &verifiers[key->ordinal];

        if (verifier->ctx == NULL
            && lines_jwk_verifier_create(verifier, key) != NGX_OK)
        {
            fail("no verifier");
        }

        gettimeofday(&tv, NULL);

        rc = lines_jwt_verify(&jwt, verifier, &options,
                              (int64_t) tv.tv_sec * 1000 + tv.tv_usec / 1000);
    }

    if (rc == NGX_OK) {
        printf("accept sub=%.*s tenant=%.*s\n", (int) jwt.sub.len,
               (char *) jwt.sub.data, (int) jwt.tenant.len,
               jwt.tenant.len ? (char *) jwt.tenant.data : "");

    } else if (rc == NGX_DECLINED) {
        printf("reject %s\n", (char *) lines_jwt_reason(jwt.reason)->data);

    } else {
        fail("no memory");
    }

    free(buf);
}


/* the order of an authenticator: header, then each Cookie header */

static void
judge_carry(ngx_str_t *values, ngx_uint_t *present, ngx_uint_t n)
{
    ngx_int_t   rc;
    ngx_str_t   name, token;
    ngx_uint_t  i;

    ngx_str_set(&name, "__session");

    rc = (n && present[0])
         ? lines_bearer_header(&values[0], &token)
         : NGX_DECLINED;

    for (i = 1; rc == NGX_DECLINED && i < n; i++) {
        rc = lines_bearer_cookie(&values[i], &name, &token);
    }

    if (rc == NGX_OK) {
        judge_token(&token);

    } else {
        printf("reject token-missing\n");
    }
}


static void
judge_stripe(ngx_str_t *header, ngx_str_t *body)
{
    lines_stripe_reason_e  reason;

    reason = lines_stripe_signature(&secrets, header, body, time(NULL), 300);

    if (reason == LINES_STRIPE_FAILED) {
        fail("no memory");
    }

    if (reason == LINES_STRIPE_ACCEPTED) {
        printf("accept\n");

    } else {
        printf("reject %s\n",
               (char *) lines_stripe_signature_reason(reason)->data);
    }
}


int
main(int argc, char **argv)
{
    char               *line, *word, *save;
    u_char             *buf;
    size_t              room;
    ngx_str_t           text, values[64], secret, parties[MAX_PARTIES];
    ngx_uint_t          n, present[64];
    lines_jwk_report_t  report;

    if (argc != 6) {
        fail("usage: verify KEYS ISSUER PARTIES LEEWAY-MS SECRET");
    }

    text = slurp(argv[1]);
    buf = malloc(lines_jwk_set_room(text.len));

    if (buf == NULL || lines_jwk_parse(&text, buf, &set, &report) != NGX_OK) {
        fail("no usable keys");
    }

    free(text.data);

    options.issuer.data = (u_char *) argv[2];
    options.issuer.len = strlen(argv[2]);
    options.parties = parties;
    options.leeway = atoi(argv[4]);

    for (word = strtok_r(argv[3], ",", &save);
         word && options.nparties < MAX_PARTIES;
         word = strtok_r(NULL, ",", &save))
    {
        parties[options.nparties].data = (u_char *) word;
        parties[options.nparties++].len = strlen(word);
    }

    secret.data = (u_char *) argv[5];
    secret.len = strlen(argv[5]);

    if (lines_stripe_secrets_create(&secrets, &secret, 1) != NGX_OK) {
        fail("no secret");
    }

    line = NULL;
    room = 0;

    while (getline(&line, &room, stdin) > 0) {

        line[strcspn(line, "\n")] = '\0';
        word = strtok_r(line, " ", &save);
        n = 0;

        if (word == NULL) {
            continue;
        }

        while (n < 64) {
            char  *arg = strtok_r(NULL, " ", &save);

            if (arg == NULL) {
                break;
            }

            present[n] = strcmp(arg, "-") != 0;
            text.data = (u_char *) arg;
            text.len = present[n] ? strlen(arg) : 0;

            /* "=" is an empty value */

            if (text.len == 1 && arg[0] == '=') {
                text.len = 0;
            }

            values[n].len = text.len / 2;
            values[n].data = malloc(values[n].len + 1);

            if (values[n].data == NULL
                || lines_hex_decode(values[n].data, values[n].len, &text)
                   != NGX_OK)
            {
                fail("not hex");
            }

            n++;
        }

        if (strcmp(word, "token") == 0 && n == 1) {
            judge_token(&values[0]);

        } else if (strcmp(word, "carry") == 0) {
            judge_carry(values, present, n);

        } else if (strcmp(word, "stripe") == 0 && n == 2) {
            judge_stripe(&values[0], &values[1]);

        } else {
            fail("unknown case");
        }

        fflush(stdout);

        while (n) {
            free(values[--n].data);
        }
    }

    for (n = 0; n < LINES_JWK_MAX_KEYS; n++) {
        lines_jwk_verifier_destroy(&verifiers[n]);
    }

    lines_stripe_secrets_destroy(&secrets);
    free(line);
    free(buf);

    return 0;
}
