/* Option messages (strict mode, payload index options) <-> the objects that REST calls them, by
 * descriptor: a field's name is the key; enum names become lower_snake; a message that only wraps a
 * map is that map; absent fields are absent keys. Private to the protobuf half of wire. */
#ifndef QV_WIRE_PB_FIELDS_H
#define QV_WIRE_PB_FIELDS_H

#include "wire/pb_value.h"

/* Appends m as an object to the scratch; type != NULL: its first member is "type": type. */
QV_MUST_USE int qv_pb_fields_doc(struct qv_pb_ctx *c, const ProtobufCMessage *m, const char *type);
/* Appends the content of a message of type desc with what the object says and desc knows. */
void qv_pb_fields_write(struct qv_buf *b, const ProtobufCMessageDescriptor *desc,
                        struct qv_doc object);

#endif
