
/*
 * Parameters of directives, name=value or a bare name: a directive has a table
 * of them.  Whatever is wrong with one is said in one wording:
 *
 *     not a time from 1s to 1d: invalid parameter "preview_ttl=2d"
 *     in "lines_agent_plan" in nginx.conf:12
 *
 * A value is shown as it was written: secrets stand in files.
 */

#ifndef _LINES_DIRECTIVE_PARAMS_H_INCLUDED_
#define _LINES_DIRECTIVE_PARAMS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* no upper bound */
#define LINES_PARAM_ANY       NGX_MAX_INT_T_VALUE

#define LINES_PARAM_REQUIRED  0x1
#define LINES_PARAM_MANY      0x2    /* no numbers: the field is an
                                        ngx_array_t *, NULL without one */

#define LINES_PARAM_INVALID   "invalid parameter"


typedef enum {
    LINES_PARAM_FLAG,         /* ngx_uint_t: 1 */
    LINES_PARAM_STRING,       /* ngx_str_t, never empty */
    LINES_PARAM_WORD,         /* the same, of [A-Za-z0-9_.-], up to max */
    LINES_PARAM_MSEC,         /* ngx_msec_t, and as large: */
    LINES_PARAM_SEC,          /* ngx_int_t, ngx_uint_t */
    LINES_PARAM_NUMBER,       /* the same */
    LINES_PARAM_ENUM,         /* ngx_uint_t: one of words */
    LINES_PARAM_SECRET,       /* ngx_str_t: what the file of that name holds,
                                 see directive/secret.h */
    LINES_PARAM_REFUSED,      /* a secret in its own place: not shown */
    LINES_PARAM_OTHER         /* what set() makes of it */
} lines_param_type_e;


/*
 * NGX_CONF_OK; NGX_CONF_ERROR having logged; or what the parameter is, instead
 * of LINES_PARAM_INVALID.  value is never empty.
 */

typedef char *(*lines_param_pt)(ngx_conf_t *cf, ngx_str_t *value, void *field);


typedef struct {
    ngx_str_t            name;
    lines_param_type_e   type;
    ngx_uint_t           flags;
    size_t               offset;   /* of the field */
    ngx_int_t            min;      /* never negative */
    ngx_int_t            max;
    ngx_int_t            preset;   /* of times and numbers */
    ngx_conf_enum_t     *words;
    lines_param_pt       set;
    const char          *valid;    /* OTHER: what is; REFUSED: what to do */
} lines_param_t;


/* words: of the errors of this directive, where others have others */

typedef struct {
    const char          *name;
    lines_param_t       *params;
    const char          *of;       /* NULL: in */
    char                *empty;
    char                *twice;
    char                *time;
    char                *number;
} lines_directive_t;


#define lines_param(kind, text, conf, field, ...)                            \
    { .name = ngx_string(text), .type = LINES_PARAM_##kind,                  \
      .offset = offsetof(conf, field), __VA_ARGS__ }

#define lines_param_flag(text, conf, field)                                  \
    lines_param(FLAG, text, conf, field, .flags = 0)

#define lines_param_string(text, conf, field, how)                           \
    lines_param(STRING, text, conf, field, .flags = how)

#define lines_param_word(text, conf, field, most, how)                       \
    lines_param(WORD, text, conf, field, .flags = how, .max = most)

#define lines_param_range(kind, text, conf, field, least, most, value)       \
    lines_param(kind, text, conf, field, .min = least, .max = most,          \
                .preset = value)

/* text, conf, field, least, most, preset */
#define lines_param_msec(...)    lines_param_range(MSEC, __VA_ARGS__)
#define lines_param_sec(...)     lines_param_range(SEC, __VA_ARGS__)
#define lines_param_number(...)  lines_param_range(NUMBER, __VA_ARGS__)

#define lines_param_enum(text, conf, field, list)                            \
    lines_param(ENUM, text, conf, field, .words = list)

#define lines_param_secret(text, conf, field, how)                           \
    lines_param(SECRET, text, conf, field, .flags = how)

#define lines_param_other(text, where, handler, what)                        \
    { .name = ngx_string(text), .type = LINES_PARAM_OTHER, .offset = where,  \
      .set = handler, .valid = what }

/* plain=loopback, a flag: calls may go to this machine without TLS */
#define lines_param_plain(conf, field)                                       \
    lines_param_enum("plain", conf, field, lines_plain_words)

#define lines_param_end  { .name = ngx_null_string }


extern ngx_conf_enum_t  lines_plain_words[];


/*
 * Reads the arguments of a directive from the one numbered first on into the
 * fields of conf, which hold zeroes or presets.  NGX_CONF_ERROR having logged.
 */

char *lines_params(ngx_conf_t *cf, lines_directive_t *directive,
    ngx_uint_t first, void *conf);

/*
 * The two parts of it, for a directive that goes on in another: said is 0
 * before the first.
 */

void lines_params_preset(lines_directive_t *directive, void *conf);
char *lines_params_more(ngx_conf_t *cf, lines_directive_t *directive,
    ngx_uint_t first, void *conf, ngx_uint_t *said);

/*
 * An argument that is one of words: *n is its value.  what: "invalid value".
 */

char *lines_params_choose(ngx_conf_t *cf, lines_directive_t *directive,
    char *what, ngx_str_t *arg, ngx_conf_enum_t *words, ngx_uint_t *n);


#endif /* _LINES_DIRECTIVE_PARAMS_H_INCLUDED_ */
