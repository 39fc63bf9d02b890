
#include "directive/params.h"
#include "directive/secret.h"


#define LINES_PARAM_HINT  1024

#define param_is_number(param)                                               \
    ((param)->type >= LINES_PARAM_MSEC && (param)->type <= LINES_PARAM_NUMBER)

#define param_what(own, usual)  ((own) ? (own) : (usual))


ngx_conf_enum_t  lines_plain_words[] = {
    { ngx_string("loopback"), 1 },
    { ngx_null_string, 0 }
};


char *
lines_params(ngx_conf_t *cf, lines_directive_t *directive, ngx_uint_t first,
    void *conf)
{
    ngx_uint_t  said;

    said = 0;
    lines_params_preset(directive, conf);

    return lines_params_more(cf, directive, first, conf, &said);
}


void
lines_params_preset(lines_directive_t *directive, void *conf)
{
    lines_param_t  *param;

    for (param = directive->params; param->name.len; param++) {

        if (param_is_number(param)) {
            *(ngx_int_t *) ((u_char *) conf + param->offset) = param->preset;
        }
    }
}


static lines_param_t *
param_find(lines_directive_t *directive, ngx_str_t *arg, ngx_str_t *value)
{
    size_t          len;
    u_char         *p;
    lines_param_t  *param;

    p = ngx_strlchr(arg->data, arg->data + arg->len, '=');

    len = p ? (size_t) (p - arg->data) : arg->len;

    value->data = p ? p + 1 : arg->data + arg->len;
    value->len = arg->data + arg->len - value->data;

    for (param = directive->params; param->name.len; param++) {

        if (param->name.len == len
            && ngx_strncmp(param->name.data, arg->data, len) == 0
            && (param->type == LINES_PARAM_FLAG) == (p == NULL))
        {
            return param;
        }
    }

    return NULL;
}


static ngx_conf_enum_t *
param_choose(ngx_conf_enum_t *words, ngx_str_t *value)
{
    for ( /* void */ ; words->name.len; words++) {

        if (words->name.len == value->len
            && ngx_strncmp(words->name.data, value->data, value->len) == 0)
        {
            return words;
        }
    }

    return NULL;
}


static char *
param_set(ngx_conf_t *cf, lines_directive_t *directive, lines_param_t *param,
    ngx_str_t *value, void *field)
{
    ngx_int_t          n;
    ngx_str_t         *text;
    ngx_array_t      **list;
    ngx_conf_enum_t   *word;

    text = field;

    if (param->flags & LINES_PARAM_MANY) {
        list = field;

        if (*list == NULL) {
            *list = ngx_array_create(cf->pool, 2, sizeof(ngx_str_t));
        }

        text = *list ? ngx_array_push(*list) : NULL;
        if (text == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    switch (param->type) {

    case LINES_PARAM_FLAG:
        *(ngx_uint_t *) field = 1;
        return NGX_CONF_OK;

    case LINES_PARAM_WORD:

        /* nginx ends the arguments of directives with a zero */

        if ((ngx_int_t) value->len > param->max
            || strspn((char *) value->data,
                      "0123456789abcdefghijklmnopqrstuvwxyz"
                      "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_.") < value->len)
        {
            return LINES_PARAM_INVALID;
        }

        /* fall through */

    case LINES_PARAM_STRING:
        *text = *value;
        return NGX_CONF_OK;

    case LINES_PARAM_MSEC:
    case LINES_PARAM_SEC:
    case LINES_PARAM_NUMBER:
        n = (param->type == LINES_PARAM_NUMBER)
            ? ngx_atoi(value->data, value->len)
            : ngx_parse_time(value, param->type == LINES_PARAM_SEC);

        /* NGX_ERROR is below any minimum */

        if (n < param->min || n > param->max) {
            return param_what((param->type == LINES_PARAM_NUMBER)
                              ? directive->number
                              : directive->time,
                              LINES_PARAM_INVALID);
        }

        *(ngx_int_t *) field = n;
        return NGX_CONF_OK;

    case LINES_PARAM_ENUM:
        word = param_choose(param->words, value);

        if (word == NULL) {
            return LINES_PARAM_INVALID;
        }

        *(ngx_uint_t *) field = word->value;
        return NGX_CONF_OK;

    case LINES_PARAM_SECRET:
        return lines_read_secret(cf, directive->name, value, text) == NGX_OK
               ? NGX_CONF_OK
               : NGX_CONF_ERROR;

    default: /* LINES_PARAM_OTHER */
        return param->set(cf, value, text);
    }
}


/* a hint says what would be right, before what is wrong */

static void
param_hint(ngx_str_t *hint, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    hint->len = ngx_vslprintf(hint->data + hint->len,
                              hint->data + LINES_PARAM_HINT, fmt, args)
                - hint->data;
    va_end(args);
}


/* what an unknown parameter may be meant for */

static void
param_hint_names(ngx_str_t *hint, lines_param_t *param)
{
    for ( /* void */ ; param->name.len; param++) {

        if (param->type != LINES_PARAM_REFUSED) {
            param_hint(hint, "%s%V%s", hint->len ? ", " : "none of ",
                       &param->name,
                       (param->type == LINES_PARAM_FLAG) ? "" : "=");
        }
    }

    param_hint(hint, hint->len ? ": " : "");
}


static void
param_hint_words(ngx_str_t *hint, ngx_conf_enum_t *word)
{
    const char  *comma;

    comma = word[1].name.len ? "neither " : "not ";

    for ( /* void */ ; word->name.len; word++) {
        param_hint(hint, "%s\"%V\"", comma, &word->name);
        comma = word[1].name.len && word[2].name.len ? ", " : " nor ";
    }

    param_hint(hint, ": ");
}


/* in the largest unit that nothing is lost by */

static void
param_hint_bound(ngx_str_t *hint, lines_param_t *param, ngx_int_t n)
{
    ngx_uint_t  i;

    static const struct {
        const char  *name;
        ngx_int_t    each;
    } units[] = {
        { "ms", 1000 }, { "s", 60 }, { "m", 60 }, { "h", 24 },
        { "d", LINES_PARAM_ANY }
    };

    if (param->type == LINES_PARAM_NUMBER || n == 0) {
        param_hint(hint, "%i", n);
        return;
    }

    i = (param->type == LINES_PARAM_SEC);

    while (n % units[i].each == 0) {
        n /= units[i++].each;
    }

    param_hint(hint, "%i%s", n, units[i].name);
}


static void
param_hint_valid(ngx_str_t *hint, lines_param_t *param)
{
    if (param->type == LINES_PARAM_ENUM) {
        param_hint_words(hint, param->words);

    } else if (param->type == LINES_PARAM_WORD) {
        param_hint(hint, "not up to %i letters, digits, \"-\", \"_\" and "
                   "\".\": ", param->max);

    } else if (param_is_number(param)) {
        param_hint(hint, (param->type == LINES_PARAM_NUMBER)
                         ? "not a number from "
                         : "not a time from ");
        param_hint_bound(hint, param, param->min);

        if (param->max < NGX_MAX_INT32_VALUE) {
            param_hint(hint, " to ");
            param_hint_bound(hint, param, param->max);
        }

        param_hint(hint, param->max < NGX_MAX_INT32_VALUE ? ": " : " up: ");

    } else if (param->valid) {
        param_hint(hint, "not %s: ", param->valid);
    }
}


static char *
param_error(ngx_conf_t *cf, lines_directive_t *directive, char *what,
    ngx_str_t *arg, ngx_str_t *hint)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%V%s \"%V\" %s \"%s\"", hint,
                       what, arg, param_what(directive->of, "in"),
                       directive->name);

    return NGX_CONF_ERROR;
}


char *
lines_params_more(ngx_conf_t *cf, lines_directive_t *directive,
    ngx_uint_t first, void *conf, ngx_uint_t *said)
{
    char           *what;
    u_char          buf[LINES_PARAM_HINT];
    ngx_str_t      *arg, shown, value, hint;
    ngx_uint_t      i, bit, twice;
    lines_param_t  *param;

    arg = cf->args->elts;

    for (i = first; i < cf->args->nelts; i++) {

        what = LINES_PARAM_INVALID;
        shown = arg[i];
        hint.data = buf;
        hint.len = 0;

        param = param_find(directive, &arg[i], &value);

        if (param == NULL) {
            param_hint_names(&hint, directive->params);

        } else if (param->type == LINES_PARAM_REFUSED) {
            shown.len = param->name.len + 1;
            param_hint(&hint, "%s: ", param->valid);

        } else if (value.len == 0 && param->type != LINES_PARAM_FLAG) {
            what = param_what(directive->empty, "no value in parameter");

        } else {
            bit = (ngx_uint_t) 1 << (param - directive->params);
            twice = (*said & bit) && !(param->flags & LINES_PARAM_MANY);
            *said |= bit;

            /* a function may take its own value for another's */

            what = (twice && param->set)
                   ? NGX_CONF_OK
                   : param_set(cf, directive, param, &value,
                               (u_char *) conf + param->offset);

            if (what == NGX_CONF_ERROR) {
                return what;
            }

            if (what != NGX_CONF_OK) {
                param_hint_valid(&hint, param);

            } else if (twice) {
                what = param_what(directive->twice, "duplicate parameter");
            }
        }

        if (what != NGX_CONF_OK) {
            return param_error(cf, directive, what, &shown, &hint);
        }
    }

    bit = 1;

    for (param = directive->params; param->name.len; param++, bit <<= 1) {

        if ((param->flags & LINES_PARAM_REQUIRED) && !(*said & bit)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%s\" lacks \"%V=\"",
                               directive->name, &param->name);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


char *
lines_params_choose(ngx_conf_t *cf, lines_directive_t *directive,
    char *what, ngx_str_t *arg, ngx_conf_enum_t *words, ngx_uint_t *n)
{
    u_char            buf[LINES_PARAM_HINT];
    ngx_str_t         hint = { 0, buf };
    ngx_conf_enum_t  *word;

    word = param_choose(words, arg);

    if (word) {
        *n = word->value;
        return NGX_CONF_OK;
    }

    param_hint_words(&hint, words);

    return param_error(cf, directive, what, arg, &hint);
}
