
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/conf.h"
#include "http/failpoint.h"


#if (LINES_FAILPOINTS)


/* what all workers share, see failpoint.h */

typedef struct {
    ngx_atomic_t  left;
    u_char        name[128 - sizeof(ngx_atomic_t)];
} point_shared_t;


/* of the main configuration */

struct lines_failpoint_s {
    point_shared_t     *shared;
    ngx_uint_t          told;     /* flag: what passes is logged */
    lines_failpoint_t  *next;
};


static ngx_int_t point_map(lines_failpoint_t *point, ngx_str_t *file);


char *
lines_failpoint(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_main_conf_t *lmcf = conf;

    u_char             *p;
    ngx_int_t           n;
    ngx_str_t          *value, name;
    lines_failpoint_t  *point;

    point = ngx_pcalloc(cf->pool, sizeof(lines_failpoint_t));
    if (point == NULL) {
        return NGX_CONF_ERROR;
    }

    point->next = lmcf->failpoints;
    lmcf->failpoints = point;

    value = cf->args->elts;
    name = value[1];
    n = 1;

    if (name.len && name.data[0] == '/') {
        return point_map(point, &name) == NGX_OK ? NGX_CONF_OK
                                                 : "cannot map the file";
    }

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

    if (point_map(point, NULL) != NGX_OK) {
        return "has no memory";
    }

    (void) ngx_snprintf(point->shared->name, sizeof(point->shared->name),
                        "%V%Z", &name);
    point->shared->left = n;

    return NGX_CONF_OK;
}


static ngx_int_t
point_map(lines_failpoint_t *point, ngx_str_t *file)
{
    ngx_fd_t  fd;

    fd = NGX_INVALID_FILE;

    if (file) {
        fd = ngx_open_file(file->data, NGX_FILE_RDWR, NGX_FILE_OPEN, 0);
        if (fd == NGX_INVALID_FILE) {
            return NGX_ERROR;
        }
    }

    point->shared = mmap(NULL, sizeof(point_shared_t), PROT_READ|PROT_WRITE,
                         file ? MAP_SHARED : MAP_ANON|MAP_SHARED, fd, 0);
    point->told = file != NULL;

    if (file) {
        (void) ngx_close_file(fd);
    }

    return point->shared == MAP_FAILED ? NGX_ERROR : NGX_OK;
}


void
lines_failpoint_pass(const char *name, ngx_str_t *step)
{
    u_char              buf[128 - sizeof(ngx_atomic_t) - 1];
    ngx_str_t           passed;
    point_shared_t     *shared;
    lines_main_conf_t  *lmcf;
    lines_failpoint_t  *point;

    lmcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                               ngx_http_lines_module);
    passed.data = buf;
    passed.len = (step ? ngx_snprintf(buf, sizeof(buf), "%s.%V", name, step)
                       : ngx_snprintf(buf, sizeof(buf), "%s", name)) - buf;

    for (point = lmcf->failpoints; point; point = point->next) {

        if (point->told) {
            ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                          "lines: passes \"%V\"", &passed);
        }

        shared = point->shared;

        if ((shared->name[0] == '\0'
             || (ngx_strncmp(shared->name, buf, passed.len) == 0
                 && shared->name[passed.len] == '\0'))
            && ngx_atomic_fetch_add(&shared->left, -1) == 1)
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
