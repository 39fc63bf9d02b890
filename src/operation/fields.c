
/*
 * The copy of a record that a worker holds, and the clock that it goes by.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "operation/operation.h"


#define LINES_OP_DAY  86400


ngx_str_t
lines_op_get(lines_op_t *op, const char *name)
{
    size_t         len;
    ngx_str_t      value;
    ngx_uint_t     i;
    ngx_keyval_t  *field;

    len = ngx_strlen(name);
    field = op->fields.elts;

    for (i = 0; i < op->fields.nelts; i++) {
        if (field[i].key.len == len
            && ngx_strncmp(field[i].key.data, name, len) == 0)
        {
            return field[i].value;
        }
    }

    ngx_str_null(&value);

    return value;
}


int64_t
lines_op_get_number(lines_op_t *op, const char *name)
{
    off_t      n;
    ngx_str_t  value;

    value = lines_op_get(op, name);

    if (value.len == 0) {
        return 0;
    }

    n = ngx_atoof(value.data, value.len);

    return n == NGX_ERROR ? 0 : n;
}


ngx_int_t
lines_op_set(lines_op_t *op, const char *name, ngx_str_t *value)
{
    size_t         len;
    ngx_str_t      copy;
    ngx_uint_t     i;
    ngx_keyval_t  *field;

    copy.len = value->len;
    copy.data = ngx_pnalloc(op->pool, value->len + 1);

    if (copy.data == NULL) {
        return NGX_ERROR;
    }

    if (value->len) {
        ngx_memcpy(copy.data, value->data, value->len);
    }

    copy.data[value->len] = '\0';

    len = ngx_strlen(name);
    field = op->fields.elts;

    for (i = 0; i < op->fields.nelts; i++) {
        if (field[i].key.len == len
            && ngx_strncmp(field[i].key.data, name, len) == 0)
        {
            field[i].value = copy;
            return NGX_OK;
        }
    }

    field = ngx_array_push(&op->fields);
    if (field == NULL) {
        return NGX_ERROR;
    }

    field->key.len = len;
    field->key.data = ngx_pnalloc(op->pool, len + 1);

    if (field->key.data == NULL) {
        op->fields.nelts--;
        return NGX_ERROR;
    }

    ngx_memcpy(field->key.data, name, len + 1);
    field->value = copy;

    return NGX_OK;
}


void
lines_op_renewed(lines_op_t *op)
{
    op->now = lines_op_now(op);
    op->claimed = ngx_current_msec;
}


int64_t
lines_op_now(lines_op_t *op)
{
    return op->now + (int64_t) (ngx_current_msec - op->claimed);
}


int64_t
lines_op_since(lines_op_t *op)
{
    int64_t  begun;

    begun = lines_op_get_number(op, "begun") / 1000;

    return begun > LINES_OP_DAY ? begun - LINES_OP_DAY : 0;
}
