
/*
 * The few functions of nginx's core that pure logic calls, for programs that
 * are linked without nginx.  They do what src/core/ngx_string.c does.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ctype.h>
#include <inttypes.h>
#include <openssl/evp.h>


u_char *
ngx_hex_dump(u_char *dst, u_char *src, size_t len)
{
    static const u_char  hex[] = "0123456789abcdef";

    while (len--) {
        *dst++ = hex[*src >> 4];
        *dst++ = hex[*src++ & 0xf];
    }

    return dst;
}


ngx_int_t
ngx_hextoi(u_char *line, size_t n)
{
    u_char     ch;
    ngx_int_t  value;

    if (n == 0) {
        return NGX_ERROR;
    }

    for (value = 0; n--; line++) {
        ch = *line;

        if (ch >= '0' && ch <= '9') {
            value = value * 16 + (ch - '0');
            continue;
        }

        ch |= 0x20;

        if (ch < 'a' || ch > 'f') {
            return NGX_ERROR;
        }

        value = value * 16 + (ch - 'a' + 10);
    }

    return value;
}


ngx_int_t
ngx_atoi(u_char *line, size_t n)
{
    ngx_int_t  value;

    if (n == 0) {
        return NGX_ERROR;
    }

    for (value = 0; n--; line++) {
        if (*line < '0'
            || *line > '9'
            || value > (NGX_MAX_INT_T_VALUE - (*line - '0')) / 10)
        {
            return NGX_ERROR;
        }

        value = value * 10 + (*line - '0');
    }

    return value;
}


/* the same, as all that is built for has 64 bits */

off_t
ngx_atoof(u_char *line, size_t n)
{
    return ngx_atoi(line, n);
}


/* the one pool of these programs ends with them */

typedef union shim_block_u  shim_block_t;

union shim_block_u {
    shim_block_t  *next;
    u_char         aligned[16];
};


static shim_block_t  *shim_blocks;


void *
ngx_palloc(ngx_pool_t *pool, size_t size)
{
    shim_block_t  *block;

    block = malloc(sizeof(shim_block_t) + size);
    if (block == NULL) {
        return NULL;
    }

    block->next = shim_blocks;
    shim_blocks = block;

    return block + 1;
}


void *
ngx_pnalloc(ngx_pool_t *pool, size_t size)
{
    return ngx_palloc(pool, size);
}


/* of the types, NGX_ESCAPE_URI_COMPONENT alone: RFC 3986's unreserved stay */

uintptr_t
ngx_escape_uri(u_char *dst, u_char *src, size_t size, ngx_uint_t type)
{
    static const u_char  hex[] = "0123456789ABCDEF";

    if (dst == NULL || type != NGX_ESCAPE_URI_COMPONENT) {
        abort();
    }

    for ( /* void */ ; size; size--, src++) {

        if ((*src < 0x80 && isalnum(*src)) || (*src && strchr("-._~", *src))) {
            *dst++ = *src;
            continue;
        }

        *dst++ = '%';
        *dst++ = hex[*src >> 4];
        *dst++ = hex[*src & 0xf];
    }

    return (uintptr_t) dst;
}


ngx_int_t
ngx_strncasecmp(u_char *s1, u_char *s2, size_t n)
{
    return strncasecmp((char *) s1, (char *) s2, n);
}


/* what a text of the answers would need, and none of these programs has */

uintptr_t
ngx_escape_json(u_char *dst, u_char *src, size_t size)
{
    abort();
}


ngx_pool_cleanup_t *
ngx_pool_cleanup_add(ngx_pool_t *pool, size_t size)
{
    abort();
}


/* of the formats, "%L" alone */

u_char * ngx_cdecl
ngx_sprintf(u_char *buf, const char *fmt, ...)
{
    int      n;
    char     text[32];
    va_list  args;

    if (strcmp(fmt, "%L") != 0) {
        abort();
    }

    va_start(args, fmt);
    n = snprintf(text, sizeof(text), "%" PRId64, va_arg(args, int64_t));
    va_end(args);

    return ngx_cpymem(buf, text, n);
}


void
ngx_encode_base64(ngx_str_t *dst, ngx_str_t *src)
{
    dst->len = EVP_EncodeBlock(dst->data, src->data, (int) src->len);
}


ngx_int_t
ngx_decode_base64(ngx_str_t *dst, ngx_str_t *src)
{
    size_t           i;
    uint32_t         bits;
    const char      *p;
    static const char  alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                           "abcdefghijklmnopqrstuvwxyz0123456789+/";

    bits = 0;
    dst->len = 0;

    for (i = 0; i < src->len && src->data[i] != '='; i++) {
        p = src->data[i] ? strchr(alphabet, src->data[i]) : NULL;

        if (p == NULL) {
            return NGX_ERROR;
        }

        bits = bits << 6 | (uint32_t) (p - alphabet);

        if (i % 4) {
            dst->data[dst->len++] = (u_char) (bits >> (2 * (3 - i % 4)));
        }
    }

    return i % 4 == 1 ? NGX_ERROR : NGX_OK;
}


/* no test of these has networks */

ngx_int_t
ngx_cidr_match(struct sockaddr *sa, ngx_array_t *cidrs)
{
    return NGX_DECLINED;
}
