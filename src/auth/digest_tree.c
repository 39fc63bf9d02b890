
#include "auth/digest_tree.h"
#include "http/digest.h"


static uint32_t digest_tree_hash(const u_char *digest);


void
lines_digest_tree_init(ngx_rbtree_t *tree, ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_init(tree, sentinel, ngx_str_rbtree_insert_value);
}


void
lines_digest_tree_insert(ngx_rbtree_t *tree, ngx_str_node_t *node,
    u_char *digest)
{
    node->node.key = digest_tree_hash(digest);
    node->str.len = LINES_SHA256_LEN;
    node->str.data = digest;

    ngx_rbtree_insert(tree, &node->node);
}


ngx_str_node_t *
lines_digest_tree_find(ngx_rbtree_t *tree, const u_char *digest)
{
    ngx_str_t  name;

    name.len = LINES_SHA256_LEN;
    name.data = (u_char *) digest;

    return ngx_str_rbtree_lookup(tree, &name, digest_tree_hash(digest));
}


static uint32_t
digest_tree_hash(const u_char *digest)
{
    uint32_t  hash;

    ngx_memcpy(&hash, digest, sizeof(uint32_t));

    return hash;
}
