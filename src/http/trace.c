
#include "http/headers.h"
#include "http/trace.h"


/* so many digits in lower case, and not all of them zero where they are an id */

static ngx_uint_t
trace_hex(u_char *p, size_t len, ngx_uint_t id)
{
    size_t      i;
    ngx_uint_t  set;

    set = !id;

    for (i = 0; i < len; i++) {
        if (!(p[i] >= '0' && p[i] <= '9') && !(p[i] >= 'a' && p[i] <= 'f')) {
            return 0;
        }

        set |= (p[i] != '0');
    }

    return set;
}


/* section 3.2.2: "00-TRACE-PARENT-FLAGS"; of a version to come, its beginning */

static ngx_uint_t
trace_is_valid(ngx_str_t *s)
{
    u_char  *p = s->data;

    return s->len >= LINES_TRACEPARENT_LEN
           && trace_hex(p, 2, 0) && p[2] == '-'
           && trace_hex(p + 3, 32, 1) && p[35] == '-'
           && trace_hex(p + 36, 16, 1) && p[52] == '-'
           && trace_hex(p + 53, 2, 0)
           && ngx_strncmp(p, "ff", 2) != 0
           && (s->len == LINES_TRACEPARENT_LEN
               || (p[LINES_TRACEPARENT_LEN] == '-'
                   && ngx_strncmp(p, "00", 2) != 0));
}


ngx_str_t
lines_traceparent(ngx_http_request_t *r)
{
    ngx_str_t         value;
    ngx_table_elt_t  *h;

    h = lines_find_header(r, "traceparent");

    if (h == NULL
        || lines_next_header(r, "traceparent", h)
        || !trace_is_valid(&h->value))
    {
        return (ngx_str_t) ngx_null_string;
    }

    value.len = LINES_TRACEPARENT_LEN;

    if (ngx_strncmp(h->value.data, "00", 2) == 0) {
        value.data = h->value.data;
        return value;
    }

    /* of its flags only "sampled" is known here */

    value.data = ngx_pnalloc(r->pool, value.len);

    if (value.data == NULL) {
        return (ngx_str_t) ngx_null_string;
    }

    ngx_memcpy(value.data, h->value.data, value.len);
    ngx_memcpy(value.data, "00", 2);

    value.data[53] = '0';
    value.data[54] = h->value.data[54] < 'a' ? '0' + h->value.data[54] % 2
                                             : '1' - h->value.data[54] % 2;

    return value;
}
