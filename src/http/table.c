
#include "http/table.h"


/* of the zone, for each tree: a few entries, or one where the zone is large */
#define LINES_TABLE_SHARE  2048


#define table_tree(table, hash)  (&(table)->trees[(hash) & (table)->mask])


lines_table_t *
lines_table_create(ngx_slab_pool_t *shpool)
{
    size_t          size;
    ngx_uint_t      i, n;
    lines_table_t  *table;

    size = (shpool->end - shpool->start) / LINES_TABLE_SHARE;

    for (n = 1; 2 * n <= size; n *= 2) { /* void */ }

    table = ngx_slab_alloc(shpool, sizeof(lines_table_t)
                                   + n * sizeof(ngx_rbtree_t));
    if (table == NULL) {
        return NULL;
    }

    table->mask = n - 1;

    /* one sentinel does for all: nothing is kept in it */

    for (i = 0; i < n; i++) {
        ngx_rbtree_init(&table->trees[i], &table->sentinel,
                        ngx_str_rbtree_insert_value);
    }

    return table;
}


ngx_str_node_t *
lines_table_find(lines_table_t *table, ngx_str_t *name, uint32_t hash)
{
    return ngx_str_rbtree_lookup(table_tree(table, hash), name, hash);
}


void
lines_table_add(lines_table_t *table, ngx_str_node_t *node)
{
    ngx_rbtree_insert(table_tree(table, node->node.key), &node->node);
}


void
lines_table_remove(lines_table_t *table, ngx_str_node_t *node)
{
    ngx_rbtree_delete(table_tree(table, node->node.key), &node->node);
}
