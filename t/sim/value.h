
/*
 * What keys hold.  Strings do not change and are shared by count; a value is
 * shared by count, too, between the keyspace and its copies, and written to by
 * who holds it alone: value_own().
 */

#ifndef _SIM_VALUE_H_INCLUDED_
#define _SIM_VALUE_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


/* bytes of somebody else's */

typedef struct {
    size_t       len;
    const char  *data;
} view_t;


typedef struct {
    uint32_t  refs;
    uint32_t  len;
    char      data[];    /* ends with a zero, which len does not count */
} text_t;


typedef struct value_s  value_t;


/*
 * Entries in the order in which they came.  Small maps are searched as they
 * are, larger ones have an index; an entry that was removed from such a one is
 * a hole, whose key is NULL.
 */

typedef struct {
    text_t        *key;

    union {
        text_t    *text;
        value_t   *value;
        double     score;
    } u;

    uint32_t       hash;
} entry_t;

typedef struct {
    entry_t   *elts;
    uint32_t   used;      /* with holes */
    uint32_t   live;
    uint32_t   nalloc;
    uint32_t   nindex;    /* a power of two, or 0: there is none */
    uint32_t  *index;     /* place in elts + 1, 0: free */
} map_t;

enum {
    MAP_KEYS = 0,
    MAP_TEXTS,
    MAP_SCORES,
    MAP_VALUES
};

#define map_each(map, e)                                                      \
    for (e = (map)->elts; e && e < (map)->elts + (map)->used; e++)            \
        if (e->key)


typedef struct {
    double   score;
    text_t  *member;      /* the map's */
} rank_t;


typedef struct {
    uint64_t  ms;
    uint64_t  seq;
} stream_id_t;

typedef struct {
    uint32_t      refs;
    uint32_t      n;      /* fields and values */
    uint64_t      node;
    stream_id_t   id;
    text_t       *texts[];
} stream_entry_t;

typedef struct {
    stream_entry_t  **elts;
    size_t            first;
    size_t            n;
    size_t            nalloc;
    uint64_t          node;      /* the last one, and what came to it */
    uint64_t          filled;
    stream_id_t       last;
} stream_t;


enum {
    TYPE_STRING = 0,
    TYPE_HASH,
    TYPE_SET,
    TYPE_ZSET,
    TYPE_STREAM,
    TYPE_LIST
};

struct value_s {
    uint32_t      refs;
    uint32_t      type;
    int64_t       expires;     /* ms, or -1 */

    text_t       *text;        /* of a string */
    map_t         map;         /* of a hash, a set, a sorted set */
    rank_t       *ranks;       /* of a sorted set: map.live of them */
    size_t        nalloc;
    stream_t     *stream;      /* of a list, too: entries of one text */
};


void *sim_alloc(size_t size);
void *sim_realloc(void *p, size_t size);

/*
 * What is small and comes and goes, of lists of its own; its size is to be told
 * when it goes.  A sanitizer sees malloc() and free().
 */
void *pool_alloc(size_t size);
void pool_free(void *p, size_t size);

uint32_t view_hash(view_t v);
text_t *text_create(view_t v);
void text_free(text_t *t);
int view_cmp(view_t a, view_t b);

#define text_ref(t)   ((t)->refs++, (t))
#define text_view(t)  ((view_t) { (t)->len, (t)->data })


entry_t *map_find(map_t *m, view_t key);

/* found or added: *added says which; one that is new has u zeroed */
entry_t *map_put(map_t *m, view_t key, int *added);

/* its u is the caller's to free before */
void map_remove(map_t *m, entry_t *e);
void map_copy(map_t *to, const map_t *from, int of);
void map_free(map_t *m, int of);


value_t *value_create(int type);
void value_free(value_t *v);

/* *v, or a copy of it where others hold it as well */
value_t *value_own(value_t **v);

#define value_ref(v)  ((v)->refs++, (v))

void hash_set(value_t *v, view_t field, view_t value, int *added);
int hash_remove(value_t *v, view_t field);

int set_remove(value_t *v, view_t member);

/* a score that is there already is replaced */
void zset_set(value_t *v, view_t member, double score);
int zset_remove(value_t *v, view_t member);

/* the first rank that is not before that; SIZE_MAX members: none */
size_t zset_from_score(value_t *v, double score, int after);
size_t zset_from_member(value_t *v, view_t member, int after);

void stream_add(stream_t *s, stream_id_t id, size_t n, const view_t *texts);
void stream_drop(stream_t *s, size_t n);


#endif /* _SIM_VALUE_H_INCLUDED_ */
