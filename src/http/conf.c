
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/conf.h"


ngx_module_t *
lines_find_module(ngx_conf_t *cf, const char *name)
{
    ngx_module_t  **module;

    for (module = cf->cycle->modules; *module; module++) {
        if ((*module)->type == NGX_HTTP_MODULE
            && ngx_strcmp((*module)->name, name) == 0)
        {
            return *module;
        }
    }

    return NULL;
}
