
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


ngx_int_t
lines_add_handler(ngx_conf_t *cf, ngx_http_phases phase,
    ngx_http_handler_pt handler, ngx_http_handler_pt before)
{
    ngx_array_t                *handlers;
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    handlers = &cmcf->phases[phase].handlers;

    h = ngx_array_push(handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    for ( /* void */ ; before && h != handlers->elts; h--) {
        *h = h[-1];

        if (*h == before) {
            h--;
            break;
        }
    }

    *h = handler;

    return NGX_OK;
}
