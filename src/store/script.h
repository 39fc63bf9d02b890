
/*
 * A Redis script: one .lua file of scripts/, embedded at build time.  EVALSHA
 * is sent first; a node that does not know the script gets its source.
 */

#ifndef _LINES_STORE_SCRIPT_H_INCLUDED_
#define _LINES_STORE_SCRIPT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct {
    ngx_str_t   name;
    ngx_str_t   source;
    ngx_str_t   sha1;     /* of the source, hex */
    ngx_uint_t  again;    /* flag: "--@again", see store/README.md */
} lines_script_t;


#endif /* _LINES_STORE_SCRIPT_H_INCLUDED_ */
