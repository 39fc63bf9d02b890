
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/conf.h"
#include "http/failpoint.h"


#if (LINES_FAILPOINTS)


/* of the main configuration; what was passed is in memory that all share */

struct lines_failpoint_s {
    ngx_str_t           name;
    ngx_atomic_uint_t   n;        /* the pass that kills */
    ngx_atomic_t       *passes;
    lines_failpoint_t  *next;
};


char *
lines_failpoint(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_main_conf_t *lmcf = conf;

    u_char             *p;
    ngx_int_t           n;
    ngx_str_t          *value, name;
    lines_failpoint_t  *point;

    value = cf->args->elts;
    name = value[1];
    n = 1;

    /* the last colon: a step that is undone has one in its name */

    p = name.data + name.len;

    while (p > name.data && p[-1] >= '0' && p[-1] <= '9') {
        p--;
    }

    if (p > name.data && p[-1] == ':') {
        n = ngx_atoi(p, name.data + name.len - p);
        name.len = p - 1 - name.data;
    }

    if (name.len == 0 || n <= 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" of \"lines_failpoint\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    point = ngx_palloc(cf->pool, sizeof(lines_failpoint_t));
    if (point == NULL) {
        return NGX_CONF_ERROR;
    }

    point->name = name;
    point->n = n;
    point->next = lmcf->failpoints;
    point->passes = mmap(NULL, sizeof(ngx_atomic_t), PROT_READ|PROT_WRITE,
                         MAP_ANON|MAP_SHARED, -1, 0);

    if (point->passes == MAP_FAILED) {
        return "has no memory";
    }

    lmcf->failpoints = point;

    return NGX_CONF_OK;
}


void
lines_failpoint_pass(const char *name, ngx_str_t *step)
{
    u_char              buf[128];
    ngx_str_t           passed;
    lines_main_conf_t  *lmcf;
    lines_failpoint_t  *point;

    lmcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                               ngx_http_lines_module);
    passed.data = buf;
    passed.len = (step ? ngx_snprintf(buf, sizeof(buf), "%s.%V", name, step)
                       : ngx_snprintf(buf, sizeof(buf), "%s", name)) - buf;

    for (point = lmcf->failpoints; point; point = point->next) {

        if (point->name.len == passed.len
            && ngx_memcmp(point->name.data, buf, passed.len) == 0
            && ngx_atomic_fetch_add(point->passes, 1) + 1 == point->n)
        {
            ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                          "lines: failpoint \"%V\"", &passed);

            (void) kill(ngx_pid, SIGKILL);
        }
    }
}


#else

/* a translation unit must not be empty */
typedef int  lines_failpoint_none_t;

#endif
