#include "index/field_index.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "base/vmem.h"
#include "core/datetime.h"

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
    NUMBER = 1024,     /* an element stands in the column of numbers */
    NUMBERS = 2048,    /* and another one does not, for lack of room */
    COUNT_ONE = 4096,  /* a value counts 1 */
    COUNT_MANY = 8192  /* a value counts 2 or more */
};

enum dict_kind { DICT_NONE, DICT_STRING, DICT_INT, DICT_BOOL };
enum column_kind { COLUMN_NONE, COLUMN_NUMBER, COLUMN_TIME };

#define ARENA_BYTES ((size_t)1 << 20)
#define TABLE_MIN 64u
#define NO_ENTRY UINT32_MAX
#define ENTRY_BYTES_MAX (1u << 24) /* a payload has no more */

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

struct qv_field_index {
    uint32_t number;
    enum dict_kind dict;
    enum column_kind column;
    struct qv_arena arena; /* of the path */
    struct qv_path path;
    struct qv_vmem flags, values, numbers;
    uint32_t slots; /* columns reach so far */

    struct entry *entries;
    uint32_t entry_count, entry_cap, entry_free;
    uint32_t *table; /* entry + 1, by hash */
    uint32_t table_mask, table_used;
    uint64_t bytes; /* of keys, lists and bitmaps, about */

    /* the slot that is being described */
    uint16_t now;
    bool failed;
    uint64_t now_number;
    uint32_t *found; /* its entries */
    uint32_t found_count, found_cap;
};

static uint16_t *flags_of(const struct qv_field_index *x)
{
    return (uint16_t *)(void *)x->flags.base;
}

static uint64_t *values_of(const struct qv_field_index *x)
{
    return (uint64_t *)(void *)x->values.base;
}

static uint64_t *numbers_of(const struct qv_field_index *x)
{
    return (uint64_t *)(void *)x->numbers.base;
}

/* ---- life ---- */

static void set_kind(struct qv_field_index *x, struct qv_str type)
{
    static const struct {
        const char *type;
        enum dict_kind dict;
        enum column_kind column;
    } kinds[] = {{"keyword", DICT_STRING, COLUMN_NONE}, {"uuid", DICT_STRING, COLUMN_NONE},
                 {"integer", DICT_INT, COLUMN_NUMBER},  {"bool", DICT_BOOL, COLUMN_NONE},
                 {"float", DICT_NONE, COLUMN_NUMBER},   {"datetime", DICT_NONE, COLUMN_TIME}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (qv_str_equal(type, qv_str_of(kinds[i].type))) {
            x->dict = kinds[i].dict;
            x->column = kinds[i].column;
        }
    }
}

int qv_field_index_create(const struct qv_payload_index *declared, uint32_t max_slots,
                          struct qv_field_index **out, struct qv_errmsg *msg)
{
    struct qv_field_index *x = qv_mem_calloc(1, sizeof *x);
    x->number = declared->number;
    x->entry_free = NO_ENTRY;
    set_kind(x, declared->type);
    qv_arena_init(&x->arena, ARENA_BYTES);
    const char *text = qv_arena_strndup(&x->arena, declared->field.p, declared->field.n);
    int err = text == NULL ? QV_ENOMEM
                           : qv_path_parse(&x->arena, (struct qv_str){text, declared->field.n},
                                           &x->path, msg);
    if (err == 0)
        err = qv_vmem_reserve(&x->flags, (size_t)max_slots * sizeof(uint16_t), false);
    if (err == 0 && x->dict != DICT_NONE)
        err = qv_vmem_reserve(&x->values, (size_t)max_slots * sizeof(uint64_t), false);
    if (err == 0 && x->column != COLUMN_NONE)
        err = qv_vmem_reserve(&x->numbers, (size_t)max_slots * sizeof(uint64_t), false);
    if (err == 0 && x->dict != DICT_NONE) {
        x->table = qv_mem_try_calloc(TABLE_MIN, sizeof *x->table);
        x->table_mask = TABLE_MIN - 1;
        err = x->table == NULL ? QV_ENOMEM : 0;
    }
    *out = x;
    if (err != 0)
        qv_field_index_destroy(out);
    return err;
}

void qv_field_index_destroy(struct qv_field_index **out)
{
    struct qv_field_index *x = *out;
    if (x == NULL)
        return;
    for (uint32_t slot = 0; slot < x->slots && x->dict != DICT_NONE; slot++) {
        const uint64_t v = values_of(x)[slot];
        if (v != 0 && (v & 1) == 0)
            qv_mem_free((void *)(uintptr_t)v);
    }
    for (uint32_t e = 0; e < x->entry_count; e++) {
        if (x->entries[e].slots != NULL)
            roaring_bitmap_free(x->entries[e].slots);
        qv_mem_free(x->entries[e].key);
    }
    qv_mem_free(x->entries);
    qv_mem_free(x->table);
    qv_mem_free(x->found);
    qv_vmem_close(&x->flags);
    qv_vmem_close(&x->values);
    qv_vmem_close(&x->numbers);
    qv_arena_close(&x->arena);
    qv_mem_free(x);
    *out = NULL;
}

uint32_t qv_field_index_number(const struct qv_field_index *x)
{
    return x->number;
}

const struct qv_path *qv_field_index_path(const struct qv_field_index *x)
{
    return &x->path;
}

/* ---- the dictionary ---- */

static uint32_t *place_of(const struct qv_field_index *x, uint32_t hash, struct qv_doc key)
{
    uint32_t at = hash & x->table_mask;
    for (; x->table[at] != 0; at = (at + 1) & x->table_mask) {
        const struct entry *e = &x->entries[x->table[at] - 1];
        if (e->hash == hash && e->key_n == key.n && memcmp(e->key, key.p, key.n) == 0)
            break;
    }
    return &x->table[at];
}

static uint32_t find_entry(const struct qv_field_index *x, struct qv_doc key)
{
    const uint32_t *place = place_of(x, (uint32_t)qv_hash_64(key.p, key.n), key);
    return *place == 0 ? NO_ENTRY : *place - 1;
}

/* Room for one more in the table, which stays at most half full, and in the list. */
static bool reserve_entry(struct qv_field_index *x)
{
    if (2 * (x->table_used + 1) > x->table_mask + 1) {
        const uint32_t mask = 2 * x->table_mask + 1;
        uint32_t *table = qv_mem_try_calloc((size_t)mask + 1, sizeof *table);
        if (table == NULL)
            return false;
        for (uint32_t e = 0; e < x->entry_count; e++) {
            uint32_t at = x->entries[e].hash & mask;
            if (x->entries[e].key == NULL)
                continue;
            while (table[at] != 0)
                at = (at + 1) & mask;
            table[at] = e + 1;
        }
        qv_mem_free(x->table);
        x->table = table;
        x->table_mask = mask;
    }
    if (x->entry_free != NO_ENTRY || x->entry_count < x->entry_cap)
        return true;
    const uint32_t cap = x->entry_cap == 0 ? 16 : 2 * x->entry_cap;
    struct entry *entries = qv_mem_try_realloc(x->entries, (size_t)cap * sizeof *entries);
    if (entries == NULL)
        return false;
    x->entries = entries;
    x->entry_cap = cap;
    return true;
}

static uint32_t make_entry(struct qv_field_index *x, struct qv_doc key)
{
    const uint32_t hash = (uint32_t)qv_hash_64(key.p, key.n);
    uint8_t *bytes = key.n <= ENTRY_BYTES_MAX ? qv_mem_try_alloc(key.n) : NULL;
    if (bytes == NULL || !reserve_entry(x)) {
        qv_mem_free(bytes);
        return NO_ENTRY;
    }
    uint32_t e = x->entry_free;
    if (e != NO_ENTRY)
        x->entry_free = x->entries[e].one;
    else
        e = x->entry_count++;
    memcpy(bytes, key.p, key.n);
    x->entries[e] = (struct entry){.key = bytes, .key_n = (uint32_t)key.n, .hash = hash};
    *place_of(x, hash, key) = e + 1;
    x->table_used++;
    x->bytes += key.n + 16;
    return e;
}

/* Out of the table, by moving up what it kept from its place. */
static void drop_entry(struct qv_field_index *x, uint32_t e)
{
    struct entry *dead = &x->entries[e];
    uint32_t hole = dead->hash & x->table_mask;
    while (x->table[hole] != e + 1)
        hole = (hole + 1) & x->table_mask;
    for (uint32_t at = (hole + 1) & x->table_mask; x->table[at] != 0;
         at = (at + 1) & x->table_mask) {
        const uint32_t home = x->entries[x->table[at] - 1].hash & x->table_mask;
        if (((at - home) & x->table_mask) < ((at - hole) & x->table_mask))
            continue; /* its place is behind the hole */
        x->table[hole] = x->table[at];
        hole = at;
    }
    x->table[hole] = 0;
    x->table_used--;
    x->bytes -= dead->key_n + 16u;
    if (dead->slots != NULL) {
        roaring_bitmap_free(dead->slots);
        x->bytes -= 80;
    }
    qv_mem_free(dead->key);
    *dead = (struct entry){.one = x->entry_free};
    x->entry_free = e;
}

static bool entry_add(struct qv_field_index *x, uint32_t number, qv_slot slot)
{
    struct entry *e = &x->entries[number];
    if (e->count == 1 && e->slots == NULL) {
        e->slots = roaring_bitmap_create();
        if (e->slots == NULL)
            return false;
        roaring_bitmap_add(e->slots, e->one);
        x->bytes += 80;
    }
    if (e->slots != NULL)
        roaring_bitmap_add(e->slots, slot);
    else
        e->one = slot;
    e->count++;
    x->bytes += 2;
    return true;
}

static void entry_remove(struct qv_field_index *x, uint32_t number, qv_slot slot)
{
    struct entry *e = &x->entries[number];
    QV_ASSERT(e->key != NULL && e->count > 0);
    x->bytes -= 2;
    if (e->slots != NULL)
        roaring_bitmap_remove(e->slots, slot);
    if (--e->count == 0)
        drop_entry(x, number);
}

/* ---- describing a slot ---- */

void qv_field_index_begin(struct qv_field_index *x)
{
    x->now = KNOWN;
    x->failed = false;
    x->found_count = 0;
}

static void list_value(struct qv_field_index *x, struct qv_doc v)
{
    uint32_t e = find_entry(x, v);
    if (e == NO_ENTRY)
        e = make_entry(x, v);
    for (uint32_t i = 0; i < x->found_count; i++) {
        if (x->found[i] == e)
            return;
    }
    if (x->found_count == x->found_cap) {
        const uint32_t cap = x->found_cap == 0 ? 8 : 2 * x->found_cap;
        uint32_t *found = qv_mem_try_realloc(x->found, (size_t)cap * sizeof *found);
        if (found != NULL) {
            x->found = found;
            x->found_cap = cap;
        }
    }
    if (e == NO_ENTRY || x->found_count == x->found_cap) {
        x->failed = true;
        return;
    }
    x->found[x->found_count++] = e;
    x->now |= x->found_count > 1 ? LISTED | LISTED_MANY : LISTED;
}

/* The number that the column has for it. */
static bool as_number(const struct qv_field_index *x, struct qv_doc v, uint64_t *out)
{
    const enum qv_doc_type t = qv_doc_type(v);
    if (x->column == COLUMN_NUMBER && (t == QV_DOC_INT || t == QV_DOC_DOUBLE)) {
        const double number = qv_doc_double(v);
        memcpy(out, &number, sizeof *out);
        return true;
    }
    int64_t micros;
    if (x->column != COLUMN_TIME || t != QV_DOC_STRING ||
        !qv_datetime_parse(qv_doc_str(v), &micros))
        return false;
    memcpy(out, &micros, sizeof *out);
    return true;
}

static void add_element(struct qv_field_index *x, struct qv_doc v)
{
    const enum qv_doc_type t = qv_doc_type(v);
    uint64_t number;
    if (t == QV_DOC_NULL)
        return;
    const bool listed = (x->dict == DICT_STRING && t == QV_DOC_STRING) ||
                        (x->dict == DICT_INT && t == QV_DOC_INT) ||
                        (x->dict == DICT_BOOL && (t == QV_DOC_TRUE || t == QV_DOC_FALSE));
    if (listed)
        list_value(x, v);
    else
        x->now |= OTHER;
    if (!as_number(x, v, &number))
        return;
    if (!(x->now & NUMBER))
        x->now_number = number;
    else if (number != x->now_number)
        x->now |= NUMBERS;
    x->now |= NUMBER;
}

void qv_field_index_add(struct qv_field_index *x, struct qv_doc value)
{
    const enum qv_doc_type t = qv_doc_type(value);
    struct qv_doc_iter it;
    struct qv_doc element;
    bool null = t == QV_DOC_NULL;
    const uint32_t count = t == QV_DOC_ARRAY ? qv_doc_count(value) : t != QV_DOC_NULL;
    x->now |= REACHED;
    x->now |= count == 0 ? EMPTY : FILLED;
    x->now |= null ? IS_NULL : 0;
    x->now |= count == 1 ? COUNT_ONE : count > 1 ? COUNT_MANY : 0;
    if (t == QV_DOC_ARRAY) {
        qv_doc_iter_init(&it, value);
        while (qv_doc_next(&it, NULL, &element)) {
            null = null || qv_doc_type(element) == QV_DOC_NULL;
            add_element(x, element);
        }
    } else {
        add_element(x, value);
    }
    x->now |= null ? HOLDS_NULL : NO_NULL;
}

static int grow(struct qv_field_index *x, qv_slot slot)
{
    if (slot < x->slots)
        return 0;
    const size_t n = (size_t)slot + 1;
    int err = qv_vmem_grow(&x->flags, n * sizeof(uint16_t));
    if (err == 0 && x->dict != DICT_NONE)
        err = qv_vmem_grow(&x->values, n * sizeof(uint64_t));
    if (err == 0 && x->column != COLUMN_NONE)
        err = qv_vmem_grow(&x->numbers, n * sizeof(uint64_t));
    if (err == 0)
        x->slots = slot + 1;
    return err;
}

static void clear_value(struct qv_field_index *x, qv_slot slot)
{
    uint64_t *v = &values_of(x)[slot];
    if (*v & 1) {
        entry_remove(x, (uint32_t)(*v >> 1), slot);
    } else if (*v != 0) {
        struct list *list = (struct list *)(uintptr_t)*v;
        for (uint32_t i = 0; i < list->count; i++)
            entry_remove(x, list->entries[i], slot);
        x->bytes -= sizeof *list + list->count * sizeof list->entries[0];
        qv_mem_free(list);
    }
    *v = 0;
}

/* Entries that were made for what could not be kept. */
static void drop_unused(struct qv_field_index *x)
{
    for (uint32_t i = 0; i < x->found_count; i++) {
        const struct entry *e = &x->entries[x->found[i]];
        if (e->key != NULL && e->count == 0)
            drop_entry(x, x->found[i]);
    }
}

/* The slot's entries take it in, before its old ones let it go: none that both have comes and goes.
 */
static int set_value(struct qv_field_index *x, qv_slot slot)
{
    uint64_t value = 0;
    uint32_t done = 0;
    if (x->found_count > 1) {
        const size_t bytes = sizeof(struct list) + x->found_count * sizeof(uint32_t);
        struct list *list = qv_mem_try_alloc(bytes);
        if (list == NULL)
            return QV_ENOMEM;
        list->count = x->found_count;
        memcpy(list->entries, x->found, x->found_count * sizeof(uint32_t));
        value = (uint64_t)(uintptr_t)list;
        x->bytes += bytes;
    } else if (x->found_count == 1) {
        value = (uint64_t)x->found[0] << 1 | 1;
    }
    while (done < x->found_count && entry_add(x, x->found[done], slot))
        done++;
    if (done == x->found_count) {
        values_of(x)[slot] = value;
        return 0;
    }
    while (done-- > 0)
        entry_remove(x, x->found[done], slot);
    if (x->found_count > 1) {
        x->bytes -= sizeof(struct list) + x->found_count * sizeof(uint32_t);
        qv_mem_free((void *)(uintptr_t)value);
    }
    return QV_ENOMEM;
}

int qv_field_index_end(struct qv_field_index *x, qv_slot slot)
{
    int err = grow(x, slot);
    if (err == 0 && x->failed)
        err = QV_ENOMEM;
    if (err == 0 && x->dict != DICT_NONE) {
        for (uint32_t i = 0; i < x->found_count; i++)
            x->entries[x->found[i]].count++; /* held while the old ones go */
        clear_value(x, slot);
        for (uint32_t i = 0; i < x->found_count; i++)
            x->entries[x->found[i]].count--;
        err = set_value(x, slot);
    }
    if (err != 0) {
        qv_field_index_forget(x, slot);
        drop_unused(x);
        return err;
    }
    if (x->column != COLUMN_NONE)
        numbers_of(x)[slot] = x->now_number;
    flags_of(x)[slot] = x->now;
    return 0;
}

bool qv_field_index_knows(const struct qv_field_index *x, qv_slot slot)
{
    return slot < x->slots && flags_of(x)[slot] & KNOWN;
}

void qv_field_index_forget(struct qv_field_index *x, qv_slot slot)
{
    if (slot >= x->slots)
        return;
    flags_of(x)[slot] = 0;
    if (x->dict != DICT_NONE)
        clear_value(x, slot);
}

/* ---- answers ---- */

struct asking {
    const struct qv_field_index *x;
    const struct qv_cond *c;
    uint32_t n; /* slots that are asked about and that columns have */
    uint64_t *lower, *upper;
};

/* Slots with any of the flags. */
static void by_flags(const struct asking *a, unsigned any, uint64_t *out)
{
    const uint16_t *flags = flags_of(a->x);
    for (uint32_t slot = 0; slot < a->n; slot += 64) {
        const uint32_t end = a->n - slot < 64 ? a->n - slot : 64;
        uint64_t word = 0;
        for (uint32_t i = 0; i < end; i++)
            word |= (uint64_t)((flags[slot + i] & any) != 0) << i;
        out[slot / 64] |= word;
    }
}

static void by_flags_both(const struct asking *a, unsigned any)
{
    by_flags(a, any, a->lower);
    by_flags(a, any, a->upper);
}

static void complement(const struct asking *a, uint64_t *bits)
{
    for (uint32_t w = 0; w < (a->n + 63) / 64; w++)
        bits[w] = ~bits[w];
}

struct setting {
    uint64_t *bits;
    uint32_t n;
};

static bool set_bit(uint32_t slot, void *arg)
{
    const struct setting *s = arg;
    if (slot >= s->n)
        return false;
    s->bits[slot / 64] |= 1ull << (slot & 63);
    return true;
}

static void entry_bits(const struct asking *a, uint32_t number, uint64_t *bits)
{
    struct setting s = {bits, a->n};
    const struct entry *e = &a->x->entries[number];
    if (e->slots == NULL)
        (void)set_bit(e->one, &s);
    else
        (void)roaring_iterate(e->slots, set_bit, &s);
}

static bool in_dictionary(const struct qv_field_index *x, const struct qv_match *m)
{
    return (x->dict == DICT_STRING && m->type == QV_MATCH_STRING) ||
           (x->dict == DICT_INT && m->type == QV_MATCH_INT) ||
           (x->dict == DICT_BOOL && m->type == QV_MATCH_BOOL);
}

/* Slots that hold one of the values, all of the dictionary's type. false: no memory. */
static bool hold_one(const struct asking *a, const struct qv_match *items, uint32_t count,
                     uint64_t *bits)
{
    struct qv_buf key;
    qv_buf_init(&key, 0);
    for (uint32_t i = 0; i < count; i++) {
        qv_buf_clear(&key);
        if (items[i].type == QV_MATCH_STRING)
            qv_doc_put_str(&key, items[i].s.p, items[i].s.n);
        else if (items[i].type == QV_MATCH_INT)
            qv_doc_put_int(&key, items[i].i);
        else
            qv_doc_put_bool(&key, items[i].b);
        const uint32_t e =
            key.failed ? NO_ENTRY : find_entry(a->x, (struct qv_doc){key.data, key.len});
        if (e != NO_ENTRY)
            entry_bits(a, e, bits);
    }
    const bool ok = !key.failed;
    qv_buf_close(&key);
    return ok;
}

static bool ask_match(const struct asking *a, const struct qv_match *items, uint32_t count)
{
    if (count == 0)
        return true;
    if (!in_dictionary(a->x, &items[0])) {
        by_flags(a, OTHER, a->upper);
        return true;
    }
    if (!hold_one(a, items, count, a->lower))
        return false;
    memcpy(a->upper, a->lower, ((size_t)a->n + 63) / 64 * sizeof *a->upper);
    return true;
}

/* An element that is not in the list: any other one; of those listed, one of two of which the list
 * may hold the first is asked of the payload. */
static bool ask_except(const struct asking *a)
{
    const struct qv_match *items = a->c->u.any.items;
    const uint32_t count = a->c->u.any.count;
    if (count == 0) {
        by_flags_both(a, LISTED | OTHER);
        return true;
    }
    if (!in_dictionary(a->x, &items[0])) {
        by_flags(a, LISTED, a->lower);
        by_flags(a, LISTED | OTHER, a->upper);
        return true;
    }
    if (!hold_one(a, items, count, a->lower))
        return false;
    complement(a, a->lower);
    by_flags(a, LISTED, a->upper);
    for (uint32_t w = 0; w < (a->n + 63) / 64; w++) {
        a->lower[w] &= a->upper[w];
        a->upper[w] = a->lower[w];
    }
    by_flags(a, LISTED_MANY | OTHER, a->upper);
    by_flags(a, OTHER, a->lower);
    return true;
}

static bool ask_prefix(const struct asking *a)
{
    const struct qv_str want = a->c->u.text;
    if (a->x->dict != DICT_STRING)
        return false;
    for (uint32_t i = 0; i < a->x->entry_count; i++) {
        const struct entry *e = &a->x->entries[i];
        if (e->key == NULL)
            continue;
        const struct qv_str s = qv_doc_str((struct qv_doc){e->key, e->key_n});
        if (s.n >= want.n && (want.n == 0 || memcmp(s.p, want.p, want.n) == 0))
            entry_bits(a, i, a->lower);
    }
    memcpy(a->upper, a->lower, ((size_t)a->n + 63) / 64 * sizeof *a->upper);
    return true;
}

static bool number_in(double x, const struct qv_range *r)
{
    return (!r->has_lt || x < r->lt) && (!r->has_gt || x > r->gt) && (!r->has_lte || x <= r->lte) &&
           (!r->has_gte || x >= r->gte);
}

static bool time_in(int64_t t, const struct qv_datetime_range *r)
{
    return (!r->has_lt || t < r->lt) && (!r->has_gt || t > r->gt) && (!r->has_lte || t <= r->lte) &&
           (!r->has_gte || t >= r->gte);
}

static bool column_in(const struct asking *a, uint64_t bits)
{
    double number;
    int64_t micros;
    if (a->x->column == COLUMN_TIME) {
        memcpy(&micros, &bits, sizeof micros);
        return time_in(micros, &a->c->u.times);
    }
    memcpy(&number, &bits, sizeof number);
    return number_in(number, &a->c->u.range);
}

static bool ask_range(const struct asking *a, enum column_kind column)
{
    const uint16_t *flags = flags_of(a->x);
    const uint64_t *numbers = numbers_of(a->x);
    if (a->x->column != column)
        return false;
    for (uint32_t slot = 0; slot < a->n; slot++) {
        const uint64_t bit = 1ull << (slot & 63);
        if (!(flags[slot] & NUMBER))
            continue;
        if (column_in(a, numbers[slot])) {
            a->lower[slot / 64] |= bit;
            a->upper[slot / 64] |= bit;
        } else if (flags[slot] & NUMBERS) {
            a->upper[slot / 64] |= bit;
        }
    }
    return true;
}

static bool ask_count(const struct asking *a)
{
    const struct qv_range *r = &a->c->u.range;
    const unsigned certain = (number_in(0, r) ? EMPTY : 0u) | (number_in(1, r) ? COUNT_ONE : 0u);
    by_flags(a, certain, a->lower);
    by_flags(a, certain | COUNT_MANY, a->upper);
    return true;
}

static bool ask_absence(const struct asking *a, unsigned holds, unsigned unless)
{
    by_flags(a, unless, a->lower);
    complement(a, a->lower);
    by_flags(a, holds, a->lower);
    memcpy(a->upper, a->lower, ((size_t)a->n + 63) / 64 * sizeof *a->upper);
    return true;
}

static bool ask(const struct asking *a)
{
    switch (a->c->type) {
    case QV_COND_MATCH:
        return ask_match(a, &a->c->u.match, 1);
    case QV_COND_MATCH_ANY:
        return ask_match(a, a->c->u.any.items, a->c->u.any.count);
    case QV_COND_MATCH_EXCEPT:
        return ask_except(a);
    case QV_COND_MATCH_PREFIX:
        return ask_prefix(a);
    case QV_COND_RANGE:
        return ask_range(a, COLUMN_NUMBER);
    case QV_COND_DATETIME_RANGE:
        return ask_range(a, COLUMN_TIME);
    case QV_COND_VALUES_COUNT:
        return ask_count(a);
    case QV_COND_IS_EMPTY:
        return ask_absence(a, 0, FILLED);
    case QV_COND_IS_NULL:
        by_flags_both(a, IS_NULL);
        return true;
    case QV_COND_KEY_IS_EMPTY:
        if (a->c->u.want)
            return ask_absence(a, EMPTY, REACHED);
        by_flags_both(a, FILLED);
        return true;
    case QV_COND_KEY_IS_NULL:
        if (!a->c->u.want)
            return ask_absence(a, NO_NULL, REACHED);
        by_flags_both(a, HOLDS_NULL);
        return true;
    default:
        return false;
    }
}

bool qv_field_index_ask(const struct qv_field_index *x, const struct qv_cond *c,
                        struct qv_field_answer *out)
{
    const struct asking a = {.x = x,
                             .c = c,
                             .n = out->n < x->slots ? out->n : x->slots,
                             .lower = out->lower,
                             .upper = out->upper};
    const size_t bytes = ((size_t)out->n + 63) / 64 * sizeof *out->lower;
    if (!ask(&a)) {
        memset(out->lower, 0, bytes);
        memset(out->upper, 0, bytes);
        return false;
    }
    for (uint32_t slot = 0; slot < out->n; slot += 64) { /* what nobody has described */
        const uint32_t end = out->n - slot < 64 ? out->n - slot : 64;
        uint64_t known = 0;
        for (uint32_t i = 0; i < end; i++)
            known |= (uint64_t)qv_field_index_knows(x, slot + i) << i;
        out->lower[slot / 64] &= known;
        out->upper[slot / 64] |= ~known;
    }
    return true;
}

uint64_t qv_field_index_bytes(const struct qv_field_index *x)
{
    uint64_t a_slot = sizeof(uint16_t);
    a_slot += x->dict != DICT_NONE ? sizeof(uint64_t) : 0;
    a_slot += x->column != COLUMN_NONE ? sizeof(uint64_t) : 0;
    return sizeof *x + x->slots * a_slot + x->bytes + x->entry_cap * sizeof *x->entries +
           (x->table == NULL ? 0 : ((uint64_t)x->table_mask + 1) * sizeof *x->table);
}

/* ---- check ---- */

static bool holds_slot(const struct entry *e, qv_slot slot)
{
    return e->slots == NULL ? e->count == 1 && e->one == slot
                            : roaring_bitmap_contains(e->slots, slot);
}

const char *qv_field_index_check(const struct qv_field_index *x)
{
    uint64_t held = 0;
    uint64_t counted = 0;
    uint32_t used = 0;
    for (qv_slot slot = 0; slot < x->slots && x->dict != DICT_NONE; slot++) {
        const uint64_t v = values_of(x)[slot];
        const struct list *list = v != 0 && !(v & 1) ? (struct list *)(uintptr_t)v : NULL;
        const uint32_t n = list != NULL ? list->count : v != 0;
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t e = list != NULL ? list->entries[i] : (uint32_t)(v >> 1);
            if (e >= x->entry_count || x->entries[e].key == NULL)
                return "a slot holds an entry that is free";
            if (!holds_slot(&x->entries[e], slot))
                return "a slot's entry does not hold it";
        }
        held += n;
    }
    for (uint32_t e = 0; e < x->entry_count; e++) {
        const struct entry *at = &x->entries[e];
        if (at->key == NULL)
            continue;
        used++;
        counted += at->count;
        if (at->count == 0 ||
            (at->slots != NULL && roaring_bitmap_get_cardinality(at->slots) != at->count))
            return "an entry's count is wrong";
        if (find_entry(x, (struct qv_doc){at->key, at->key_n}) != e)
            return "an entry is not found";
    }
    if (used != x->table_used)
        return "the table counts wrong";
    return held == counted ? NULL : "entries hold more slots than there are";
}
