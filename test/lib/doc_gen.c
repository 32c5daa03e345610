#include "doc_gen.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static void put_json(struct qv_buf *b, const json_t *j)
{
    const char *key;
    json_t *value;
    size_t i;
    size_t mark;
    switch (json_typeof(j)) {
    case JSON_NULL:
        qv_doc_put_null(b);
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        qv_doc_put_bool(b, json_is_true(j));
        break;
    case JSON_INTEGER:
        qv_doc_put_int(b, json_integer_value(j));
        break;
    case JSON_REAL:
        qv_doc_put_double(b, json_real_value(j));
        break;
    case JSON_STRING:
        qv_doc_put_str(b, json_string_value(j), json_string_length(j));
        break;
    case JSON_ARRAY:
        mark = qv_doc_begin_array(b);
        json_array_foreach(j, i, value) put_json(b, value);
        qv_doc_end_array(b, mark, (uint32_t)json_array_size(j));
        break;
    case JSON_OBJECT:
        mark = qv_doc_begin_object(b);
        json_object_foreach((json_t *)(uintptr_t)j, key, value)
        {
            qv_doc_put_key(b, key, strlen(key));
            put_json(b, value);
        }
        qv_doc_end_object(b, mark, (uint32_t)json_object_size(j));
        break;
    }
}

void doc_gen_json(struct qv_buf *b, const char *json)
{
    json_error_t error;
    json_t *j = json_loads(json, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (j == NULL) {
        fprintf(stderr, "doc_gen_json: %s in %s\n", error.text, json);
        exit(99);
    }
    put_json(b, j);
    json_decref(j);
}

struct qv_buf doc_gen_new(const char *json)
{
    struct qv_buf b;
    qv_buf_init(&b, 0);
    doc_gen_json(&b, json);
    return b;
}

struct qv_doc doc_gen_view(const struct qv_buf *b)
{
    return (struct qv_doc){b->data, b->len};
}

static const char *const words[] = {"",
                                    "red",
                                    "blue",
                                    "a",
                                    "b",
                                    "köln",
                                    "7",
                                    "true",
                                    "日本",
                                    "2023-02-08",
                                    "red blue coat",
                                    "1969-12-31",
                                    "2023-02-08T10:49:00Z"};
static const char *const keys[] = {"a", "b", "c", "d", "a b", "é"};
#define KEY_COUNT (sizeof keys / sizeof *keys)

static void put_degrees(struct qv_buf *b, struct qv_rng *rng, int limit)
{
    switch (qv_rng_below(rng, 12)) {
    case 0:
        qv_doc_put_str(b, "1", 1);
        break;
    case 1:
        qv_doc_put_double(b, limit + 1.5);
        break;
    case 2:
        qv_doc_put_double(b, (qv_rng_unit(rng) * 2 - 1) * limit);
        break;
    default: /* not the antimeridian itself, which has two names */
        qv_doc_put_int(b, (int64_t)qv_rng_below(rng, 2 * (uint64_t)limit - 1) - limit + 1);
    }
}

/* {"lon": .., "lat": ..}, now and then not quite. */
static void put_place(struct qv_buf *b, struct qv_rng *rng)
{
    const bool whole = qv_rng_below(rng, 12) != 0;
    size_t mark = qv_doc_begin_object(b);
    qv_doc_put_key(b, "lon", 3);
    put_degrees(b, rng, 180);
    if (whole) {
        qv_doc_put_key(b, "lat", 3);
        put_degrees(b, rng, 90);
    }
    qv_doc_end_object(b, mark, whole ? 2 : 1);
}

static void put_scalar(struct qv_buf *b, struct qv_rng *rng)
{
    const char *word = words[qv_rng_below(rng, sizeof words / sizeof *words)];
    switch (qv_rng_below(rng, 6)) {
    case 0:
        qv_doc_put_null(b);
        break;
    case 1:
        qv_doc_put_bool(b, qv_rng_below(rng, 2));
        break;
    case 2:
        qv_doc_put_int(b, (int64_t)qv_rng_below(rng, 7) - 3);
        break;
    case 3:
        qv_doc_put_double(b, ((double)qv_rng_below(rng, 13) - 6) / 2);
        break;
    default:
        qv_doc_put_str(b, word, strlen(word));
        break;
    }
}

static void put_array(struct qv_buf *b, struct qv_rng *rng, unsigned depth)
{
    uint32_t n = (uint32_t)qv_rng_below(rng, 4);
    size_t mark = qv_doc_begin_array(b);
    const bool objects = depth > 1 && qv_rng_below(rng, 2) == 0; /* what "[].key" and nested like */
    for (uint32_t i = 0; i < n; i++) {
        if (objects)
            doc_gen_random_object(b, rng, depth - 1);
        else
            doc_gen_random(b, rng, depth - 1);
    }
    qv_doc_end_array(b, mark, n);
}

void doc_gen_random_object(struct qv_buf *b, struct qv_rng *rng, unsigned depth)
{
    uint32_t n = 0;
    size_t start = (size_t)qv_rng_below(rng, KEY_COUNT);
    size_t mark = qv_doc_begin_object(b);
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const char *key = keys[(start + i) % KEY_COUNT];
        if (qv_rng_below(rng, 2) == 0)
            continue;
        qv_doc_put_key(b, key, strlen(key));
        if (depth > 1)
            doc_gen_random(b, rng, depth - 1);
        else
            put_scalar(b, rng);
        n++;
    }
    qv_doc_end_object(b, mark, n);
}

void doc_gen_random(struct qv_buf *b, struct qv_rng *rng, unsigned depth)
{
    uint64_t what = depth == 0 ? 0 : qv_rng_below(rng, 5);
    if (what == 4)
        put_place(b, rng);
    else if (what == 2)
        put_array(b, rng, depth);
    else if (what == 3)
        doc_gen_random_object(b, rng, depth);
    else
        put_scalar(b, rng);
}
