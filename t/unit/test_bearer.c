
#include "tap.h"
#include "auth/bearer.h"


typedef struct {
    const char  *value;
    ngx_int_t    rc;
    const char  *token;
} bearer_case_t;


static bearer_case_t  headers[] = {
    { "Bearer a.b.c", NGX_OK, "a.b.c" },
    { "bearer a.b.c", NGX_OK, "a.b.c" },
    { "BEARER a.b.c", NGX_OK, "a.b.c" },
    { "Bearer   a.b.c", NGX_OK, "a.b.c" },
    { "  Bearer a.b.c  ", NGX_OK, "a.b.c" },
    { "Bearer x", NGX_OK, "x" },
    { "", NGX_DECLINED, NULL },
    { "   ", NGX_DECLINED, NULL },
    { "Basic dXNlcjpwYXNz", NGX_DECLINED, NULL },
    { "BearerX a.b.c", NGX_DECLINED, NULL },
    { "Beare a.b.c", NGX_DECLINED, NULL },
    { "Bearer", NGX_ABORT, NULL },
    { "Bearer ", NGX_ABORT, NULL },
    { "Bearer\ta.b.c", NGX_ABORT, NULL },
    { "a.b.c", NGX_ABORT, NULL },
    { "Bearer a.b.c d", NGX_ABORT, NULL },
    { "Bearer a.b.c, Bearer d.e.f", NGX_ABORT, NULL },
};


static bearer_case_t  cookies[] = {
    { "__session=a.b.c", NGX_OK, "a.b.c" },
    { "a=1; __session=a.b.c", NGX_OK, "a.b.c" },
    { "a=1;__session=a.b.c;b=2", NGX_OK, "a.b.c" },
    { "__session=a.b.c; __session=d.e.f", NGX_OK, "a.b.c" },
    { "__session=", NGX_OK, "" },
    { "__session=a=b", NGX_OK, "a=b" },
    { "__session=\"a.b.c\"", NGX_OK, "\"a.b.c\"" },
    { " \t__session=a.b.c \t", NGX_OK, "a.b.c" },
    { ";;; ;__session=a.b.c", NGX_OK, "a.b.c" },
    { "__session", NGX_DECLINED, NULL },
    { "x__session=a", NGX_DECLINED, NULL },
    { "__session_x=a", NGX_DECLINED, NULL },
    { "__SESSION=a", NGX_DECLINED, NULL },
    { "__sessio=a", NGX_DECLINED, NULL },
    { "a=__session=b", NGX_DECLINED, NULL },
    { "", NGX_DECLINED, NULL },
    { ";", NGX_DECLINED, NULL },
};


static void
check(ngx_int_t rc, ngx_str_t *token, bearer_case_t *c, const char *what)
{
    int  passed;

    passed = rc == c->rc
             && (rc != NGX_OK
                 || (token->len == strlen(c->token)
                     && memcmp(token->data, c->token, token->len) == 0));

    ok(passed, "%s: [%s]", what, c->value);
}


int
main(void)
{
    size_t     i;
    ngx_int_t  rc;
    ngx_str_t  value, token, name;

    name = str("__session");

    for (i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        value = exact(headers[i].value, strlen(headers[i].value));
        rc = lines_bearer_header(&value, &token);
        check(rc, &token, &headers[i], "Authorization");
        free(value.data);
    }

    for (i = 0; i < sizeof(cookies) / sizeof(cookies[0]); i++) {
        value = exact(cookies[i].value, strlen(cookies[i].value));
        rc = lines_bearer_cookie(&value, &name, &token);
        check(rc, &token, &cookies[i], "Cookie");
        free(value.data);
    }

    return done_testing();
}
