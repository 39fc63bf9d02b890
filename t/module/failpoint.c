
/*
 * "lines_failpoint NAME[:N]" kills the worker by SIGKILL when it passes the
 * named point (http/failpoint.h) for the Nth time (default 1).  Each directive
 * fires once for the whole of nginx: the count is shared by the workers and
 * outlives them, so that the worker that takes over is not killed again.
 *
 * "lines_failpoint /FILE" has both in a file of 128 bytes that nginx maps: what
 * is left, a machine's word, each pass takes one, and who makes it 0 is killed;
 * and the name, "" for any point.  So a test arms it while nginx runs.  What
 * passes is logged as well.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/failpoint.h"


/* what all workers share */

typedef struct {
    ngx_atomic_t  left;
    u_char        name[128 - sizeof(ngx_atomic_t)];
} point_shared_t;


typedef struct point_s  point_t;

struct point_s {
    point_shared_t  *shared;
    ngx_uint_t       told;     /* flag: what passes is logged */
    point_t         *next;
};


/* t/module/allocation.c */
char *lines_allocations(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

static void *create_main_conf(ngx_conf_t *cf);
static char *failpoint(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static ngx_int_t point_map(point_t *point, ngx_str_t *file);


static ngx_command_t  commands[] = {

    { ngx_string("lines_failpoint"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      failpoint,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lines_allocations"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      lines_allocations,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  module_ctx = {
    .create_main_conf = create_main_conf
};


ngx_module_t  ngx_http_lines_failpoint_module = {
    NGX_MODULE_V1,
    .ctx = &module_ctx,
    .commands = commands,
    .type = NGX_HTTP_MODULE
};


/* the last of the points of a configuration */

static void *
create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(point_t *));
}


static char *
failpoint(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    point_t **points = conf;

    u_char     *p;
    point_t    *point;
    ngx_int_t   n;
    ngx_str_t  *value, name;

    point = ngx_pcalloc(cf->pool, sizeof(point_t));
    if (point == NULL) {
        return NGX_CONF_ERROR;
    }

    point->next = *points;
    *points = point;

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
point_map(point_t *point, ngx_str_t *file)
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
    u_char           buf[128 - sizeof(ngx_atomic_t) - 1];
    point_t        **points, *point;
    ngx_str_t        passed;
    point_shared_t  *shared;

    points = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                             ngx_http_lines_failpoint_module);
    passed.data = buf;
    passed.len = (step ? ngx_snprintf(buf, sizeof(buf), "%s.%V", name, step)
                       : ngx_snprintf(buf, sizeof(buf), "%s", name)) - buf;

    for (point = *points; point; point = point->next) {

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
