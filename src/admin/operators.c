
#include "admin/operators.h"
#include "auth/bearer.h"
#include "directive/params.h"
#include "directive/secret.h"
#include "http/text.h"


#define LINES_OPERATORS_FILE  16384
#define LINES_OPERATOR_TOKEN  32      /* 128 bits as hex */


/* up to white space, of any kind: a file may have been written anywhere */

static ngx_str_t
operator_word(ngx_str_t *line)
{
    ngx_str_t  word;

    word.data = line->data;

    while (line->len && line->data[0] > ' ') {
        line->data++;
        line->len--;
    }

    word.len = line->data - word.data;

    return word;
}


/* what is wrong with the line, or NULL */

static const char *
operator_add(ngx_conf_t *cf, ngx_array_t *operators, ngx_str_t *line)
{
    u_char             digest[LINES_SHA256_LEN];
    ngx_str_t          words[3];
    ngx_uint_t         i, n;
    lines_operator_t  *op;

    static ngx_str_t  alone[] = { ngx_string("operator"), ngx_string("all") };

    for (n = 0; line->len; /* void */ ) {

        if (line->data[0] <= ' ') {
            line->data++;
            line->len--;
            continue;
        }

        if (n == 0 && line->data[0] == '#') {
            return NULL;
        }

        if (n == 3) {
            return "more than NAME ROLE TOKEN";
        }

        words[n++] = operator_word(line);
    }

    if (n == 0) {
        return NULL;
    }

    if (n == 2) {
        return "not NAME ROLE TOKEN";
    }

    if (n == 1) {
        words[2] = words[0];
        words[0] = alone[0];
        words[1] = alone[1];
    }

    if (!lines_is_name(&words[0]) || words[0].len > LINES_OPERATOR_NAME) {
        return "a name that is not 1 to 64 of A-Z a-z 0-9 _ -";
    }

    if (!lines_is(&words[1], "all") && !lines_is(&words[1], "read")) {
        return "a role that is neither all nor read";
    }

    if (words[2].len < LINES_OPERATOR_TOKEN) {
        return "a token of less than 32 characters";
    }

    if (!lines_is_graph(&words[2])) {
        return "a token with other than printable ASCII characters";
    }

    if (lines_sha256(&words[2], digest) != NGX_OK) {
        return "a token that OpenSSL cannot digest";
    }

    op = operators->elts;

    for (i = 0; i < operators->nelts; i++) {

        if (lines_same(&op[i].name, &words[0])) {
            return "a name for the second time";
        }

        if (lines_equal(op[i].digest, digest, LINES_SHA256_LEN)) {
            return "a token for the second time";
        }
    }

    op = ngx_array_push(operators);
    if (op == NULL) {
        return "no memory";
    }

    op->name.len = words[0].len;
    op->name.data = ngx_pstrdup(cf->pool, &words[0]);
    op->reads = lines_is(&words[1], "read");
    ngx_memcpy(op->digest, digest, LINES_SHA256_LEN);

    return op->name.data ? NULL : "no memory";
}


char *
lines_operators_read(ngx_conf_t *cf, ngx_str_t *file, void *field)
{
    ngx_array_t **operators = field;

    ssize_t      n;
    ngx_str_t    name, text, line;
    ngx_uint_t   number;
    const char  *wrong;

    u_char       buf[LINES_OPERATORS_FILE];

    name = *file;

    *operators = ngx_array_create(cf->pool, 1, sizeof(lines_operator_t));
    if (*operators == NULL) {
        return NGX_CONF_ERROR;
    }

    n = lines_read_secret_file(cf, "lines_admin", &name, buf, sizeof(buf));

    if (n == NGX_ERROR) {
        return NGX_CONF_ERROR;
    }

    text.data = buf;
    text.len = n;

    if (n == (ssize_t) sizeof(buf)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lines_admin\": \"%V\" is larger than 16k",
                           &name);
        return NGX_CONF_ERROR;
    }

    wrong = NULL;

    for (number = 0; text.len && wrong == NULL; number++) {
        line = lines_split(&text, LF);
        wrong = operator_add(cf, *operators, &line);
    }

    ngx_memzero(buf, sizeof(buf));

    if (wrong == NULL && (*operators)->nelts == 0) {
        wrong = "no token";
    }

    if (wrong) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lines_admin\": %s in \"%V\", line %ui", wrong,
                           &name, number);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


lines_operator_t *
lines_operator_by_token(ngx_http_request_t *r)
{
    u_char             digest[LINES_SHA256_LEN];
    ngx_str_t          token;
    ngx_uint_t         i;
    ngx_array_t       *operators;
    lines_operator_t  *op;

    operators = lines_get_loc_conf(r)->own;
    op = operators->elts;

    if (r->headers_in.authorization == NULL
        || lines_bearer_header(&r->headers_in.authorization->value, &token)
           != NGX_OK
        || lines_sha256(&token, digest) != NGX_OK)
    {
        return NULL;
    }

    for (i = 0; i < operators->nelts; i++) {
        if (lines_equal(op[i].digest, digest, LINES_SHA256_LEN)) {
            return &op[i];
        }
    }

    return NULL;
}


lines_operator_t *
lines_operator_by_name(ngx_http_request_t *r, ngx_str_t *name)
{
    ngx_uint_t         i;
    ngx_array_t       *operators;
    lines_operator_t  *op;

    operators = lines_get_loc_conf(r)->own;
    op = operators->elts;

    for (i = 0; i < operators->nelts; i++) {
        if (lines_same(&op[i].name, name)) {
            return &op[i];
        }
    }

    return NULL;
}
