
/*
 * Which addresses a webhook may be told at: such that are somebody's on the
 * Internet, and no others.  Who gives us a name decides what it resolves to,
 * and may mean what only we can reach.
 */

#ifndef _LINES_DELIVER_ADDRESS_H_INCLUDED_
#define _LINES_DELIVER_ADDRESS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Flag: global unicast.  Of an IPv6 address that stands for an IPv4 one
 * (mapped, NAT64 64:ff9b::/96, 6to4) that one counts.  allow: ngx_cidr_t,
 * networks that are allowed all the same, or NULL.
 */
ngx_uint_t lines_address_global(struct sockaddr *sockaddr, ngx_array_t *allow);


#endif /* _LINES_DELIVER_ADDRESS_H_INCLUDED_ */
