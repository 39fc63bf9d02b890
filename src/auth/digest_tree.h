
/*
 * Entries found by a SHA-256, for the caches of lines_zone.  A digest needs
 * no hash: its first word is one, and nginx' tree of strings does the rest.
 *
 * An entry begins with its ngx_str_node_t.  Memory, bounds and the lock are
 * the cache's: nothing is allocated, freed or locked here.
 */

#ifndef _LINES_AUTH_DIGEST_TREE_H_INCLUDED_
#define _LINES_AUTH_DIGEST_TREE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


void lines_digest_tree_init(ngx_rbtree_t *tree, ngx_rbtree_node_t *sentinel);

/*
 * The node is not copied, nor is the digest, of LINES_SHA256_LEN bytes:
 * both stay where they are, and as they are, until ngx_rbtree_delete().
 */

void lines_digest_tree_insert(ngx_rbtree_t *tree, ngx_str_node_t *node,
    u_char *digest);

/*
 * The entry's node, or NULL.  The time that this takes tells of digests only,
 * never of what they are made of: a secret is compared elsewhere.
 */

ngx_str_node_t *lines_digest_tree_find(ngx_rbtree_t *tree,
    const u_char *digest);


#endif /* _LINES_AUTH_DIGEST_TREE_H_INCLUDED_ */
