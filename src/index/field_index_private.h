/* Private to src/index: what a payload index is made of (field_index.h), for the file that fills it
 * and the one that asks it. */
#ifndef QV_INDEX_FIELD_INDEX_PRIVATE_H
#define QV_INDEX_FIELD_INDEX_PRIVATE_H

#include "base/vmem.h"
#include "core/geo.h"
#include "core/text_tokens.h"
#include "index/field_index.h"

#include <roaring/roaring.h>

enum {
    KNOWN = 1,         /* described */
    REACHED = 2,       /* the path reaches something */
    FILLED = 4,        /* a value that is neither null nor [] */
    EMPTY = 8,         /* one that is */
    IS_NULL = 16,      /* a value is null */
    HOLDS_NULL = 32,   /* a value is null or an array that holds null */
    NO_NULL = 64,      /* a value is neither */
    LISTED = 128,      /* an element stands in the dictionary */
    LISTED_MANY = 256, /* two different ones do */
    OTHER = 512,       /* an element that is neither null nor in the dictionary */
    NUMBER = 1024,     /* an element stands in the column */
    NUMBERS = 2048,    /* and another one does not, for lack of room */
    COUNT_ONE = 4096,  /* a value counts 1 */
    COUNT_MANY = 8192  /* a value counts 2 or more */
};

enum dict_kind { DICT_NONE, DICT_STRING, DICT_INT, DICT_BOOL, DICT_TOKEN };
enum column_kind { COLUMN_NONE, COLUMN_NUMBER, COLUMN_TIME, COLUMN_PLACE };

#define NO_ENTRY UINT32_MAX

struct entry {
    roaring_bitmap_t *slots; /* NULL: only `one` */
    uint8_t *key;            /* the value as a document; NULL: the entry is free */
    uint32_t key_n;
    uint32_t count; /* slots */
    uint32_t hash;
    uint32_t one; /* of a free entry: the next one */
};

/* The value of a slot in its column: 0 none; odd: one entry, times 2; even: a list of them. */
struct list {
    uint32_t count;
    uint32_t entries[];
};

/* What a column holds of a slot. */
union column_value {
    double number;
    int64_t micros;
    struct qv_geo_point place;
};

struct qv_field_index {
    uint32_t number;
    enum dict_kind dict;
    enum column_kind column;
    struct qv_arena arena; /* of the path and of options */
    struct qv_path path;
    struct qv_text_tokens *tokens; /* DICT_TOKEN */
    struct qv_vmem flags, values, column_mem;
    uint32_t slots; /* columns reach so far */

    struct entry *entries;
    uint32_t entry_count, entry_cap, entry_free;
    uint32_t *table; /* entry + 1, by hash */
    uint32_t table_mask, table_used;
    uint64_t bytes; /* of keys, lists and bitmaps, about */

    /* the slot that is being described */
    uint16_t now;
    bool failed;
    union column_value now_value;
    struct qv_buf now_key; /* a token as a document */
    uint32_t *found;       /* its entries */
    uint32_t found_count, found_cap;
};

static inline uint16_t *flags_of(const struct qv_field_index *x)
{
    return (uint16_t *)(void *)x->flags.base;
}

static inline uint64_t *values_of(const struct qv_field_index *x)
{
    return (uint64_t *)(void *)x->values.base;
}

static inline size_t column_width(enum column_kind column)
{
    return column == COLUMN_NONE    ? 0
           : column == COLUMN_PLACE ? sizeof(struct qv_geo_point)
                                    : sizeof(uint64_t);
}

/* The entry of a value; NO_ENTRY: it has none. */
uint32_t qv_field_index_find(const struct qv_field_index *x, struct qv_doc key);

#endif
