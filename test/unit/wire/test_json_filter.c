#include "suite.h"

#include "wire/json_doc.h"
#include "wire/json_request.h"

#include <string.h>

static struct qv_arena arena;
static struct qv_errmsg msg;

static struct qv_bytes bytes(const char *text)
{
    return (struct qv_bytes){(const uint8_t *)text, strlen(text)};
}

static const struct qv_filter *read_ok(const char *text)
{
    const struct qv_filter *f;
    int err = qv_json_read_filter(bytes(text), &arena, &f, &msg);
    if (err != 0)
        fail_msg("%s: %d %s", text, err, msg.text);
    return f;
}

static bool has_vector(void *ctx, struct qv_str name)
{
    (void)ctx;
    return name.n == 1 && name.p[0] == 'v';
}

static bool matches(const char *filter, const char *payload)
{
    struct qv_filter_point point = {.id = qv_id_num(7), .has_vector = has_vector};
    const struct qv_filter *f = read_ok(filter);
    assert_int_equal(qv_json_read_doc(bytes(payload), &arena, &point.payload, &msg), 0);
    return qv_filter_match(f, &point);
}

/* A filter, a payload it holds for, one it does not. */
static const struct {
    const char *filter;
    const char *yes;
    const char *no; /* NULL: it holds always */
} meanings[] = {
    {"{}", "{}", NULL},
    {"{\"must\": null, \"should\": null, \"must_not\": null, \"min_should\": null}", "{}", NULL},
    {"{\"must\": {\"key\": \"a\", \"match\": {\"value\": \"x\"}}}", "{\"a\": \"x\"}",
     "{\"a\": \"y\"}"},
    {"{\"must\": [{\"match\": {\"value\": 5}, \"key\": \"a\"}]}", "{\"a\": 5}", "{\"a\": 6}"},
    {"{\"must\": [{\"key\": \"a\", \"match\": {\"value\": true}}]}", "{\"a\": true}",
     "{\"a\": false}"},
    {"{\"must\": [{\"key\": \"a\", \"match\": {\"any\": [\"x\", \"y\"]}}]}", "{\"a\": \"y\"}",
     "{\"a\": \"z\"}"},
    {"{\"must\": [{\"key\": \"a\", \"match\": {\"any\": [3, 1, 2]}}]}", "{\"a\": 2}", "{\"a\": 4}"},
    {"{\"must\": [{\"key\": \"a\", \"match\": {\"except\": [\"x\"]}}]}", "{\"a\": \"y\"}",
     "{\"a\": \"x\"}"},
    {"{\"must\": [{\"key\": \"a\", \"range\": {\"gt\": 1, \"lte\": 2.5, \"lt\": null}}]}",
     "{\"a\": 2.5}", "{\"a\": 1}"},
    {"{\"must\": [{\"key\": \"a\", \"values_count\": {\"gte\": 2, \"lt\": 4}}]}", "{\"a\": [1, 2]}",
     "{\"a\": [1]}"},
    {"{\"must\": [{\"key\": \"a\", \"is_empty\": true}]}", "{\"a\": []}", "{\"a\": 1}"},
    {"{\"must\": [{\"key\": \"a\", \"is_empty\": false}]}", "{\"a\": 1}", "{\"a\": []}"},
    {"{\"must\": [{\"key\": \"a\", \"is_null\": true}]}", "{\"a\": null}", "{\"a\": 1}"},
    {"{\"must\": [{\"key\": \"a\", \"is_null\": false}]}", "{\"a\": 1}", "{\"a\": null}"},
    {"{\"must\": [{\"is_empty\": {\"key\": \"a\"}}]}", "{}", "{\"a\": 1}"},
    {"{\"must\": [{\"is_null\": {\"key\": \"a\"}}]}", "{\"a\": null}", "{}"},
    {"{\"must\": [{\"has_id\": [9, 7, 1]}]}", "{}", NULL},
    {"{\"must_not\": [{\"has_id\": [9, \"550e8400-e29b-41d4-a716-446655440000\"]}]}", "{}", NULL},
    {"{\"must\": [{\"has_vector\": \"v\"}]}", "{}", NULL},
    {"{\"must_not\": [{\"has_vector\": \"w\"}]}", "{}", NULL},
    {"{\"must\": [{\"nested\": {\"key\": \"a\", \"filter\": {\"must\": ["
     "{\"key\": \"x\", \"match\": {\"value\": 1}},"
     "{\"key\": \"y\", \"match\": {\"value\": 2}}]}}}]}",
     "{\"a\": [{\"x\": 1, \"y\": 2}]}", "{\"a\": [{\"x\": 1}, {\"y\": 2}]}"},
    {"{\"must_not\": {\"key\": \"a\", \"match\": {\"value\": 1}}}", "{\"a\": 2}", "{\"a\": 1}"},
    {"{\"should\": [{\"key\": \"a\", \"match\": {\"value\": 1}},"
     " {\"key\": \"b\", \"match\": {\"value\": 1}}]}",
     "{\"b\": 1}", "{\"c\": 1}"},
    {"{\"min_should\": {\"min_count\": 2, \"conditions\": ["
     "{\"key\": \"a\", \"match\": {\"value\": 1}}, {\"key\": \"b\", \"match\": {\"value\": 1}},"
     "{\"key\": \"c\", \"match\": {\"value\": 1}}]}}",
     "{\"a\": 1, \"c\": 1}", "{\"a\": 1, \"b\": 2}"},
    {"{\"must\": [{\"should\": [{\"key\": \"a\", \"match\": {\"value\": 1}}]}, {}]}", "{\"a\": 1}",
     "{\"a\": 2}"},
    {"{\"must\": [{\"key\": \"a\", \"match\": {\"text\": \"ed co\"}}]}",
     "{\"a\": [\"x\", \"red coat\"]}", "{\"a\": \"coat red\"}"},
    {"{\"must\": [{\"key\": \"a\", \"match\": {\"text\": \"\"}}]}", "{\"a\": \"\"}", "{\"a\": 1}"},
    {"{\"must\": [{\"key\": \"a\", \"match\": {\"text_any\": \"blue  coat\"}}]}",
     "{\"a\": \"red coat\"}", "{\"a\": \"red hat\"}"},
    {"{\"must\": [{\"key\": \"a\", \"match\": {\"phrase\": \"d c\"}}]}", "{\"a\": \"red coat\"}",
     "{\"a\": \"red  coat\"}"},
    {"{\"must\": [{\"key\": \"a\", \"match\": {\"prefix\": \"re\"}}]}", "{\"a\": [\"x\", \"red\"]}",
     "{\"a\": \"Red\"}"},
    {"{\"must\": [{\"key\": \"a\", \"range\": {\"gte\": \"2023-02-08T10:49:00Z\", \"lt\": "
     "null}}]}",
     "{\"a\": \"2023-02-08 11:49:00+01\"}", "{\"a\": \"2023-02-08T10:48:59.999999Z\"}"},
    {"{\"must\": [{\"key\": \"a\", \"range\": {\"lt\": \"2023-02-09\"}, \"range\": {\"gt\": "
     "5}}]}",
     "{\"a\": 6}", "{\"a\": \"2023-02-08\"}"},
    {"{\"must\": [{\"key\": \"a\", \"geo_radius\": {\"center\": {\"lon\": 13.423637, \"lat\": "
     "52.511}, \"radius\": 2000}}]}",
     "{\"a\": [{\"lon\": 37.6, \"lat\": 55.7}, {\"lat\": 52.52197645, \"lon\": "
     "13.413637435864272}]}",
     "{\"a\": {\"lon\": 20.4, \"lat\": 52.511}}"},
    {"{\"must\": [{\"key\": \"a\", \"geo_bounding_box\": {\"top_left\": {\"lon\": 170, "
     "\"lat\": 10}, \"bottom_right\": {\"lon\": -170, \"lat\": -10}}}]}",
     "{\"a\": {\"lon\": -175, \"lat\": 1, \"name\": \"x\"}}", "{\"a\": {\"lon\": 0, \"lat\": 0}}"},
    {"{\"must\": [{\"key\": \"a\", \"geo_polygon\": {\"exterior\": {\"points\": "
     "[{\"lon\":0,\"lat\":0},{\"lon\":9,\"lat\":0},{\"lon\":9,\"lat\":9},{\"lon\":0,\"lat\":9},"
     "{\"lon\":0,\"lat\":0}]}, \"interiors\": [{\"points\": "
     "[{\"lon\":3,\"lat\":3},{\"lon\":6,\"lat\":3},{\"lon\":6,\"lat\":6},{\"lon\":3,\"lat\":3}]"
     "}]}}]}",
     "{\"a\": {\"lon\": 2, \"lat\": 2}}", "{\"a\": {\"lon\": 5, \"lat\": 4}}"},
    {"{\"must\": [{\"should\": [{\"slice\": {\"total\": 2, \"index\": 0}}, {\"slice\": "
     "{\"total\": 2, \"index\": 1}}]}]}",
     "{}", NULL},
    {"{\"must_not\": [{\"nested\": {\"key\": \"a\", \"filter\": {\"must\": [{\"slice\": "
     "{\"total\": 1, \"index\": 0}}]}}}]}",
     "{\"a\": [{}]}", NULL},
    /* several things said of one key: any of them */
    {"{\"must\": [{\"key\": \"a\", \"match\": {\"value\": 9}, \"range\": {\"lt\": 3}}]}",
     "{\"a\": 9}", "{\"a\": 5}"},
    /* of equal keys the last one counts */
    {"{\"must\": [{\"key\": \"a\", \"match\": {\"value\": 1}, \"match\": {\"value\": 2}}]}",
     "{\"a\": 2}", "{\"a\": 1}"},
    {"{\"must\": [{\"key\": \"z\", \"key\": \"a[].b\", \"match\": {\"value\": \"x\"}}]}",
     "{\"a\": [{\"b\": \"x\"}]}", "{\"z\": \"x\"}"},
};

static void test_filters_mean_what_they_say(void **state)
{
    (void)state;
    qv_arena_init(&arena, 16 << 20);
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (!matches(meanings[i].filter, meanings[i].yes))
            fail_msg("%s must hold for %s", meanings[i].filter, meanings[i].yes);
        if (meanings[i].no != NULL && matches(meanings[i].filter, meanings[i].no))
            fail_msg("%s must not hold for %s", meanings[i].filter, meanings[i].no);
    }
    qv_arena_close(&arena);
}

static const struct {
    const char *text;
    int err;
    const char *want;
} refusals[] = {
    {"[]", QV_EFORMAT, "invalid type: sequence, expected a map"},
    {"{\"musts\": []}", QV_EFORMAT, "unknown field `musts`, expected one of `should`"},
    {"{\"must\": 5}", QV_EFORMAT, "invalid type: integer `5`, expected a sequence"},
    {"{\"must\": [5]}", QV_EFORMAT, "invalid type: integer `5`, expected a condition"},
    {"{\"must\": [{\"foo\": 1}]}", QV_EFORMAT,
     "data did not match any variant of untagged enum Condition"},
    {"{\"must\": [{\"match\": {\"value\": 1}}]}", QV_EFORMAT, "data did not match"},
    {"{\"must\": [{\"key\": \"a\"}]}", QV_EVALIDATION,
     "filter: At least one field condition must be specified"},
    {"{\"must\": [{\"key\": 5, \"match\": {\"value\": 1}}]}", QV_EFORMAT, "invalid type"},
    {"{\"must\": [{\"key\": \"a[\", \"match\": {\"value\": 1}}]}", QV_EFORMAT,
     "Invalid json path: 'a['"},
    {"{\"must\": [{\"key\": \"a\\u0000\", \"match\": {\"value\": 1}}]}", QV_EFORMAT,
     "a key must not hold NUL"},
    {"{\"must\": [{\"key\": \"a\", \"match\": {}}]}", QV_EFORMAT, "data did not match any"},
    {"{\"must\": [{\"key\": \"a\", \"match\": {\"value\": 1.5}}]}", QV_EFORMAT, "data did not"},
    {"{\"must\": [{\"key\": \"a\", \"match\": {\"value\": null}}]}", QV_EFORMAT,
     "invalid type: null"},
    {"{\"must\": [{\"key\": \"a\", \"match\": {\"any\": [1, \"a\"]}}]}", QV_EFORMAT,
     "data did not match any variant of untagged enum AnyVariants"},
    {"{\"must\": [{\"key\": \"a\", \"match\": {\"any\": [true]}}]}", QV_EFORMAT,
     "invalid type: boolean `true`"},
    {"{\"must\": [{\"key\": \"a\", \"range\": {\"gt\": true}}]}", QV_EFORMAT, "invalid type"},
    {"{\"must\": [{\"key\": \"a\", \"values_count\": {\"gt\": -1}}]}", QV_EFORMAT,
     "invalid value: integer `-1`"},
    {"{\"must\": [{\"has_id\": [-1]}]}", QV_EFORMAT, "value -1 is not a valid point ID"},
    {"{\"must\": [{\"has_vector\": 1}]}", QV_EFORMAT, "invalid type"},
    {"{\"must\": [{\"nested\": {\"key\": \"a\"}}]}", QV_EFORMAT, "missing field `filter`"},
    {"{\"must\": [{\"nested\": {\"filter\": {}}}]}", QV_EFORMAT, "missing field `key`"},
    {"{\"must\": [{\"is_empty\": {}}]}", QV_EFORMAT, "missing field `key`"},
    {"{\"must\": [{\"must\": [], \"foo\": 1}]}", QV_EFORMAT, "data did not match"},
    {"{\"min_should\": {\"conditions\": []}}", QV_EFORMAT, "missing field `min_count`"},
    {"{\"min_should\": {\"min_count\": 1}}", QV_EFORMAT, "missing field `conditions`"},
    {"{\"must\": [{\"key\": \"a\", \"match\": {\"text\": 5}}]}", QV_EFORMAT,
     "invalid type: integer `5`"},
    {"{\"must\": [{\"key\": \"a\", \"match\": {\"phrase\": null}}]}", QV_EFORMAT,
     "invalid type: null"},
    {"{\"must\": [{\"key\": \"a\", \"match\": {\"prefix\": [\"x\"]}}]}", QV_EFORMAT,
     "invalid type: sequence"},
    {"{\"must\": [{\"key\": \"a\", \"range\": {\"gt\": \"yesterday\"}}]}", QV_EFORMAT,
     "'yesterday' does not match accepted datetime format (RFC3339)"},
    {"{\"must\": [{\"key\": \"a\", \"range\": {\"gt\": \"2020-01-01\", \"lt\": 5}}]}", QV_EFORMAT,
     "invalid type: integer `5`, expected a string"},
    {"{\"must\": [{\"key\": \"a\", \"range\": {\"lt\": 5, \"gt\": \"2020-01-01\"}}]}", QV_EFORMAT,
     "invalid type: integer `5`, expected a string"},
    {"{\"must\": [{\"key\": \"a\", \"values_count\": {\"gt\": \"2020-01-01\"}}]}", QV_EFORMAT,
     "invalid type: string"},
    {"{\"must\": [{\"key\": \"a\", \"geo_radius\": {}}]}", QV_EFORMAT, "missing field `center`"},
    {"{\"must\": [{\"key\": \"a\", \"geo_radius\": {\"center\": {\"lon\": 1}, \"radius\": "
     "5}}]}",
     QV_EFORMAT, "missing field `lat`"},
    {"{\"must\": [{\"key\": \"a\", \"geo_radius\": {\"center\": {\"lon\": 1, \"lat\": 2}}}]}",
     QV_EFORMAT, "missing field `radius`"},
    {"{\"must\": [{\"key\": \"a\", \"geo_radius\": {\"center\": {\"lon\": 181, \"lat\": 2}, "
     "\"radius\": 5}}]}",
     QV_EFORMAT,
     "Wrong format of GeoPoint payload: expected `lat` = 2 within [-90;90] and `lon` = 181 "
     "within"},
    {"{\"must\": [{\"key\": \"a\", \"geo_bounding_box\": {\"top_left\": {\"lon\": 1, \"lat\": "
     "90.5}, \"bottom_right\": {\"lon\": 1, \"lat\": 2}}}]}",
     QV_EFORMAT, "Wrong format of GeoPoint"},
    {"{\"must\": [{\"key\": \"a\", \"geo_bounding_box\": {\"top_left\": {\"lon\": 1, \"lat\": "
     "90}}}]}",
     QV_EFORMAT, "missing field `bottom_right`"},
    {"{\"must\": [{\"key\": \"a\", \"geo_polygon\": {}}]}", QV_EFORMAT, "missing field `exterior`"},
    {"{\"must\": [{\"key\": \"a\", \"geo_polygon\": {\"exterior\": {}}}]}", QV_EFORMAT,
     "missing field `points`"},
    {"{\"must\": [{\"key\": \"a\", \"geo_polygon\": {\"exterior\": {\"points\": []}}}]}",
     QV_EFORMAT, "polygon invalid, the size must be at least 4, got 0"},
    {"{\"must\": [{\"key\": \"a\", \"geo_polygon\": {\"exterior\": {\"points\": "
     "[{\"lon\":0,\"lat\":0},{\"lon\":1,\"lat\":0},{\"lon\":1,\"lat\":1},{\"lon\":0,\"lat\":1}]"
     "}}}]}",
     QV_EFORMAT, "polygon invalid, the first and the last points should be the same"},
    {"{\"must\": [{\"slice\": {\"total\": 2}}]}", QV_EFORMAT, "missing field `index`"},
    {"{\"must\": [{\"slice\": {\"total\": 0, \"index\": 0}}]}", QV_EFORMAT,
     "invalid value: integer `0`, expected a nonzero u32"},
    {"{\"must\": [{\"slice\": {\"total\": 2, \"index\": 2}}]}", QV_EVALIDATION,
     "filter.slice.index: must be less than total (2)"},
    {"{\"must\": [{\"slice\": {\"total\": -1, \"index\": 2}}]}", QV_EFORMAT,
     "invalid value: integer `-1`"},
};

static void test_refused(void **state)
{
    (void)state;
    qv_arena_init(&arena, 16 << 20);
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const struct qv_filter *f;
        int err = qv_json_read_filter(bytes(refusals[i].text), &arena, &f, &msg);
        if (err != refusals[i].err ||
            strncmp(msg.text, refusals[i].want, strlen(refusals[i].want)) != 0)
            fail_msg("%s: %d %s, want %d %s", refusals[i].text, err, msg.text, refusals[i].err,
                     refusals[i].want);
        assert_null(f);
    }
    qv_arena_close(&arena);
}

/* Nesting beyond what evaluation takes, and beyond what the scanner takes, is refused. */
static void test_depth_and_count(void **state)
{
    (void)state;
    static char text[200000];
    const struct qv_filter *f;
    for (int depth = 1; depth <= 10000; depth = depth < 60 ? depth + 1 : depth * 10) {
        char *p = text;
        for (int i = 0; i < depth; i++)
            p += snprintf(p, 16, "{\"must\":");
        p += snprintf(p, 16, "{}");
        for (int i = 0; i < depth; i++)
            *p++ = '}';
        *p = '\0';
        qv_arena_init(&arena, 16 << 20);
        int err = qv_json_read_filter(bytes(text), &arena, &f, &msg);
        if (depth < QV_FILTER_DEPTH_MAX - 1)
            assert_int_equal(err, 0);
        if (depth > QV_FILTER_DEPTH_MAX + 1)
            assert_int_not_equal(err, 0);
        qv_arena_close(&arena);
    }
    char *p = text + snprintf(text, 16, "{\"must\":[{}");
    for (uint32_t i = 0; i < QV_FILTER_CONDS_MAX; i++)
        p += snprintf(p, 8, ",{}");
    snprintf(p, 8, "]}");
    qv_arena_init(&arena, 16 << 20);
    int err = qv_json_read_filter(bytes(text), &arena, &f, &msg);
    assert_true(err == QV_ETOOBIG || err == QV_EINVAL);
    qv_arena_close(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filters_mean_what_they_say),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_depth_and_count),
    };
    return RUN_SUITE(tests);
}
