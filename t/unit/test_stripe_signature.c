
#include "tap.h"
#include "webhook/stripe_signature.h"

#include <openssl/hmac.h>


#define NOW   1700000000
#define BODY  "{\"id\":\"evt_1\",\"object\":\"event\"}"
#define OLD   "whsec_old"
#define NEW   "whsec_new"


static lines_stripe_secrets_t  secrets;


static const char *
mac(const char *secret, const char *time, const char *body)
{
    char           text[512];
    u_char         raw[32];
    unsigned       i, len;
    static char    hex[8][65];
    static int     next;

    next = (next + 1) % 8;
    snprintf(text, sizeof(text), "%s.%s", time, body);
    len = sizeof(raw);
    HMAC(EVP_sha256(), secret, (int) strlen(secret), (u_char *) text,
         strlen(text), raw, &len);

    for (i = 0; i < 32; i++) {
        snprintf(hex[next] + 2 * i, 3, "%02x", raw[i]);
    }

    return hex[next];
}


static lines_stripe_reason_e
judge(const char *header, const char *body)
{
    ngx_str_t              value, copy;
    lines_stripe_reason_e  reason, early;

    value = exact(header, strlen(header));
    copy = exact(body, strlen(body));

    reason = lines_stripe_signature(&secrets, &value, &copy, NOW, 300);
    early = lines_stripe_signature_header(&value, NOW, 300);

    /* what is wrong without a look at the body is said without it */

    if (early != (reason > LINES_STRIPE_IN_FUTURE ? LINES_STRIPE_ACCEPTED
                                                  : reason))
    {
        ok(0, "by its header alone: %s", header);
    }

    free(copy.data);
    free(value.data);

    return reason;
}


static void
judged(lines_stripe_reason_e expected, const char *name, const char *fmt, ...)
{
    char                   header[8192];
    va_list                args;
    lines_stripe_reason_e  got;

    va_start(args, fmt);
    vsnprintf(header, sizeof(header), fmt, args);
    va_end(args);

    got = judge(header, BODY);

    if (!ok(got == expected, "%s: %s", name,
            (char *) lines_stripe_signature_reason(expected)->data))
    {
        printf("#   got: %s\n",
               (char *) lines_stripe_signature_reason(got)->data);
    }
}


int
main(void)
{
    char         header[256], upper[65];
    size_t       i;
    ngx_str_t    values[2], none[1], many[5];
    char        *good;
    const char  *now, *bad;

    values[0] = str(OLD);
    values[1] = str(NEW);

    if (!ok(lines_stripe_secrets_create(&secrets, values, 2) == NGX_OK,
            "two secrets"))
    {
        return done_testing();
    }

    now = "1700000000";
    bad = "abababababababababababababababababababababababababababababababab";
    good = strdup(mac(OLD, now, BODY));

    judged(LINES_STRIPE_ACCEPTED, "plain", "t=%s,v1=%s", now, good);
    judged(LINES_STRIPE_ACCEPTED, "the other secret", "t=%s,v1=%s", now,
           mac(NEW, now, BODY));
    judged(LINES_STRIPE_ACCEPTED, "second v1", "t=%s,v1=%s,v1=%s", now, bad,
           good);
    judged(LINES_STRIPE_ACCEPTED, "first v1", "t=%s,v1=%s,v1=%s", now, good,
           bad);
    judged(LINES_STRIPE_ACCEPTED, "any order", "v1=%s,t=%s", good, now);
    judged(LINES_STRIPE_ACCEPTED, "v0 beside it", "t=%s,v0=%s,v1=%s", now, bad,
           good);
    judged(LINES_STRIPE_ACCEPTED, "spaces", " t=%s , v1=%s ", now, good);
    judged(LINES_STRIPE_ACCEPTED, "other schemes",
           "x,=,t2=9,,t=%s,v2=1,v1=%s,", now, good);
    judged(LINES_STRIPE_ACCEPTED, "299 s old", "t=%s,v1=%s", "1699999701",
           mac(OLD, "1699999701", BODY));
    judged(LINES_STRIPE_ACCEPTED, "300 s old", "t=%s,v1=%s", "1699999700",
           mac(OLD, "1699999700", BODY));

    judged(LINES_STRIPE_TOO_OLD, "301 s old", "t=%s,v1=%s", "1699999699",
           mac(OLD, "1699999699", BODY));
    judged(LINES_STRIPE_IN_FUTURE, "301 s ahead", "t=%s,v1=%s", "1700000301",
           mac(OLD, "1700000301", BODY));
    judged(LINES_STRIPE_NO_SIGNATURE, "empty", "%s", "");
    judged(LINES_STRIPE_NO_SIGNATURE, "commas", "%s", ",,,");
    judged(LINES_STRIPE_NO_SIGNATURE, "v0 only", "t=%s,v0=%s", now, good);
    judged(LINES_STRIPE_NO_SIGNATURE, "V1", "t=%s,V1=%s", now, good);
    judged(LINES_STRIPE_MALFORMED, "no time", "v1=%s", good);
    judged(LINES_STRIPE_MALFORMED, "T", "T=%s,v1=%s", now, good);
    judged(LINES_STRIPE_MALFORMED, "two times", "t=%s,t=%s,v1=%s", now, now,
           good);

    {
        static const char  *times[] = { "", "0", "-1", "+1700000000",
            "001700000000", "1700000000abc", "1700000000.0", "1e9", " ",
            "0x65", "17000000000000000000000000", "9999999999999" };

        for (i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
            judged(LINES_STRIPE_MALFORMED, times[i], "t=%s,v1=%s", times[i],
                   mac(OLD, times[i], BODY));
        }
    }

    judged(LINES_STRIPE_MISMATCH, "another's secret", "t=%s,v1=%s", now,
           mac("whsec_x", now, BODY));
    judged(LINES_STRIPE_MISMATCH, "an empty secret", "t=%s,v1=%s", now,
           mac("", now, BODY));
    judged(LINES_STRIPE_MISMATCH, "another time", "t=%s,v1=%s", "1700000001",
           good);
    judged(LINES_STRIPE_MISMATCH, "63 digits", "t=%s,v1=%.63s", now, good);
    judged(LINES_STRIPE_MISMATCH, "63 digits and g", "t=%s,v1=%.63sg", now,
           good);
    judged(LINES_STRIPE_MISMATCH, "65 digits", "t=%s,v1=%s0", now, good);
    judged(LINES_STRIPE_MISMATCH, "more behind =", "t=%s,v1=%s=x", now, good);
    judged(LINES_STRIPE_MISMATCH, "v1 without a value", "t=%s,v1", now);
    judged(LINES_STRIPE_MISMATCH, "only v0 matches", "t=%s,v1=%s,v0=%s", now,
           bad, good);

    for (i = 0; i < 65; i++) {
        upper[i] = (char) (good[i] >= 'a' ? good[i] - 32 : good[i]);
    }

    judged(LINES_STRIPE_MISMATCH, "upper case", "t=%s,v1=%s", now, upper);

    snprintf(header, sizeof(header), "t=%s,v1=%s", now, good);

    ok(judge(header, BODY " ") == LINES_STRIPE_MISMATCH, "a byte more");
    ok(judge(header, "{\"id\":\"evt_2\",\"object\":\"event\"}")
       == LINES_STRIPE_MISMATCH, "another body");

    snprintf(header, sizeof(header), "t=%s,v1=%s", now, mac(OLD, now, ""));
    ok(judge(header, "") == LINES_STRIPE_EMPTY_BODY, "an empty body");

    lines_stripe_secrets_destroy(&secrets);

    none[0] = str("");
    ok(lines_stripe_secrets_create(&secrets, none, 1) == NGX_ERROR,
       "an empty secret is refused");
    ok(lines_stripe_secrets_create(&secrets, none, 0) == NGX_ERROR,
       "no secret is refused");

    for (i = 0; i < 5; i++) {
        many[i] = str("whsec");
    }

    ok(lines_stripe_secrets_create(&secrets, many, 5) == NGX_ERROR,
       "five are refused");

    free(good);

    return done_testing();
}
