/* The pieces that request bodies are made of. Internal to json_*.c; the manner of json_scan.h:
 * errors stick to the scanner, results are zero then. Everything is in the arena or borrows the
 * body. */
#ifndef QV_WIRE_JSON_PARTS_H
#define QV_WIRE_JSON_PARTS_H

#include "core/api.h"
#include "wire/json_scan.h"
#include "wire/not_served.h"

/* What a list holds: bytes of an item, how many there may be, and what they are called. */
struct qv_json_list {
    size_t item_bytes;
    uint32_t max;
    const char *what;
};
#define QV_JSON_LIST(item, max, what) (&(const struct qv_json_list){sizeof(item), (max), (what)})

/* Room for one more item behind `count` of them: the array, moved in the arena when *cap is
 * reached. NULL and an error when there would be more than the list's max, or the arena is full. */
void *qv_json_grow(struct qv_json *j, void *items, uint32_t count, uint32_t *cap,
                   const struct qv_json_list *list);

/* Reads a null in silence; any other value is QV_ENOTIMPL. */
void qv_json_refuse(struct qv_json *j, enum qv_not_served what);
/* "missing field `x`", at the byte just read. */
void qv_json_fail_missing(struct qv_json *j, const char *field);
/* Takes over an error that a function below reported into msg. */
void qv_json_fail_below(struct qv_json *j, int err, const struct qv_errmsg *msg);

/* null leaves (or makes) them unset. */
void qv_json_opt_u64(struct qv_json *j, struct qv_opt_u64 *out);
void qv_json_opt_f64(struct qv_json *j, struct qv_opt_f64 *out);
void qv_json_opt_bool(struct qv_json *j, struct qv_opt_bool *out);

struct qv_id qv_json_id(struct qv_json *j);
const struct qv_id *qv_json_ids(struct qv_json *j, uint32_t max, uint32_t *count);
/* Of a vector, field or collection: at most QV_NAME_BYTES_MAX bytes, no NUL. */
struct qv_str qv_json_name(struct qv_json *j);
void qv_json_check_name(struct qv_json *j, struct qv_str name);
const struct qv_str *qv_json_names(struct qv_json *j, uint32_t max, uint32_t *count);
struct qv_path qv_json_path(struct qv_json *j);
/* A path and the text it was written as. */
void qv_json_key_path(struct qv_json *j, struct qv_str *key, struct qv_path *path);
const struct qv_path *qv_json_paths(struct qv_json *j, uint32_t max, uint32_t *count);
/* One of the words (a NULL ends them), its place; or "unknown variant". */
uint32_t qv_json_variant(struct qv_json *j, const char *const *words);

/* One vector in any form: [..], [[..], ..], {"indices", "values"}. */
struct qv_vec qv_json_vec(struct qv_json *j);
/* The parts of a sparse vector, where its object is read key by key. */
struct qv_json_sparse {
    const uint32_t *indices;
    const float *values;
    uint32_t index_count;
    uint32_t value_count;
    bool has_indices;
    bool has_values;
};
bool qv_json_sparse_field(struct qv_json *j, struct qv_str key, struct qv_json_sparse *s);
struct qv_vec qv_json_sparse_end(struct qv_json *j, struct qv_json_sparse *s);
/* Is it a key of a text, image or object to be turned into a vector by a model? Then an error. */
bool qv_json_refuse_inference(struct qv_json *j, struct qv_str key);
/* A point's vectors: one without a name, or a map of names. */
const struct qv_named_vec *qv_json_vectors(struct qv_json *j, uint32_t *count);

void qv_json_payload_select(struct qv_json *j, struct qv_payload_select *out);
void qv_json_vector_select(struct qv_json *j, struct qv_vector_select *out);

/* An object; sealed (bounds checked, lists sorted). NULL for null. */
const struct qv_filter *qv_json_filter(struct qv_json *j);

/* Parts of conditions (json_geo.c); places are valid, polygons sealed. */
struct qv_geo_point qv_json_geo_point(struct qv_json *j);
void qv_json_geo_box(struct qv_json *j, struct qv_geo_box *out);
void qv_json_geo_circle(struct qv_json *j, struct qv_geo_circle *out);
const struct qv_geo_polygon *qv_json_geo_polygon(struct qv_json *j);
void qv_json_datetime_range(struct qv_json *j, struct qv_datetime_range *out);

/* The limits that all searches and scrolls share: 1 <= limit, limit + offset <= QV_LIMIT_MAX. */
void qv_json_check_limit(struct qv_json *j, uint64_t limit, uint64_t offset);

#endif
