#include "index/field_index_private.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "core/datetime.h"

#include <stdlib.h>

#define ARENA_BYTES ((size_t)64 << 20)
#define TABLE_MIN 64u
#define ENTRY_BYTES_MAX (1u << 24) /* a payload has no more */

/* ---- life ---- */

static void set_kind(struct qv_field_index *x, struct qv_str type)
{
    static const struct {
        const char *type;
        enum dict_kind dict;
        enum column_kind column;
    } kinds[] = {{"keyword", DICT_STRING, COLUMN_NONE}, {"uuid", DICT_STRING, COLUMN_NONE},
                 {"integer", DICT_INT, COLUMN_NUMBER},  {"bool", DICT_BOOL, COLUMN_NONE},
                 {"float", DICT_NONE, COLUMN_NUMBER},   {"datetime", DICT_NONE, COLUMN_TIME},
                 {"geo", DICT_NONE, COLUMN_PLACE},      {"text", DICT_TOKEN, COLUMN_NONE}};
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
    qv_buf_init(&x->now_key, 0);
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
        err = qv_vmem_reserve(&x->column_mem, max_slots * column_width(x->column), false);
    if (err == 0 && x->dict == DICT_TOKEN)
        err = qv_text_tokens_open(declared->params, &x->tokens, msg);
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
    qv_vmem_close(&x->column_mem);
    qv_text_tokens_close(&x->tokens);
    qv_buf_close(&x->now_key);
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

uint32_t qv_field_index_find(const struct qv_field_index *x, struct qv_doc key)
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

/* What it finds twice is sorted out at the end. */
static void list_value(struct qv_field_index *x, struct qv_doc v)
{
    if (x->found_count == x->found_cap) {
        const uint32_t cap = x->found_cap == 0 ? 8 : 2 * x->found_cap;
        uint32_t *found = qv_mem_try_realloc(x->found, (size_t)cap * sizeof *found);
        if (found == NULL) {
            x->failed = true;
            return;
        }
        x->found = found;
        x->found_cap = cap;
    }
    uint32_t e = qv_field_index_find(x, v);
    if (e == NO_ENTRY)
        e = make_entry(x, v);
    if (e == NO_ENTRY)
        x->failed = true;
    else
        x->found[x->found_count++] = e;
}

static bool list_token(void *ctx, struct qv_str token)
{
    struct qv_field_index *x = ctx;
    qv_buf_clear(&x->now_key);
    qv_doc_put_str(&x->now_key, token.p, token.n);
    if (x->now_key.failed)
        x->failed = true;
    else
        list_value(x, (struct qv_doc){x->now_key.data, x->now_key.len});
    return !x->failed;
}

/* What the column has for it. */
static bool as_column(const struct qv_field_index *x, struct qv_doc v, union column_value *out)
{
    const enum qv_doc_type t = qv_doc_type(v);
    memset(out, 0, sizeof *out);
    switch (x->column) {
    case COLUMN_NUMBER:
        out->number = t == QV_DOC_INT || t == QV_DOC_DOUBLE ? qv_doc_double(v) : 0;
        return t == QV_DOC_INT || t == QV_DOC_DOUBLE;
    case COLUMN_TIME:
        return t == QV_DOC_STRING && qv_datetime_parse(qv_doc_str(v), &out->micros);
    case COLUMN_PLACE:
        return qv_filter_place(v, &out->place);
    default:
        return false;
    }
}

static void add_element(struct qv_field_index *x, struct qv_doc v)
{
    const enum qv_doc_type t = qv_doc_type(v);
    union column_value value;
    if (t == QV_DOC_NULL)
        return;
    const bool listed = (x->dict == DICT_STRING && t == QV_DOC_STRING) ||
                        (x->dict == DICT_INT && t == QV_DOC_INT) ||
                        (x->dict == DICT_BOOL && (t == QV_DOC_TRUE || t == QV_DOC_FALSE));
    if (listed)
        list_value(x, v);
    else
        x->now |= OTHER;
    if (x->dict == DICT_TOKEN && t == QV_DOC_STRING)
        qv_text_tokens_run(x->tokens, qv_doc_str(v), list_token, x);
    if (!as_column(x, v, &value))
        return;
    if (!(x->now & NUMBER))
        x->now_value = value;
    else if (memcmp(&value, &x->now_value, column_width(x->column)) != 0)
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
        err = qv_vmem_grow(&x->column_mem, n * column_width(x->column));
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

static int number_order(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a;
    const uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Each entry once. */
static void sort_found(struct qv_field_index *x)
{
    uint32_t kept = 0;
    if (x->found_count > 1)
        qsort(x->found, x->found_count, sizeof *x->found, number_order);
    for (uint32_t i = 0; i < x->found_count; i++) {
        if (i == 0 || x->found[i] != x->found[kept - 1])
            x->found[kept++] = x->found[i];
    }
    x->found_count = kept;
    if (x->dict != DICT_TOKEN)
        x->now |= kept > 1 ? LISTED | LISTED_MANY : kept == 1 ? LISTED : 0;
}

int qv_field_index_end(struct qv_field_index *x, qv_slot slot)
{
    int err = grow(x, slot);
    sort_found(x);
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
        return err;
    }
    if (x->column != COLUMN_NONE)
        memcpy(x->column_mem.base + slot * column_width(x->column), &x->now_value,
               column_width(x->column));
    flags_of(x)[slot] = x->now;
    return 0;
}

bool qv_field_index_knows(const struct qv_field_index *x, qv_slot slot)
{
    return slot < x->slots && flags_of(x)[slot] & KNOWN;
}

void qv_field_index_forget(struct qv_field_index *x, qv_slot slot)
{
    drop_unused(x); /* of a description that was begun */
    if (slot >= x->slots)
        return;
    flags_of(x)[slot] = 0;
    if (x->dict != DICT_NONE)
        clear_value(x, slot);
}

/* ---- figures ---- */

uint64_t qv_field_index_bytes(const struct qv_field_index *x)
{
    uint64_t a_slot = sizeof(uint16_t);
    a_slot += x->dict != DICT_NONE ? sizeof(uint64_t) : 0;
    a_slot += column_width(x->column);
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
        if (qv_field_index_find(x, (struct qv_doc){at->key, at->key_n}) != e)
            return "an entry is not found";
    }
    if (used != x->table_used)
        return "the table counts wrong";
    return held == counted ? NULL : "entries hold more slots than there are";
}
