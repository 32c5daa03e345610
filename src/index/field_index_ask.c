/* What a payload index says of a condition (field_index.h). */
#include "index/field_index_private.h"

#include "base/mem.h"
#include "core/text_match.h"

struct asking {
    const struct qv_field_index *x;
    const struct qv_cond *c;
    const struct qv_filter_binding *binding;
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
            key.failed ? NO_ENTRY : qv_field_index_find(a->x, (struct qv_doc){key.data, key.len});
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

/* Slots that hold a string of the dictionary that begins so. */
static void begin_bits(const struct asking *a, struct qv_str want, uint64_t *bits)
{
    for (uint32_t i = 0; i < a->x->entry_count; i++) {
        const struct entry *e = &a->x->entries[i];
        if (e->key == NULL)
            continue;
        const struct qv_str s = qv_doc_str((struct qv_doc){e->key, e->key_n});
        if (s.n >= want.n && (want.n == 0 || memcmp(s.p, want.p, want.n) == 0))
            entry_bits(a, i, bits);
    }
}

static bool ask_prefix(const struct asking *a)
{
    if (a->x->dict != DICT_STRING)
        return false;
    begin_bits(a, a->c->u.text, a->lower);
    memcpy(a->upper, a->lower, ((size_t)a->n + 63) / 64 * sizeof *a->upper);
    return true;
}

/* Slots whose texts have the token (prefix: one that begins with it). false: no memory. */
static bool token_bits(const struct asking *a, struct qv_str token, bool prefix, uint64_t *bits)
{
    struct qv_buf key;
    qv_buf_init(&key, 0);
    qv_doc_put_str(&key, token.p, token.n);
    const bool ok = !key.failed;
    const uint32_t e =
        !ok || prefix ? NO_ENTRY : qv_field_index_find(a->x, (struct qv_doc){key.data, key.len});
    if (e != NO_ENTRY)
        entry_bits(a, e, bits);
    if (prefix)
        begin_bits(a, token, bits);
    qv_buf_close(&key);
    return ok;
}

/* Tokens at any places: for a phrase that is what may hold it. Without a text index's tokens for
 * the condition, texts are compared by bytes, of which there is nothing here. */
static bool ask_text(const struct asking *a)
{
    const size_t words = ((size_t)a->n + 63) / 64;
    const bool all = a->c->type != QV_COND_MATCH_TEXT_ANY;
    struct qv_text_asked asked;
    if (a->x->dict != DICT_TOKEN || !qv_text_asked(a->binding, a->c, &asked) ||
        asked.index != a->x->number)
        return false;
    if (asked.count == 0)
        return true;
    uint64_t *bits = all && asked.count > 1 ? qv_mem_try_alloc(words * sizeof *bits) : a->upper;
    bool ok = bits != NULL;
    for (uint32_t i = 0; i < asked.count && ok; i++) {
        uint64_t *to = i == 0 ? a->upper : bits;
        if (to != a->upper)
            memset(to, 0, words * sizeof *to);
        ok = token_bits(a, asked.tokens[i], asked.prefix, to);
        for (size_t w = 0; w < words && to != a->upper; w++)
            a->upper[w] &= to[w];
    }
    if (bits != a->upper)
        qv_mem_free(bits);
    if (ok && a->c->type != QV_COND_MATCH_PHRASE)
        memcpy(a->lower, a->upper, words * sizeof *a->lower);
    return ok;
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

/* Latitudes in which an area lies, and a little more: most places are out by them alone. */
struct band {
    double low, high;
};

#define METRES_A_DEGREE (QV_GEO_EARTH_RADIUS_M * 3.14159265358979323846 / 180.0)
#define BAND_SLACK 1e-6 /* degrees; rounding is far below it */

static struct band band_of(const struct qv_cond *c)
{
    if (c->type == QV_COND_GEO_BOX)
        return (struct band){c->u.geo_box.bottom_right.lat, c->u.geo_box.top_left.lat};
    if (c->type == QV_COND_GEO_POLYGON)
        return (struct band){c->u.geo_polygon->min.lat, c->u.geo_polygon->max.lat};
    const double reach = c->u.geo_circle.radius / METRES_A_DEGREE + BAND_SLACK;
    return (struct band){c->u.geo_circle.center.lat - reach, c->u.geo_circle.center.lat + reach};
}

static bool place_in(const struct qv_cond *c, struct qv_geo_point p)
{
    if (c->type == QV_COND_GEO_BOX)
        return qv_geo_box_contains(&c->u.geo_box, p);
    if (c->type == QV_COND_GEO_RADIUS)
        return qv_geo_circle_contains(&c->u.geo_circle, p);
    return qv_geo_polygon_contains(c->u.geo_polygon, p);
}

static bool column_in(const struct asking *a, const struct band *band, qv_slot slot)
{
    union column_value v;
    switch (a->x->column) {
    case COLUMN_NUMBER:
        memcpy(&v.number, a->x->column_mem.base + slot * sizeof v.number, sizeof v.number);
        return number_in(v.number, &a->c->u.range);
    case COLUMN_TIME:
        memcpy(&v.micros, a->x->column_mem.base + slot * sizeof v.micros, sizeof v.micros);
        return time_in(v.micros, &a->c->u.times);
    default:
        memcpy(&v.place, a->x->column_mem.base + slot * sizeof v.place, sizeof v.place);
        return v.place.lat >= band->low && v.place.lat <= band->high && place_in(a->c, v.place);
    }
}

/* By the column; of a slot with several values it has one only. */
static bool ask_column(const struct asking *a, enum column_kind column)
{
    const uint16_t *flags = flags_of(a->x);
    struct band band = {0, 0};
    if (a->x->column != column)
        return false;
    if (column == COLUMN_PLACE)
        band = band_of(a->c);
    for (uint32_t slot = 0; slot < a->n; slot++) {
        const uint64_t bit = 1ull << (slot & 63);
        if (!(flags[slot] & NUMBER))
            continue;
        if (column_in(a, &band, slot)) {
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
        return ask_column(a, COLUMN_NUMBER);
    case QV_COND_DATETIME_RANGE:
        return ask_column(a, COLUMN_TIME);
    case QV_COND_GEO_BOX:
    case QV_COND_GEO_RADIUS:
    case QV_COND_GEO_POLYGON:
        return ask_column(a, COLUMN_PLACE);
    case QV_COND_MATCH_TEXT:
    case QV_COND_MATCH_TEXT_ANY:
    case QV_COND_MATCH_PHRASE:
        return ask_text(a);
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
                        const struct qv_filter_binding *binding, struct qv_field_answer *out)
{
    const struct asking a = {.x = x,
                             .c = c,
                             .binding = binding,
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

/* ---- values ---- */

/* The entries of a slot's value: how many, and where they stand; one: room for one. */
static uint32_t entries_of(const struct qv_field_index *x, qv_slot slot, uint32_t *one,
                           const uint32_t **out)
{
    const uint64_t v = values_of(x)[slot];
    *out = one;
    *one = (uint32_t)(v >> 1);
    if (v == 0 || (v & 1) != 0)
        return v != 0;
    const struct list *list = (const struct list *)(uintptr_t)v;
    *out = list->entries;
    return list->count;
}

static void give_integers(const struct qv_field_index *x, qv_slot slot, qv_field_value_f f,
                          void *ctx)
{
    const uint32_t *entries;
    uint32_t one;
    const uint32_t n = entries_of(x, slot, &one, &entries);
    for (uint32_t i = 0; i < n; i++) {
        const struct entry *e = &x->entries[entries[i]];
        const struct qv_order_value value = {.type = QV_ORDER_INT,
                                             .i = qv_doc_int((struct qv_doc){e->key, e->key_n})};
        f(ctx, &value);
    }
}

bool qv_field_index_values(const struct qv_field_index *x, qv_slot slot, qv_field_value_f f,
                           void *ctx)
{
    struct qv_order_value value = {.type = QV_ORDER_FLOAT};
    if (!qv_field_index_knows(x, slot) || x->column == COLUMN_NONE || x->column == COLUMN_PLACE)
        return false;
    const unsigned flags = flags_of(x)[slot];
    if (x->dict == DICT_INT) {
        give_integers(x, slot, f, ctx);
        return true;
    }
    if (flags & NUMBERS)
        return false;
    if (!(flags & NUMBER))
        return true;
    const uint8_t *at = x->column_mem.base + slot * column_width(x->column);
    if (x->column == COLUMN_TIME) {
        value.type = QV_ORDER_DATETIME;
        memcpy(&value.i, at, sizeof value.i);
    } else {
        memcpy(&value.f, at, sizeof value.f);
    }
    f(ctx, &value);
    return true;
}

/* false: one of them is not described. */
static bool count_entries(const struct qv_field_index *x, const struct qv_field_counting *c,
                          uint32_t *counts)
{
    for (uint32_t w = 0; w < (c->n + 63) / 64; w++) {
        for (uint64_t left = c->bits[w]; left != 0; left &= left - 1) {
            const uint32_t *entries;
            uint32_t one;
            const qv_slot slot = w * 64 + (uint32_t)__builtin_ctzll(left);
            if (slot >= c->n)
                return true;
            if (!qv_field_index_knows(x, slot))
                return false;
            const uint32_t n = entries_of(x, slot, &one, &entries);
            for (uint32_t i = 0; i < n; i++)
                counts[entries[i]]++;
        }
    }
    return true;
}

int qv_field_index_count(const struct qv_field_index *x, const struct qv_field_counting *c,
                         bool *known)
{
    *known = false;
    if (x->dict == DICT_NONE || x->dict == DICT_TOKEN)
        return 0;
    uint32_t *counts = qv_mem_try_calloc((size_t)x->entry_count + 1, sizeof *counts);
    if (counts == NULL)
        return QV_ENOMEM;
    *known = count_entries(x, c, counts);
    for (uint32_t e = 0; e < x->entry_count && *known; e++) {
        const struct entry *at = &x->entries[e];
        if (counts[e] != 0)
            c->f(c->ctx, (struct qv_doc){at->key, at->key_n}, counts[e]);
    }
    qv_mem_free(counts);
    return 0;
}
