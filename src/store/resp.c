
#include "store/resp.h"


static u_char *resp_number(u_char *p, u_char type, size_t n);


size_t
lines_resp_len(ngx_uint_t argc, ngx_str_t *argv)
{
    size_t      len;
    ngx_uint_t  i;

    len = LINES_RESP_OVERHEAD;

    for (i = 0; i < argc; i++) {
        len += LINES_RESP_OVERHEAD + argv[i].len;
    }

    return len;
}


u_char *
lines_resp_array(u_char *p, ngx_uint_t n)
{
    return resp_number(p, '*', n);
}


u_char *
lines_resp_string(u_char *p, u_char *data, size_t len)
{
    p = resp_number(p, '$', len);

    if (len) {
        p = ngx_cpymem(p, data, len);
    }

    *p++ = CR;
    *p++ = LF;

    return p;
}


/* by hand: each string of each command has one, and ngx_sprintf() is slow */

static u_char *
resp_number(u_char *p, u_char type, size_t n)
{
    u_char  *digit, digits[NGX_SIZE_T_LEN];

    digit = digits + NGX_SIZE_T_LEN;

    do {
        *--digit = (u_char) (n % 10 + '0');
        n /= 10;
    } while (n);

    *p++ = type;

    p = ngx_cpymem(p, digit, digits + NGX_SIZE_T_LEN - digit);

    *p++ = CR;
    *p++ = LF;

    return p;
}
