
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/failpoint.h"


#if (LINES_FAILPOINTS)


#define LINES_FAILPOINTS_MAX  64


typedef struct {
    ngx_str_t           name;
    ngx_atomic_uint_t   n;          /* the pass that kills */
} lines_failpoint_t;


static void failpoint_free(void *data);


/* of the configuration that was read last; the counts are shared */

static lines_failpoint_t  failpoints[LINES_FAILPOINTS_MAX];
static ngx_uint_t   nfailpoints;
static ngx_pool_t  *failpoint_pool;
static ngx_shm_t    failpoint_shm;


char *
lines_failpoint(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    u_char              *p;
    ngx_int_t            n;
    ngx_str_t           *value, name;
    ngx_shm_t           *shm;
    ngx_pool_cleanup_t  *cln;
    lines_failpoint_t   *point;

    if (failpoint_pool != cf->pool) {

        cln = ngx_pool_cleanup_add(cf->pool, sizeof(ngx_shm_t));
        if (cln == NULL) {
            return NGX_CONF_ERROR;
        }

        shm = cln->data;

        ngx_memzero(shm, sizeof(ngx_shm_t));

        shm->size = LINES_FAILPOINTS_MAX * sizeof(ngx_atomic_t);
        ngx_str_set(&shm->name, "lines_failpoint");
        shm->log = cf->log;

        if (ngx_shm_alloc(shm) != NGX_OK) {
            return NGX_CONF_ERROR;
        }

        cln->handler = failpoint_free;

        failpoint_shm = *shm;
        failpoint_pool = cf->pool;
        nfailpoints = 0;
    }

    if (nfailpoints == LINES_FAILPOINTS_MAX) {
        return "has too many points";
    }

    value = cf->args->elts;
    name = value[1];
    n = 1;

    /* the last colon: a step that is undone has one in its name */

    for (p = name.data + name.len; p > name.data; p--) {
        if (p[-1] < '0' || p[-1] > '9') {
            break;
        }
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

    point = &failpoints[nfailpoints++];

    point->name = name;
    point->n = n;

    return NGX_CONF_OK;
}


static void
failpoint_free(void *data)
{
    ngx_shm_t *shm = data;

    if (failpoint_shm.addr == shm->addr) {
        nfailpoints = 0;
        failpoint_pool = NULL;
    }

    ngx_shm_free(shm);
}


void
lines_failpoint_pass(const char *name, ngx_str_t *step)
{
    u_char               buf[128];
    ngx_str_t            point;
    ngx_uint_t           i;
    ngx_atomic_t        *passes;

    passes = (ngx_atomic_t *) failpoint_shm.addr;

    point.data = buf;
    point.len = (step ? ngx_snprintf(buf, sizeof(buf), "%s.%V", name, step)
                      : ngx_snprintf(buf, sizeof(buf), "%s", name)) - buf;

    for (i = 0; i < nfailpoints; i++) {

        if (failpoints[i].name.len != point.len
            || ngx_memcmp(failpoints[i].name.data, buf, point.len) != 0
            || ngx_atomic_fetch_add(&passes[i], 1) + 1 != failpoints[i].n)
        {
            continue;
        }

        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "lines: failpoint \"%V\"", &point);

        (void) kill(ngx_pid, SIGKILL);
    }
}


#else

/* a translation unit must not be empty */
typedef int  lines_failpoint_none_t;

#endif
