
#include "http/text.h"
#include "http/zone.h"


#define LINES_ZONE_SIZE  (16 * 1024 * 1024)


/* what each area starts with; a room that keeps nothing has no entry */

static lines_zone_init_pt  zone_inits[LINES_ZONE_AREAS];


void
lines_zone_register(lines_zone_area_e area, lines_zone_init_pt init)
{
    zone_inits[area] = init;
}


static ngx_int_t
zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    lines_main_conf_t  *olmcf = data;

    ngx_uint_t          i;
    ngx_slab_pool_t    *shpool;
    lines_zone_t       *zone;
    lines_main_conf_t  *lmcf;

    lmcf = shm_zone->data;
    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    zone = olmcf ? olmcf->zone : shm_zone->shm.exists ? shpool->data : NULL;

    if (zone && zone->version != LINES_ZONE_VERSION) {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "\"lines_zone\" \"%V\" has the layout of another "
                      "version of the module: restart, or rename it",
                      &shm_zone->shm.name);
        return NGX_ERROR;
    }

    if (zone == NULL) {

        zone = ngx_slab_calloc(shpool, sizeof(lines_zone_t));
        if (zone == NULL) {
            return NGX_ERROR;
        }

        zone->version = LINES_ZONE_VERSION;
        shpool->data = zone;
        shpool->log_nomem = 0;

        for (i = 0; i < LINES_ZONE_AREAS; i++) {

            if (zone_inits[i]) {
                zone->areas[i] = zone_inits[i](shpool);

                if (zone->areas[i] == NULL) {
                    ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                                  "\"lines_zone\" \"%V\" is too small",
                                  &shm_zone->shm.name);
                    return NGX_ERROR;
                }
            }
        }
    }

    lmcf->zone = zone;
    lmcf->configured = ++zone->configured;

    return NGX_OK;
}


static ngx_int_t
zone_add(ngx_conf_t *cf, lines_main_conf_t *lmcf, ngx_str_t *name, size_t size)
{
    lmcf->shm_zone = ngx_shared_memory_add(cf, name, size,
                                           &ngx_http_lines_module);
    if (lmcf->shm_zone == NULL) {
        return NGX_ERROR;
    }

    lmcf->shm_zone->init = zone_init;
    lmcf->shm_zone->data = lmcf;

    return NGX_OK;
}


char *
lines_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    lines_main_conf_t *lmcf = conf;

    ssize_t     size;
    ngx_str_t  *value, name, s;

    if (lmcf->shm_zone) {
        return "is duplicate";
    }

    value = cf->args->elts;

    s = value[1];
    name = lines_split(&s, ':');

    if (name.len == 0 || name.len == value[1].len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"lines_zone\", it must "
                           "be NAME:SIZE", &value[1]);
        return NGX_CONF_ERROR;
    }

    size = ngx_parse_size(&s);

    if (size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid size \"%V\" in \"lines_zone\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (size < 1024 * 1024) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" in \"lines_zone\" is too small, "
                           "it needs 1m at least", &value[1]);
        return NGX_CONF_ERROR;
    }

    return zone_add(cf, lmcf, &name, size) == NGX_OK ? NGX_CONF_OK
                                                     : NGX_CONF_ERROR;
}


ngx_int_t
lines_zone_default(ngx_conf_t *cf, lines_main_conf_t *lmcf)
{
    ngx_str_t  name = ngx_string("lines");

    return lmcf->shm_zone ? NGX_OK
                          : zone_add(cf, lmcf, &name, LINES_ZONE_SIZE);
}


ngx_msec_t
lines_zone_since(ngx_msec_t then)
{
    ngx_msec_int_t  elapsed;

    elapsed = (ngx_msec_int_t) (ngx_current_msec - then);

    return (ngx_msec_t) ngx_max(elapsed, 0);
}
