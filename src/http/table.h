
/*
 * Names in lines_zone: many small trees for a large one.  Of tens of thousands
 * of entries that are asked for in no order, each level of a tree is memory
 * that no cache of the processor has.  Trees, not lists: who can choose names
 * can have any number of them share a hash.
 */

#ifndef _LINES_HTTP_TABLE_H_INCLUDED_
#define _LINES_HTTP_TABLE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct {
    ngx_uint_t          mask;
    ngx_rbtree_node_t   sentinel;
    ngx_rbtree_t        trees[];
} lines_table_t;


/* as large as fits the zone; NULL: no memory */
lines_table_t *lines_table_create(ngx_slab_pool_t *shpool);

/* the entry of a name, or NULL.  All of these while the zone is locked. */
ngx_str_node_t *lines_table_find(lines_table_t *table, ngx_str_t *name,
    uint32_t hash);

/* one whose name is not there; its key is the hash */
void lines_table_add(lines_table_t *table, ngx_str_node_t *node);
void lines_table_remove(lines_table_t *table, ngx_str_node_t *node);


#endif /* _LINES_HTTP_TABLE_H_INCLUDED_ */
