
#include <ngx_config.h>
#include <ngx_core.h>

#include "http/digest.h"
#include "http/id.h"


ngx_int_t
lines_id(u_char *id)
{
    int64_t      now;
    uint64_t     random;
    ngx_time_t  *tp;

    static int64_t   last;
    static uint64_t  low;

    tp = ngx_timeofday();

    /* a clock that is before 1970 would not fit into twelve digits */

    now = ngx_max((int64_t) tp->sec * 1000 + tp->msec, 1);

    if (now > last) {

        if (lines_random(&random, sizeof(random)) != NGX_OK) {
            return NGX_ERROR;
        }

        /* 47 bits: the top bit stays free to count into */

        low = random >> 17;
        last = now;

    } else {
        low++;
    }

    ngx_sprintf(id, "%012xL%012xL", last, (int64_t) low);

    return NGX_OK;
}


ngx_uint_t
lines_is_id(ngx_str_t *id)
{
    size_t  i;

    for (i = 0; i < id->len; i++) {
        if (!(id->data[i] >= '0' && id->data[i] <= '9')
            && !(id->data[i] >= 'a' && id->data[i] <= 'f'))
        {
            return 0;
        }
    }

    return id->len == LINES_ID_LEN;
}
