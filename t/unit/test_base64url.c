
#include "tap.h"
#include "mint.h"
#include "http/strict.h"


static unsigned
count(unsigned len)
{
    u_char      buf[8];
    unsigned    i, n, accepted, total;
    ngx_str_t   src, dst;

    total = 1;

    for (i = 0; i < len; i++) {
        total *= 256;
    }

    src = exact("\0\0\0", len);
    accepted = 0;

    for (n = 0; n < total; n++) {

        for (i = 0; i < len; i++) {
            src.data[i] = (u_char) (n >> 8 * i);
        }

        dst.data = buf;

        if (lines_base64url_decode(&dst, &src) == NGX_OK) {
            accepted++;
        }
    }

    free(src.data);

    return accepted;
}


int
main(void)
{
    char       *text;
    size_t      len, i;
    u_char      in[200], fill;
    unsigned    bad;
    ngx_str_t   src, dst;

    /* of all texts of a length just one for each value is accepted */

    ok(count(1) == 0, "one digit is never enough");
    ok(count(2) == 256, "two digits: 256 spellings of 256 values");
    ok(count(3) == 65536, "three digits: 65536 spellings of 65536 values");

    /* the fourth digit: a byte at each place of a group of four */

    for (bad = 0, i = 0; i < 4; i++) {
        unsigned  b, accepted = 0;

        for (b = 0; b < 256; b++) {
            src = exact("AAAA", 4);
            src.data[i] = (u_char) b;
            dst = exact("\0\0", 3);
            accepted += lines_base64url_decode(&dst, &src) == NGX_OK;
            free(src.data);
            free(dst.data);
        }

        bad += accepted != 64;
    }

    ok(bad == 0, "64 digits at each place");

    for (bad = 0, len = 0; len < sizeof(in); len++) {

        for (fill = 0; fill < 3; fill++) {

            for (i = 0; i < len; i++) {
                in[i] = (u_char) (i * 37 + fill * 127 + len);
            }

            text = mint_base64url(in, len);
            src = exact(text, strlen(text));
            dst = exact("", 0);
            free(dst.data);
            dst.data = malloc(lines_base64url_decoded_len(src.len) + 0);

            if (lines_base64url_decoded_len(src.len) != len
                || lines_base64url_decode(&dst, &src) != NGX_OK
                || dst.len != len
                || memcmp(dst.data, in, len) != 0)
            {
                bad++;
            }

            free(dst.data);
            free(src.data);
            free(text);
        }
    }

    ok(bad == 0, "what is encoded decodes to itself, in a buffer of its size");

    dst.data = in;

    src = str("QUI=");
    ok(lines_base64url_decode(&dst, &src) == NGX_DECLINED, "padding");
    src = str("+/+/");
    ok(lines_base64url_decode(&dst, &src) == NGX_DECLINED,
       "the standard alphabet");
    src = str("QUJD\n");
    ok(lines_base64url_decode(&dst, &src) == NGX_DECLINED, "a line feed");
    src = str("-_-_");
    ok(lines_base64url_decode(&dst, &src) == NGX_OK && in[0] == 0xfb,
       "the alphabet for URLs");
    src = str("");
    ok(lines_base64url_decode(&dst, &src) == NGX_OK && dst.len == 0,
       "nothing");

    return done_testing();
}
