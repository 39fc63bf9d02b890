
#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/rand.h>

#include "http/id.h"


ngx_int_t
lines_id(u_char *id)
{
    u_char       bytes[LINES_ID_LEN / 2];
    uint64_t     now;
    ngx_int_t    i;
    ngx_time_t  *tp;

    static uint64_t  last, low;

    tp = ngx_timeofday();
    now = (uint64_t) tp->sec * 1000 + tp->msec;

    if (now > last) {

        if (RAND_bytes(bytes, 6) != 1) {
            return NGX_ERROR;
        }

        /* the top bit stays free to count into */

        low = ((uint64_t) (bytes[0] & 0x7f) << 40)
              | ((uint64_t) bytes[1] << 32) | ((uint64_t) bytes[2] << 24)
              | ((uint64_t) bytes[3] << 16) | ((uint64_t) bytes[4] << 8)
              | bytes[5];

        last = now;

    } else {
        low++;
    }

    for (i = 0; i < 6; i++) {
        bytes[i] = (u_char) (last >> (40 - 8 * i));
        bytes[6 + i] = (u_char) (low >> (40 - 8 * i));
    }

    ngx_hex_dump(id, bytes, sizeof(bytes));

    return NGX_OK;
}


ngx_uint_t
lines_is_id(ngx_str_t *id)
{
    size_t  i;
    u_char  ch;

    if (id->len != LINES_ID_LEN) {
        return 0;
    }

    for (i = 0; i < id->len; i++) {
        ch = id->data[i];

        if (!((ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'f'))) {
            return 0;
        }
    }

    return 1;
}
