
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_lines_metrics_auth.h"
#include "ngx_http_lines_jwks.h"


static void ngx_http_lines_metrics_clerk(ngx_http_lines_metrics_out_t *out,
    ngx_http_lines_main_conf_t *lmcf);


void
ngx_http_lines_metrics_auth(ngx_http_lines_metrics_out_t *out,
    ngx_http_lines_main_conf_t *lmcf)
{
    u_char      buffer[NGX_HTTP_LINES_METRICS_LABELS];
    ngx_str_t   labels;
    ngx_uint_t  i;

    labels.data = buffer;

    ngx_http_lines_metrics_family(out, "lines_auth_attempts", "counter",
                                  "Authentications by method and outcome.");

    for (i = 0;
         i < out->area->registries[NGX_HTTP_LINES_METRICS_AUTH].count;
         i++)
    {
        ngx_http_lines_metrics_labels(out, NGX_HTTP_LINES_METRICS_AUTH, i,
                                      "method", "outcome", &labels);

        ngx_http_lines_metrics_print(out,
                                     "lines_auth_attempts_total{%V} %uA\n",
                                     &labels,
                                     ngx_http_lines_metrics_of(out, auth[i]));
    }

    ngx_http_lines_metrics_family(out, "lines_key_cache_lookups", "counter",
                                  "API keys looked up in the cache: hit, "
                                  "miss (Redis was asked), stale (used, as "
                                  "Redis could not be asked).");

    ngx_http_lines_metrics_print(out,
        "lines_key_cache_lookups_total{result=\"hit\"} %uA\n"
        "lines_key_cache_lookups_total{result=\"miss\"} %uA\n"
        "lines_key_cache_lookups_total{result=\"stale\"} %uA\n",
        ngx_http_lines_metrics_of(out, key_cache_hits),
        ngx_http_lines_metrics_of(out, key_cache_misses),
        ngx_http_lines_metrics_of(out, key_cache_stale));

    if (lmcf->jwks) {
        ngx_http_lines_metrics_clerk(out, lmcf);
    }
}


static void
ngx_http_lines_metrics_clerk(ngx_http_lines_metrics_out_t *out,
    ngx_http_lines_main_conf_t *lmcf)
{
    ngx_http_lines_jwks_status_t  status;

    ngx_http_lines_metrics_family(out, "lines_token_cache_lookups", "counter",
                                  "Session tokens looked up in the cache.");

    ngx_http_lines_metrics_print(out,
        "lines_token_cache_lookups_total{result=\"hit\"} %uA\n"
        "lines_token_cache_lookups_total{result=\"miss\"} %uA\n",
        ngx_http_lines_metrics_of(out, token_cache_hits),
        ngx_http_lines_metrics_of(out, token_cache_misses));

    ngx_http_lines_metrics_family(out, "lines_jwks_fetches", "counter",
                                  "Fetches of issuers' keys by outcome.");

    ngx_http_lines_metrics_print(out,
        "lines_jwks_fetches_total{outcome=\"ok\"} %uA\n"
        "lines_jwks_fetches_total{outcome=\"invalid\"} %uA\n"
        "lines_jwks_fetches_total{outcome=\"error\"} %uA\n",
        ngx_http_lines_metrics_of(out,
                          jwks_fetches[NGX_HTTP_LINES_METRICS_FETCH_OK]),
        ngx_http_lines_metrics_of(out,
                          jwks_fetches[NGX_HTTP_LINES_METRICS_FETCH_INVALID]),
        ngx_http_lines_metrics_of(out,
                          jwks_fetches[NGX_HTTP_LINES_METRICS_FETCH_ERROR]));

    ngx_http_lines_jwks_status(lmcf, &status);

    ngx_http_lines_metrics_single(out, "lines_jwks_issuers_without_keys",
                                  "gauge", "Issuers whose keys were never "
                                  "fetched.", status.missing);

    if (status.known) {
        ngx_http_lines_metrics_single(out, "lines_jwks_age_seconds", "gauge",
                                      "Age of the oldest issuer's keys.",
                                      status.age / 1000);
    }
}
