
/* Documents of an issuer; behind a first byte "!", a set from elsewhere. */

#include <stdlib.h>
#include <string.h>

#include "auth/jwk.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
must(int condition)
{
    if (!condition) {
        abort();
    }
}


static void
fuzz_set(lines_jwk_set_t *set, size_t size)
{
    ngx_str_t  kid;

    if (!lines_jwk_set_valid(set, size)) {
        return;
    }

    ngx_str_set(&kid, "ins_main");
    (void) lines_jwk_find(set, &kid);
    ngx_str_set(&kid, "");
    (void) lines_jwk_find(set, &kid);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char               *buf;
    ngx_int_t             rc;
    ngx_str_t             text, kid;
    lines_jwk_t          *key;
    lines_jwk_set_t      *set, *copy;
    lines_jwk_report_t    report;
    lines_jwk_verifier_t  verifier;

    if (size && data[0] == '!') {
        copy = malloc(size);
        must(copy != NULL);
        memcpy(copy, data + 1, size - 1);
        fuzz_set(copy, size - 1);
        free(copy);
        return 0;
    }

    text.data = (u_char *) data;
    text.len = size;
    buf = malloc(lines_jwk_set_room(size));
    must(buf != NULL);

    rc = lines_jwk_parse(&text, buf, &set, &report);

    must(rc == NGX_OK || (rc == NGX_DECLINED && *report.error != '\0'));

    if (rc == NGX_OK) {

        must(set->nkeys > 0 && set->size <= lines_jwk_set_room(size));
        must(*report.error == '\0');

        copy = malloc(set->size);
        must(copy != NULL);
        memcpy(copy, set, set->size);
        must(lines_jwk_set_valid(copy, copy->size));

        ngx_str_set(&kid, "ins_main");
        key = lines_jwk_find(copy, &kid);

        if (key) {
            must(key->n_len >= LINES_JWK_MIN_BITS / 8
                 && key->n_len <= LINES_JWK_MAX_BITS / 8
                 && !key->ambiguous);

            if (lines_jwk_verifier_create(&verifier, key) == NGX_OK) {
                lines_jwk_verifier_destroy(&verifier);
            }
        }

        free(copy);
    }

    free(buf);

    return 0;
}
