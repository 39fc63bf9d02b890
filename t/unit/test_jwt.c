
#include "tap.h"
#include "mint.h"
#include "auth/jwk.h"
#include "auth/jwt.h"
#include "http/strict.h"

#include <jansson.h>


#define NOW      1700000000
#define HEADER   "{\"alg\":\"RS256\",\"kid\":\"main\",\"typ\":\"JWT\"}"
#define ISS      "\"iss\":\"https://clerk.example.com\","
#define AZP      "\"azp\":\"https://app.example.com\","
#define TIMES    "\"exp\":1700000060,\"iat\":1699999995,\"nbf\":1699999985"
#define SUB      "\"sub\":\"user_1\","
#define PAYLOAD  "{" ISS AZP SUB TIMES "}"


typedef struct {
    const char         *name;
    const char         *json;
    lines_jwt_reason_e  reason;
} jwt_case_t;


static EVP_PKEY             *key, *attacker;
static lines_jwk_set_t      *set;
static lines_jwk_verifier_t  verifier;
static lines_jwt_options_t   options;
static lines_jwt_t           jwt;
static u_char               *room;
static int64_t               now_ms;


static lines_jwt_reason_e
judge(ngx_str_t token)
{
    ngx_int_t     rc;
    ngx_str_t     copy;
    lines_jwk_t  *jwk;

    free(room);
    room = malloc(lines_jwt_room(token.len) + !token.len);
    copy = exact(token.data, token.len);

    rc = lines_jwt_parse(&jwt, &copy, room);

    if (rc == NGX_OK) {
        rc = lines_jwt_key(&jwt, set, &jwk);
    }

    if (rc == NGX_OK) {
        rc = lines_jwt_verify(&jwt, &verifier, &options, now_ms);
    }

    free(copy.data);

    if ((rc == NGX_OK) != (jwt.reason == LINES_JWT_ACCEPTED)
        || (rc != NGX_OK && rc != NGX_DECLINED))
    {
        return LINES_JWT_NREASONS;
    }

    return jwt.reason;
}


static void
judged(ngx_str_t token, lines_jwt_reason_e expected, const char *name)
{
    lines_jwt_reason_e  got;

    got = judge(token);

    if (!ok(got == expected, "%s: %s", name,
            (char *) lines_jwt_reason(expected)->data)
        && got < LINES_JWT_NREASONS)
    {
        printf("#   got: %s\n", (char *) lines_jwt_reason(got)->data);
    }
}


static void
minted(const char *header, const char *payload, lines_jwt_reason_e expected,
    const char *name)
{
    ngx_str_t  token;

    token = mint_token(key, header, payload);
    judged(token, expected, name);
    free(token.data);
}


static jwt_case_t  headers[] = {
    { "plain", HEADER, LINES_JWT_ACCEPTED },
    { "no typ", "{\"alg\":\"RS256\",\"kid\":\"main\"}",
      LINES_JWT_ACCEPTED },
    { "escapes", "{\"\\u0061lg\":\"RS\\u0032\\u0035\\u0036\","
                 "\"kid\":\"\\u006dain\"}", LINES_JWT_ACCEPTED },
    { "keys in the header are not looked at",
      "{\"alg\":\"RS256\",\"kid\":\"main\",\"jwk\":{\"kty\":\"RSA\"},"
      "\"jku\":\"https://evil.test\",\"x5c\":[\"MIIB\"]}",
      LINES_JWT_ACCEPTED },
    { "white space", " { \"alg\" : \"RS256\" , \"kid\" : \"main\" } ",
      LINES_JWT_ACCEPTED },
    { "session category", "{\"alg\":\"RS256\",\"kid\":\"main\","
      "\"cat\":\"cl_B7d4PD111AAA\"}", LINES_JWT_ACCEPTED },
    { "category of either kind", "{\"alg\":\"RS256\",\"kid\":\"main\","
      "\"cat\":\"cl_I7d4PD111III\"}", LINES_JWT_ACCEPTED },
    { "template", "{\"alg\":\"RS256\",\"kid\":\"main\","
      "\"cat\":\"cl_B7d4PD222AAA\"}", LINES_JWT_BAD_CATEGORY },
    { "machine", "{\"alg\":\"RS256\",\"kid\":\"main\","
      "\"cat\":\"cl_B7d4PD333AAA\"}", LINES_JWT_BAD_CATEGORY },
    { "cat null", "{\"alg\":\"RS256\",\"kid\":\"main\",\"cat\":null}",
      LINES_JWT_BAD_CATEGORY },
    { "typ jwt", "{\"alg\":\"RS256\",\"kid\":\"main\",\"typ\":\"jwt\"}",
      LINES_JWT_BAD_TYPE },
    { "typ at+jwt", "{\"alg\":\"RS256\",\"kid\":\"main\",\"typ\":\"at+jwt\"}",
      LINES_JWT_BAD_TYPE },
    { "typ null", "{\"alg\":\"RS256\",\"kid\":\"main\",\"typ\":null}",
      LINES_JWT_BAD_TYPE },
    { "typ array", "{\"alg\":\"RS256\",\"kid\":\"main\",\"typ\":[\"JWT\"]}",
      LINES_JWT_BAD_TYPE },
    { "alg none", "{\"alg\":\"none\",\"kid\":\"main\"}",
      LINES_JWT_BAD_ALGORITHM },
    { "alg RS512", "{\"alg\":\"RS512\",\"kid\":\"main\"}",
      LINES_JWT_BAD_ALGORITHM },
    { "alg rs256", "{\"alg\":\"rs256\",\"kid\":\"main\"}",
      LINES_JWT_BAD_ALGORITHM },
    { "alg longer", "{\"alg\":\"RS2567\",\"kid\":\"main\"}",
      LINES_JWT_BAD_ALGORITHM },
    { "alg number", "{\"alg\":256,\"kid\":\"main\"}",
      LINES_JWT_BAD_ALGORITHM },
    { "alg array", "{\"alg\":[\"RS256\"],\"kid\":\"main\"}",
      LINES_JWT_BAD_ALGORITHM },
    { "alg absent", "{\"kid\":\"main\"}", LINES_JWT_BAD_ALGORITHM },
    { "crit", "{\"alg\":\"RS256\",\"kid\":\"main\",\"crit\":[\"b64\"],"
      "\"b64\":false}", LINES_JWT_CRITICAL_HEADER },
    { "crit empty", "{\"alg\":\"RS256\",\"kid\":\"main\",\"crit\":[]}",
      LINES_JWT_CRITICAL_HEADER },
    { "crit null", "{\"alg\":\"RS256\",\"kid\":\"main\",\"crit\":null}",
      LINES_JWT_CRITICAL_HEADER },
    { "kid absent", "{\"alg\":\"RS256\"}", LINES_JWT_NO_KID },
    { "kid null", "{\"alg\":\"RS256\",\"kid\":null}", LINES_JWT_NO_KID },
    { "kid number", "{\"alg\":\"RS256\",\"kid\":1}", LINES_JWT_NO_KID },
    { "kid array", "{\"alg\":\"RS256\",\"kid\":[\"main\"]}",
      LINES_JWT_NO_KID },
    { "kid empty", "{\"alg\":\"RS256\",\"kid\":\"\"}", LINES_JWT_NO_KID },
    { "kid unknown", "{\"alg\":\"RS256\",\"kid\":\"mai\"}",
      LINES_JWT_UNKNOWN_KID },
    { "kid case", "{\"alg\":\"RS256\",\"kid\":\"MAIN\"}",
      LINES_JWT_UNKNOWN_KID },
    { "twice alg", "{\"alg\":\"none\",\"alg\":\"RS256\",\"kid\":\"main\"}",
      LINES_JWT_BAD_HEADER },
    { "twice by escape", "{\"alg\":\"RS256\",\"\\u0061lg\":\"RS256\","
      "\"kid\":\"main\"}", LINES_JWT_BAD_HEADER },
    { "twice, deep", "{\"alg\":\"RS256\",\"kid\":\"main\","
      "\"x\":{\"a\":1,\"a\":1}}", LINES_JWT_BAD_HEADER },
    { "array", "[]", LINES_JWT_BAD_HEADER },
    { "string", "\"RS256\"", LINES_JWT_BAD_HEADER },
    { "null", "null", LINES_JWT_BAD_HEADER },
    { "blank", " ", LINES_JWT_BAD_HEADER },
    { "unfinished", "{\"alg\":\"RS256\"", LINES_JWT_BAD_HEADER },
    { "followed", "{\"alg\":\"RS256\",\"kid\":\"main\"}{}",
      LINES_JWT_BAD_HEADER },
    { "byte order mark", "\xef\xbb\xbf{\"alg\":\"RS256\",\"kid\":\"main\"}",
      LINES_JWT_BAD_HEADER },
    { "U+0000 escaped", "{\"alg\":\"RS256\\u0000\",\"kid\":\"main\"}",
      LINES_JWT_BAD_HEADER },
};


static jwt_case_t  payloads[] = {
    { "plain", PAYLOAD, LINES_JWT_ACCEPTED },
    { "nbf and iat are optional",
      "{" ISS AZP SUB "\"exp\":1700000060}", LINES_JWT_ACCEPTED },
    { "a float", "{" ISS AZP SUB "\"exp\":1700000060.9}",
      LINES_JWT_ACCEPTED },
    { "an exponent", "{" ISS AZP SUB "\"exp\":1.70000006e9}",
      LINES_JWT_ACCEPTED },
    { "claims that are not ours", "{" ISS AZP SUB TIMES
      ",\"x\":123456789012345678901234567890,\"y\":[{\"z\":null}],\"sid\":1}",
      LINES_JWT_ACCEPTED },
    { "sts active", "{" ISS AZP SUB TIMES ",\"sts\":\"active\"}",
      LINES_JWT_ACCEPTED },
    { "sts pending", "{" ISS AZP SUB TIMES ",\"sts\":\"pending\"}",
      LINES_JWT_SESSION_PENDING },

    { "exp absent", "{" ISS AZP SUB "\"nbf\":1}", LINES_JWT_BAD_CLAIMS },
    { "exp string", "{" ISS AZP SUB "\"exp\":\"1700000060\"}",
      LINES_JWT_BAD_CLAIMS },
    { "exp null", "{" ISS AZP SUB "\"exp\":null}", LINES_JWT_BAD_CLAIMS },
    { "exp true", "{" ISS AZP SUB "\"exp\":true}", LINES_JWT_BAD_CLAIMS },
    { "exp array", "{" ISS AZP SUB "\"exp\":[1700000060]}",
      LINES_JWT_BAD_CLAIMS },
    { "exp 2^53", "{" ISS AZP SUB "\"exp\":9007199254740992}",
      LINES_JWT_BAD_CLAIMS },
    { "exp 2^53-1", "{" ISS AZP SUB "\"exp\":9007199254740991}",
      LINES_JWT_ACCEPTED },
    { "exp int64", "{" ISS AZP SUB "\"exp\":9223372036854775807}",
      LINES_JWT_BAD_CLAIMS },
    { "exp 1e300", "{" ISS AZP SUB "\"exp\":1e300}",
      LINES_JWT_BAD_CLAIMS },
    { "exp 1e400", "{" ISS AZP SUB "\"exp\":1e400}",
      LINES_JWT_BAD_CLAIMS },
    { "exp -1e300", "{" ISS AZP SUB "\"exp\":-1e300}",
      LINES_JWT_BAD_CLAIMS },
    { "exp Infinity", "{" ISS AZP SUB "\"exp\":Infinity}",
      LINES_JWT_BAD_CLAIMS },
    { "exp NaN", "{" ISS AZP SUB "\"exp\":NaN}", LINES_JWT_BAD_CLAIMS },
    { "exp leading zero", "{" ISS AZP SUB "\"exp\":01700000060}",
      LINES_JWT_BAD_CLAIMS },
    { "exp negative", "{" ISS AZP SUB "\"exp\":-1}", LINES_JWT_EXPIRED },
    { "exp zero", "{" ISS AZP SUB "\"exp\":0}", LINES_JWT_EXPIRED },
    { "4 s past", "{" ISS AZP SUB "\"exp\":1699999996}",
      LINES_JWT_ACCEPTED },
    { "5 s past", "{" ISS AZP SUB "\"exp\":1699999995}",
      LINES_JWT_EXPIRED },
    { "5 s past, a fraction does not help",
      "{" ISS AZP SUB "\"exp\":1699999995.9}", LINES_JWT_EXPIRED },
    { "nbf in 5 s", "{" ISS AZP SUB "\"exp\":1700000060,\"nbf\":1700000005}",
      LINES_JWT_ACCEPTED },
    { "nbf in 5.1 s",
      "{" ISS AZP SUB "\"exp\":1700000060,\"nbf\":1700000005.1}",
      LINES_JWT_NOT_ACTIVE_YET },
    { "nbf in 6 s", "{" ISS AZP SUB "\"exp\":1700000060,\"nbf\":1700000006}",
      LINES_JWT_NOT_ACTIVE_YET },
    { "nbf null", "{" ISS AZP SUB "\"exp\":1700000060,\"nbf\":null}",
      LINES_JWT_BAD_CLAIMS },
    { "iat in 6 s", "{" ISS AZP SUB "\"exp\":1700000060,\"iat\":1700000006}",
      LINES_JWT_ISSUED_IN_FUTURE },
    { "iat 1e18", "{" ISS AZP SUB "\"exp\":1700000060,\"iat\":1e18}",
      LINES_JWT_BAD_CLAIMS },
    { "iat string", "{" ISS AZP SUB "\"exp\":1700000060,\"iat\":\"0\"}",
      LINES_JWT_BAD_CLAIMS },

    { "iss absent", "{" AZP SUB TIMES "}", LINES_JWT_BAD_ISSUER },
    { "iss longer", "{\"iss\":\"https://clerk.example.com/\"," AZP SUB TIMES
      "}", LINES_JWT_BAD_ISSUER },
    { "iss array", "{\"iss\":[\"https://clerk.example.com\"]," AZP SUB TIMES
      "}", LINES_JWT_BAD_ISSUER },
    { "iss twice", "{\"iss\":\"x\"," ISS AZP SUB TIMES "}",
      LINES_JWT_BAD_CLAIMS },
    { "azp absent", "{" ISS SUB TIMES "}", LINES_JWT_BAD_PARTY },
    { "azp second", "{" ISS "\"azp\":\"https://admin.example.com\"," SUB TIMES
      "}", LINES_JWT_ACCEPTED },
    { "azp null", "{" ISS "\"azp\":null," SUB TIMES "}",
      LINES_JWT_BAD_PARTY },
    { "azp array", "{" ISS "\"azp\":[\"https://app.example.com\"]," SUB TIMES
      "}", LINES_JWT_BAD_PARTY },
    { "azp longer", "{" ISS "\"azp\":\"https://app.example.com.evil.test\","
      SUB TIMES "}", LINES_JWT_BAD_PARTY },
    { "azp empty", "{" ISS "\"azp\":\"\"," SUB TIMES "}",
      LINES_JWT_BAD_PARTY },

    { "sub absent", "{" ISS AZP TIMES "}", LINES_JWT_BAD_SUBJECT },
    { "sub number", "{" ISS AZP TIMES ",\"sub\":1}",
      LINES_JWT_BAD_SUBJECT },
    { "sub empty", "{" ISS AZP TIMES ",\"sub\":\"\"}",
      LINES_JWT_BAD_SUBJECT },
    { "sub CR LF", "{" ISS AZP TIMES ",\"sub\":\"a\\r\\nX-Evil: 1\"}",
      LINES_JWT_BAD_SUBJECT },
    { "sub DEL", "{" ISS AZP TIMES ",\"sub\":\"a\x7f\"}",
      LINES_JWT_BAD_SUBJECT },
    { "sub U+0000", "{" ISS AZP TIMES ",\"sub\":\"a\\u0000\"}",
      LINES_JWT_BAD_CLAIMS },
    { "sub half a surrogate pair", "{" ISS AZP TIMES ",\"sub\":\"\\ud800\"}",
      LINES_JWT_BAD_CLAIMS },
    { "sub of a machine", "{" ISS AZP TIMES ",\"sub\":\"mch_1\"}",
      LINES_JWT_BAD_SUBJECT },
    { "sub beyond ASCII", "{" ISS AZP TIMES ",\"sub\":\"us\\u00e9r\"}",
      LINES_JWT_ACCEPTED },

    { "array of claims", "[" PAYLOAD "]", LINES_JWT_BAD_CLAIMS },
    { "followed", PAYLOAD "x", LINES_JWT_BAD_CLAIMS },
    { "comment", "{/**/" ISS AZP SUB TIMES "}", LINES_JWT_BAD_CLAIMS },
    { "bad UTF-8", "{" ISS AZP SUB TIMES ",\"n\":\"\xff\"}",
      LINES_JWT_BAD_CLAIMS },
    { "overlong UTF-8", "{" ISS AZP SUB TIMES ",\"n\":\"\xc0\xaf\"}",
      LINES_JWT_BAD_CLAIMS },
    { "surrogate in UTF-8", "{" ISS AZP SUB TIMES ",\"n\":\"\xed\xa0\x80\"}",
      LINES_JWT_BAD_CLAIMS },
    { "twice, deep", "{" ISS AZP SUB TIMES ",\"n\":[{\"a\":1,\"a\":1}]}",
      LINES_JWT_BAD_CLAIMS },
};


typedef struct {
    const char  *claims;
    const char  *path;
    const char  *tenant;        /* NULL: refused */
} tenant_case_t;


static tenant_case_t  tenants[] = {
    { "\"v\":2,\"o\":{\"id\":\"org_2\"}", "", "org_2" },
    { "\"v\":2.0,\"o\":{\"id\":\"org_2\"}", "", "org_2" },
    { "\"v\":2,\"o\":{\"id\":\"org_2\"},\"org_id\":\"org_1\"", "", "org_2" },
    { "\"v\":2,\"org_id\":\"org_1\"", "", "" },
    { "\"v\":2,\"o\":null", "", "" },
    { "\"v\":2,\"o\":{}", "", "" },
    { "\"v\":2,\"o\":{\"id\":null}", "", "" },
    { "\"v\":2,\"o\":\"org_2\"", "", NULL },
    { "\"v\":2,\"o\":[\"org_2\"]", "", NULL },
    { "\"v\":2,\"o\":2", "", NULL },
    { "\"v\":2,\"o\":{\"id\":1}", "", NULL },
    { "\"v\":2,\"o\":{\"id\":\"\"}", "", NULL },
    { "\"v\":2,\"o\":{\"id\":\"a}b\"}", "", NULL },
    { "\"v\":2,\"o\":{\"id\":\"a b\"}", "", NULL },
    { "\"v\":2,\"o\":{\"id\":\"\\u00e9\"}", "", NULL },
    { "\"v\":2,\"o\":{\"id\":\"a\\nb\"}", "", NULL },
    { "\"v\":1,\"org_id\":\"org_1\"", "", "org_1" },
    { "\"v\":\"2\",\"o\":{\"id\":\"org_2\"}", "", "" },
    { "\"org_id\":\"org_1\"", "", "org_1" },
    { "\"org_id\":null", "", "" },
    { "\"org_id\":7", "", NULL },
    { "\"o\":{\"id\":\"org_2\"}", "", "" },
    { "\"m\":{\"a\":{\"b\":\"deep\"}}", "m.a.b", "deep" },
    { "\"m\":{\"a\":{}}", "m.a.b", "" },
    { "\"m\":{\"a\":\"x\"}", "m.a.b", NULL },
    { "\"m\":1", "m.a.b", NULL },
    { "\"m\":{\"\":\"x\"}", "m.", "x" },
    { "\"x\":1", "sub", "user_1" },
};


static void
test_tenants(void)
{
    char        payload[512], name[640];
    size_t      i;
    ngx_str_t   token;

    for (i = 0; i < sizeof(tenants) / sizeof(tenants[0]); i++) {

        snprintf(payload, sizeof(payload), "{" ISS AZP SUB TIMES ",%s}",
                 tenants[i].claims);
        snprintf(name, sizeof(name), "tenant: %s by [%s]", tenants[i].claims,
                 tenants[i].path);

        options.tenant_claim = str(tenants[i].path);
        token = mint_token(key, HEADER, payload);

        if (tenants[i].tenant == NULL) {
            judged(token, LINES_JWT_BAD_TENANT, name);

        } else {
            ok(judge(token) == LINES_JWT_ACCEPTED, "%s", name);
            is_str(&jwt.tenant, tenants[i].tenant, name);
        }

        free(token.data);
    }

    ngx_str_null(&options.tenant_claim);

    snprintf(payload, sizeof(payload),
             "{" ISS AZP SUB TIMES ",\"org_id\":\"%065d\"}", 0);
    minted(HEADER, payload, LINES_JWT_BAD_TENANT, "tenant of 65");
}


static void
test_shapes(void)
{
    char       *p;
    u_char      c;
    size_t      i, dot, accepted;
    ngx_str_t   token, t;

    static const char  *malformed[] = {
        ".", "..", "...", "a", "a.b", ".b.c", "a..c", "a.b.", "a.b.c.d",
        "eyJ9.e30.AA=", "eyJ9.e30\n.AA", "AA.AA.A", "e30.e30.AB",
    };

    token = mint_token(key, HEADER, PAYLOAD);

    for (i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
        judged(str(malformed[i]), LINES_JWT_MALFORMED, malformed[i]);
    }

    judged(str(""), LINES_JWT_MISSING, "nothing");
    minted(HEADER, "", LINES_JWT_BAD_CLAIMS, "no claims, signed");

    t.len = LINES_JWT_MAX_LEN + 1;
    t.data = malloc(t.len);
    memset(t.data, 'A', t.len);
    judged(t, LINES_JWT_TOO_LONG, "16 KiB and one byte");
    t.len--;
    judged(t, LINES_JWT_MALFORMED, "16 KiB");
    free(t.data);

    ok(judge(token) == LINES_JWT_ACCEPTED, "the token to be spoiled");
    is_str(&jwt.sub, "user_1", "its sub");
    ok(jwt.exp == 1700000060, "its exp");

    /* every byte replaced, every beginning */

    for (i = 0, accepted = 0; i < token.len; i++) {
        c = token.data[i];
        token.data[i] = (c == 'A') ? 'B' : 'A';
        accepted += judge(token) == LINES_JWT_ACCEPTED;
        token.data[i] = '.';
        accepted += c != '.' && judge(token) == LINES_JWT_ACCEPTED;
        token.data[i] = c;
    }

    ok(accepted == 0, "no byte can be changed");

    for (i = 0, accepted = 0; i < token.len; i++) {
        t = token;
        t.len = i;
        accepted += judge(t) == LINES_JWT_ACCEPTED;
    }

    ok(accepted == 0, "no beginning is accepted");

    free(token.data);

    token = mint_token(attacker, HEADER, PAYLOAD);
    judged(token, LINES_JWT_BAD_SIGNATURE, "another's key");
    free(token.data);

    /* claims are believed only once they are proven */

    token = mint_token(attacker, HEADER, "{");
    judged(token, LINES_JWT_BAD_SIGNATURE, "broken claims, unproven");
    free(token.data);

    minted(HEADER, "{", LINES_JWT_BAD_CLAIMS, "broken claims, signed");

    token = mint_token(key, HEADER, PAYLOAD);
    dot = (size_t) (strrchr((char *) token.data, '.') - (char *) token.data);
    token.data[dot] = '\0';
    t = mint_signed(key, (char *) token.data, "SHA512");
    judged(t, LINES_JWT_BAD_SIGNATURE, "RS512 that says RS256");
    free(t.data);
    free(token.data);

    p = malloc(20000);
    memset(p, '[', 2000);
    strcpy(p, "{\"alg\":\"RS256\",\"kid\":\"main\",\"x\":");
    memset(p + strlen(p), '[', 2000);
    memset(p + 2000, ']', 1900);
    strcpy(p + 3900, "}");
    minted(p, PAYLOAD, LINES_JWT_BAD_HEADER, "a deep header");
    free(p);
}


static long  left;


static void *
scarce(size_t size)
{
    return (left-- > 0) ? malloc(size) : NULL;
}


static void
test_memory(void)
{
    long          n, wrong;
    u_char        buf[4096];
    ngx_int_t     rc;
    ngx_str_t     token;
    lines_jwk_t  *jwk;

    token = mint_token(key, HEADER, PAYLOAD);
    json_set_alloc_funcs(scarce, free);
    wrong = 0;
    rc = NGX_ERROR;

    for (n = 0; n < 1000 && rc != NGX_OK; n++) {
        left = n;
        rc = lines_jwt_parse(&jwt, &token, buf);

        if (rc == NGX_OK) {
            rc = lines_jwt_key(&jwt, set, &jwk);
        }

        if (rc == NGX_OK) {
            rc = lines_jwt_verify(&jwt, &verifier, &options, now_ms);
        }

        wrong += rc == NGX_DECLINED
                 && jwt.reason != LINES_JWT_BAD_HEADER
                 && jwt.reason != LINES_JWT_BAD_CLAIMS;
    }

    json_set_alloc_funcs(malloc, free);
    free(token.data);

    ok(rc == NGX_OK && n > 20 && wrong == 0,
       "each of %ld allocations may fail: nothing is accepted", n - 1);
}


int
main(void)
{
    char               *jwk, *text;
    u_char             *buf;
    size_t              i, len;
    ngx_str_t           document, parties[2], kid, token;
    lines_jwk_report_t  report;

    key = mint_key(2048, 65537);
    attacker = mint_key(2048, 65537);

    jwk = mint_jwk(key, "\"kty\":\"RSA\",\"kid\":\"main\"");
    len = strlen(jwk) + 16;
    text = malloc(len);
    snprintf(text, len, "{\"keys\":[%s]}", jwk);
    document = str(text);
    buf = malloc(lines_jwk_set_room(document.len));
    kid = str("main");

    if (lines_jwk_parse(&document, buf, &set, &report) != NGX_OK
        || lines_jwk_verifier_create(&verifier, lines_jwk_find(set, &kid))
           != NGX_OK)
    {
        ok(0, "the keys");
        return done_testing();
    }

    parties[0] = str("https://app.example.com");
    parties[1] = str("https://admin.example.com");

    options.issuer = str("https://clerk.example.com");
    options.parties = parties;
    options.nparties = 2;
    options.leeway = 5000;

    now_ms = (int64_t) NOW * 1000;

    for (i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        minted(headers[i].json, PAYLOAD, headers[i].reason, headers[i].name);
    }

    for (i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
        minted(HEADER, payloads[i].json, payloads[i].reason, payloads[i].name);
    }

    token = mint_token_n(key, HEADER, sizeof(HEADER) - 1, PAYLOAD "\0",
                         sizeof(PAYLOAD));
    judged(token, LINES_JWT_BAD_CLAIMS, "a zero byte at the end");
    free(token.data);

    test_tenants();
    test_shapes();
    test_memory();

    /* milliseconds count */

    now_ms = (int64_t) 1700000065 * 1000 - 1;
    minted(HEADER, PAYLOAD, LINES_JWT_ACCEPTED, "1 ms before the end");
    now_ms++;
    minted(HEADER, PAYLOAD, LINES_JWT_EXPIRED, "the end");
    now_ms = (int64_t) NOW * 1000;

    options.nparties = 0;
    minted(HEADER, "{" ISS SUB TIMES "}", LINES_JWT_ACCEPTED,
           "no parties configured: no azp needed");
    minted(HEADER, "{" ISS SUB TIMES ",\"azp\":7}", LINES_JWT_ACCEPTED,
           "no parties configured: azp is not looked at");

    ngx_str_null(&options.issuer);
    minted(HEADER, "{\"iss\":\"\"," SUB TIMES "}", LINES_JWT_BAD_ISSUER,
           "without an issuer nothing is accepted");

    set->any_kid = 1;
    options.issuer = str("https://clerk.example.com");
    minted("{\"alg\":\"RS256\",\"kid\":[1]}", PAYLOAD, LINES_JWT_ACCEPTED,
           "PEM: kid is not looked at");

    lines_jwk_verifier_destroy(&verifier);
    EVP_PKEY_free(attacker);
    EVP_PKEY_free(key);
    free(room);
    free(buf);
    free(text);
    free(jwk);

    return done_testing();
}
