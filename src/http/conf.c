
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/conf.h"


ngx_module_t *
lines_find_module(ngx_conf_t *cf, const char *name)
{
    ngx_uint_t      i;
    ngx_module_t  **modules;

    modules = cf->cycle->modules;

    for (i = 0; modules[i]; i++) {
        if (modules[i]->type == NGX_HTTP_MODULE
            && ngx_strcmp(modules[i]->name, name) == 0)
        {
            return modules[i];
        }
    }

    return NULL;
}
