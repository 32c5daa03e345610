/* Payload values: protobuf's Value and maps of it <-> documents (core/doc.h).
 *
 * Both readers keep the last of equal keys, turn a Value without a kind into null, and refuse a
 * double that is not finite. For the protobuf half of wire, and for the commands that send upserts.
 */
#ifndef QV_WIRE_PB_VALUE_H
#define QV_WIRE_PB_VALUE_H

#include "core/doc.h"
#include "proto/quiver_value.pb-c.h"

/* What decoding one request shares. */
struct qv_pb_ctx {
    struct qv_arena *arena;
    struct qv_buf scratch; /* documents grow here before they are copied into the arena */
    struct qv_errmsg *msg;
};

/* An entry of a map<string, ...>: whatever message protobuf-c made for it. */
struct qv_pb_entry {
    struct qv_str key;
    const ProtobufCMessage *value; /* NULL: absent */
    struct qv_bytes raw;           /* the fast reader's value, not unpacked */
    bool dropped;                  /* a later entry has the same key */
};

/* Marks all but the last of equal keys; *kept = how many are left. */
QV_MUST_USE int qv_pb_entries_distinct(struct qv_pb_ctx *c, struct qv_pb_entry *e, size_t n,
                                       uint32_t *kept);
/* Reads a map field's messages into entries in the arena, distinct already. */
QV_MUST_USE int qv_pb_entries_read(struct qv_pb_ctx *c, ProtobufCMessage *const *map, size_t n,
                                   struct qv_pb_entry **out, uint32_t *kept);

/* A map<string, Value> as an object in the arena; an empty map gives p == NULL. */
QV_MUST_USE int qv_pb_map_doc(struct qv_pb_ctx *c, ProtobufCMessage *const *map, size_t n,
                              struct qv_doc *out);
/* The scratch from `from` on, copied into the arena; the scratch is cut back to `from`. */
QV_MUST_USE int qv_pb_take_doc(struct qv_pb_ctx *c, size_t from, struct qv_doc *out);

/* The same from the wire's bytes, for messages in their plain form: appends to the scratch. Returns
 * 1, with the scratch as it was, for anything unusual: the caller unpacks that in the general
 * way. */
int qv_pb_value_scan(struct qv_pb_ctx *c, struct qv_bytes value, unsigned depth);
/* An entry's bytes -> key and value. 1: unusual. */
int qv_pb_entry_scan(struct qv_bytes entry, struct qv_pb_entry *out);
/* Entries already collected -> one object appended to the scratch. 0, 1, QV_ENOMEM. */
int qv_pb_object_scan(struct qv_pb_ctx *c, struct qv_pb_entry *e, size_t n, unsigned depth);

/* ---- writing ---- */

/* d as a Value's content (the bytes of the message, without tag and length). */
void qv_pb_value_write(struct qv_buf *b, struct qv_doc d);
/* The members of an object as entries of a map field. */
void qv_pb_map_write(struct qv_buf *b, uint32_t number, struct qv_doc object);

#endif
