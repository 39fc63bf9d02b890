
#include "tap.h"
#include "account/preview_token.h"


#define LEN  LINES_PREVIEW_TOKEN_LEN


int
main(void)
{
    u_char      one[LEN], two[LEN], changed[LEN + 1], hex[64];
    ngx_str_t   token, account, other;
    unsigned    i, bit, accepted, foreign;

    account = str("acme");
    other = str("emca");

    ok(lines_preview_token(&account, one) == NGX_OK, "a token");
    ok(lines_preview_token(&account, two) == NGX_OK, "another");
    ok(memcmp(one, two, LEN) != 0, "which differs");
    ok(memcmp(one, "lpv_", 4) == 0, "its prefix");

    token = exact(one, LEN);
    ok(lines_preview_token_check(&account, &token) == NGX_OK,
       "it is the account's");
    ok(lines_preview_token_check(&other, &token) == NGX_ABORT,
       "and not another's");
    free(token.data);

    accepted = foreign = 0;

    for (i = 0; i < LEN; i++) {
        for (bit = 1; bit < 256; bit <<= 1) {
            memcpy(changed, one, LEN);
            changed[i] ^= bit;
            token = exact(changed, LEN);

            switch (lines_preview_token_check(&account, &token)) {
            case NGX_OK:
                accepted++;
                break;
            case NGX_ABORT:
                foreign++;
                break;
            }

            free(token.data);
        }
    }

    ok(accepted == 0, "no token with one bit changed passes (%u do)",
       accepted);
    ok(foreign == 0, "nor is it taken for a stranger's (%u are)", foreign);

    accepted = 0;

    for (i = 0; i <= LEN + 1; i++) {
        memset(changed, 'A', LEN + 1);
        memcpy(changed, one, i < LEN ? i : LEN);
        token = exact(changed, i);
        accepted += lines_preview_token_check(&account, &token) == NGX_OK;
        free(token.data);
    }

    ok(accepted == 1, "of its beginnings only the whole passes");

    token = str("lpv_a1B2a1B2a1B2a1B2a1B2a1B2a1B2a1B2a1B2a1B2a1B2a1B2");
    ok(token.len == LEN
       && lines_preview_token_check(&account, &token) == NGX_DECLINED,
       "what was never issued has no checksum");

    token = str("");
    ok(lines_preview_token_check(&account, &token) == NGX_DECLINED,
       "nothing is no token");

    token = str("abc");
    ok(lines_preview_token_hash(&token, hex) == NGX_OK, "a hash");
    token.data = hex;
    token.len = 64;
    is_str(&token,
           "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
           "is SHA-256 in hex");

    return done_testing();
}
