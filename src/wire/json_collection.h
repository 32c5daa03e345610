/* Collection configurations as JSON: what reading a request and reading the metadata file share.
 * Internal to json_*.c. */
#ifndef QV_WIRE_JSON_COLLECTION_H
#define QV_WIRE_JSON_COLLECTION_H

#include "core/config.h"
#include "wire/json_scan.h"

/* What the metadata file says beside the body of create-collection. */
struct qv_json_stored {
    uint64_t generation;
};

/* Reads a configuration object. stored NULL: a request: numbers are assigned, what is not served is
 * refused. stored not NULL: numbers, payload_indexes, generation are read. Checked either way. */
void qv_json_collection_config(struct qv_json *j, struct qv_json_stored *stored,
                               struct qv_collection_config *out);

/* Reads "quiver": {"placement", "replication", "regions"}. Of the placement everything that can be
 * said without the shards is checked. */
void qv_json_quiver(struct qv_json *j, struct qv_collection_config *out);
/* "quiver": {..}, where there is more to say than what a collection has anyway. */
void qv_json_write_quiver(struct qv_buf *b, bool *first, const struct qv_collection_config *c);

/* Reads {"field_name", "field_schema", "number"}. */
void qv_json_payload_index(struct qv_json *j, struct qv_payload_index *out);

/* Words of the enums, in their order. */
extern const char *const qv_json_distances[];
extern const char *const qv_json_datatypes[];

#endif
