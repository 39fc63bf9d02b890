
#include "auth/base64url.h"


#define X  0xff

static const u_char  base64url_digits[256] = {
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  62, X,  X,
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, X,  X,  X,  X,  X,  X,
    X,  0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14,
    15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, X,  X,  X,  X,  63,
    X,  26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
    41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X
};

#undef X


ngx_int_t
lines_base64url_decode(ngx_str_t *dst, ngx_str_t *src)
{
    u_char     *d, *s, a, b, c, e;
    size_t      left;

    d = dst->data;
    s = src->data;
    dst->len = 0;

    for (left = src->len; left >= 4; left -= 4) {
        a = base64url_digits[s[0]];
        b = base64url_digits[s[1]];
        c = base64url_digits[s[2]];
        e = base64url_digits[s[3]];

        if ((a | b | c | e) & 0xc0) {
            return NGX_DECLINED;
        }

        *d++ = (u_char) (a << 2 | b >> 4);
        *d++ = (u_char) (b << 4 | c >> 2);
        *d++ = (u_char) (c << 6 | e);

        s += 4;
    }

    if (left == 1) {
        return NGX_DECLINED;
    }

    if (left) {
        a = base64url_digits[s[0]];
        b = base64url_digits[s[1]];
        c = (left == 3) ? base64url_digits[s[2]] : 0;

        if ((a | b | c) & 0xc0) {
            return NGX_DECLINED;
        }

        /* bits beyond the last octet would give it a second spelling */

        if ((left == 2 && (b & 0x0f)) || (left == 3 && (c & 0x03))) {
            return NGX_DECLINED;
        }

        *d++ = (u_char) (a << 2 | b >> 4);

        if (left == 3) {
            *d++ = (u_char) (b << 4 | c >> 2);
        }
    }

    dst->len = d - dst->data;

    return NGX_OK;
}
