
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "auth/jwks.h"
#include "observe/metrics_auth.h"


static void metrics_clerk(lines_metrics_out_t *out, lines_main_conf_t *lmcf);


void
lines_metrics_auth(lines_metrics_out_t *out, lines_main_conf_t *lmcf)
{
    u_char      buffer[LINES_METRICS_LABELS];
    ngx_str_t   labels;
    ngx_uint_t  i;

    labels.data = buffer;

    lines_metrics_family(out, "lines_auth_attempts", "counter",
                         "Authentications by method and outcome.");

    for (i = 0; i < out->area->registries[LINES_METRICS_AUTH].count; i++) {
        lines_metrics_labels(out, LINES_METRICS_AUTH, i, "method", "outcome",
                             &labels);

        lines_metrics_print(out, "lines_auth_attempts_total{%V} %uA\n",
                            &labels, lines_metrics_of(out, auth[i]));
    }

    lines_metrics_family(out, "lines_key_cache_lookups", "counter",
                         "API keys looked up in the cache: hit, "
                         "miss (Redis was asked), stale (used, as "
                         "Redis could not be asked).");

    lines_metrics_print(out,
                       "lines_key_cache_lookups_total{result=\"hit\"} %uA\n"
                       "lines_key_cache_lookups_total{result=\"miss\"} %uA\n"
                       "lines_key_cache_lookups_total{result=\"stale\"} %uA\n",
                       lines_metrics_of(out, key_cache_hits),
                       lines_metrics_of(out, key_cache_misses),
                       lines_metrics_of(out, key_cache_stale));

    if (lmcf->jwks) {
        metrics_clerk(out, lmcf);
    }
}


static void
metrics_clerk(lines_metrics_out_t *out, lines_main_conf_t *lmcf)
{
    lines_jwks_status_t  status;

    lines_metrics_family(out, "lines_token_cache_lookups", "counter",
                         "Session tokens looked up in the cache.");

    lines_metrics_print(out,
                      "lines_token_cache_lookups_total{result=\"hit\"} %uA\n"
                      "lines_token_cache_lookups_total{result=\"miss\"} %uA\n",
                      lines_metrics_of(out, token_cache_hits),
                      lines_metrics_of(out, token_cache_misses));

    lines_metrics_family(out, "lines_jwks_fetches", "counter",
                         "Fetches of issuers' keys by outcome.");

    lines_metrics_print(out,
                        "lines_jwks_fetches_total{outcome=\"ok\"} %uA\n"
                        "lines_jwks_fetches_total{outcome=\"invalid\"} %uA\n"
                        "lines_jwks_fetches_total{outcome=\"error\"} %uA\n",
                        lines_metrics_of(out,
                                         jwks_fetches[LINES_METRICS_FETCH_OK]),
                        lines_metrics_of(out,
                                    jwks_fetches[LINES_METRICS_FETCH_INVALID]),
                        lines_metrics_of(out,
                                     jwks_fetches[LINES_METRICS_FETCH_ERROR]));

    lines_jwks_status(lmcf, &status);

    lines_metrics_single(out, "lines_jwks_issuers_without_keys", "gauge",
                         "Issuers whose keys were never fetched.",
                         status.missing);

    if (status.known) {
        lines_metrics_single(out, "lines_jwks_age_seconds", "gauge",
                             "Age of the oldest issuer's keys.",
                             status.age / 1000);
    }
}
