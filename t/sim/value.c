
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "value.h"


/* a map with room for more than that has an index */
#define MAP_SMALL     32

/* stream-node-max-entries */
#define NODE_ENTRIES  100

/* of the pool: the largest piece, and what it takes at once */
#define POOL_STEP     16
#define POOL_MAX      512
#define POOL_CHUNK    (1024 * 1024)

#define pool_list(size)  (((size) + POOL_STEP - 1) / POOL_STEP)


#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define SANITIZED  1
#endif
#endif

#if defined __SANITIZE_ADDRESS__ || defined SANITIZED
#define POOLED(size)  0
#else
#define POOLED(size)  ((size) <= POOL_MAX)
#endif


typedef struct piece_s  piece_t;

struct piece_s {
    piece_t  *next;
};


static entry_t *search(map_t *m, view_t key, uint32_t hash);
static void reindex(map_t *m);
static void zset_place(value_t *v, text_t *member, double score);
static size_t zset_rank(value_t *v, view_t member, double score);
static stream_t *stream_copy(const stream_t *from);
static void stream_free(stream_t *s);


void *
sim_alloc(size_t size)
{
    return sim_realloc(NULL, size);
}


void *
sim_realloc(void *p, size_t size)
{
    p = realloc(p, size ? size : 1);

    if (p == NULL) {
        fprintf(stderr, "sim: no memory\n");
        abort();
    }

    return p;
}


static piece_t  *pieces[POOL_MAX / POOL_STEP + 1];
static char     *chunk, *chunk_end;


void *
pool_alloc(size_t size)
{
    char     *p;
    size_t    i;
    piece_t  *piece;

    if (!POOLED(size)) {
        return sim_alloc(size);
    }

    i = pool_list(size);
    piece = pieces[i];

    if (piece) {
        pieces[i] = piece->next;
        __builtin_prefetch(piece->next);
        return piece;
    }

    if ((size_t) (chunk_end - chunk) < i * POOL_STEP) {
        chunk = sim_alloc(POOL_CHUNK);
        chunk_end = chunk + POOL_CHUNK;
    }

    p = chunk;
    chunk += i * POOL_STEP;

    return p;
}


void
pool_free(void *p, size_t size)
{
    piece_t  *piece;

    if (!POOLED(size)) {
        free(p);
        return;
    }

    piece = p;
    piece->next = pieces[pool_list(size)];
    pieces[pool_list(size)] = piece;
}


/* eight bytes at a time, mixed by multiplication */

uint32_t
view_hash(view_t v)
{
    size_t       n;
    uint64_t     h, w;
    const char  *p;

    p = v.data;
    h = 0x9e3779b97f4a7c15ull ^ v.len;

    for (n = v.len; n >= 8; n -= 8, p += 8) {
        memcpy(&w, p, 8);
        h = (h ^ w) * 0xff51afd7ed558ccdull;
        h ^= h >> 32;
    }

    if (n) {
        w = 0;
        memcpy(&w, p, n);
        h = (h ^ w) * 0xff51afd7ed558ccdull;
    }

    h ^= h >> 29;
    h *= 0xc4ceb9fe1a85ec53ull;

    return h >> 32;
}


text_t *
text_create(view_t v)
{
    text_t  *t;

    t = pool_alloc(sizeof(text_t) + v.len + 1);

    t->refs = 1;
    t->len = v.len;

    if (v.len) {
        memcpy(t->data, v.data, v.len);
    }

    t->data[v.len] = '\0';

    return t;
}


void
text_free(text_t *t)
{
    if (--t->refs == 0) {
        pool_free(t, sizeof(text_t) + t->len + 1);
    }
}


int
view_cmp(view_t a, view_t b)
{
    int     rc;
    size_t  n;

    n = a.len < b.len ? a.len : b.len;
    rc = n ? memcmp(a.data, b.data, n) : 0;

    return rc ? rc : (a.len > b.len) - (a.len < b.len);
}


static entry_t *
search(map_t *m, view_t key, uint32_t hash)
{
    entry_t   *e, *end;
    uint32_t   i, place;

#define IS_KEY(e)                                                             \
    ((e)->hash == hash && (e)->key && (e)->key->len == key.len                \
     && memcmp((e)->key->data, key.data, key.len) == 0)

    if (m->nindex == 0) {
        end = m->elts + m->used;

        for (e = m->elts; e < end; e++) {
            if (IS_KEY(e)) {
                return e;
            }
        }

        return NULL;
    }

    for (i = hash; ; i++) {
        place = m->index[i & (m->nindex - 1)];

        if (place == 0) {
            return NULL;
        }

        e = &m->elts[place - 1];

        if (IS_KEY(e)) {
            return e;
        }
    }
}


entry_t *
map_find(map_t *m, view_t key)
{
    return m->live ? search(m, key, view_hash(key)) : NULL;
}


entry_t *
map_put(map_t *m, view_t key, int *added)
{
    entry_t   *e;
    uint32_t   i, hash;

    hash = view_hash(key);
    e = m->live ? search(m, key, hash) : NULL;

    *added = (e == NULL);

    if (e) {
        return e;
    }

    if (m->used == m->nalloc || (m->nindex && m->used >= m->nindex / 2)) {
        reindex(m);
    }

    e = &m->elts[m->used++];
    m->live++;

    memset(e, 0, sizeof(entry_t));
    e->key = text_create(key);
    e->hash = hash;

    if (m->nindex) {
        for (i = hash; m->index[i & (m->nindex - 1)]; i++) { /* void */ }
        m->index[i & (m->nindex - 1)] = m->used;
    }

    return e;
}


/* without holes, and room for as many again */

static void
reindex(map_t *m)
{
    entry_t   *e;
    uint32_t   i, n, size;

    n = 0;

    map_each(m, e) {
        m->elts[n++] = *e;
    }

    m->used = n;

    if (n + n / 2 >= m->nalloc) {
        m->nalloc = m->nalloc ? m->nalloc * 2 : 4;
        m->elts = sim_realloc(m->elts, m->nalloc * sizeof(entry_t));
    }

    if (m->nalloc <= MAP_SMALL) {
        return;
    }

    for (size = 4 * MAP_SMALL; size < 4 * n; size *= 2) { /* void */ }

    m->index = sim_realloc(m->index, size * sizeof(uint32_t));
    m->nindex = size;
    memset(m->index, 0, size * sizeof(uint32_t));

    for (n = 0; n < m->used; n++) {
        for (i = m->elts[n].hash; m->index[i & (size - 1)]; i++) { /* void */ }
        m->index[i & (size - 1)] = n + 1;
    }
}


void
map_remove(map_t *m, entry_t *e)
{
    text_free(e->key);
    m->live--;

    if (m->nindex) {
        e->key = NULL;
        return;
    }

    m->used--;
    memmove(e, e + 1, (char *) (m->elts + m->used) - (char *) e);
}


void
map_copy(map_t *to, const map_t *from, int of)
{
    entry_t  *e;

    *to = *from;

    if (from->nalloc == 0) {
        return;
    }

    to->elts = sim_alloc(from->nalloc * sizeof(entry_t));
    memcpy(to->elts, from->elts, from->used * sizeof(entry_t));

    if (from->nindex) {
        to->index = sim_alloc(from->nindex * sizeof(uint32_t));
        memcpy(to->index, from->index, from->nindex * sizeof(uint32_t));
    }

    map_each(to, e) {
        e->key->refs++;

        if (of == MAP_TEXTS) {
            e->u.text->refs++;

        } else if (of == MAP_VALUES) {
            e->u.value->refs++;
        }
    }
}


void
map_free(map_t *m, int of)
{
    entry_t  *e;

    map_each(m, e) {
        text_free(e->key);

        if (of == MAP_TEXTS) {
            text_free(e->u.text);

        } else if (of == MAP_VALUES) {
            value_free(e->u.value);
        }
    }

    free(m->elts);
    free(m->index);
    memset(m, 0, sizeof(map_t));
}


static const int  holds[] = { 0, MAP_TEXTS, MAP_KEYS, MAP_SCORES, 0, 0 };


value_t *
value_create(int type)
{
    value_t  *v;

    v = pool_alloc(sizeof(value_t));
    memset(v, 0, sizeof(value_t));

    v->refs = 1;
    v->type = type;
    v->expires = -1;

    if (type == TYPE_STREAM || type == TYPE_LIST) {
        v->stream = sim_alloc(sizeof(stream_t));
        memset(v->stream, 0, sizeof(stream_t));
    }

    return v;
}


void
value_free(value_t *v)
{
    if (--v->refs) {
        return;
    }

    if (v->text) {
        text_free(v->text);
    }

    if (v->stream) {
        stream_free(v->stream);
    }

    map_free(&v->map, holds[v->type]);
    free(v->ranks);
    pool_free(v, sizeof(value_t));
}


value_t *
value_own(value_t **place)
{
    value_t  *v, *own;

    v = *place;

    if (v->refs == 1) {
        return v;
    }

    own = pool_alloc(sizeof(value_t));
    *own = *v;
    own->refs = 1;

    if (v->text) {
        own->text = text_ref(v->text);
    }

    map_copy(&own->map, &v->map, holds[v->type]);

    if (v->ranks) {
        own->ranks = sim_alloc(v->nalloc * sizeof(rank_t));
        memcpy(own->ranks, v->ranks, v->map.live * sizeof(rank_t));
    }

    if (v->stream) {
        own->stream = stream_copy(v->stream);
    }

    v->refs--;
    *place = own;

    return own;
}


void
hash_set(value_t *v, view_t field, view_t value, int *added)
{
    entry_t  *e;

    e = map_put(&v->map, field, added);

    if (!*added) {
        text_free(e->u.text);
    }

    e->u.text = text_create(value);
}


int
hash_remove(value_t *v, view_t field)
{
    entry_t  *e;

    e = map_find(&v->map, field);

    if (e == NULL) {
        return 0;
    }

    text_free(e->u.text);
    map_remove(&v->map, e);

    return 1;
}


int
set_remove(value_t *v, view_t member)
{
    entry_t  *e;

    e = map_find(&v->map, member);

    if (e == NULL) {
        return 0;
    }

    map_remove(&v->map, e);

    return 1;
}


void
zset_set(value_t *v, view_t member, double score)
{
    int       added;
    size_t    i;
    entry_t  *e;

    e = map_put(&v->map, member, &added);

    if (!added) {
        i = zset_rank(v, member, e->u.score);
        memmove(&v->ranks[i], &v->ranks[i + 1],
                (v->map.live - i - 1) * sizeof(rank_t));
    }

    e->u.score = score;
    zset_place(v, e->key, score);
}


/* the map has the member already, the ranks do not */

static void
zset_place(value_t *v, text_t *member, double score)
{
    size_t  i, n;

    n = v->map.live - 1;

    if (v->map.live > v->nalloc) {
        v->nalloc = v->nalloc ? v->nalloc * 2 : 4;
        v->ranks = sim_realloc(v->ranks, v->nalloc * sizeof(rank_t));
    }

    v->map.live--;
    i = zset_rank(v, text_view(member), score);
    v->map.live++;

    memmove(&v->ranks[i + 1], &v->ranks[i], (n - i) * sizeof(rank_t));

    v->ranks[i].score = score;
    v->ranks[i].member = member;
}


int
zset_remove(value_t *v, view_t member)
{
    size_t    i;
    entry_t  *e;

    e = map_find(&v->map, member);

    if (e == NULL) {
        return 0;
    }

    i = zset_rank(v, member, e->u.score);
    memmove(&v->ranks[i], &v->ranks[i + 1],
            (v->map.live - i - 1) * sizeof(rank_t));

    map_remove(&v->map, e);

    return 1;
}


/* where it is, or would be */

static size_t
zset_rank(value_t *v, view_t member, double score)
{
    size_t   low, high, i;
    rank_t  *rank;

    low = 0;
    high = v->map.live;

    while (low < high) {
        i = (low + high) / 2;
        rank = &v->ranks[i];

        if (rank->score < score
            || (rank->score == score
                && view_cmp(text_view(rank->member), member) < 0))
        {
            low = i + 1;

        } else {
            high = i;
        }
    }

    return low;
}


size_t
zset_from_score(value_t *v, double score, int after)
{
    size_t  low, high, i;

    low = 0;
    high = v->map.live;

    while (low < high) {
        i = (low + high) / 2;

        if (v->ranks[i].score < score
            || (after && v->ranks[i].score == score))
        {
            low = i + 1;

        } else {
            high = i;
        }
    }

    return low;
}


/* all scores are the same, or nobody knows what comes of it */

size_t
zset_from_member(value_t *v, view_t member, int after)
{
    int     rc;
    size_t  low, high, i;

    low = 0;
    high = v->map.live;

    while (low < high) {
        i = (low + high) / 2;
        rc = view_cmp(text_view(v->ranks[i].member), member);

        if (rc < 0 || (after && rc == 0)) {
            low = i + 1;

        } else {
            high = i;
        }
    }

    return low;
}


void
stream_add(stream_t *s, stream_id_t id, size_t n, const view_t *texts)
{
    size_t           i;
    stream_entry_t  *e;

    if (s->first + s->n == s->nalloc) {

        if (s->first > s->n) {
            memmove(s->elts, s->elts + s->first, s->n * sizeof(s->elts[0]));
            s->first = 0;

        } else {
            s->nalloc = s->nalloc ? s->nalloc * 2 : 4;
            s->elts = sim_realloc(s->elts, s->nalloc * sizeof(s->elts[0]));
        }
    }

    if (s->n == 0 || s->filled == NODE_ENTRIES) {
        s->node++;
        s->filled = 0;
    }

    s->filled++;
    s->last = id;

    e = pool_alloc(sizeof(stream_entry_t) + n * sizeof(text_t *));

    e->refs = 1;
    e->n = n;
    e->node = s->node;
    e->id = id;

    for (i = 0; i < n; i++) {
        e->texts[i] = text_create(texts[i]);
    }

    s->elts[s->first + s->n++] = e;
}


void
stream_drop(stream_t *s, size_t n)
{
    uint32_t         i;
    stream_entry_t  *e;

    while (n--) {
        e = s->elts[s->first++];
        s->n--;

        if (--e->refs == 0) {
            for (i = 0; i < e->n; i++) {
                text_free(e->texts[i]);
            }

            pool_free(e, sizeof(stream_entry_t) + e->n * sizeof(text_t *));
        }
    }
}


static stream_t *
stream_copy(const stream_t *from)
{
    size_t     i;
    stream_t  *s;

    s = sim_alloc(sizeof(stream_t));
    *s = *from;

    s->first = 0;
    s->nalloc = s->n + 4;
    s->elts = sim_alloc(s->nalloc * sizeof(s->elts[0]));

    for (i = 0; i < s->n; i++) {
        s->elts[i] = from->elts[from->first + i];
        s->elts[i]->refs++;
    }

    return s;
}


static void
stream_free(stream_t *s)
{
    stream_drop(s, s->n);
    free(s->elts);
    free(s);
}
