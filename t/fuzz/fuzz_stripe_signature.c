
/* The header up to the first line feed, then the body. */

#include <stdlib.h>
#include <string.h>
#include <openssl/hmac.h>

#include "webhook/stripe_signature.h"


#define NOW     1700000000
#define SECRET  "whsec_test_4bQ9kzXw1m7RfV2nC8sLhT3yJ6pD5aGe"


static lines_stripe_secrets_t  secrets;


int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
must(int condition)
{
    if (!condition) {
        abort();
    }
}


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    ngx_str_t  values[2];

    ngx_str_set(&values[0], SECRET);
    ngx_str_set(&values[1], "whsec_other");
    must(lines_stripe_secrets_create(&secrets, values, 2) == NGX_OK);

    return 0;
}


/* what is accepted has the right digits somewhere, computed another way */

static int
plausible(ngx_str_t *header, ngx_str_t *time, const uint8_t *body, size_t len)
{
    int        found;
    u_char    *text, raw[32], hex[64];
    size_t     i;
    unsigned   n;

    text = malloc(time->len + 1 + len);
    must(text != NULL);
    memcpy(text, time->data, time->len);
    text[time->len] = '.';
    memcpy(text + time->len + 1, body, len);

    n = sizeof(raw);
    HMAC(EVP_sha256(), SECRET, sizeof(SECRET) - 1, text, time->len + 1 + len,
         raw, &n);
    free(text);

    ngx_hex_dump(hex, raw, sizeof(raw));
    found = 0;

    for (i = 0; i + sizeof(hex) <= header->len; i++) {
        found |= memcmp(header->data + i, hex, sizeof(hex)) == 0;
    }

    return found;
}


/* by any time that the header may mean */

static int
plausible_at_all(ngx_str_t *header, const uint8_t *body, size_t len)
{
    int        found;
    size_t     i;
    ngx_str_t  time;

    found = 0;

    for (i = 0; i + 2 < header->len && !found; i++) {

        if (memcmp(header->data + i, "t=", 2) != 0) {
            continue;
        }

        time.data = header->data + i + 2;
        time.len = 0;

        while (i + 2 + time.len < header->len
               && time.data[time.len] >= '0'
               && time.data[time.len] <= '9')
        {
            time.len++;
        }

        found = plausible(header, &time, body, len);
    }

    return found;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t                  rest;
    ngx_str_t               header, bytes;
    const uint8_t          *body;
    lines_stripe_reason_e   reason;

    body = memchr(data, '\n', size);

    if (body == NULL) {
        body = data + size;
        rest = 0;

    } else {
        body++;
        rest = size - (size_t) (body - data);
    }

    header.len = size - rest - (rest || (size && body[-1] == '\n'));
    header.data = malloc(header.len + !header.len);
    must(header.data != NULL);
    memcpy(header.data, data, header.len);

    bytes.data = (u_char *) body;
    bytes.len = rest;

    reason = lines_stripe_signature(&secrets, &header, &bytes, NOW, 300);

    must(reason != LINES_STRIPE_FAILED);

    /* the header by itself says the same, as far as it goes */

    must(lines_stripe_signature_header(&header, NOW, 300)
         == (reason > LINES_STRIPE_IN_FUTURE ? LINES_STRIPE_ACCEPTED : reason));

    if (reason == LINES_STRIPE_ACCEPTED) {
        must(plausible_at_all(&header, body, rest));
    }

    free(header.data);

    return 0;
}
