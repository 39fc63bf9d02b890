
#include "tap.h"
#include "deliver/address.h"
#include "deliver/secret.h"

#include <arpa/inet.h>


static ngx_uint_t
global(const char *text, ngx_array_t *allow)
{
    struct sockaddr_in   sin;
    struct sockaddr_in6  sin6;

    memset(&sin, 0, sizeof(sin));
    memset(&sin6, 0, sizeof(sin6));

    if (inet_pton(AF_INET, text, &sin.sin_addr) == 1) {
        sin.sin_family = AF_INET;
        return lines_address_global((struct sockaddr *) &sin, allow);
    }

    if (inet_pton(AF_INET6, text, &sin6.sin6_addr) != 1) {
        ok(0, "no address: %s", text);
    }

    sin6.sin6_family = AF_INET6;

    return lines_address_global((struct sockaddr *) &sin6, allow);
}


/* the first and the last of each, and their neighbors that are somebody's */

static void
addresses(void)
{
    unsigned  i;

    static const char  *refused[] = {
        "0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255",
        "100.64.0.0", "100.127.255.255", "127.0.0.1", "127.255.255.255",
        "169.254.0.0", "169.254.169.254", "172.16.0.0", "172.31.255.255",
        "192.0.0.0", "192.0.0.255", "192.0.2.1", "192.88.99.1",
        "192.168.0.0", "192.168.255.255", "198.18.0.0", "198.19.255.255",
        "198.51.100.1", "203.0.113.1", "224.0.0.0", "239.255.255.255",
        "240.0.0.0", "255.255.255.255",
        "::", "::1", "::2", "::127.0.0.1", "::8.8.8.8", "::ffff:10.0.0.1",
        "::ffff:127.0.0.1", "::ffff:0:8.8.8.8", "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8", "100::1",
        "1fff:ffff::1", "2001::1", "2001:1ff:ffff::", "2001:db8::1",
        "2002:a00:1::", "2002:7f00:1::1", "2002:a9fe:a9fe::", "3ffe::1",
        "3fff::1", "3fff:fff:ffff::", "4000::1", "fc00::1", "fd00:ec2::254",
        "fe80::1", "fec0::1", "ff00::", "ff0e::1"
    };

    static const char  *good[] = {
        "1.0.0.0", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255",
        "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255",
        "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0",
        "192.0.3.0", "192.167.255.255", "192.169.0.0", "198.17.255.255",
        "198.20.0.0", "223.255.255.255",
        "2001:200::1", "2001:db7:ffff::", "2001:db9::1", "2002:808:808::1",
        "2606:4700::1111", "2a00:1450::1", "3ffd::1", "3fff:1000::1",
        "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"
    };

    for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        ok(!global(refused[i], NULL), "%s is not called", refused[i]);
    }

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ok(global(good[i], NULL), "%s is", good[i]);
    }
}


/* Standard Webhooks, the vector of its libraries' own tests */

static void
vectors(void)
{
    u_char     bytes[64], signature[LINES_HOOK_SIGNATURE];
    ngx_str_t  id, at, body, secret, raw;

    id = str("msg_p5jXN8AQM9LWM0D4loKWxJek");
    at = str("1614265330");
    body = str("{\"test\": 2432232314}");
    secret = str("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");

    raw.data = bytes;
    ok(ngx_decode_base64(&raw, &secret) == NGX_OK && raw.len == 24,
       "its secret");
    ok(lines_hook_sign(raw.data, raw.len, &id, &at, &body, signature)
       == NGX_OK, "signed");
    ok(memcmp(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
              LINES_HOOK_SIGNATURE)
       == 0, "as it says");
}


static void
seals(void)
{
    u_char            secret[LINES_HOOK_SECRET], out[LINES_HOOK_SECRET];
    u_char            text[LINES_SEALED], again[LINES_SEALED];
    unsigned          i, opened;
    ngx_str_t         key, whose, other, sealed;
    lines_seal_key_t  keys[2];

    static const char  *bad[] = {
        "", "tooshort",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1g",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg=="
    };

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        key = str(bad[i]);
        ok(lines_seal_key(&keys[0], &key) == NGX_ERROR, "no key: %s", bad[i]);
    }

    key = str("000102030405060708090a0b0c0d0e0f"
              "101112131415161718191a1b1c1d1e1f");
    ok(lines_seal_key(&keys[0], &key) == NGX_OK, "a key in hex");

    key = str("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    ok(lines_seal_key(&keys[1], &key) == NGX_OK, "and in base64");
    ok(memcmp(keys[0].bytes, keys[1].bytes, LINES_SEAL_KEY) == 0
       && memcmp(keys[0].name, keys[1].name, LINES_SEAL_ID) == 0,
       "the same one, by the same name");

    key = str("ffffffffffffffffffffffffffffffff"
              "ffffffffffffffffffffffffffffffff");
    ok(lines_seal_key(&keys[1], &key) == NGX_OK, "another one");

    for (i = 0; i < LINES_HOOK_SECRET; i++) {
        secret[i] = (u_char) (i * 7);
    }

    whose = str("w:one 1");
    other = str("w:one 2");
    sealed.data = text;
    sealed.len = LINES_SEALED;

    ok(lines_seal(&keys[0], &whose, secret, text) == NGX_OK
       && lines_seal(&keys[0], &whose, secret, again) == NGX_OK
       && memcmp(text, again, LINES_SEALED) != 0, "sealed, never the same");
    ok(lines_unseal(keys, 2, &whose, &sealed, out) == NGX_OK
       && memcmp(out, secret, sizeof(secret)) == 0, "and opened");
    ok(lines_unseal(&keys[1], 1, &whose, &sealed, out) == NGX_ERROR,
       "not by another key");
    ok(lines_unseal(keys, 2, &other, &sealed, out) == NGX_ERROR,
       "nor as another's");

    opened = 0;

    for (i = 0; i < LINES_SEALED; i++) {
        text[i] ^= 1;
        opened += lines_unseal(keys, 2, &whose, &sealed, out) == NGX_OK;
        text[i] ^= 1;
    }

    ok(opened == 0, "nor with any character changed: %u", opened);

    sealed.len--;
    ok(lines_unseal(keys, 2, &whose, &sealed, out) == NGX_ERROR,
       "nor cut off");
}


int
main(void)
{
    addresses();
    vectors();
    seals();

    return done_testing();
}
