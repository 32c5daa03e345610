/* Collection configurations and payload index options from protobuf. Private to the protobuf half
 * of wire. */
#ifndef QV_WIRE_PB_CONFIG_H
#define QV_WIRE_PB_CONFIG_H

#include "proto/quiver_change.pb-c.h"
#include "wire/pb_parts.h"

/* As qv_json_read_create_collection: numbers 0.. for vectors, then sparse ones; checked. */
QV_MUST_USE int qv_pb_config(struct qv_pb_ctx *c, const QvPb__CreateCollection *m,
                             struct qv_collection_config **out);
QV_MUST_USE int qv_pb_config_diff(struct qv_pb_ctx *c, const QvPb__UpdateCollection *m,
                                  struct qv_config_diff *out);
QV_MUST_USE int qv_pb_vector_spec(struct qv_pb_ctx *c, const QvPb__CreateVectorNameRequest *m,
                                  struct qv_vector_spec *out);
/* number stays 0: the caller assigns it. */
QV_MUST_USE int qv_pb_index(struct qv_pb_ctx *c, const QvPb__CreateFieldIndexCollection *m,
                            struct qv_payload_index *out);

/* The one table of index types: REST's name, and the message of its options. */
struct qv_pb_index_type {
    const char *name;
    uint32_t field_type;  /* FieldType; PayloadSchemaType is in the same order, see below */
    uint32_t schema_type; /* PayloadSchemaType */
    uint32_t params;      /* number in PayloadIndexParams */
    const ProtobufCMessageDescriptor *desc;
};
#define QV_PB_INDEX_TYPES 8
extern const struct qv_pb_index_type qv_pb_index_types[QV_PB_INDEX_TYPES];

/* Names of binary quantization's encodings, by enum value. */
extern const char *const qv_pb_encodings[3];
extern const char *const qv_pb_query_encodings[4];

#endif
