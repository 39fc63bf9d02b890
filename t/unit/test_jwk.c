
#include "tap.h"
#include "mint.h"
#include "auth/jwk.h"


#define RS  "\"kty\":\"RSA\",\"use\":\"sig\",\"alg\":\"RS256\""


static u_char             *buf;
static lines_jwk_set_t    *set;
static lines_jwk_report_t  report;


static ngx_int_t
parse(const char *data, size_t len)
{
    ngx_int_t  rc;
    ngx_str_t  text;

    free(buf);
    text = exact(data, len);
    buf = malloc(lines_jwk_set_room(len));
    set = NULL;

    rc = lines_jwk_parse(&text, buf, &set, &report);
    free(text.data);

    return rc;
}


static int
knows(const char *kid)
{
    ngx_str_t  name;

    name = str(kid);

    return lines_jwk_find(set, &name) != NULL;
}


/* beside a good key, so that one reason can be told from none */

static void
skipped(const char *good, const char *entry, const char *reason)
{
    char        *text;
    size_t       len;
    ngx_int_t    rc;

    len = strlen(good) + strlen(entry) + 64;
    text = malloc(len);
    snprintf(text, len, "{\"keys\":[%s,%s]}", entry, good);

    rc = parse(text, strlen(text));

    if (!ok(rc == NGX_OK
            && set->nkeys == 1
            && report.skipped == 1
            && report.skips[0].key == 0
            && strcmp(report.skips[0].reason, reason) == 0
            && knows("good"), "%s: %.60s", reason, entry))
    {
        printf("#   rc %d, skipped %d, %s%s\n", (int) rc,
               (int) report.skipped,
               report.skipped ? report.skips[0].reason : "", report.error);
    }

    free(text);
}


static void
refused(const char *text, const char *reason)
{
    ngx_int_t  rc;
    char       name[128];

    rc = parse(text, strlen(text));

    snprintf(name, sizeof(name), "%s: %.40s", reason, text);
    ok(rc == NGX_DECLINED, "refused: %.40s", text);
    ok(strcmp(report.error, reason) == 0, "%s", name);
}


static char *
number(unsigned seed, size_t len, u_char first, u_char last)
{
    u_char   n[2048];
    size_t   i;

    for (i = 0; i < len; i++) {
        seed = seed * 1103515245u + 12345u;
        n[i] = (u_char) (seed >> 16);
    }

    n[1] |= 0x80;
    n[0] = first;
    n[len - 1] = last;

    return mint_base64url(n, len);
}


static char *
entry(const char *kid, unsigned seed, size_t len, u_char first, u_char last,
    const char *e)
{
    char    *n, *text;
    size_t   room;

    n = number(seed, len, first, last);
    room = strlen(n) + 256;
    text = malloc(room);

    snprintf(text, room,
             "{\"kty\":\"RSA\",\"kid\":\"%s\",\"n\":\"%s\",\"e\":\"%s\"}", kid,
             n, e);
    free(n);

    return text;
}


static void
test_skips(EVP_PKEY *key)
{
    char                 *good, *jwk, *text;
    size_t                i, len;
    ngx_str_t             kid;
    lines_jwk_verifier_t  verifier;

    static const struct {
        const char  *members;
        const char  *reason;
    } cases[] = {
        { "\"kty\":\"RSA\"", "no-kid" },
        { "\"kty\":\"rsa\",\"kid\":\"a\"", "other-type" },
        { "\"kty\":\"XYZ\",\"kid\":\"a\"", "other-type" },
        { "\"kid\":\"a\"", "malformed" },
        { "\"kty\":7,\"kid\":\"a\"", "malformed" },
        { RS ",\"kid\":7", "malformed" },
        { RS ",\"kid\":null", "malformed" },
        { RS ",\"kid\":[\"a\"]", "malformed" },
        { RS ",\"kid\":\"\"", "malformed" },
        { RS ",\"kid\":\"a\\u0000b\"", "malformed" },
        { RS ",\"kid\":\"a\\nb\"", "malformed" },
        { RS ",\"kid\":\"a\",\"kid\":\"b\"", "malformed" },
        { RS ",\"kid\":\"a\",\"x\":{\"y\":1,\"y\":2}", "malformed" },
        { "\"kty\":\"RSA\",\"kid\":\"a\",\"use\":\"enc\"", "other-use" },
        { "\"kty\":\"RSA\",\"kid\":\"a\",\"use\":null", "malformed" },
        { "\"kty\":\"RSA\",\"kid\":\"a\",\"alg\":\"RS512\"",
          "other-algorithm" },
        { "\"kty\":\"RSA\",\"kid\":\"a\",\"alg\":1", "malformed" },
        { "\"kty\":\"RSA\",\"kid\":\"a\",\"key_ops\":[\"encrypt\"]",
          "other-use" },
        { "\"kty\":\"RSA\",\"kid\":\"a\",\"key_ops\":[]", "other-use" },
        { "\"kty\":\"RSA\",\"kid\":\"a\",\"key_ops\":\"verify\"",
          "malformed" },
        { "\"kty\":\"RSA\",\"kid\":\"a\",\"key_ops\":[1,\"verify\"]",
          "malformed" },
    };

    static const struct {
        const char  *entry;
        const char  *reason;
    } raw[] = {
        { "null", "malformed" },
        { "\"key\"", "malformed" },
        { "7", "malformed" },
        { "[]", "malformed" },
        { "{}", "malformed" },
        { "{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"AAAA\"}", "other-type" },
        { "{" RS ",\"kid\":\"a\",\"n\":\"\",\"e\":\"\"}", "malformed" },
        { "{" RS ",\"kid\":\"a\",\"n\":\"***\",\"e\":\"AQAB\"}", "malformed" },
        { "{" RS ",\"kid\":\"a\",\"n\":17,\"e\":\"AQAB\"}", "malformed" },
        { "{" RS ",\"kid\":\"a\",\"e\":\"AQAB\"}", "malformed" },
        { "{" RS ",\"kid\":\"a\",\"n\":\"AAAA\",\"e\":\"AQAB\"}",
          "malformed" },
        { "{" RS ",\"kid\":\"a\",\"n\":\"AQAB\",\"e\":\"AQAB\"}", "weak" },
    };

    good = mint_jwk(key, RS ",\"kid\":\"good\"");

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        jwk = mint_jwk(key, cases[i].members);
        skipped(good, jwk, cases[i].reason);
        free(jwk);
    }

    for (i = 0; i < sizeof(raw) / sizeof(raw[0]); i++) {
        skipped(good, raw[i].entry, raw[i].reason);
    }

    {
        struct { size_t len; u_char first, last; const char *e, *reason; }
            numbers[] = {
            { 128, 0x80, 1, "AQAB", "weak" },
            { 255, 0xff, 1, "AQAB", "weak" },
            { 256, 0x7f, 1, "AQAB", "weak" },
            { 256, 0x80, 2, "AQAB", "malformed" },
            { 256, 0x80, 1, "AQ", "weak" },
            { 256, 0x80, 1, "Ag", "weak" },
            { 256, 0x80, 1, "BA", "weak" },
            { 256, 0x80, 1, "AA", "malformed" },
            { 256, 0x80, 1, "AQAB=", "malformed" },
            { 256, 0x80, 1, "AQEBAQEBAQEB", "malformed" },
            { 1025, 0x80, 1, "AQAB", "malformed" },
        };

        for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
            jwk = entry("a", 1, numbers[i].len, numbers[i].first,
                        numbers[i].last, numbers[i].e);
            skipped(good, jwk, numbers[i].reason);
            free(jwk);
        }
    }

    /* one that an honest issuer might write */

    jwk = mint_jwk(key,
                   "\"kty\":\"RSA\",\"kid\":\"caf\\u00e9\",\"x5c\":[\"M\"],"
                   "\"key_ops\":[\"sign\",\"verify\"],\"n2\":1e9,"
                   "\"big\":123456789012345678901234567890");
    len = strlen(jwk) + 64;
    text = malloc(len);
    snprintf(text, len, " \n{ \"x\":[1,{\"keys\":[]}], \"keys\" : [ %s ] }\n",
             jwk);
    ok(parse(text, strlen(text)) == NGX_OK
       && set->nkeys == 1
       && report.skipped == 0
       && knows("caf\xc3\xa9"),
       "white space, other members, a kid beyond ASCII");
    free(text);
    free(jwk);

    jwk = entry("zero", 1, 257, 0, 1, "AAEAAQ");
    len = strlen(jwk) + 64;
    text = malloc(len);
    snprintf(text, len, "{\"keys\":[%s]}", jwk);
    kid = str("zero");
    ok(parse(text, strlen(text)) == NGX_OK
       && set->nkeys == 1
       && lines_jwk_find(set, &kid)->n_len == 256
       && lines_jwk_find(set, &kid)->e_len == 3, "leading zero octets");
    free(text);
    free(jwk);

    jwk = entry("large", 1, 1024, 0x80, 1, "Aw");
    text = malloc(strlen(jwk) + 64);
    snprintf(text, strlen(jwk) + 64, "{\"keys\":[%s]}", jwk);
    ok(parse(text, strlen(text)) == NGX_OK && knows("large"), "8192 bits");
    kid = str("large");
    ok(lines_jwk_verifier_create(&verifier, lines_jwk_find(set, &kid))
       == NGX_OK
       && verifier.signature_len == 1024, "its verifier");
    lines_jwk_verifier_destroy(&verifier);
    free(text);
    free(jwk);
    free(good);
}


static void
test_kids(void)
{
    char  *a, *b, *c, *text;

    a = entry("twice", 1, 256, 0xc0, 1, "AQAB");
    b = entry("twice", 2, 256, 0xc0, 1, "AQAB");
    c = entry("once", 3, 256, 0xc0, 1, "AQAB");
    text = malloc(4096);

    snprintf(text, 4096, "{\"keys\":[%s,%s,%s]}", a, c, b);
    ok(parse(text, strlen(text)) == NGX_OK
       && set->nkeys == 1
       && knows("once")
       && !knows("twice")
       && report.skipped == 1, "two keys of one kid: neither is usable");

    snprintf(text, 4096, "{\"keys\":[%s,%s,%s,%s]}", a, b, a, c);
    ok(parse(text, strlen(text)) == NGX_OK
       && set->nkeys == 1
       && knows("once")
       && !knows("twice")
       && report.skipped == 2, "and a third does not change that");

    snprintf(text, 4096, "{\"keys\":[%s,%s,%s]}", a, a, c);
    ok(parse(text, strlen(text)) == NGX_OK
       && set->nkeys == 2
       && knows("twice"), "the very same key twice is still that key");

    snprintf(text, 4096, "{\"keys\":[%s,%s]}", a, b);
    ok(parse(text, strlen(text)) == NGX_DECLINED,
       "nothing but ambiguous keys: no set");
    ok(strcmp(report.error, "no-usable-key") == 0, "and why");

    snprintf(text, 4096, "{\"keys\":[%s]}", c);
    ok(parse(text, strlen(text)) == NGX_OK
       && !knows("")
       && !knows("onc")
       && !knows("once ")
       && !knows("ONCE"), "kid is compared exactly");

    free(text);
    free(c);
    free(b);
    free(a);
}


static void
test_many(unsigned n, size_t len, ngx_uint_t usable, ngx_uint_t skips)
{
    char        *text, *p, *jwk, kid[32];
    size_t       room;
    unsigned     i, found;
    ngx_int_t    rc;

    room = n * (len * 4 / 3 + 128) + 64;
    p = text = malloc(room);
    p += sprintf(p, "{\"keys\":[");

    for (i = 0; i < n; i++) {
        snprintf(kid, sizeof(kid), "ins_%u", i);
        jwk = entry(kid, i, len, 0xc0, 1, "AQAB");
        p += sprintf(p, "%s%s", i ? "," : "", jwk);
        free(jwk);
    }

    p += sprintf(p, "]}");
    rc = parse(text, (size_t) (p - text));

    if (usable == 0) {
        ok(rc == NGX_DECLINED, "%u keys in %u bytes are refused", n,
           (unsigned) (p - text));
        free(text);
        return;
    }

    for (i = 0, found = 0; rc == NGX_OK && i < n; i++) {
        snprintf(kid, sizeof(kid), "ins_%u", i);
        found += knows(kid);
    }

    ok(rc == NGX_OK
       && set->nkeys == usable
       && found == usable
       && report.skipped == skips
       && lines_jwk_set_valid(set, set->size), "of %u keys %u are found", n,
       (unsigned) usable);

    free(text);
}


static void
test_documents(EVP_PKEY *key)
{
    char    *good, *text, *p;
    size_t   len, i;

    refused("", "not-pem");
    refused("<html><body>Bad gateway</body></html>", "not-pem");
    refused("{", "not-json");
    refused("{\"keys\":[]", "not-json");
    refused("{\"keys\":[]}x", "not-json");
    refused("{\"keys\":[1e999]}", "not-json");
    refused("{}", "no-keys-array");
    refused("{\"keys\":{}}", "no-keys-array");
    refused("{\"keys\":null}", "no-keys-array");
    refused("{\"Keys\":[]}", "no-keys-array");
    refused("{\"x\":{\"keys\":[]}}", "no-keys-array");
    refused("{\"keys\":[],\"keys\":[]}", "no-keys-array");
    refused("{\"keys\":[]}", "no-usable-key");
    refused("{\"keys\":[ \n]}", "no-usable-key");
    refused("[]", "not-pem");

    good = mint_jwk(key, RS ",\"kid\":\"good\"");

    /* the kid is looked up by value, whatever a string holds */

    len = strlen(good) + 256;
    text = malloc(len);
    snprintf(text, len,
             "{\"a\\\"\":\"]}\\\\\",\"keys\":[%s,"
             "{\"x\":\"},{\\\"\",\"y\":[\",\"]}]}", good);
    ok(parse(text, strlen(text)) == NGX_OK
       && set->nkeys == 1
       && report.skipped == 1, "brackets and quotes inside strings");

    /* every beginning of a document, and every byte of it wrong once */

    len = strlen(text);

    for (i = 0; i < len; i++) {
        if (parse(text, i) == NGX_OK) {
            break;
        }
    }

    ok(i == len, "no beginning of a document passes for it");

    for (i = 0; i < len; i++) {
        text[i] ^= 4;

        if (parse(text, len) == NGX_OK && !lines_jwk_set_valid(set, set->size))
        {
            break;
        }

        text[i] ^= 4;
    }

    ok(i == len, "whatever byte is wrong, a set that is made is valid");
    free(text);

    text = malloc(70000);
    p = text + sprintf(text, "{\"keys\":[");
    memset(p, '[', 60000);
    strcpy(p + 60000, "]}");
    refused(text, "not-json");
    free(text);

    len = LINES_JWK_MAX_DOCUMENT + 1;
    text = malloc(len + 1);
    memset(text, ' ', len);
    text[len] = '\0';
    p = text + sprintf(text, "{\"keys\":[%s]}", good);
    *p = ' ';
    ok(parse(text, len - 1) == NGX_OK, "256 KiB");
    ok(parse(text, len) == NGX_DECLINED, "one byte more");
    ok(strcmp(report.error, "document-too-large") == 0, "why");
    free(text);
    free(good);
}


static void
test_pem(EVP_PKEY *key)
{
    char       *pem, *text;
    u_char     *copy;
    size_t      len;
    EVP_PKEY   *other;
    ngx_str_t   kid;

    pem = mint_pem(key);
    ok(parse(pem, strlen(pem)) == NGX_OK
       && set->any_kid
       && knows("")
       && knows("anything"), "PEM: one key for every kid");

    copy = malloc(set->size);
    memcpy(copy, set, set->size);
    ok(lines_jwk_set_valid((lines_jwk_set_t *) copy, set->size),
       "a copy elsewhere is a set");
    copy[0] ^= 1;
    ok(!lines_jwk_set_valid((lines_jwk_set_t *) copy, set->size),
       "of another version it is not");
    copy[0] ^= 1;
    ok(!lines_jwk_set_valid((lines_jwk_set_t *) copy, set->size - 4),
       "nor cut short");
    kid = str("x");
    lines_jwk_find((lines_jwk_set_t *) copy, &kid)->n_len = 60000;
    ok(!lines_jwk_set_valid((lines_jwk_set_t *) copy, set->size),
       "nor with a record that leaves it");
    free(copy);

    len = 2 * strlen(pem) + 64;
    text = malloc(len);
    snprintf(text, len, "# a comment\n%s\n", pem);
    ok(parse(text, strlen(text)) == NGX_OK, "PEM: text around it");

    snprintf(text, len, "%s%s", pem, pem);
    refused(text, "several-keys");
    free(text);
    free(pem);

    other = mint_key(1024, 65537);
    pem = mint_pem(other);
    refused(pem, "weak");
    free(pem);
    EVP_PKEY_free(other);

    other = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    pem = mint_pem(other);
    refused(pem, "other-type");
    free(pem);
    EVP_PKEY_free(other);

    refused("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            "malformed");
    refused("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "not-a-public-key");
    refused("-----BEGIN PUBLIC KEY-----\nA*AA\n-----END PUBLIC KEY-----\n",
            "not-pem");
}


int
main(void)
{
    EVP_PKEY  *key;

    key = mint_key(2048, 65537);

    test_skips(key);
    test_kids();
    test_many(200, 256, 200, 0);
    test_many(512, 256, 512, 0);
    test_many(600, 256, 512, 88);
    test_many(2000, 256, 0, 0);
    test_documents(key);
    test_pem(key);

    EVP_PKEY_free(key);
    free(buf);

    return done_testing();
}
