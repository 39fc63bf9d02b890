
#include <ngx_config.h>
#include <ngx_core.h>

#include "billing/form.h"


static void form_append(lines_form_t *form, u_char *data, size_t len);
static void form_append_escaped(lines_form_t *form, u_char *data, size_t len);


/* RFC 3986 */

#define lines_form_unreserved(c)                              \
    (((c) >= 'a' && (c) <= 'z') || ((c) >= 'A' && (c) <= 'Z') \
     || ((c) >= '0' && (c) <= '9')                            \
     || (c) == '-' || (c) == '_' || (c) == '.' || (c) == '~')


void
lines_form_init(lines_form_t *form, ngx_pool_t *pool)
{
    form->pool = pool;
    form->failed = (ngx_array_init(&form->bytes, pool, 512, 1) != NGX_OK);
}


void
lines_form_add(lines_form_t *form, const char *name, ngx_str_t *value)
{
    if (form->failed) {
        return;
    }

    if (form->bytes.nelts) {
        form_append(form, (u_char *) "&", 1);
    }

    /* brackets as they are: so do Stripe's own libraries */

    form_append(form, (u_char *) name, ngx_strlen(name));
    form_append(form, (u_char *) "=", 1);
    form_append_escaped(form, value->data, value->len);
}


void
lines_form_add_text(lines_form_t *form, const char *name, const char *value)
{
    ngx_str_t  text;

    text.data = (u_char *) value;
    text.len = ngx_strlen(value);

    lines_form_add(form, name, &text);
}


void
lines_form_add_number(lines_form_t *form, const char *name, int64_t value)
{
    u_char     buf[NGX_INT64_LEN];
    ngx_str_t  text;

    text.data = buf;
    text.len = ngx_sprintf(buf, "%L", value) - buf;

    lines_form_add(form, name, &text);
}


ngx_int_t
lines_form_finish(lines_form_t *form, ngx_str_t *body)
{
    if (form->failed) {
        return NGX_ERROR;
    }

    body->data = form->bytes.elts;
    body->len = form->bytes.nelts;

    return NGX_OK;
}


ngx_int_t
lines_form_escape(ngx_pool_t *pool, ngx_str_t *value, ngx_str_t *escaped)
{
    lines_form_t  form;

    lines_form_init(&form, pool);

    if (!form.failed) {
        form_append_escaped(&form, value->data, value->len);
    }

    return lines_form_finish(&form, escaped);
}


static void
form_append(lines_form_t *form, u_char *data, size_t len)
{
    u_char  *p;

    if (form->failed || len == 0) {
        return;
    }

    p = ngx_array_push_n(&form->bytes, len);
    if (p == NULL) {
        form->failed = 1;
        return;
    }

    ngx_memcpy(p, data, len);
}


static void
form_append_escaped(lines_form_t *form, u_char *data, size_t len)
{
    size_t               i;
    u_char               buf[3];
    static const u_char  hex[] = "0123456789ABCDEF";

    for (i = 0; i < len; i++) {

        if (lines_form_unreserved(data[i])) {
            form_append(form, &data[i], 1);
            continue;
        }

        buf[0] = '%';
        buf[1] = hex[data[i] >> 4];
        buf[2] = hex[data[i] & 0xf];

        form_append(form, buf, 3);
    }
}
