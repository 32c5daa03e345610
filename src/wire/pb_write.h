/* Changes from protobuf: the requests that write, and the operations of a batch. Private to the
 * protobuf half of wire. */
#ifndef QV_WIRE_PB_WRITE_H
#define QV_WIRE_PB_WRITE_H

#include "wire/pb_method.h"
#include "wire/pb_parts.h"

/* Every write but Upsert, unpacked. *collection borrows the message; may be NULL. */
QV_MUST_USE int qv_pb_write(struct qv_pb_ctx *c, enum qv_pb_call call, const ProtobufCMessage *base,
                            const char **collection, struct qv_write_req *out);
/* Upsert, from its bytes. */
QV_MUST_USE int qv_pb_write_upsert(struct qv_pb_ctx *c, struct qv_bytes body,
                                   const char **collection, struct qv_write_req *out);

/* A selector that names a shard key is not served; an empty one says nothing. */
QV_MUST_USE int qv_pb_refuse_shard_key(struct qv_pb_ctx *c, const QvPb__ShardKeySelector *m);

#endif
