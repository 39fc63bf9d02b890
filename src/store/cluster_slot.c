
/*
 * CRC16 of a key, or of what is in its braces.
 */

#include "store/cluster_slot.h"


static uint32_t crc16(uint32_t crc, u_char ch);


/* XMODEM: x^16 + x^12 + x^5 + 1 */

static uint32_t
crc16(uint32_t crc, u_char ch)
{
    uint32_t  x;

    x = (crc >> 8 ^ ch) & 0xff;
    x ^= x >> 4;

    return (crc << 8 ^ x << 12 ^ x << 5 ^ x) & 0xffff;
}


/* the tag is between the first brace and the next one that closes, if there is
   anything */

void
lines_cluster_key_add(lines_cluster_key_t *key, ngx_str_t *part)
{
    u_char  *p, *last;

    if (part->len == 0) {
        return;
    }

    last = part->data + part->len;

    for (p = part->data; p < last; p++) {
        key->all = crc16(key->all, *p);

        if (!key->opened) {
            key->opened = (*p == '{');

        } else if (!key->closed) {

            if (*p == '}') {
                key->closed = 1;

            } else {
                key->tag = crc16(key->tag, *p);
                key->filled = 1;
            }
        }
    }
}


ngx_int_t
lines_cluster_key_slot(lines_cluster_key_t *key)
{
    return (key->closed && key->filled ? key->tag : key->all)
           % LINES_CLUSTER_SLOTS;
}
