
#include "auth/base64url.h"


static const u_char  base64url_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";


ngx_int_t
lines_base64url_digit(u_char ch)
{
    const u_char  *p;

    p = memchr(base64url_digits, ch, sizeof(base64url_digits) - 1);

    return p ? p - base64url_digits : -1;
}


ngx_int_t
lines_base64url_decode(ngx_str_t *dst, ngx_str_t *src)
{
    u_char     *d;
    size_t      i;
    uint32_t    bits;
    ngx_int_t   digit;
    ngx_uint_t  n;

    d = dst->data;
    dst->len = 0;

    bits = 0;
    n = 0;

    for (i = 0; i < src->len; i++) {

        digit = lines_base64url_digit(src->data[i]);
        if (digit < 0) {
            return NGX_DECLINED;
        }

        bits = bits << 6 | (uint32_t) digit;
        n += 6;

        if (n >= 8) {
            n -= 8;
            *d++ = (u_char) (bits >> n);
            bits &= (1u << n) - 1;
        }
    }

    /* bits beyond the last octet would give it a second spelling */

    if (n == 6 || bits) {
        return NGX_DECLINED;
    }

    dst->len = d - dst->data;

    return NGX_OK;
}
